"""From a choice to an agent: the world model, the chain, the distance, and how a result describes all of it."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from imagoal import find
from imagoal.agents import Agent, Pace, Planning
from imagoal.envs import GoalEnv, env_id, make
from imagoal.errors import UsageError
from imagoal.eval.episodes._built import BuiltAgent, describe
from imagoal.eval.episodes._choices import AgentChoice, CostChoice, ModelChoice
from imagoal.eval.episodes._distances import default_distance, distance
from imagoal.eval.episodes._presets import Preset, preset
from imagoal.planning import Planner
from imagoal.world_model import WorldModel, to_tensor
from imagoal.world_model.models import MapModel, WorldModelFolder, load, locate, weights_hash
from imagoal.world_model.models.copy_last import CopyLast
from imagoal.world_model.models.simulator import Simulator
from imagoal.world_model.readouts import Chain

ANOTHER = "name a world model that was trained on this env"

HOUSE = "imagoal/"
"""How ids of our own envs begin."""

UNTRAINED = ("simulator", "copy_last")
"""World models that are no folders."""


def make_agent(
    name: str,
    env: GoalEnv,
    world_model: str | ModelChoice | None = None,
    planner: str | Planner | None = None,
    cost: CostChoice | None = None,
    pace: Pace | None = None,
) -> BuiltAgent:
    """An agent for an env. What is not said comes from the env's preset, if it has one.

    Args:
        name: entry (`mpc`, `scripted`, `random_actions`, ...) or `package.module:Class`.
        env: in which it will act; it also renders and simulates for the agent, and is never stepped by it.
        world_model: a folder, the name of a shipped one (`Push-latent`), `simulator`, or a `ModelChoice`.
        planner: a planner, or the name of one, which keeps every field that it shares with the preset's.
        cost: where and how the distance to the goal is measured.
        pace: when it plans.

    Raises:
        UsageError: names, places or sizes that do not go together.
        DataError: a damaged or foreign folder.

    Example:
        >>> import imagoal
        >>> env = imagoal.make("ball")
        >>> agent = imagoal.make_agent("mpc", env, world_model="Ball-latent", planner="mppi")
        >>> agent.planning.planner
        MPPI(horizon=8, num_samples=32, temperature=0.1, iterations=2, init_std=2.0, ...)
    """
    model = world_model if isinstance(world_model, ModelChoice) else ModelChoice(world_model or "")
    base = (preset(env_id(env), model.world_model) if name == "mpc" else None) or Preset(model, {})
    if not isinstance(world_model, ModelChoice):
        model = base.model
    searching = base.planner(find.find("planner", planner or "cem")) if isinstance(planner, str | None) else planner
    return build(AgentChoice(name, model, searching, cost or base.cost, pace or base.pace), env)


def build(choice: AgentChoice, env: GoalEnv) -> BuiltAgent:
    """The agent of a choice, as it is: no preset is asked.

    Raises:
        UsageError: names, places or sizes that do not go together.
        DataError: a damaged or foreign folder.
    """
    agent_class = find.find("agent", choice.agent)
    device = torch.device(choice.model.device)
    folder = _folder(choice.model.world_model, choice.model.trust, env, device)
    readouts = _folder(choice.model.readouts, choice.model.trust, env, device) or folder
    model = _world_model(choice.model, folder, env)
    planning = _planning(choice, env, model, readouts) if model else None
    agent: Agent = agent_class(env, planning)
    description = describe(choice, agent, planning, folder, readouts)
    gallery = readouts.gallery if readouts else None
    return BuiltAgent(agent, description, gallery, _hashes(choice.model, folder), planning, choice.model.device)


def _planning(choice: AgentChoice, env: GoalEnv, model: WorldModel, readouts: WorldModelFolder | None) -> Planning:
    """All that the agent plans with."""
    cost, at = choice.cost, choice.cost.at or model.place
    chain = Chain(_render(env), readouts.encoder if readouts else None, readouts.probe if readouts else None)
    chain.check(model.place, at)  # before the distance, which has nothing to measure with where nothing leads
    name = cost.distance or default_distance(at, readouts)
    measure = distance(name, at, env, readouts, cost.agent_weight)
    return Planning(model, chain, _blocked(choice.planner, model.action_block), at, measure, cost.over, choice.pace)


def _blocked(planner: Planner, block: int) -> Planner:
    """The planner, told how many actions a step of the model holds, if that matters to it."""
    names = {field.name for field in dataclasses.fields(planner)}  # type: ignore[arg-type]
    return dataclasses.replace(planner, block=block) if "block" in names else planner  # type: ignore[type-var]


def _folder(name: str, trust: bool, env: GoalEnv, device: torch.device) -> WorldModelFolder | None:
    """The world-model folder of that name, if it is one, and of this env."""
    if name in {"", *UNTRAINED}:
        return None
    folder = load(name, trust)
    seen, shown = folder.frame_shape, env.observation_space["image"].shape  # type: ignore[index]
    if seen != shown:
        raise UsageError(f"world model {name} sees frames {seen}, the env shows {shown}; {ANOTHER}")
    trained_on = str(folder.config.get("env", env_id(env)))
    if trained_on.startswith(HOUSE) and not _makes(make(trained_on)) & _makes(env):
        raise UsageError(f"world model {name} was trained on {trained_on}, the env is {env_id(env)}; {ANOTHER}")
    return folder.to(device)


def _makes(env: GoalEnv) -> set[str]:
    """The envs of the house that an env is, or is derived from: what Ball taught may be tried on BallGravity, not on Reach."""
    house = {(entry.module, entry.class_name) for entry in find.entries("env").values()}
    return {kind.__name__ for kind in type(env).__mro__ if (kind.__module__, kind.__name__) in house}


def _world_model(choice: ModelChoice, folder: WorldModelFolder | None, env: GoalEnv) -> WorldModel | None:
    if folder is None:
        _refuse_what_only_a_trained_one_has(choice)
    actions = (env.action_space.shape or (1,))[0]
    if choice.world_model == "simulator":
        return Simulator(env, choice.action_block)
    if choice.world_model == "copy_last":
        return CopyLast(actions * choice.action_block, choice.action_block)
    if folder is None:
        return None
    wanted = actions * folder.model.action_block
    if folder.model.action_size != wanted:
        found = folder.model.action_size
        raise UsageError(f"world model {choice.world_model} wants actions of size {found}, the env {wanted}; {ANOTHER}")
    model = dataclasses.replace(folder.model, precision=choice.precision, compiled=choice.compile)
    if choice.denoising_steps is None:
        return model
    if not isinstance(model, MapModel):
        raise UsageError(f"denoising_steps with world model {choice.world_model}, which does not denoise; leave them out")
    return model.denoising(choice.denoising_steps)


def _refuse_what_only_a_trained_one_has(choice: ModelChoice) -> None:
    name = f"with world model {choice.world_model!r}"
    if choice.precision != "fp32":
        raise UsageError(f"precision {choice.precision} {name}; expected fp32, since only a trained one has another")
    if choice.device != "cpu":
        raise UsageError(f"device {choice.device!r} {name}; expected cpu")
    if choice.denoising_steps is not None:
        raise UsageError(f"denoising_steps {name}; only diffusion denoises; leave them out")
    if choice.compile:
        raise UsageError(f"compile {name}; only a trained one can be compiled; leave it out")


def _render(env: GoalEnv) -> Any:
    def render(states: Tensor) -> Tensor:
        return to_tensor(env.render_states(states.numpy()))

    return render


def _hashes(choice: ModelChoice, folder: WorldModelFolder | None) -> dict[str, str | None]:
    """Of data and weights; of what is borrowed only where something is."""
    hashes = {
        "data_hash": folder.config.get("data_hash") if folder else None,
        "weights_hash": weights_hash(locate(choice.world_model)) if folder else None,
    }
    return hashes | ({"readouts_hash": weights_hash(locate(choice.readouts))} if choice.readouts else {})
