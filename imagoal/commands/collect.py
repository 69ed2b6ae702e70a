"""`imagoal collect`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Collect:
    """Record episodes into a store; the same command continues a stopped one."""

    data: Path
    """Folder of the store, new or to be continued."""
    env: str = "ball"
    """An entry, an id that Gymnasium knows, or package.module:Class."""
    episodes: int = 1000
    """How many the store shall hold in the end."""
    behaviour: str = "mixed"
    """What chooses the actions; mixed: the env's own mix."""
    workers: int = 1
    """Processes; the store is the same whatever their number."""
    seed: int = 0
    """From which, with its number, all of an episode follows."""
    steps: int | None = None
    """Limit of an episode's length; by default that of the env."""

    def run(self) -> int:
        """Collect, and say what the store holds."""
        from imagoal.envs._collect import collect

        store = collect(self.data, self.env, self.episodes, self.behaviour, self.workers, self.seed, self.steps)
        steps = sum(record.length for record in store.records)
        print(f"{self.data}: {len(store)} episodes, {steps:,} transitions, store hash {store.hash[:12]}")
        return 0
