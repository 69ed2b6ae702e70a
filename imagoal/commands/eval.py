"""`imagoal eval`."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from imagoal import files
from imagoal.commands._agent_flags import AgentFlags
from imagoal.eval.episodes import RowSetting
from imagoal.flags import Flat


@dataclass(frozen=True)
class Eval(AgentFlags):
    """Run an agent on a frozen list of tasks: success with intervals, latency with percentiles."""

    tasks: str = "dev"
    """dev (to choose settings), test (to report), or an .npz file."""
    count: int = 0
    """Only the first so many tasks; 0 for all."""
    setting: Flat[RowSetting] = field(default_factory=RowSetting)
    """How the row is run."""
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

        env = self.make_env()
        other = replay(self.built(env), env, self.tasks, path)
        named = f"other actions in episodes {', '.join(map(str, other))}" if other else "every action is the same"
        print(f"{path}: {named}")
        return int(bool(other))

    def _evaluate(self) -> int:
        from imagoal.eval.episodes import Shard, described_shard, evaluate, table

        folder, env = self.run_dir or Path("runs/eval") / self._name(), self.make_env()
        result = evaluate(self.built(env), env, self.tasks, self.count, folder, self.setting)
        print(table([result]) if Shard.parse(self.setting.shard).whole else described_shard(result))
        print(f"wrote {folder / 'result.json'}")
        return 0

    def _name(self) -> str:
        """Of a folder: the same for the same flags, another for others."""
        return f"{re.sub('[^A-Za-z0-9_]', '-', self.env)}-{self.agent}-{files.hash_of(repr(self))[:8]}"
