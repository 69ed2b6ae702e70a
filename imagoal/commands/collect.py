"""`imagoal collect`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagoal.commands._agent_flags import AgentFlags
from imagoal.envs.store import Collecting
from imagoal.errors import UsageError
from imagoal.eval.episodes import AgentChoice
from imagoal.flags import Flat

if TYPE_CHECKING:
    from imagoal.envs import GoalEnv
    from imagoal.envs.store import ActorFactory


@dataclass(frozen=True, kw_only=True)
class Collect(AgentFlags):
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
    setting: Flat[Collecting] = field(default_factory=Collecting)
    """How."""

    @staticmethod
    def preset(args: Sequence[str]) -> Mapping[str, Any]:
        """Defaults of the env, if an agent plans; behaviours need none."""
        return AgentFlags.preset(args) if any(arg.partition("=")[0] == "--agent" for arg in args) else {}

    def run(self) -> int:
        """Collect, and say what the store holds."""
        from imagoal.envs.store import collect

        env = self.make_env()
        acting = self._agent(env) if self.agent else self._behaviour()
        store = collect(env, self.data, self.episodes, acting, self.setting)
        steps = sum(record.length for record in store.records)
        print(f"{self.data}: {len(store)} episodes, {steps:,} transitions, store hash {store.hash[:12]}")
        return 0

    def _behaviour(self) -> str:
        """What acts, if no agent does."""
        given = str(replace(self.choice(), agent="mpc")).removeprefix(str(AgentChoice())).strip()
        idle = given or (f"--noise {self.noise}" if self.noise else "")
        if idle:
            raise UsageError(
                f"{idle} without an agent; name one, e.g. --agent mpc, or leave it out, since behaviours do not plan"
            )
        return self.behaviour

    def _agent(self, env: "GoalEnv") -> "ActorFactory":
        """The agent that acts."""
        if self.behaviour != "mixed":
            raise UsageError(
                f"behaviour {self.behaviour!r} with agent {self.agent!r}; expected one of them, since only one acts"
            )
        self.prepare()
        from imagoal.eval.episodes import on_policy

        return on_policy(self.built(env), env, self.noise)
