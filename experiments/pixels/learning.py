"""Success against the processor time that training took, encoder included.

    python -m experiments.pixels.learning ROWS MODEL RUN[+RUN] ...           (seconds; `experiments/pixels/run learning`)

ROWS is the folder of results, MODEL is latent, regression or diffusion. There is a RUN for each schedule; those that made one
model (of an encoder and of a world model) are joined by `+`, and its row is called `learning-NAME-s0`, NAME being the folder of
the last run. Every schedule is a whole one, warm-up and cosine, of fewer steps. Data are the same for all and not counted.

Writes `experiments/results/pixels/learning-MODEL.table.json`.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import publish
from imagoal import files
from imagoal.eval.episodes import load_result
from imagoal.world_model.disk import Run

COLUMNS = ["model", "steps", "cpu s", "n", "hold %", "low", "high", "ms per action, p50"]


def main(results: Path, model: str, made: list[list[Path]]) -> None:
    searches = {searched(results, runs[-1]) for runs in made}
    rows = [row(results, model, runs) for runs in made]
    publish(f"pixels/learning-{model}", COLUMNS, rows, {"searches": sorted(searches)})


def row(results: Path, name: str, runs: list[Path]) -> list[object]:
    """Of the table."""
    steps = [files.read_json(run / "run.json")["config"]["schedule"]["steps"] for run in runs]
    seconds = sum(Run(run).spent(count) for run, count in zip(runs, steps, strict=True))
    summary = result(results, runs[-1])["summary"]
    hold, times = summary["success"]["hold"], summary["latency_ms"]["per_action"]
    shares = [100 * hold[key] for key in ("rate", "low", "high")]
    return [name, "+".join(map(str, steps)), round(seconds, 1), hold["n"], *shares, times["p50"]]


def searched(results: Path, run: Path) -> str:
    """The search of a row."""
    planner = result(results, run)["agent"]["planner"]
    return "{num_samples} x {iterations}, H {horizon}, a plan for {replan_every}".format(**planner)


def result(results: Path, run: Path) -> Mapping[str, Any]:
    """A row."""
    return load_result(results / f"learning-{run.name}-s0.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [[Path(run) for run in runs.split("+")] for runs in sys.argv[3:]])
