"""A built agent, and how a result describes it."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagoal import find
from imagoal.agents import Agent, Decision, Pace, Planning
from imagoal.errors import UsageError
from imagoal.eval.episodes._choices import AgentChoice, ModelChoice
from imagoal.eval.episodes._distances import WEIGHING, default_distance
from imagoal.world_model import Observation
from imagoal.world_model.models import WorldModelFolder
from imagoal.world_model.readouts import Gallery

NOTHING = ("planner", "world_model", "encoder", "cost", "training_seed", "parameters")
"""What the description of an agent holds that does not plan: nothing under these keys."""


@dataclass(frozen=True)
class BuiltAgent:
    """An agent with all that it was made from: it acts as the agent does, and an evaluation can say what it was.

    Attributes:
        agent: what acts.
        description: the `agent` of a result.
        gallery: frames that stand for latents, if there are latents.
        hashes: of data and weights.
        planning: what the agent plans with, if it does.
        device: where its world model computes.
    """

    agent: Agent
    description: Mapping[str, Any]
    gallery: Gallery | None = None
    hashes: Mapping[str, str | None] = field(default_factory=dict)
    planning: Planning | None = None
    device: str = "cpu"

    @property
    def privileged(self) -> bool:
        """Whether it is given the true state."""
        return self.agent.privileged

    @property
    def pace(self) -> Pace:
        """When it plans; of an agent that does not plan, once for each action."""
        return self.planning.pace if self.planning else Pace()

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes with these goals and one seed each."""
        self.agent.reset(goal, seeds)

    def act(self, now: Observation) -> Decision:
        """Choose the next action of each episode."""
        return self.agent.act(now)

    def __repr__(self) -> str:
        """The settings that a result would hold, a line each."""
        known = {name: value for name, value in self.description.items() if value not in (None, False)}
        words = {name: _words(value) if isinstance(value, Mapping) else value for name, value in known.items()}
        lines = (textwrap.shorten(f"{name}: {value}", 120, placeholder=" ...") for name, value in words.items())
        return "\n".join(["BuiltAgent", *(f"  {line}" for line in lines)])


def as_built(agent: Any) -> BuiltAgent:
    """An agent as an evaluation takes it: as it was built, or one of somebody's own, described by its class alone.

    Raises:
        UsageError: it cannot act.
    """
    if isinstance(agent, BuiltAgent):
        return agent
    if not all(hasattr(agent, name) for name in ("privileged", "reset", "act")):
        raise UsageError(
            f"agent is a {type(agent).__name__}, which has no `reset`, `act` and `privileged`; expected an agent; "
            "imagoal.make_agent('mpc', env, world_model=...) makes one that plans with a world model"
        )
    described = {"name": find.name_of("agent", type(agent)), "privileged": agent.privileged}
    return BuiltAgent(agent, described | dict.fromkeys(NOTHING))


def describe(
    choice: AgentChoice,
    agent: Agent,
    planning: Planning | None,
    folder: WorldModelFolder | None,
    readouts: WorldModelFolder | None,
) -> dict[str, Any]:
    """The `agent` of a result."""
    described: dict[str, Any] = {"name": choice.agent, "privileged": agent.privileged} | dict.fromkeys(NOTHING)
    if planning is not None:
        described["planner"] = _described_planner(choice.model, planning)
        described["world_model"] = find.name_of("world-model", type(planning.model))
        name = choice.cost.distance or default_distance(planning.at, readouts)
        weight = choice.cost.agent_weight if name in WEIGHING else None
        described["cost"] = {"at": planning.at, "distance": name, "agent_weight": weight, **vars(planning.over)}
    if readouts is not None and readouts.encoder is not None:
        encoder, config = readouts.encoder, type(readouts.encoder.config)
        described["encoder"] = {"name": find.name_of("encoder", config), "label": encoder.label, "hash": encoder.hash}
    if folder is not None:
        described["training_seed"] = folder.config.get("training_seed")
        described["parameters"] = folder.parameters
    return described


def _described_planner(choice: ModelChoice, planning: Planning) -> dict[str, Any]:
    """The planner of a result, and how it plans; what is as in most rows is left out."""
    planner: Any = planning.planner
    pace, steps = planning.pace, getattr(getattr(planning.model, "head", None), "steps", None)
    setting: dict[str, Any] = {"replan_every": pace.replan_every, "warm_start": pace.warm_start}
    setting["action_block"] = planning.model.action_block
    unusual = {
        "deadline_ms": pace.deadline_ms,
        "surprise": pace.surprise or None,
        "precision": choice.precision if choice.precision != "fp32" else None,
        "compiled": choice.compile or None,
        "denoising_steps": steps,
    }
    setting |= {name: value for name, value in unusual.items() if value is not None}
    return {"name": find.name_of("planner", type(planner)), **dataclasses.asdict(planner)} | setting


def _words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
