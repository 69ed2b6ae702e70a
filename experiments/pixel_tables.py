"""The tables of models that imagine pixels, of docs/pixels.md and, the answer, of README.md."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from experiments import RESULTS, ROWS
from experiments.cells import between, load, share

PIXEL_ROWS = {
    "latent-s0": "**latent**",
    "pixel_diffusion-s0": "**pixel diffusion**, the baseline",
    "pixel_regression-s0": "pixel regression, the same network",
    "copy_last-s0": "copy the last frame",
}
PUSH_ROWS = {
    "latent-64x2-s0": "**latent**",
    "pixel_diffusion-s0": "**pixel diffusion**, the baseline",
    "pixel_regression-s0": "pixel regression, the same network",
}
TRIED = {
    "push-regression-mixed": "regression, from three frames | the env's own mix",
    "push-regression": "regression, from one | that and random actions",
    "push-diffusion": "diffusion, from one | that and random actions",
}
"""What Push's pixel models are called, by table: what they imagine by, and what they learned from."""

SIX = {
    "pixels-regression": "pixels | regression",
    "pixels-diffusion": "pixels | diffusion",
    "features-regression": "frozen ImageNet features | regression",
    "features-diffusion": "frozen ImageNet features | diffusion",
    "autoencoder-regression": "an autoencoder's latents | regression",
    "autoencoder-diffusion": "an autoencoder's latents | diffusion",
    "one-vector": "*apart*: one vector, as shipped | regression",
}
SMEARED = {
    "BallGust": (
        "BallGust",
        "kicks out of nowhere",
        "pixel_{}-s0",
        {"latent-quick-s0": "*latent, one vector*", "oracle-quick-s0": "*simulator, without the kicks to come*"},
    ),
    "single-frame": (
        "Ball",
        "one frame of history",
        "pixel_{}-single-frame-s0",
        {"latent-single-frame-s0": "*latent, one vector*", "oracle-quick-s0": "*simulator, from the state*"},
    ),
}
"""By table: the env, why its future is uncertain, the rows of the models, and others by the same search."""
DISTRACTED = {
    "simulator-frame-quick-distracted-s0": "*true simulator*",
    "simulator-keypoints-distracted-s0": "*true simulator*",
    "latent-keypoints-distracted-s0": "latent, on keypoints",
    "pixel_regression-distracted-s0": "pixel regression",
    "pixel_diffusion-distracted-s0": "pixel diffusion",
    "pixel_regression-keypoints-distracted-s0": "pixel regression",
    "pixel_diffusion-keypoints-distracted-s0": "pixel diffusion",
}
CURVED = (1000, 2000, 4000, 8000, 12000, 14000, 15500)
"""Steps of training that are shown, of 16,000."""
CLOCKED = {"latent": "latent", "regression": "pixel regression", "diffusion": "pixel diffusion"}


ANSWERS = {"latent": "latent-s0", "diffusion": "pixel_diffusion-s0", "regression": "pixel_regression-s0"}
PUSH_ANSWERS = ANSWERS | {"latent": "latent-64x2-s0"}
"""By model, the row of whole episodes."""


def answer_table() -> list[str]:
    """Success, and how many times the latent model's milliseconds a plan takes."""
    lines = [
        "| env | imagines | hold % (Ball), final % (Push) | n | ms per plan | times the latent model's [lowest, highest] |",
        "|---|---|---|---|---|---|",
    ]
    for env, slugs, kind in (("Ball", ANSWERS, "hold"), ("Push", PUSH_ANSWERS, "final")):
        turns = {row[0]: row[3:] for row in load(RESULTS / f"pixels/turns-{env}.table.json")["rows"]}
        for name, slug in slugs.items():
            success = load(ROWS / env / f"{slug}.json")["summary"]["success"][kind]
            time, times, low, high = turns[name]
            ratio = "1" if name == "latent" else f"**{times:.0f}** [{low:.0f}, {high:.0f}]"
            lines.append(f"| {env} | {CLOCKED[name]} | {share(success)} | {success['n']} | {number(time)} | {ratio} |")
    return lines


def gate_table() -> list[str]:
    """How well Ball's models imagine."""
    gate = {(row[0], row[1], row[2]): row[4] for row in load(RESULTS / "pixels/pixel-gate.table.json")["rows"]}
    lines = [
        "| imagines | 1 step | in flight | at a wall | 8 steps | in flight | at a wall |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(frames for frames, *_ in gate):
        errors = [f"{gate[name, step, flight]:.2f}" for step in (1, 8) for flight in ("all", "free", "bounce")]
        lines.append(f"| {name} | {' | '.join(errors)} |")
    return lines


def curve_table(name: str) -> list[str]:
    """Held-out errors along training."""
    table = load(RESULTS / f"pixels/{name}-curves.table.json")["rows"]
    rows = {(model, step): numbers for model, step, *numbers in table}
    whole = {model: seconds for model, _, seconds, *_ in table}  # the last row of each, after all of its steps
    lines = [
        f"| imagines | {' | '.join(f'{step:,}' for step in CURVED)} steps | seconds of one core |",
        f"|---|{'---|' * len(CURVED)}---|",
    ]
    for model, seconds in whole.items():
        errors = [f"{100 * first:.2f} / {100 * last:.2f}" for _, first, last in (rows[model, step] for step in CURVED)]
        lines.append(f"| {CLOCKED[model]} | {' | '.join(errors)} | {seconds:,.0f} |")
    return lines


def tried_table() -> list[str]:
    """How far Push's models stray on what a planner tries first."""
    lines = [
        "| imagines by | learned from | finger | n | 1 step: puck | finger | 4 steps: puck | finger | 7 steps: puck | finger |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, label in TRIED.items():
        rows = load(ROWS / f"Push/tried-{name}.table.json")["rows"]
        for side, words in (("inside", "inside"), ("beyond", "at the edge")):
            shown = [row for row in rows if row[1] == side and row[0] in (1, 4, 7)]
            cells = [
                f"{puck:.1f} ({puck_read:.1f}) | {finger:.1f} ({finger_read:.1f})"
                for *_, puck, finger, puck_read, finger_read in shown
            ]
            counts = " / ".join(str(row[2]) for row in shown)
            lines.append(f"| {label} | {words} | {counts} | {' | '.join(cells)} |")
    return lines


def planned_rows(env: str, rows: dict[str, str]) -> list[str]:
    """A table of those rows that are there."""
    lines = [
        "| imagines | compares | hold % | final % | n | ms per action, median / p90 |",
        "|---|---|---|---|---|---|",
    ]
    for slug, name in rows.items():
        path = ROWS / env / f"{slug}.json"
        if path.exists():
            row = load(path)
            success, cost, times = row["summary"]["success"], row["agent"]["cost"], row["summary"]["latency_ms"]["per_action"]
            cells = f"{share(success['hold'])} | {share(success['final'])} | {success['hold']['n']}"
            lines.append(f"| {name} | {cost['at']}, {cost['distance']} | {cells} | {times['p50']:.0f} / {times['p90']:.0f} |")
    return lines


def factorial_table() -> list[str]:
    """Six models on one trunk."""
    gate = {(row[0], row[1], row[2]): row[4] for row in load(RESULTS / "pixels/factorial-gate.table.json")["rows"]}
    questions = load(RESULTS / "pixels/factorial.table.json")["rows"]
    first = {name: cost for row in questions for name, cost in ((row[1], row[9]), (row[2], row[10]))}
    lines = [
        "| imagines | by | off after 1 step, px | after 8 | hold % | first plan, cm | ms per action, median |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, label in SIX.items():
        row = load(ROWS / f"Ball/factorial-{name}-s0.json")
        off = [f"{gate[name, step, 'all']:.2f}" for step in (1, 8)]
        hold, time = share(row["summary"]["success"]["hold"]), row["summary"]["latency_ms"]["per_action"]["p50"]
        lines.append(f"| {label} | {' | '.join(off)} | {hold} | {first[name]:.2f} | {time:.3g} |")
    return lines


def question_table() -> list[str]:
    """What each difference between two of them is worth, on the same 100 tasks."""
    lines = [
        "| question | first - second | hold, points | first plan, cm |",
        "|---|---|---|---|",
    ]
    for question, a, b, _, _, _, *numbers in load(RESULTS / "pixels/factorial.table.json")["rows"]:
        hold, cost = between(numbers[:3], 1), between(numbers[5:], 2)
        lines.append(f"| {question}? | {a.replace('-', ' ')} - {b.replace('-', ' ')} | {hold} | {cost} |")
    return lines


def uncertain_table() -> list[str]:
    """What becomes of the ball in imagined frames, after one step and after eight, and of success, where nobody can know."""
    paths = {name: path for name in SMEARED if (path := RESULTS / f"pixels/smear-{name}.table.json").exists()}
    lines = [
        "| uncertain by | frames | size px | dark | error px | apart px | hold % | final % | n | ms per action |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, path in paths.items():
        env, why, slug, others = SMEARED[name]
        seen = {(frames, step): numbers for frames, step, *numbers in load(path)["rows"]}
        for frames in dict.fromkeys(frames for frames, _ in seen):
            pairs = zip(seen[frames, 1], seen[frames, 8], strict=True)
            cells = ["" if first is None else f"{first:.2f} / {last:.2f}" for first, last in pairs]
            row = planned(ROWS / env / f"{slug.format(frames.replace(', ', '-').replace(' ', '-'))}.json")
            lines.append(f"| {why} | {frames} | {' | '.join(cells)} | {row} |")
        rows = {label: planned(ROWS / env / f"{other}.json") for other, label in others.items()}
        lines += [f"| {why} | {label} |  |  |  |  | {row} |" for label, row in rows.items()]
    return lines


def planned(path: Path) -> str:
    """Four cells of a row, if it is there."""
    if not path.exists():
        return " |  |  | "
    summary = load(path)["summary"]
    success, time = summary["success"], summary["latency_ms"]["per_action"]["p50"]
    return f"{share(success['hold'])} | {share(success['final'])} | {success['hold']['n']} | {time:.3g}"


def learning_table() -> list[str]:
    """Success by the time that training took."""
    lines = [
        "| imagines | steps | seconds of one core, encoder included | hold % | n | ms per action |",
        "|---|---|---|---|---|---|",
    ]
    paths = [path for name in CLOCKED if (path := RESULTS / f"pixels/learning-{name}.table.json").exists()]
    for name, steps, seconds, n, rate, low, high, time in (row for path in paths for row in load(path)["rows"]):
        lines.append(f"| {CLOCKED[name]} | {steps} | {seconds:.0f} | {rate:.1f} [{low:.1f}, {high:.1f}] | {n} | {time:.3g} |")
    return lines


def clock_rows(env: str) -> dict[str, list[Any]]:
    """Rows of each model that has a table, if they are reported, without what was seen on dev tasks."""
    paths = {name: RESULTS / f"pixels/clock-{env}-{name}.table.json" for name in CLOCKED}
    tables = {name: load(path)["rows"] for name, path in paths.items() if path.exists()}
    return {
        name: [[budget, flags, *row] for budget, _, flags, _, _, *row in rows if row[0] is not None]
        for name, rows in tables.items()
    }


def clock_table(env: str, kind: str) -> list[str]:
    """First plans and whole episodes at equal time."""
    lines = [
        "| ms per plan | imagines | samples x iterations, horizon | its ms "
        f"| first plan, cm | over the latent's of 100 ms | {kind} % | n |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = [(row[0], place, name, *row[1:]) for place, (name, own) in enumerate(clock_rows(env).items()) for row in own]
    for budget, place, name, flags, time, cost, low, high, *over in sorted(rows, key=lambda row: row[:2]):
        if budget:
            episodes = ROWS / env / f"clock-{name}-{budget}-s0.json"
            rate = whole(load(episodes), kind, search(flags)) if episodes.exists() else " | "
            cells = f"{search(flags)} | {number(time)} | {cost:.2f} [{low:.2f}, {high:.2f}] | {between(over, 2)}"
            lines.append(f"| {budget} | {CLOCKED[name]} | {cells} | {rate} |")
        elif not place:
            lines.append(f"|  | no action |  |  | {cost:.2f} [{low:.2f}, {high:.2f}] | {between(over, 2)} |  |  |")
    return lines


def whole(row: dict[str, Any], kind: str, searched: str) -> str:
    """Two cells of a row of whole episodes: success, and by which search if it is another, and of how many tasks."""
    success, own = row["summary"]["success"][kind], search(row["provenance"]["command"])
    return f"{share(success)}{'' if own == searched else f' by {own}'} | {success['n']}"


def best_table() -> list[str]:
    """What the best plan of each model saves against doing nothing, and when nine tenths of that are there."""
    lines = [
        "| env | imagines | best first plan, cm | its ms | over the latent's of 100 ms | within a tenth of what it saves, ms |",
        "|---|---|---|---|---|---|",
    ]
    for env in ("Ball", "Push"):
        for name, (idle, *rows) in clock_rows(env).items():
            _, _, time, best, _, _, *over = min(rows, key=lambda row: row[3])
            enough = next(row[2] for row in rows if row[3] <= idle[3] - 0.9 * (idle[3] - best))
            cells = f"{best:.2f} | {number(time)} | {between(over, 2)} | {number(enough)}"
            lines.append(f"| {env} | {CLOCKED[name]} | {cells} |")
    return lines


def search(flags: str) -> str:
    """Flags in the words of a table."""
    words = flags.split()
    value = dict(pairwise(words))
    steps = f", {value['--denoising-steps']} denoising" if "--denoising-steps" in value else ""
    return f"{value['--planner.num-samples']} x {value['--planner.iterations']}, {value['--planner.horizon']}{steps}"


def published_table() -> list[str]:
    """Speed at sizes that were published."""
    lines = [
        "| network | size | places x channels | calls | MFLOP per step | ms, fp32 | ms, bf16 | utilisation | times LeWM's |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, size, places, calls, flop, exact, rough, used, ratio in load(RESULTS / "pixels/published.table.json")["rows"]:
        cells = [f"{flop:,.3g}" if flop < 1000 else f"{flop:,.0f}", number(exact), number(rough), f"{used:.2f}", number(ratio)]
        lines.append(f"| {name} | {size / 1e6:.2f} M | {places} | {calls} | {' | '.join(cells)} |")
    return lines


def number(value: Any) -> str:
    """Three digits of it, or nothing."""
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


TABLES = {
    "answer": answer_table,
    "ball-curves": lambda: curve_table("ball"),
    "push-curves": lambda: curve_table("push"),
    "ball": lambda: planned_rows("Ball", PIXEL_ROWS),
    "gate": gate_table,
    "push": lambda: planned_rows("Push", PUSH_ROWS),
    "tried": tried_table,
    "factorial": factorial_table,
    "questions": question_table,
    "uncertain": uncertain_table,
    "distracted": lambda: planned_rows("Ball", DISTRACTED),
    "learning": learning_table,
    "clock-ball": lambda: clock_table("Ball", "hold"),
    "clock-push": lambda: clock_table("Push", "final"),
    "best": best_table,
    "published": published_table,
}
"""By the name that stands in a page."""
