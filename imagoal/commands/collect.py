"""`imagoal collect`."""

from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagoal.commands._agency import Agency
from imagoal.errors import UsageError

if TYPE_CHECKING:
    from imagoal.envs.store import ActorFactory

WITHOUT_AGENT = {"env", "env_options", "agent"}
"""Flags of an agency that mean something without an agent too."""


@dataclass(frozen=True, kw_only=True)
class Collect(Agency):
    """Record episodes into a store, of behaviours or of an agent; the same command continues a stopped one."""

    data: Path
    """Folder of the store, new or to be continued."""
    episodes: int = 1000
    """How many the store shall hold in the end."""
    behaviour: str = "mixed"
    """What chooses the actions; mixed: the env's own mix."""
    agent: str = ""
    """An agent that chooses them instead, with all that it plans with: on-policy collecting."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise on each action that a planning agent executes."""
    workers: int = 1
    """Processes; the store is the same whatever their number. An agent has one."""
    seed: int = 0
    """From which, with its number, all of an episode follows."""
    steps: int | None = None
    """Limit of an episode's length; by default that of the env."""

    @staticmethod
    def preset(args: Sequence[str]) -> list[str]:
        """Flags that the env is planned with, if an agent plans; behaviours need none."""
        return Agency.preset(args) if any(arg.partition("=")[0] == "--agent" for arg in args) else []

    def run(self) -> int:
        """Collect, and say what the store holds."""
        from imagoal.envs.store import collect

        acting, options = self._agent() if self.agent else self._behaviour(), self.options()
        store = collect(self.data, self.env, self.episodes, acting, self.workers, self.seed, self.steps, options)
        steps = sum(record.length for record in store.records)
        print(f"{self.data}: {len(store)} episodes, {steps:,} transitions, store hash {store.hash[:12]}")
        return 0

    def _behaviour(self) -> str:
        """What acts, if no agent does."""
        shared = {field.name for field in fields(Agency)} - WITHOUT_AGENT | {"noise"}
        idle = [field.name for field in fields(self) if field.name in shared and getattr(self, field.name) != _default(field)]
        if idle:
            flag = idle[0].replace("_", "-")
            raise UsageError(
                f"--{flag} without an agent; name one, e.g. --agent mpc, or leave it out, since behaviours do not plan"
            )
        return self.behaviour

    def _agent(self) -> "ActorFactory":
        """The agent that acts."""
        if self.behaviour != "mixed":
            raise UsageError(
                f"behaviour {self.behaviour!r} with agent {self.agent!r}; expected one of them, since only one acts"
            )
        self.prepare()
        from imagoal.envs import make
        from imagoal.eval.episodes import on_policy

        return on_policy(self.request(), make(self.env, self.options()), self.noise)


def _default(field: "Field[Any]") -> Any:
    """The value of a flag that was not given."""
    return field.default if field.default_factory is MISSING else field.default_factory()
