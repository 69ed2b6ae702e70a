"""Flags that say who acts, and where: shared by the verbs that run an agent."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from imagoal import flags
from imagoal.agents import Pace
from imagoal.commands._common import Common, EnvFlags
from imagoal.eval.episodes import AgentChoice, CostChoice, ModelChoice
from imagoal.flags import Flat, Named

if TYPE_CHECKING:
    from imagoal.envs import GoalEnv
    from imagoal.eval.episodes import BuiltAgent, Preset


@dataclass(frozen=True)
class AgentFlags(EnvFlags, Common):
    """An env, and an agent with all that it plans with; what is not said comes from the env's preset."""

    agent: str = "mpc"
    """What acts."""
    model: Flat[ModelChoice] = field(default_factory=ModelChoice)
    """What imagines."""
    planner: Annotated[Any, Named("planner", "cem")] = None
    """What searches."""
    cost: Flat[CostChoice] = field(default_factory=CostChoice)
    """What is minimised."""
    pace: Flat[Pace] = field(default_factory=Pace)
    """When it plans."""

    @staticmethod
    def preset(args: Sequence[str]) -> Mapping[str, Any]:
        """Defaults of this env with this world model, field by field; none for agents that do not plan."""
        found = asked_preset(flags.peek(args, "env", "agent", "world_model"))
        return {"model": found.model, "planner": found.search, "cost": found.cost, "pace": found.pace} if found else {}

    def choice(self) -> AgentChoice:
        """The agent that these flags ask for."""
        return AgentChoice(self.agent, self.model, self.planner, self.cost, self.pace)

    def built(self, env: "GoalEnv") -> "BuiltAgent":
        """The agent; says which preset its defaults are from.

        Raises:
            UsageError, DataError: as `imagoal.make_agent`.
        """
        from imagoal.envs import identify, short_name
        from imagoal.eval.episodes import build

        made = build(self.choice(), env)
        found = asked_preset({"env": self.env, "agent": self.agent, "world_model": self.model.world_model})
        if found:
            print(
                f"using the {short_name(identify(self.env))} preset: {found.choice()}; your flags override it", file=sys.stderr
            )
        return made


def asked_preset(given: Mapping[str, str]) -> "Preset | None":
    """The preset of an env, an agent and a world model, by the names of their flags."""
    from imagoal.eval.episodes import preset

    plans = given.get("agent", "mpc") == "mpc"
    return preset(given.get("env", "ball"), given.get("world_model", "")) if plans else None
