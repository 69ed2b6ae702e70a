"""`imagoal eval`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from imagoal import files
from imagoal.commands._agency import Agency


@dataclass(frozen=True)
class Eval(Agency):
    """Run an agent on a frozen list of tasks: success with intervals, latency with percentiles."""

    tasks: str = "dev"
    """dev (to choose settings), test (to report), or an .npz file."""
    count: int = 0
    """Only the first so many tasks; 0 for all."""
    batch: int = 1
    """Episodes side by side; latency is reported per batch."""
    shard: str = "1/1"
    """i/n runs every n-th task from the i-th, for `imagoal merge` to make one row of all n; 1/1 is the row itself."""
    role: str = "ablation"
    """headline, floor, ceiling, gap, baseline or ablation."""
    run_dir: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Run folder, `result.json` is written there; if not said, one below runs/eval that is named after all these flags."""
    replay: Path | None = None
    """A result of these flags, to be run again with the iterations that its plans had: is every action the same?"""

    def run(self) -> int:
        """Evaluate, or continue, and print the row; with --replay 1 if an episode went otherwise."""
        self.prepare()
        return self._replay(self.replay) if self.replay else self._evaluate()

    def _replay(self, path: Path) -> int:
        from imagoal.eval.episodes import replay

        other = replay(self.env, self.request(), self.tasks, path, self.options())
        print(
            f"{path}: other actions in episodes {', '.join(map(str, other))}" if other else f"{path}: every action is the same"
        )
        return 1 if other else 0

    def _evaluate(self) -> int:
        from imagoal.eval.episodes import Shard, described_shard, evaluate, table

        folder, shard, options = self.run_dir or Path("runs/eval") / self._name(), Shard.parse(self.shard), self.options()
        result = evaluate(self.env, self.request(), self.tasks, self.count, self.batch, self.role, folder, options, shard)
        print(table([result]) if shard.whole else described_shard(result))
        print(f"wrote {folder / 'result.json'}")
        return 0

    def _name(self) -> str:
        """Of a folder: the same for the same flags, another for others."""
        return f"{re.sub('[^A-Za-z0-9_]', '-', self.env)}-{self.agent}-{files.hash_of(repr(self))[:8]}"
