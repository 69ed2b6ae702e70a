"""`imagoal eval`."""

from dataclasses import dataclass
from pathlib import Path

from imagoal.commands._agency import Agency
from imagoal.commands._common import Folder


@dataclass(frozen=True)
class Eval(Agency):
    """Run an agent on a frozen list of tasks: success with intervals, latency with percentiles."""

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

    def run(self) -> int:
        """Evaluate, or continue, and print the row."""
        self.prepare()
        from imagoal.eval._evaluate import evaluate
        from imagoal.eval._table import table

        result = evaluate(self.env, self.request(), self.tasks, self.count, self.batch, self.role, self.run_dir)
        print(table([result]))
        print(f"wrote {self.run_dir / 'result.json'}")
        return 0
