"""`imagoal eval`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from imagoal.commands._common import Common, Folder
from imagoal.flags import Named
from imagoal.planning._goal_cost import Over


@dataclass(frozen=True)
class Eval(Common):
    """Run an agent on a frozen list of tasks: success with intervals, latency with percentiles."""

    env: str = "ball"
    """Entry, id, or package.module:Class."""
    agent: str = "mpc"
    """What acts."""
    world_model: str = ""
    """Folder of a trained world model, name of a shipped one (Ball-latent), or `simulator`; for agents that plan."""
    readouts: str = ""
    """World model whose encoder and probe are borrowed by a model without its own."""
    planner: Annotated[Any, Named("planner", "cem")] = None
    """What searches."""
    cost: Literal["state", "frame", "latent", "probe"] | None = None
    """Place where the cost is measured; the model's own place if not said."""
    distance: Literal["task", "slowness", "euclid"] | None = None
    """Distance there: task (at state), slowness (at latent), euclid (anywhere); the place's own if not said."""
    over: Over = field(default_factory=Over)
    """How the distances along the horizon become one cost."""
    replan_every: int = 1
    """Env steps between plans."""
    warm_start: bool = True
    """Whether the last plan, shifted, is proposed again."""
    tasks: str = "dev"
    """dev (to choose settings), test (to report), or an .npz file."""
    count: int = 0
    """Only the first so many tasks; 0 for all."""
    batch: int = 1
    """Episodes side by side; latency is reported per batch."""
    role: str = "ablation"
    """headline, floor, ceiling, gap, baseline or ablation."""
    run_dir: Folder = Path("runs/eval")
    """Run folder; `result.json` is written there."""
    trust: bool = False
    """Import what a file names outside this package."""

    def run(self) -> int:
        """Evaluate, or continue, and print the row."""
        self.prepare()
        from imagoal.eval._build import Request
        from imagoal.eval._evaluate import evaluate
        from imagoal.eval._table import table

        request = Request(
            self.agent,
            self.world_model,
            self.readouts,
            self.planner,
            self.cost,
            self.distance,
            self.over,
            self.replan_every,
            self.warm_start,
            self.trust,
        )
        result = evaluate(self.env, request, self.tasks, self.count, self.batch, self.role, self.run_dir)
        print(table([result]))
        print(f"wrote {self.run_dir / 'result.json'}")
        return 0
