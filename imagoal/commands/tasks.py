"""`imagoal tasks`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagoal.commands._common import EnvFlags
from imagoal.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Tasks(EnvFlags):
    """Draw a list of tasks of your own for eval: from the env's sampler, or with goals out of recorded episodes."""

    out: Path
    """The list, an .npz file."""
    split: Literal["dev", "test"] = "dev"
    """dev and test lists share no task."""
    count: int = 200
    """How many tasks."""
    data: Path | None = None
    """Store whose held-out episodes give starts and goals; the env's sampler if not said."""
    whole_store: bool = False
    """With --data: draw from all of its episodes, not only held-out ones; for a store that nothing is trained on."""
    offset: int = 25
    """With --data: env steps from the start to the goal in the same episode."""

    def __post_init__(self) -> None:
        if self.out.suffix != ".npz":
            raise UsageError(f"out = {self.out}; expected a name that ends in .npz")
        if self.count < 1:
            raise UsageError(f"count = {self.count}; expected at least 1")

    def run(self) -> int:
        """Draw and write the list."""
        from imagoal.envs.store import Store
        from imagoal.eval.tasks import draw_from_data, draw_tasks

        env = self.make_env()
        if self.data is None:
            tasks = draw_tasks(env, self.split, self.count)
        else:
            tasks = draw_from_data(env, Store.open(self.data), self.offset, self.split, self.count, self.whole_store)
        tasks.save(self.out)
        left_out = f", {tasks.origin.excluded} that were solved at their start left out" if self.data else ""
        print(f"wrote {self.out}: {len(tasks)} {self.split} tasks of {tasks.env}{left_out}; hash {tasks.hash[:12]}")
        return 0
