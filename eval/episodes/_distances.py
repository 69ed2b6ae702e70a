"""Distances by name: what a planner measures between what is imagined and the goal, at each place of the chain."""

import numpy as np
import torch
from torch import Tensor

from imagoal.envs import GoalEnv
from imagoal.errors import UsageError
from imagoal.eval.episodes._choices import DistanceName
from imagoal.planning import Distance, blur, euclid
from imagoal.world_model import Place
from imagoal.world_model.models import METRICS, WorldModelFolder

DEFAULT_DISTANCES: dict[Place, DistanceName] = {"state": "task", "frame": "blur", "latent": "slowness", "probe": "visible"}

WEIGHING = ("visible", "resting")
"""Distances that tell the agent's own body from the object."""


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
