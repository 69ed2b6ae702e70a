"""Flags that say which env and which store, for verbs that run no agent."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagoal.commands._common import Common, EnvFlags
from imagoal.errors import DataError, UsageError

if TYPE_CHECKING:  # the door stays quick
    from imagoal.envs import GoalEnv
    from imagoal.envs.store import Store


@dataclass(frozen=True)
class StoreFlags(EnvFlags, Common):
    """An env, and a store of its episodes."""

    data: Path = Path("runs/data")
    """Store of that env, from `imagoal collect`."""
    seed: int = 0
    """Of all that is drawn."""

    def made(self) -> "GoalEnv":
        """The env.

        Raises:
            UsageError: a negative seed, or as `make_env`.
        """
        if self.seed < 0:
            raise UsageError(f"seed = {self.seed}; expected 0 or more")
        return self.make_env()

    def store(self, env: "GoalEnv") -> "Store":
        """The store.

        Raises:
            DataError: there is none, or it is of another env.
        """
        from imagoal.envs import env_id
        from imagoal.envs.store import Store

        store = Store.open(self.data)
        if store.spec.env != env_id(env):
            raise DataError(f"{self.data} holds episodes of {store.spec.env}; expected {env_id(env)}; name its own store")
        return store
