"""What an env is planned with unless it is said otherwise: values that were chosen on its dev tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from imagoal import find
from imagoal.agents import Pace
from imagoal.envs import identify
from imagoal.eval.episodes._choices import AgentChoice, CostChoice, ModelChoice
from imagoal.planning import CEM, Over, Planner

Search = Mapping[str, float]
"""Values of a planner's fields, by name; another planner than CEM takes those that it has."""


@dataclass(frozen=True)
class Preset:
    """Defaults of an agent that plans."""

    model: ModelChoice
    search: Search
    cost: CostChoice = field(default_factory=CostChoice)
    pace: Pace = field(default_factory=Pace)

    def planner(self, cls: type = CEM) -> Planner:
        """A planner of a class, with every field of the preset that it has."""
        made: Planner = find.instance("planner", cls, self.search)
        return made

    def choice(self) -> AgentChoice:
        """The agent that is planned with if nothing else is said."""
        return AgentChoice("mpc", self.model, self.planner(), self.cost, self.pace)


BALL = {"num_samples": 32, "num_elites": 4, "iterations": 2, "init_std": 2.0, "correlation": 0.5}
"""A push may have to be as hard as it can be: with wide noise few samples do."""

ARM = {"horizon": 7, "init_std": 1.0, "correlation": 0.85}
"""Correlated noise reaches around a puck; a plan is of 14 actions, two per step of the model."""

REACH = ARM | {"num_samples": 32, "num_elites": 4, "iterations": 1}
PUSH_EASY = ARM | {"num_samples": 64, "num_elites": 8, "iterations": 3}
PUSH = ARM | {"num_samples": 128, "num_elites": 16, "iterations": 2}
"""The smallest searches that are not worse than 300 x 30 on the dev tasks (`budgets.table.json`)."""

NEAR = Over(mean=0.1, min=1.0)
"""Cost of the arm's envs: be there once, and rather soon."""


def _ball(env: str) -> Preset:
    return Preset(ModelChoice(f"{env}-latent"), BALL)


def _arm(env: str, search: Search, agent_weight: float = 0.0) -> Preset:
    model, cost = ModelChoice(f"{env}-latent", action_block=2), CostChoice(agent_weight=agent_weight, over=NEAR)
    return Preset(model, search, cost, Pace(replan_every=2))


PRESETS = {
    "imagoal/Ball-v0": _ball("Ball"),
    "imagoal/BallGravity-v0": _ball("BallGravity"),
    "imagoal/BallGust-v0": _ball("BallGust"),
    "imagoal/Reach-v0": _arm("Reach", REACH),
    "imagoal/PushEasy-v0": _arm("PushEasy", PUSH_EASY, 0.25),
    "imagoal/Push-v0": _arm("Push", PUSH, 0.25),
}
"""By id of the env."""

ENCODED = {"Push-pixel_diffusion": "Push-latent", "Push-pixel_regression": "Push-latent"}
"""Shipped world models whose imagined frames are compared by another's encoder: an arm is larger than a puck, so that blurred
frames serve less well (19 of 20 dev tasks and 14, `push-regression-*-dev.json`)."""


def preset(env: str, world_model: str = "") -> Preset | None:
    """What an env is planned with, by its name or id, and by the world model if another was chosen; None for other envs."""
    found = PRESETS.get(identify(env))
    if found is None or not world_model:
        return found
    model = replace(found.model, world_model=world_model, readouts=ENCODED.get(world_model, ""))
    return replace(found, model=model, cost=replace(found.cost, at="latent") if model.readouts else found.cost)
