"""The tables of README.md and docs/pixels.md, made from the committed results.

python -m experiments.book          (rewrites what stands between the markers; a test asks whether it was run)
"""

import re
import statistics
from typing import Any

from experiments import ROOT, ROWS, pixel_tables
from experiments.cells import load, share

PAGES = (ROOT / "README.md", ROOT / "docs/pixels.md")
BLOCK = re.compile(r"(<!-- table ([\w-]+): python -m experiments.book -->\n).*?(<!-- end of table -->)", re.DOTALL)
"""Where a table stands, and which."""

ARMS = ("Reach", "PushEasy", "Push")
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
ENVS = ("Ball", "BallGravity", "BallGust")
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


def main() -> None:
    for page in PAGES:
        page.write_text(filled(page.read_text()))


def filled(page: str) -> str:
    """A page with each of its tables made anew."""
    tables = {
        "main": main_table,
        "ablations": ablation_table,
        "history": history_table,
        "arms": arm_table,
    } | pixel_tables.TABLES
    return BLOCK.sub(lambda found: "\n".join([found[1], *tables[found[2]](), "", found[3]]), page)


def main_table() -> list[str]:
    lines = [
        "| env | agent | hold % (5 steps in a row) | final % | n | ms per action, median / p90 |",
        "|---|---|---|---|---|---|",
    ]
    for env in ENVS:
        rows, middle, each = seeds(env, "hold")
        times = [statistics.median(row["summary"]["latency_ms"]["per_action"][p] for row in rows) for p in ("p50", "p90")]
        name = f"**latent, from pixels** (median of 3 training seeds: {each})"
        lines.append(line(env, name, middle, f"{times[0]:.1f} / {times[1]:.1f}"))
        for slug, name in (
            ("oracle", "oracle: true simulator and state"),
            ("random", "random actions"),
            ("no-op", "no action"),
        ):
            row = load(ROWS / env / f"{slug}-s0.json")
            latency = row["summary"]["latency_ms"]
            lines.append(line(env, name, row, "{p50:.1f} / {p90:.1f}".format(**latency["per_action"]) if latency else ""))
    return lines


def ablation_table() -> list[str]:
    lines = ["What each part is worth, on Ball:", "", "| changed | hold % | final % | n |", "|---|---|---|---|"]
    for slug, name in ABLATIONS.items():
        row = load(ROWS / "Ball" / f"{slug}.json")
        success = row["summary"]["success"]
        lines.append(f"| {name} | {share(success['hold'])} | {share(success['final'])} | {success['hold']['n']} |")
    return lines


def history_table() -> list[str]:
    rows = load(ROWS / "Ball/history-actions.table.json")["rows"]
    found = {(history, actions, where): (mean, n) for history, actions, where, mean, _, n in rows}
    counts = {where: found[("-", "nothing moves", where)][1] for where in ("free flight", "bounce")}
    lines = [
        "What velocity and actions are worth: mean error of the ball's position one imagined step ahead, in cm.",
        "",
        f"| history | actions | free flight (n = {counts['free flight']}) | at a wall (n = {counts['bounce']}) |",
        "|---|---|---|---|",
    ]
    for history, actions in ((3, "given"), (3, "shuffled"), (1, "given"), (1, "shuffled"), ("-", "nothing moves")):
        cells = [f"{found[(history, actions, where)][0]:.1f}" for where in ("free flight", "bounce")]
        frames = {1: "1 frame", 3: "3 frames", "-": ""}[history]
        lines.append(f"| {frames} | {actions} | {cells[0]} | {cells[1]} |")
    return lines


def seeds(env: str, kind: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """The headline rows of all training seeds, the one whose success is their median, and all of them in words."""
    rows = [load(path) for path in sorted((ROWS / env).glob("latent-s?.json"))]
    rates = [row["summary"]["success"][kind]["rate"] for row in rows]
    middle = rows[rates.index(sorted(rates)[len(rates) // 2])]
    return rows, middle, ", ".join(f"{100 * rate:.1f}" for rate in rates)


def arm_table() -> list[str]:
    lines = [
        "Reach, PushEasy and Push: at the goal, within 2.5 cm (Reach) or 3 cm, after the last of 30, 20 or 30 steps:",
        "",
        "| env | agent | final % | ever % | n | ms per action, median / p90 |",
        "|---|---|---|---|---|---|",
    ]
    for env in ARMS:
        rows, middle, each = seeds(env, "final")
        many = f" (median of {len(rows)} training seeds: {each})" if len(rows) > 1 else ""
        lines.append(arm_line(env, f"**latent, from pixels**{many}", middle))
        for slug, name in ARM_ROWS.items():
            path = ROWS / env / f"{slug}.json"
            if path.exists():
                lines.append(arm_line(env, name, load(path)))
    return lines


def arm_line(env: str, name: str, row: dict[str, Any]) -> str:
    success, latency = row["summary"]["success"], row["summary"]["latency_ms"]
    times = "{p50:.1f} / {p90:.1f}".format(**latency["per_action"]) if latency else ""
    final, ever = share(success["final"]), 100 * success["ever"]["rate"]
    return f"| {env} | {name} | {final} | {ever:.1f} | {success['final']['n']} | {times} |"


def line(env: str, name: str, row: dict[str, Any], times: str) -> str:
    success = row["summary"]["success"]
    return f"| {env} | {name} | {share(success['hold'])} | {share(success['final'])} | {success['hold']['n']} | {times} |"


if __name__ == "__main__":
    main()
