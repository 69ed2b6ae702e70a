"""Learning curves of pixel and token models: held-out errors by step and by seconds of a processor.

    python -m experiments.pixels.curves NAME regression=runs/pixels/pixels-regression ...  (seconds; runs of `imagoal train`)

Errors are root mean squares of frames in [0, 1], or of tokens, after one imagined step and after the last that is trained
on, of the averaged weights, in some held-out windows. Writes `experiments/results/pixels/NAME.table.json`; its last row of each
model is the whole training, in all held-out windows: not to be compared with those above it.
"""

import sys
from pathlib import Path

from experiments import pairs, publish
from imagoal import files
from imagoal.world_model.disk import Run

COLUMNS = ["model", "step", "cpu s", "held-out error, 1 step", "held-out error, last step"]


def main(table: str, runs: dict[str, str]) -> None:
    rows = [row for name, path in runs.items() for row in curve(name, Path(path))]
    settings = {name: files.read_json(Path(path) / "run.json")["config"] for name, path in runs.items()}
    publish(f"pixels/{table}", COLUMNS, rows, {"runs": settings})


def curve(name: str, path: Path) -> list[list[object]]:
    """Rows of a run."""
    run = Run(path)
    looks = [line for line in run.metrics() if "held_out_first" in line]
    rows = [[name, line["step"], run.spent(line["step"] + 1), line["held_out_first"], line["held_out_last"]] for line in looks]
    errors = files.read_json(path / "run.json")["results"]["errors"]["imagined"]
    steps = files.read_json(path / "run.json")["config"]["schedule"]["steps"]
    return [*rows, [name, steps, run.spent(steps), errors[0], errors[-1]]]


if __name__ == "__main__":
    main(sys.argv[1], pairs(sys.argv[2:]))
