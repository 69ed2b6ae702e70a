"""`imagoal demo`."""

import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagoal import flags
from imagoal.commands._common import Folder, cpus

LIVE = (
    ("learned", "mpc", "model", "headline", 20),
    ("diffusion", "mpc", "Ball-pixel_diffusion", "baseline", 3),
    ("oracle", "mpc", "simulator", "ceiling", 20),
    ("random", "random_actions", "", "floor", 20),
    ("no-op", "no_op", "", "floor", 20),
)
"""Rows that are run live: name, agent, world model, role, tasks."""

LITTLE = "--planner.num-samples 4 --planner.num-elites 2 --planner.iterations 1 --planner.horizon 2"
"""A search for the quick demo, where a diffusion model is slow."""

LEARNING = "--predictor prefix --predictor.depth 2 --future 8 --schedule.lr 2e-3"
"""What the predictors that ship for Ball were trained with, see `experiments/ball/run`."""


@dataclass(frozen=True)
class Demo:
    """The whole way on Ball: collect, pretrain, train, evaluate beside oracle and floors, film, report."""

    run_dir: Folder = Path("runs/demo")
    """Folder for everything; what an interrupted demo has finished is not done again."""
    seed: int = 0
    """Of everything random; the same seed gives the same episodes, weights and plans."""
    quick: bool = False
    """Half a minute instead of minutes: too little data and training to solve anything, to see the shape of the output."""

    def run(self) -> int:
        """Run every stage, show the tables, and write how long each stage took to `demo.table.json`."""
        stages = (
            ("collect", "a scripted mix of behaviours pushes the ball about", self._collect),
            ("pretrain", "an encoder learns to predict its own next embedding; then it is frozen", self._pretrain),
            ("train", "a predictor learns to imagine the latents that actions lead to", self._train),
            ("evaluate", "reach the place that the goal image shows, and hold it for 5 steps", self._evaluate),
            ("film", "one task, the imagined future beside it", self._film),
            ("report", "the live rows beside the committed ones", self._report),
        )
        folder = self.run_dir.with_name(self.run_dir.name + "-quick") if self.quick else self.run_dir
        seconds: list[list[Any]] = []
        for number, (name, text, stage) in enumerate(stages, 1):
            print(f"\n== {number}/{len(stages)} {name}: {text}", file=sys.stderr, flush=True)
            began = time.monotonic()
            stage(folder)
            seconds.append([name, round(time.monotonic() - began, 1)])
        self._tables(folder)
        self._times(folder, seconds)
        return 0

    def _collect(self, folder: Path) -> None:
        from imagoal.commands.collect import Collect

        episodes, workers = (40, 1) if self.quick else (1000, min(2, cpus()))
        words = ["--data", str(folder / "data"), "--episodes", str(episodes), "--workers", str(workers)]
        flags.parse(Collect, [*words, "--seed", str(self.seed)], "imagoal collect").run()

    def _pretrain(self, folder: Path) -> None:
        from imagoal.commands.pretrain import Pretrain
        from imagoal.world_model.objectives.sigreg import SIGReg

        whole = Pretrain(data=folder / "data", run_dir=folder / "encoder", objective=SIGReg(), seed=self.seed)
        (replace(whole, schedule=replace(whole.schedule, steps=20)) if self.quick else whole).run()

    def _train(self, folder: Path) -> None:
        from imagoal.commands.train import Train

        words = ["--data", str(folder / "data"), "--encoder", str(folder / "encoder"), "--run", str(folder / "model")]
        words += ["--seed", str(self.seed), *LEARNING.split(), *(["--schedule.steps", "30"] if self.quick else [])]
        flags.parse(Train, words, "imagoal train").run()

    def _evaluate(self, folder: Path) -> None:
        """One thread and one episode at a time, as the committed rows are run."""
        from imagoal.commands.eval import Eval
        from imagoal.world_model.models import bf16_units

        for name, agent, model, role, count in LIVE:
            where = str(folder / "model") if model == "model" else model
            few = str(min(count, 2) if self.quick else count)
            words = ["--agent", agent, "--world-model", where, "--tasks", "test", "--count", few, "--role", role]
            if name == "diffusion":
                words += LITTLE.split() if self.quick else []
                words += ["--precision", "bf16"] if bf16_units() else []  # as its committed row; half the time
            flags.parse(Eval, [*words, "--run", str(folder / "live" / name)], "imagoal eval").run()

    def _film(self, folder: Path) -> None:
        from imagoal.commands.plan import Plan

        words = ["--world-model", str(folder / "model"), "--tasks", "test", "--run", str(folder / "film")]
        flags.parse(Plan, words, "imagoal plan").run()

    def _report(self, folder: Path) -> None:
        from imagoal.commands.report import Report
        from imagoal.eval.show import SHIPPED

        films = (folder / "film/plan.webp",)
        Report(paths=(folder / "live", SHIPPED), films=films, out=folder / "report.html").run()

    def _tables(self, folder: Path) -> None:
        """The live rows, and the committed ones of the same env that are no ablations: of those there are dozens."""
        from imagoal.eval.episodes import load_result, table
        from imagoal.eval.show import SHIPPED

        live = [load_result(folder / "live" / name / "result.json") for name, *_ in LIVE]
        committed = [load_result(path) for path in sorted((SHIPPED / "Ball").glob("*-s?.json"))]
        chosen = [row for row in committed if row["role"] not in {"ablation", "gap"} and not row["env_options"]]
        print(f"\nLive: the first n test tasks, too few for more than a look; fewer where planning is slow.\n\n{table(live)}")
        print("\nCommitted in experiments/results/rows/Ball: the first n of 200 test tasks; the report has the ablations too.")
        print(f"\n{table(chosen)}")
        print("\n* sees the true state. Times are per action, one thread. Intervals are Wilson's, 95 %.")

    def _times(self, folder: Path, seconds: list[list[Any]]) -> None:
        from imagoal.eval.episodes import write_table

        total = sum(row[1] for row in seconds)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
        rows = [*seconds, ["all", round(total, 1)], ["peak resident MB", round(peak)]]
        write_table(folder / "demo.table.json", ["stage", "seconds"], rows, {"seed": self.seed, "quick": self.quick})
        print(f"\nThe demo took {total:.0f} s. Look at {folder / 'report.html'} and {folder / 'film/plan.webp'}.")
