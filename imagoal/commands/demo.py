"""`imagoal demo`."""

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagoal.commands._common import Folder


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
        """Run every stage and show the tables."""
        began = time.monotonic()
        folder = self.run_dir.with_name(self.run_dir.name + "-quick") if self.quick else self.run_dir
        self._learn(folder)
        rows = self._evaluate(folder)
        self._show(folder, rows)
        print(
            f"\nThe demo took {time.monotonic() - began:.0f} s. "
            f"Look at {folder / 'report.html'} and {folder / 'film/plan.webp'}."
        )
        return 0

    def _learn(self, folder: Path) -> None:
        """Collect data, pretrain the encoder, train the predictor: with both CPUs, if there are two."""
        from imagoal.commands.collect import Collect
        from imagoal.commands.pretrain import Pretrain
        from imagoal.commands.train import Train
        from imagoal.world_model._loop import Schedule
        from imagoal.world_model.objectives.sigreg import SIGReg
        from imagoal.world_model.predictors.mlp import MLP

        data, encoder, model = folder / "data", folder / "encoder", folder / "model"
        both = min(2, os.cpu_count() or 1)
        say("1/6 collect: a scripted mix of behaviours pushes the ball about")
        Collect(data=data, episodes=40 if self.quick else 1000, workers=1 if self.quick else both, seed=self.seed).run()
        say("2/6 pretrain: an encoder learns to predict its own next embedding, then it is frozen")
        pretrain = Pretrain(data=data, run_dir=encoder, objective=SIGReg(), threads=both, seed=self.seed)
        (replace(pretrain, schedule=Schedule(steps=20, batch=64)) if self.quick else pretrain).run()
        say("3/6 train: a predictor learns to imagine the latents that actions lead to")
        train = Train(data=data, encoder=str(encoder), run_dir=model, predictor=MLP(), threads=both, seed=self.seed)
        (replace(train, schedule=Schedule(steps=30)) if self.quick else train).run()

    def _evaluate(self, folder: Path) -> list[dict[str, Any]]:
        """The learned model, the oracle and the floors on the first test tasks, one thread."""
        import torch

        from imagoal.eval._build import Request
        from imagoal.eval._evaluate import evaluate
        from imagoal.planning._goal_cost import Over
        from imagoal.planning.cem import CEM

        torch.set_num_threads(1)
        count = 2 if self.quick else 20
        say(f"4/6 evaluate: {count} test tasks, live: reach the goal image's place and hold it for 5 steps")
        rows = [
            ("learned", "mpc", str(folder / "model"), "ablation"),
            ("oracle", "mpc", "simulator", "ceiling"),
            ("random", "random_actions", "", "floor"),
            ("no-op", "no_op", "", "floor"),
        ]
        results = []
        for name, agent, model, role in rows:
            request = Request(agent, model, "", CEM(), None, None, Over(), 1)
            results.append(evaluate("ball", request, "test", count, 1, role, folder / "live" / name))
        return results

    def _show(self, folder: Path, live: list[dict[str, Any]]) -> None:
        """A film of one task, the report, and both tables."""
        from imagoal.commands.plan import Plan
        from imagoal.commands.report import Report
        from imagoal.eval import _result
        from imagoal.eval._report import SHIPPED
        from imagoal.eval._table import table
        from imagoal.planning.cem import CEM

        say("5/6 film: one task, the imagined future beside it")
        film = folder / "film"
        Plan(world_model=str(folder / "model"), planner=CEM(), tasks="test", run_dir=film).run()
        say("6/6 report: the live rows beside the committed ones")
        Report(paths=(folder / "live", SHIPPED), films=(film / "plan.webp",), out=folder / "report.html").run()
        print(f"\nLive, {live[0]['protocol']['split']} tasks, few: read the intervals.\n\n{table(live)}")
        committed = [_result.load(path) for path in sorted((SHIPPED / "Ball").glob("*-s?.json"))]
        print(f"\nCommitted in eval/results/Ball, all test tasks:\n\n{table(committed)}")


def say(text: str) -> None:
    """A heading on stderr."""
    print(f"\n== {text}", file=sys.stderr, flush=True)
