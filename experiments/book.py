"""Every published number: the page, the command that makes its results, and their files.

python -m experiments.book          (fills the tables of the pages from the results; a test asks whether it was run)
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from experiments import RESULTS, ROOT, tables
from experiments.peers import table as peers
from experiments.pixels import tables as pixels

README, PIXELS, PEERS = "README.md", "docs/pixels.md", "docs/peers.md"
BLOCK = re.compile(r"(<!-- table ([\w-]+): python -m experiments\.book -->\n).*?(<!-- end of table -->)", re.DOTALL)
"""Where a table stands, and which."""


@dataclass(frozen=True)
class Entry:
    """What is published, and where it comes from.

    Attributes:
        page: where it stands.
        table: its name there; "" where prose or a figure quotes the results.
        command: that makes the results.
        results: patterns of their files below `experiments/results`, with spaces between.
        make: the lines of the table.
    """

    page: str
    table: str
    command: str
    results: str
    make: Callable[[], list[str]] | None = None


BALL, ARM, RUN, PY = "experiments/ball/run", "experiments/arm/run", "experiments/pixels/run", "python -m experiments"
HEADLINES = " ".join(f"rows/Ball*/{slug}-s?.json" for slug in ("latent", "oracle", "random", "no-op", "scripted"))
ARMS = "rows/Reach/*.json rows/PushEasy/*.json rows/Push/[lmnors]*-s?.json"
SAME = "rows/BallGust/pixel_* rows/BallGust/*-quick-s0.json rows/Ball/*-single-frame-s0.json rows/Ball/oracle-quick-s0.json"
BOOK = (
    Entry(README, "main", BALL, HEADLINES, tables.main_table),
    Entry(README, "ablations", f"{BALL} Ball", "rows/Ball/latent-[eglmnpr]*-s0.json", tables.ablation_table),
    Entry(README, "history", f"{PY}.ball.history_actions", "rows/Ball/history-*.json", tables.history_table),
    Entry(README, "answer", f"{PY}.pixels.turns ball", "pixels/turns-*.json rows/Ball/latent-s0.json", pixels.answer_table),
    Entry(README, "arms", ARM, ARMS, tables.arm_table),
    Entry(README, "", f"{ARM} audit", "rows/Push/gap-*.json rows/Push/audit.table.json"),
    Entry(README, "", f"{ARM} regret", "rows/Push/regret-*.json"),
    Entry(README, "", "imagoal diagnose --env push", "rows/Push/diagnose-*.json"),
    Entry(README, "", f"{PY}.ball.metric", "rows/Ball/metric.table.json"),
    Entry(README, "", f"{PY}.ball.collapse", "rows/Ball/collapse.table.json"),
    Entry(README, "", "scripts/demo", "speed/demo.table.json"),
    Entry(README, "", f"{PY}.speed.frames", "speed/speed.table.json speed/arm-speed.table.json"),
    Entry(README, "", f"{PY}.speed.tail", "speed/tail.table.json"),
    Entry(README, "", f"{PY}.speed.budgets", "speed/budgets.table.json"),
    Entry(README, "", f"{PY}.speed.collocation", "speed/collocation.table.json"),
    Entry(README, "", f"{PY}.speed.predictors", "speed/predictors.table.json"),
    Entry(README, "", f"{PY}.speed.predictors precision", "speed/precision.table.json"),
    Entry(README, "", "imagoal eval --env push --tasks dev --precision bf16", "speed/Push-streaming-*-dev.json"),
    Entry(README, "", "imagoal eval --env reach --tasks dev --agent-weight 0.25", "speed/Reach-keypoints-*-dev.json"),
    Entry(README, "", "imagoal bench --env ball --compile --plans 64 --batches 1", "speed/*-compiled.bench.json"),
    Entry(README, "", "imagoal bench --env ball --budget-ms 33,100 --count 60", "speed/*-budget.bench.json"),
    Entry(PIXELS, "ball-curves", f"{RUN} ball", "pixels/ball-curves.table.json", partial(pixels.curve_table, "ball")),
    Entry(PIXELS, "gate", f"{RUN} ball", "pixels/pixel-gate.table.json pixels/again-gate.table.json", pixels.gate_table),
    Entry(PIXELS, "", f"{RUN} rolled", "pixels/rolled-gate.table.json"),
    Entry(
        PIXELS, "ball", f"{RUN} ball", "rows/Ball/pixel_*n-s0.json rows/Ball/copy_last-s0.json",
        partial(pixels.planned_rows, "Ball", pixels.BALL_ROWS),
    ),
    Entry(PIXELS, "push-curves", f"{RUN} push", "pixels/push-curves.table.json", partial(pixels.curve_table, "push")),
    Entry(
        PIXELS, "push", f"{RUN} push", "rows/Push/pixel_*-s0.json rows/Push/latent-64x2-s0.json",
        partial(pixels.planned_rows, "Push", pixels.PUSH_ROWS),
    ),
    Entry(PIXELS, "", f"{RUN} push", "rows/Push/again-*.json rows/Push/imagined-*.json"),
    Entry(PIXELS, "tried", f"{RUN} push", "rows/Push/tried-*.json", pixels.tried_table),
    Entry(PIXELS, "compared", f"{RUN} mixed", "pixels/push-*-dev.json", pixels.compared_table),
    Entry(
        PIXELS, "clock-ball", f"{RUN} clock", "pixels/clock-Ball-*.json rows/Ball/clock-*.json",
        partial(pixels.clock_table, "Ball", "hold"),
    ),
    Entry(
        PIXELS, "clock-push", f"{RUN} clock", "pixels/clock-Push-*.json rows/Push/clock-*.json",
        partial(pixels.clock_table, "Push", "final"),
    ),
    Entry(PIXELS, "best", f"{RUN} clock", "pixels/clock-*.json", pixels.best_table),
    Entry(PIXELS, "learning", f"{RUN} learning", "pixels/learning-*.json rows/Ball/learning-*.json", pixels.learning_table),
    Entry(
        PIXELS, "factorial", f"{RUN} factorial", "pixels/factorial*.json rows/Ball/factorial-*.json", pixels.factorial_table
    ),
    Entry(PIXELS, "questions", f"{RUN} factorial", "pixels/factorial.table.json", pixels.question_table),
    Entry(PIXELS, "", f"{RUN} factorial", "pixels/pixel-curves.table.json rows/Ball/imagined-*.json"),
    Entry(PIXELS, "uncertain", f"{RUN} uncertain", f"pixels/smear-*.json {SAME}", pixels.uncertain_table),
    Entry(PIXELS, "published", f"{PY}.pixels.published", "pixels/published.table.json", pixels.published_table),
    Entry(PIXELS, "", f"{PY}.pixels.trunks", "pixels/trunks.table.json"),
    Entry(PIXELS, "", f"{RUN} align", "pixels/align-*.json"),
    Entry(
        PIXELS, "distracted", f"{RUN} distracted", "rows/Ball/*-distracted-s0.json pixels/ball-distracted-*-dev.json",
        partial(pixels.planned_rows, "Ball", pixels.DISTRACTED),
    ),
    Entry(PIXELS, "", "imagoal diagnose --env ball --env-options distractors=noise+mover", "rows/Ball/diagnose-*.json"),
    Entry(PEERS, "", "scripts/bench-peers", "peers/peers.json"),
)  # fmt: skip


def filled(page: str) -> str:
    """The text of a page with each of its tables made anew."""
    text = (ROOT / page).read_text()
    if page == PEERS:
        return peers.page(peers.load(RESULTS / "peers/peers.json"))
    makers = {entry.table: entry.make for entry in BOOK if entry.page == page and entry.make}
    return BLOCK.sub(lambda found: "\n".join([found[1], *makers[found[2]](), "", found[3]]), text)


if __name__ == "__main__":
    for name in (README, PIXELS, PEERS):
        (ROOT / name).write_text(filled(name))
