"""The tables of latent models in README.md."""

import statistics
from typing import Any

from experiments import ROWS
from experiments.cells import grid, held, pace, result, rows_of, share

ENVS, ARMS = ("Ball", "BallGravity", "BallGust"), ("Reach", "PushEasy", "Push")
BESIDE = {"oracle": "oracle: true simulator and state", "random": "random actions", "no-op": "no action"}
ARM_ROWS = {
    "oracle-s0": "oracle: true simulator and state",
    "random-s0": "random actions",
    "no-op-s0": "no action",
    "straight-s0": "rule: drive straight at the puck",
    "mimic-s0": "rule: finger to where the goal picture shows it",
    "scripted-s0": "scripted expert (sees the state)",
    "latent-keypoints-s0": "latent on keypoints instead of one learned vector, seed 0",
    "latent-anywhere-s0": "**latent, from pixels**, goal finger anywhere, seed 0",
    "oracle-anywhere-s0": "oracle, goal finger anywhere",
    "mimic-anywhere-s0": "rule: finger to where the goal picture shows it, anywhere",
    "latent-hidden-s0": "latent, from pixels, arm hidden in the goal picture, seed 0",
    "latent-slowness-s0": "latent with the distance `slowness`, seed 0",
    "latent-probe-s0": "latent, distance between linearly probed positions (sees labels), seed 0",
    "latent-last-s0": "latent, cost of the last imagined step only, seed 0",
    "simulator-latent-s0": "true simulator, cost between latents (first 60 tasks)",
    "latent-sigreg-s0": "latent on Ball's kind of encoder (learned with actions), seed 0",
    "latent-sigreg-anywhere-s0": "the same, goal finger anywhere",
    "latent-sigreg-hidden-s0": "the same, arm hidden in the goal picture",
    "latent-generic-s0": "latent on ImageNet features as they are, 4 x 4 tokens, seed 0",
    "latent-random-s0": "latent on a random encoder, seed 0",
    "latent-later25-s0": "*goals from data*: latent, from pixels, seed 0",
    "latent-sigreg-later25-s0": "*goals from data*: latent on Ball's kind of encoder, seed 0",
    "mimic-later25-s0": "*goals from data*: rule, finger to where the goal picture shows it",
    "random-later25-s0": "*goals from data*: random actions",
    "no-op-later25-s0": "*goals from data*: no action",
}
"""Those that are there are shown."""
ABLATIONS = {
    "latent-s0": "as above, seed 0",
    "latent-mppi-s0": "MPPI instead of CEM, equal evaluations",
    "latent-euclid-s0": "Euclid's distance between latents instead of slowness",
    "latent-narrow-s0": "narrow white noise (standard deviation 0.5) and more of it, 64 x 4",
    "latent-narrow-euclid-s0": "the same with Euclid's distance",
    "latent-last-s0": "distance after the last imagined step instead of the mean over steps",
    "latent-probe-s0": "distance between linearly probed positions (sees labels)",
    "latent-mlp-s0": "predictor `mlp`, which reads what it imagined, instead of `prefix`",
    "latent-generic-s0": "encoder `generic`: EfficientNet-Lite0, ImageNet weights, 64 principal components",
    "latent-random-s0": "encoder `random`: the same network, untrained",
}
FRAMES = {1: "1 frame", 3: "3 frames", "-": ""}


def main_table() -> list[str]:
    rows = []
    for env in ENVS:
        seeds, middle, each = headline(env, "hold")
        times = [statistics.median(row["summary"]["latency_ms"]["per_action"][p] for row in seeds) for p in ("p50", "p90")]
        name = f"**latent, from pixels** (median of 3 training seeds: {each})"
        rows.append([env, name, *held(middle["summary"]), f"{times[0]:.1f} / {times[1]:.1f}"])
        for slug, name in BESIDE.items():
            summary = result(f"rows/{env}/{slug}-s0")["summary"]
            rows.append([env, name, *held(summary), pace(summary)])
    return grid(["env", "agent", "hold % (5 steps in a row)", "final %", "n", "ms per action, median / p90"], rows)


def ablation_table() -> list[str]:
    rows = [[name, *held(result(f"rows/Ball/{slug}")["summary"])] for slug, name in ABLATIONS.items()]
    return ["What each part is worth, on Ball:", "", *grid(["changed", "hold %", "final %", "n"], rows)]


def history_table() -> list[str]:
    found = {tuple(row[:3]): (row[3], row[5]) for row in rows_of("rows/Ball/history-actions")}
    places = ("free flight", "bounce")
    counts = [found["-", "nothing moves", where][1] for where in places]
    kinds = [(history, actions) for history in (3, 1) for actions in ("given", "shuffled")] + [("-", "nothing moves")]
    rows = [[FRAMES[kind[0]], kind[1], *(f"{found[*kind, where][0]:.1f}" for where in places)] for kind in kinds]
    return [
        "What velocity and actions are worth: mean error of the ball's position one imagined step ahead, in cm.",
        "",
        *grid(["history", "actions", f"free flight (n = {counts[0]})", f"at a wall (n = {counts[1]})"], rows),
    ]


def headline(env: str, kind: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """The headline rows of all training seeds, the one whose success is their median, and all of them in words."""
    rows = [result(f"rows/{env}/{path.stem}") for path in sorted((ROWS / env).glob("latent-s?.json"))]
    rates = [row["summary"]["success"][kind]["rate"] for row in rows]
    middle = rows[rates.index(sorted(rates)[len(rates) // 2])]
    return rows, middle, ", ".join(f"{100 * rate:.1f}" for rate in rates)


def arm_table() -> list[str]:
    rows = []
    for env in ARMS:
        seeds, middle, each = headline(env, "final")
        many = f" (median of {len(seeds)} training seeds: {each})" if len(seeds) > 1 else ""
        rows.append([env, f"**latent, from pixels**{many}", *arm_cells(middle)])
        rows += [[env, name, *arm_cells(row)] for slug, name in ARM_ROWS.items() if (row := result(f"rows/{env}/{slug}"))]
    return [
        "Reach, PushEasy and Push: at the goal, within 2.5 cm (Reach) or 3 cm, after the last of 30, 20 or 30 steps:",
        "",
        *grid(["env", "agent", "final %", "ever %", "n", "ms per action, median / p90"], rows),
    ]


def arm_cells(row: dict[str, Any]) -> list[object]:
    success = row["summary"]["success"]
    return [share(success["final"]), f"{100 * success['ever']['rate']:.1f}", success["final"]["n"], pace(row["summary"])]


TABLES = {"main": main_table, "ablations": ablation_table, "history": history_table, "arms": arm_table}
"""By the name that stands in a page."""
