"""Collapse made visible: spread, rank and probe along pre-training, for the three objectives.

    python -m experiments.ball.collapse DATA RUNS          (needs imagoal[plots]; some 10 minutes on one core)

DATA is a store of Ball (`imagoal collect --env ball --data DATA`), RUNS a folder for the runs. Writes
`experiments/results/rows/Ball/collapse.table.json` and `docs/collapse.png`.
"""

import sys
from pathlib import Path

import matplotlib as mpl

from experiments import ROOT, publish
from imagoal import find
from imagoal.commands.pretrain import Pretrain
from imagoal.world_model.disk import Run
from imagoal.world_model.training import Schedule

mpl.use("Agg")
import matplotlib.pyplot as plt

OBJECTIVES = ("sigreg", "vicreg", "naive")
STEPS, LR = 1000, 3e-3  # fast enough for the naive objective to come to its end


def main(data: Path, runs: Path) -> None:
    rows: list[list[object]] = []
    for name in OBJECTIVES:
        schedule = Schedule(steps=STEPS, batch=64, lr=LR)
        Pretrain(data=data, run_dir=runs / name, objective=find.find("objective", name)(), schedule=schedule).run()
        lines = Run(runs / name).metrics()
        rows += [[name, int(line["step"]), line["std"], line["rank"], line["r2"]] for line in lines]
    columns = ["objective", "step", "std", "effective rank", "probe R2"]
    publish("rows/Ball/collapse", columns, rows, {"steps": STEPS, "lr": LR, "data": str(data)})
    draw(rows)


def draw(rows: list[list[object]]) -> None:
    titles = ("mean standard deviation before normalisation", "effective rank (RankMe)", "R2 of the position, linear probe")
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for column, (title, axis) in enumerate(zip(titles, axes, strict=True), 2):
        for name, colour in zip(OBJECTIVES, ("#d64933", "#3a7ca5", "#8a8a8a"), strict=True):
            chosen = [row for row in rows if row[0] == name]
            axis.plot([row[1] for row in chosen], [row[column] for row in chosen], color=colour, label=name, lw=2)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yscale("log")
    axes[2].set_ylim(0, 1.02)
    axes[1].legend(frameon=False)
    figure.savefig(ROOT / "docs/collapse.png", dpi=110)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
