"""From what the command line says to an agent: the world model, the chain, the distance at each place."""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from imagoal import find
from imagoal.agents import Agent, Planning
from imagoal.envs import GoalEnv, env_id, make
from imagoal.errors import UsageError
from imagoal.planning import Distance, Over, Planner, blur, euclid
from imagoal.world_model import Place, WorldModel, to_tensor
from imagoal.world_model.models import METRICS, Diffusion, MapModel, Precision, WorldModelFolder, load, locate, weights_hash
from imagoal.world_model.models.copy_last import CopyLast
from imagoal.world_model.models.simulator import Simulator
from imagoal.world_model.readouts import Chain, Gallery

DistanceName = Literal["task", "visible", "blur", "slowness", "resting", "euclid"]
ANOTHER = "name a world model that was trained on this env"
DEFAULT_DISTANCES: dict[Place, DistanceName] = {"state": "task", "frame": "blur", "latent": "slowness", "probe": "visible"}

HOUSE = "imagoal/"
"""How ids of our own envs begin."""

UNTRAINED = ("simulator", "copy_last")
"""World models that are no folders."""

WEIGHING = ("visible", "resting")
"""Distances that tell the agent's own body from the object."""


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        agent: entry or `package.module:Class`.
        world_model: `simulator`, `copy_last`, the folder of a trained world model, the name of a shipped one, or empty.
        readouts: folder of a world model whose encoder and probe a model without its own borrows; or empty.
        planner: what searches.
        at: where the cost is measured; empty for the model's own place.
        distance: at that place; None for the place's own: the task's at `state`, the world model's own metric at `latent`, what
            is visible at `probe`, blur at `frame`.
        over: how distances along the horizon become a cost.
        replan_every: env steps between plans.
        warm_start: whether the last plan is proposed again.
        trust: import what files name outside this package.
        agent_weight: of the agent's own body in the distance, beside 1 for the object; where the distance tells them apart.
        action_block: env steps per model step of the simulator; a trained model has its own.
        deadline_ms: milliseconds within which each plan is to be ready, or None.
        surprise: a plan is kept while the world is no further from what it imagined than this share of what is left to the
            goal; 0 for a new plan every time.
        precision: at which a trained world model's matrix products are computed in a search; fp32 judges what was found.
        compiled: whether a trained world model's rollouts are compiled.
        device: where a trained world model computes, and the search with it.
        denoising_steps: Euler steps for each map that a diffusion model imagines; None for the model's own.
    """

    agent: str
    world_model: str
    readouts: str
    planner: Planner
    at: Place | None
    distance: DistanceName | None
    over: Over
    replan_every: int
    warm_start: bool = True
    trust: bool = False
    agent_weight: float = 0.0
    action_block: int = 1
    deadline_ms: float | None = None
    surprise: float = 0.0
    precision: Precision = "fp32"
    compiled: bool = False
    device: str = "cpu"
    denoising_steps: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"device {self.device!r}; expected cpu, cuda, or cuda:1 for the second GPU")
        seen, wanted = torch.cuda.device_count(), int(self.device.partition(":")[2] or 0)
        if self.device != "cpu" and wanted >= seen:
            raise UsageError(f"device {self.device!r}: this PyTorch sees {seen} GPUs; use cpu, or a build of it for CUDA")
        if not 0 <= self.agent_weight < math.inf:
            raise UsageError(f"agent_weight = {self.agent_weight}; expected a finite number, 0 or more")
        if self.action_block < 1:
            raise UsageError(f"action_block = {self.action_block}; expected at least 1")


@dataclass(frozen=True)
class Built:
    """An agent, how a result describes it, and what it was made from.

    Attributes:
        agent: what acts.
        description: the `agent` of a result.
        gallery: frames that stand for latents, if there are latents.
        hashes: of data and weights.
        planning: what the agent plans with, if it does.
    """

    agent: Agent
    description: dict[str, Any]
    gallery: Gallery | None
    hashes: dict[str, str | None]
    planning: Planning | None


def build(request: Request, env: GoalEnv) -> Built:
    """The agent that was asked for.

    Raises:
        UsageError: names, places or sizes that do not go together.
        DataError: a damaged or foreign folder.
    """
    agent_class = find.find("agent", request.agent)
    device = torch.device(request.device)
    folder = _folder(request.world_model, request.trust, env, device)
    readouts = _folder(request.readouts, request.trust, env, device) or folder
    model = _world_model(request, folder, env)
    planning = _planning(request, env, model, readouts) if model else None
    agent: Agent = agent_class(env, planning)
    description = _describe(request, agent, planning, folder, readouts)
    return Built(agent, description, readouts.gallery if readouts else None, _hashes(request, folder), planning)


def _planning(request: Request, env: GoalEnv, model: WorldModel, readouts: WorldModelFolder | None) -> Planning:
    """All that the agent plans with."""
    at = request.at or model.place
    chain = Chain(_render(env), readouts.encoder if readouts else None, readouts.probe if readouts else None)
    chain.check(model.place, at)  # before the distance, which has nothing to measure with where nothing leads
    name = request.distance or default_distance(at, readouts)
    measure = distance(name, at, env, readouts, request.agent_weight)
    planner = _blocked(request.planner, model.action_block)
    pace = request.replan_every, request.warm_start, request.deadline_ms, request.surprise
    return Planning(model, chain, planner, at, measure, request.over, *pace)


def _blocked(planner: Planner, block: int) -> Planner:
    """The planner, told how many actions a step of the model holds, if that matters to it."""
    names = {field.name for field in dataclasses.fields(planner)}  # type: ignore[arg-type]
    return dataclasses.replace(planner, block=block) if "block" in names else planner  # type: ignore[type-var]


def default_distance(at: Place, readouts: WorldModelFolder | None) -> DistanceName:
    """The place's own distance; between latents, the world model may say which."""
    own: DistanceName = readouts.config.get("metric", DEFAULT_DISTANCES[at]) if readouts else DEFAULT_DISTANCES[at]
    return own if at == "latent" else DEFAULT_DISTANCES[at]


def distance(
    name: DistanceName, at: Place, env: GoalEnv, readouts: WorldModelFolder | None, agent_weight: float = 0.0
) -> Distance:
    """A distance by name.

    Raises:
        UsageError: it does not exist at that place.
    """
    if name == "euclid":
        return euclid
    if name == "blur" and at == "frame":
        return blur
    if name in METRICS and at == "latent" and readouts is not None:
        if name not in readouts.metrics:
            raise UsageError(f"the world model has no metric {name!r}; train it again, or use slowness")
        return readouts.metrics[name].weighing(agent_weight)
    if name == "task" and at == "state":
        return lambda states, goals: torch.from_numpy(np.asarray(env.task_distance(states.numpy(), goals.numpy()))).float()
    if name == "visible" and at == "probe":
        return lambda shown, goals: weighted(shown - goals, env.object_size, agent_weight)
    if name == "visible" and at == "state":
        return lambda states, goals: weighted(_seen(env, states) - _seen(env, goals), env.object_size, agent_weight)
    raise UsageError(
        f"no distance {name!r} at {at}; task is at state, visible at state and probe, blur at frame, slowness and resting at "
        "latent, euclid anywhere"
    )


def weighted(difference: Tensor, object_size: int, agent_weight: float) -> Tensor:
    """Metres (M,) of differences (M, V): those of the object, plus `agent_weight` times those of the agent's body."""
    length: Tensor = torch.linalg.vector_norm(difference[:, :object_size], dim=1)
    if difference.shape[1] > object_size:
        length = length + agent_weight * torch.linalg.vector_norm(difference[:, object_size:], dim=1)
    return length


def _seen(env: GoalEnv, states: Tensor) -> Tensor:
    return torch.from_numpy(env.visible(states.numpy())).float()


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


def _world_model(request: Request, folder: WorldModelFolder | None, env: GoalEnv) -> WorldModel | None:
    if request.precision != "fp32" and folder is None:
        raise UsageError(
            f"precision {request.precision} with world model {request.world_model!r}; expected fp32, since only a trained one "
            "has another"
        )
    if request.device != "cpu" and folder is None:
        raise UsageError(f"device {request.device!r} with world model {request.world_model!r}; expected cpu")
    if request.denoising_steps is not None and folder is None:
        raise UsageError(f"denoising_steps with world model {request.world_model!r}; only diffusion denoises; leave them out")
    if request.compiled and folder is None:
        raise UsageError(f"compile with world model {request.world_model!r}; only a trained one can be compiled; leave it out")
    if request.world_model == "simulator":
        return Simulator(env, request.action_block)
    actions = (env.action_space.shape or (1,))[0]
    if request.world_model == "copy_last":
        return CopyLast(actions * request.action_block, request.action_block)
    if folder is None:
        return None
    wanted = actions * folder.model.action_block
    if folder.model.action_size != wanted:
        found = folder.model.action_size
        raise UsageError(f"world model {request.world_model} wants actions of size {found}, the env {wanted}; {ANOTHER}")
    model = dataclasses.replace(folder.model, precision=request.precision, compiled=request.compiled)
    if request.denoising_steps is None:
        return model
    if not isinstance(model, MapModel):
        raise UsageError(f"denoising_steps with world model {request.world_model}, which does not denoise; leave them out")
    return model.denoising(request.denoising_steps)


def _render(env: GoalEnv) -> Any:
    def render(states: Tensor) -> Tensor:
        return to_tensor(env.render_states(states.numpy()))

    return render


def _hashes(request: Request, folder: WorldModelFolder | None) -> dict[str, str | None]:
    """Of data and weights; of what is borrowed only where something is."""
    hashes = {
        "data_hash": folder.config.get("data_hash") if folder else None,
        "weights_hash": weights_hash(locate(request.world_model)) if folder else None,
    }
    if request.readouts:
        hashes["readouts_hash"] = weights_hash(locate(request.readouts))
    return hashes


def _describe(
    request: Request,
    agent: Agent,
    planning: Planning | None,
    folder: WorldModelFolder | None,
    readouts: WorldModelFolder | None,
) -> dict[str, Any]:
    """The `agent` of a result."""
    described: dict[str, Any] = {"name": request.agent, "privileged": agent.privileged}
    described |= dict.fromkeys(("planner", "world_model", "encoder", "cost", "training_seed", "parameters"))
    if planning is not None:
        planner: Any = planning.planner
        setting: dict[str, Any] = {"replan_every": planning.replan_every, "warm_start": planning.warm_start}
        setting |= {"action_block": planning.model.action_block}
        setting |= {"deadline_ms": planning.deadline_ms} if planning.deadline_ms is not None else {}
        setting |= {"surprise": planning.surprise} if planning.surprise else {}
        setting |= {"precision": request.precision} if request.precision != "fp32" else {}
        setting |= {"compiled": True} if request.compiled else {}
        head = getattr(planning.model, "head", None)
        setting |= {"denoising_steps": head.steps} if isinstance(head, Diffusion) else {}
        described["planner"] = {"name": find.name_of("planner", type(planner)), **dataclasses.asdict(planner)} | setting
        described["world_model"] = find.name_of("world-model", type(planning.model))
        name = request.distance or default_distance(planning.at, readouts)
        weight = request.agent_weight if name in WEIGHING else None
        described["cost"] = {"at": planning.at, "distance": name, "agent_weight": weight, **dataclasses.asdict(planning.over)}
    if readouts is not None and readouts.encoder is not None:
        encoder, config = readouts.encoder, type(readouts.encoder.config)
        described["encoder"] = {"name": find.name_of("encoder", config), "label": encoder.label, "hash": encoder.hash}
    if folder is not None:
        described["training_seed"] = folder.config.get("training_seed")
        described["parameters"] = folder.parameters
    return described
