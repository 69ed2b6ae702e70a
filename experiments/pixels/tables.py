"""The tables of models that imagine pixels, of docs/pixels.md and, the answer, of README.md."""

from itertools import pairwise
from typing import Any

from experiments.cells import between, grid, held, number, pace, result, rows_of, share

NAMES = {"latent": "latent", "regression": "pixel regression", "diffusion": "pixel diffusion"}
PUSH_ROWS = {
    "latent-64x2-s0": "**latent**",
    "pixel_diffusion-s0": "**pixel diffusion**, the baseline",
    "pixel_regression-s0": "pixel regression, the same network",
}
BALL_ROWS = {"latent-s0": "**latent**", **dict(list(PUSH_ROWS.items())[1:]), "copy_last-s0": "copy the last frame"}
DISTRACTED = {
    "simulator-frame-quick-distracted-s0": "*true simulator*",
    "simulator-keypoints-distracted-s0": "*true simulator*",
    "latent-keypoints-distracted-s0": "latent, on keypoints",
    "pixel_regression-distracted-s0": "pixel regression",
    "pixel_diffusion-distracted-s0": "pixel diffusion",
    "pixel_regression-keypoints-distracted-s0": "pixel regression",
    "pixel_diffusion-keypoints-distracted-s0": "pixel diffusion",
}
ANSWERS = {
    "Ball": {"latent": "latent-s0", "diffusion": "pixel_diffusion-s0", "regression": "pixel_regression-s0"},
    "Push": {"latent": "latent-64x2-s0", "diffusion": "pixel_diffusion-s0", "regression": "pixel_regression-s0"},
}
"""By env and model, the row of whole episodes."""
TRIED = {
    "push-regression-mixed": "regression, from three frames | the env's own mix",
    "push-regression": "regression, from one | that and random actions",
    "push-diffusion": "diffusion, from one | that and random actions",
}
"""What Push's pixel models are called: what they imagine by, and what they learned from."""
SPACES = {"pixels": "pixels", "features": "frozen ImageNet features", "autoencoder": "an autoencoder's latents"}
HEADS = ("regression", "diffusion")
"""What the six models of the factorial imagine, and by what."""
APART = {"one-vector": "*apart*: one vector, as shipped | regression"}
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
CURVED = (1000, 2000, 4000, 8000, 12000, 14000, 15500)
"""Steps of training that are shown, of 16,000."""


def answer_table() -> list[str]:
    """Success, and how many times the latent model's milliseconds a plan takes."""
    columns = ["env", "imagines", "hold % (Ball), final % (Push)", "n", "ms per plan"]
    rows = []
    for env, kind in (("Ball", "hold"), ("Push", "final")):
        turns = {row[0]: row[3:] for row in rows_of(f"pixels/turns-{env}")}
        for name, slug in ANSWERS[env].items():
            success, (time, times, low, high) = result(f"rows/{env}/{slug}")["summary"]["success"][kind], turns[name]
            ratio = "1" if name == "latent" else f"**{times:.0f}** [{low:.0f}, {high:.0f}]"
            rows.append([env, NAMES[name], share(success), success["n"], number(time), ratio])
    return grid([*columns, "times the latent model's [lowest, highest]"], rows)


def gate_table() -> list[str]:
    """How well Ball's models imagine."""
    off = {tuple(row[:3]): row[4] for row in rows_of("pixels/pixel-gate")}
    places = [(step, flight) for step in (1, 8) for flight in ("all", "free", "bounce")]
    rows = [[name, *(f"{off[name, *place]:.2f}" for place in places)] for name in dict.fromkeys(name for name, *_ in off)]
    return grid(["imagines", "1 step", "in flight", "at a wall", "8 steps", "in flight", "at a wall"], rows)


def curve_table(name: str) -> list[str]:
    """Held-out errors along training."""
    table = rows_of(f"pixels/{name}-curves")
    found = {(model, step): errors for model, step, _, *errors in table}
    whole = {model: seconds for model, _, seconds, *_ in table}  # the last row of each, after all of its steps
    rows = []
    for model, seconds in whole.items():
        errors = [f"{100 * first:.2f} / {100 * last:.2f}" for first, last in (found[model, step] for step in CURVED)]
        rows.append([NAMES[model], *errors, f"{seconds:,.0f}"])
    return grid(["imagines", *(f"{step:,}" for step in CURVED[:-1]), f"{CURVED[-1]:,} steps", "seconds of one core"], rows)


def tried_table() -> list[str]:
    """How far Push's models stray on what a planner tries first."""
    rows = []
    for name, label in TRIED.items():
        table = rows_of(f"rows/Push/tried-{name}")
        for side, words in (("inside", "inside"), ("beyond", "at the edge")):
            shown = [row for row in table if row[1] == side and row[0] in (1, 4, 7)]
            cells = [f"{row[3 + part]:.1f} ({row[5 + part]:.1f})" for row in shown for part in (0, 1)]
            rows.append([label, words, " / ".join(str(row[2]) for row in shown), *cells])
    steps = [cell for step in ("1 step", "4 steps", "7 steps") for cell in (f"{step}: puck", "finger")]
    return grid(["imagines by", "learned from", "finger", "n", *steps], rows)


def compared_table() -> list[str]:
    """Of 20 dev tasks of Push, those solved by what the regression learned from."""
    learned = {
        "-mixed": "the env's own mix of behaviours, 6,000 episodes; three frames of history",
        "": "that and 2,000 episodes of random actions; one frame",
    }
    found = [[result(f"pixels/push-regression{slug}-{cost}-dev") for cost in ("latent", "frame")] for slug in learned]
    solved = [[sum(episode["final"] for episode in row["episodes"]) for row in line] for line in found]
    best = max(count for line in solved for count in line)
    rows = [
        [words, *(f"**{count}**" if count == best else count for count in line)]
        for words, line in zip(learned.values(), solved, strict=True)
    ]
    return grid(["learned from", "frames compared by the encoder", "by blur"], rows)


def planned_rows(env: str, named: dict[str, str]) -> list[str]:
    """A table of those rows that are there."""
    rows = []
    for slug, name in named.items():
        if row := result(f"rows/{env}/{slug}"):
            cost = row["agent"]["cost"]
            rows.append([name, f"{cost['at']}, {cost['distance']}", *held(row["summary"]), pace(row["summary"], 0)])
    return grid(["imagines", "compares", "hold %", "final %", "n", "ms per action, median / p90"], rows)


def factorial_table() -> list[str]:
    """Six models on one U-Net."""
    off = {tuple(row[:3]): row[4] for row in rows_of("pixels/factorial-gate")}
    first = {name: cost for row in rows_of("pixels/factorial") for name, cost in ((row[1], row[9]), (row[2], row[10]))}
    six = {f"{space}-{head}": f"{words} | {head}" for space, words in SPACES.items() for head in HEADS}
    rows = []
    for name, label in (six | APART).items():
        summary = result(f"rows/Ball/factorial-{name}-s0")["summary"]
        errors, hold = [f"{off[name, step, 'all']:.2f}" for step in (1, 8)], share(summary["success"]["hold"])
        rows.append([label, *errors, hold, f"{first[name]:.2f}", f"{summary['latency_ms']['per_action']['p50']:.3g}"])
    columns = ["imagines", "by", "off after 1 step, px", "after 8", "hold %", "first plan, cm", "ms per action, median"]
    return grid(columns, rows)


def question_table() -> list[str]:
    """What each difference between two of them is worth, on the same 100 tasks."""
    rows = []
    for question, a, b, _, _, _, *numbers in rows_of("pixels/factorial"):
        names = f"{a.replace('-', ' ')} - {b.replace('-', ' ')}"
        rows.append([f"{question}?", names, between(numbers[:3], 1), between(numbers[5:], 2)])
    return grid(["question", "first - second", "hold, points", "first plan, cm"], rows)


def uncertain_table() -> list[str]:
    """What becomes of the ball in imagined frames, after one step and after eight, and of success, where nobody can know."""
    rows = []
    for name, (env, why, slug, others) in SMEARED.items():
        seen = {(frames, step): numbers for frames, step, *numbers in rows_of(f"pixels/smear-{name}")}
        for frames in dict.fromkeys(frames for frames, _ in seen):
            both = zip(seen[frames, 1], seen[frames, 8], strict=True)
            cells = ["" if first is None else f"{first:.2f} / {last:.2f}" for first, last in both]
            rows.append([why, frames, *cells, *planned(env, slug.format(frames.replace(", ", "-").replace(" ", "-")))])
        rows += [[why, label, *[""] * 4, *planned(env, other)] for other, label in others.items()]
    columns = ["uncertain by", "frames", "size px", "dark", "error px", "apart px", "hold %", "final %", "n", "ms per action"]
    return grid(columns, rows)


def planned(env: str, slug: str) -> list[object]:
    """Four cells of a row, empty if it is not there."""
    row = result(f"rows/{env}/{slug}")
    return [*held(row["summary"]), f"{row['summary']['latency_ms']['per_action']['p50']:.3g}"] if row else [""] * 4


def learning_table() -> list[str]:
    """Success by the time that training took."""
    rows = [
        [NAMES[name], steps, f"{seconds:.0f}", f"{rate:.1f} [{low:.1f}, {high:.1f}]", n, f"{time:.3g}"]
        for model in NAMES
        for name, steps, seconds, n, rate, low, high, time in rows_of(f"pixels/learning-{model}")
    ]
    return grid(["imagines", "steps", "seconds of one core, encoder included", "hold %", "n", "ms per action"], rows)


def clock_rows(env: str) -> dict[str, list[list[Any]]]:
    """Rows of each model that has some, without what was seen on dev tasks."""
    tables = {name: rows_of(f"pixels/clock-{env}-{name}") for name in NAMES}
    known = {name: [row for row in rows if row[5] is not None] for name, rows in tables.items() if rows}
    return {name: [[budget, flags, *row] for budget, _, flags, _, _, *row in rows] for name, rows in known.items()}


def clock_table(env: str, kind: str) -> list[str]:
    """First plans and whole episodes at equal time."""
    found = [(row[0], place, name, *row[1:]) for place, (name, own) in enumerate(clock_rows(env).items()) for row in own]
    rows: list[list[object]] = []
    for budget, place, name, flags, time, cost, low, high, *over in sorted(found, key=lambda row: row[:2]):
        cells = [f"{cost:.2f} [{low:.2f}, {high:.2f}]", between(over, 2)]
        if budget:
            episodes = whole(result(f"rows/{env}/clock-{name}-{budget}-s0"), kind, search(flags))
            rows.append([budget, NAMES[name], search(flags), number(time), *cells, *episodes])
        elif not place:
            rows.append(["", "no action", "", "", *cells, "", ""])
    columns = ["ms per plan", "imagines", "samples x iterations, horizon", "its ms", "first plan, cm"]
    return grid([*columns, "over the latent's of 100 ms", f"{kind} %", "n"], rows)


def whole(row: dict[str, Any], kind: str, searched: str) -> list[object]:
    """Two cells of a row of whole episodes: success, and by which search if it is another, and of how many tasks."""
    if not row:
        return ["", ""]
    success, own = row["summary"]["success"][kind], search(row["provenance"]["command"])
    return [f"{share(success)}{'' if own == searched else f' by {own}'}", success["n"]]


def best_table() -> list[str]:
    """What the best plan of each model saves against doing nothing, and when nine tenths of that are there."""
    rows = []
    for env in ("Ball", "Push"):
        for name, (idle, *made) in clock_rows(env).items():
            _, _, time, best, _, _, *over = min(made, key=lambda row: row[3])
            enough = next(row[2] for row in made if row[3] <= idle[3] - 0.9 * (idle[3] - best))
            rows.append([env, NAMES[name], f"{best:.2f}", number(time), between(over, 2), number(enough)])
    columns = ["env", "imagines", "best first plan, cm", "its ms", "over the latent's of 100 ms"]
    return grid([*columns, "within a tenth of what it saves, ms"], rows)


def search(flags: str) -> str:
    """Flags in the words of a table."""
    value = dict(pairwise(flags.split()))
    steps = f", {value['--denoising-steps']} denoising" if "--denoising-steps" in value else ""
    return f"{value['--planner.num-samples']} x {value['--planner.iterations']}, {value['--planner.horizon']}{steps}"


def published_table() -> list[str]:
    """Speed at sizes that were published."""
    rows = []
    for name, size, places, calls, flop, exact, rough, used, ratio in rows_of("pixels/published"):
        cells = [f"{flop:,.3g}" if flop < 1000 else f"{flop:,.0f}", number(exact), number(rough), f"{used:.2f}", number(ratio)]
        rows.append([name, f"{size / 1e6:.2f} M", places, calls, *cells])
    columns = ["network", "size", "places x channels", "calls", "MFLOP per step", "ms, fp32", "ms, bf16", "utilisation"]
    return grid([*columns, "times LeWM's"], rows)
