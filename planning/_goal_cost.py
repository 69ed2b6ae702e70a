"""The cost of an imagined future: how far it is from the goal. The one place in planning that knows a world model."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imagoal.errors import UsageError
from imagoal.world_model import Observation, PathModel, Place, State, WorldModel, shows_paths
from imagoal.world_model.readouts import Chain

Distance = Callable[[Tensor, Tensor], Tensor]
"""(M, *place), (M, *place) to (M,)."""


def euclid(first: Tensor, second: Tensor) -> Tensor:
    """Root of the mean squared difference over all but the first dimension: (M, ...), (M, ...) to (M,)."""
    difference = (first - second).flatten(1)
    norm: Tensor = torch.linalg.vector_norm(difference, dim=1)  # unlike sqrt, its gradient at 0 is 0
    return norm / math.sqrt(difference.shape[1])


@dataclass(frozen=True)
class Over:
    """How the distances of the imagined steps become one cost: a weighted sum of their last, mean and minimum."""

    last: float = 0.0
    """Weight of the distance after the last step: be there at the end, whatever happens before."""
    mean: float = 1.0
    """Weight of the mean distance over the steps: be there soon, and stay."""
    min: float = 0.0
    """Weight of the smallest distance over the steps: be there once."""

    def __post_init__(self) -> None:
        for field, weight in vars(self).items():
            if not 0 <= weight < math.inf:
                raise UsageError(f"Over.{field} is {weight}; expected a finite number, 0 or more")
        if not any(vars(self).values()):
            raise UsageError("Over.last, mean and min are all 0; expected at least one weight above 0")

    @property
    def last_only(self) -> bool:
        """Whether no step but the last one counts."""
        return not (self.mean or self.min)

    def reduce(self, distances: Tensor) -> Tensor:
        """Costs (...) of distances (..., H). A term of weight 0 is left out, so that its infinities do not matter."""
        terms = [(self.last, distances[..., -1]), (self.mean, distances.mean(-1)), (self.min, distances.amin(-1))]
        return torch.stack([weight * term for weight, term in terms if weight]).sum(0)


@dataclass(frozen=True, eq=False)
class GoalCost:
    """What B episodes are to reach, and how far from it is measured. Made by `aim`, once per episode.

    Attributes:
        model: imagines, at `model.place`.
        at: where the distance is measured.
        goal: (B, *place), the goal there.
        chain: carries what was imagined there.
        distance: (M, *place), (M, *place) to (M,).
        over: how the steps become one cost.
    """

    model: WorldModel
    at: Place
    goal: Tensor
    chain: Chain
    distance: Distance
    over: Over

    @classmethod
    def aim(
        cls,
        model: WorldModel,
        goal: Observation,
        at: Place,
        chain: Chain,
        distance: Distance = euclid,
        over: Over | None = None,
    ) -> "GoalCost":
        """Take a goal to the place where it is compared: its state only if that is `state`, else its frame.

        Raises:
            UsageError: the chain does not lead there, the goal has no state, or the encoder is not the model's.
        """
        chain.check(model.place, at)
        if model.place == "latent" and chain.encoder is not None and chain.encoder.hash != model.encoder_hash:
            raise UsageError(
                f"encoder {chain.encoder.hash[:12]} is not the one whose latents the world model imagines, "
                f"{str(model.encoder_hash)[:12]}; use the encoder in the world model's folder"
            )
        if at != "state":
            alone = [chain.carry(frame[None], "frame", at) for frame in goal.frame]  # rounded alike in any batch
            return cls(model, at, torch.cat(alone), chain, distance, over or Over())
        if goal.state is None:
            raise UsageError("the goal's state is not known; use a privileged agent, or measure at frame, latent or probe")
        return cls(model, at, goal.state, chain, distance, over or Over())

    @property
    def differentiable(self) -> bool:
        """Whether gradients flow from the cost to the actions."""
        return self.model.differentiable and self.chain.differentiable(self.model.place, self.at)

    def rows(self, indices: Sequence[int]) -> "GoalCost":
        """The same for some of the problems."""
        return replace(self, goal=self.goal[list(indices)])

    def bind(self, state: State) -> "BoundCost":
        """The cost function from here: `state` is from the model's `observe`, batch B."""
        return BoundCost(self, state)

    def measure(self, path: Tensor) -> Tensor:
        """Costs (B, K) of an imagined path (B, K, H, ...) at the model's place; carries only the steps that count.

        Raises:
            UsageError: the path is not of B problems.
        """
        if len(path) != len(self.goal):
            raise UsageError(f"the path is of {len(path)} problems, the goal of {len(self.goal)}; use rows() of the goal")
        steps = path[:, :, -1:] if self.over.last_only else path
        goals = self.goal.to(path.device)
        return self.over.reduce(torch.stack([self._distances(each, goal) for each, goal in zip(steps, goals, strict=True)]))

    def _distances(self, steps: Tensor, goal: Tensor) -> Tensor:
        """Distances (K, H) of one problem's imagined steps (K, H, ...) from its goal (*place), which is never copied.

        Each problem is carried by itself, so that nothing is rounded otherwise in a batch.
        """
        carried = self.chain.carry(steps.flatten(0, 1), self.model.place, self.at)
        distances = self.distance(carried, goal.expand_as(carried)).reshape(steps.shape[:2])
        if self.model.place != "frame":
            return distances
        whole = steps.flatten(2).isfinite().all(2)  # an encoder may make something finite of frames that are not
        return distances.where(whole, torch.nan)


class BoundCost:
    """A cost function from one moment on; it shows its imagined path, and judges any other if the world model does.

    Attributes:
        differentiable: whether gradients flow from the cost to the actions.
    """

    def __init__(self, goal_cost: GoalCost, state: State) -> None:
        self.differentiable = goal_cost.differentiable
        self._goal_cost, self._state = goal_cost, state

    def __call__(self, actions: Tensor) -> Tensor:
        """Costs (B, K) of actions (B, K, H, A') in [-1, 1]."""
        return self.measure(self.imagine(actions))

    def imagine(self, actions: Tensor) -> Tensor:
        """The imagined path (B, K, H, ...) of actions (B, K, H, A'), at the model's place."""
        return self._goal_cost.model.rollout(self._state, self._given(actions))

    def measure(self, path: Tensor) -> Tensor:
        """Costs (B, K) of a path (B, K, H, ...) at the model's place."""
        return self._goal_cost.measure(path)

    def defects(self, path: Tensor, actions: Tensor) -> Tensor:
        """How far each step of a path (B, K, H, ...) is from what the model predicts there, (B, K, H).

        In mean squares, 1 being the usual change in a model step, as a predictor's training has it; 0 for what was imagined.

        Raises:
            UsageError: the world model does not judge paths.
        """
        model = self._path_model()
        errors = (path - model.along(self._state, path, self._given(actions))) / model.unit
        return errors.square().flatten(3).mean(3)

    def linearise(self, path: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step ahead of each point of a path, and how each step answers to small changes; see `PathCost`.

        Raises:
            UsageError: the world model does not judge paths.
        """
        return self._path_model().linearise(self._state, path, self._given(actions))

    def _path_model(self) -> PathModel:
        model = self._goal_cost.model
        if not shows_paths(model):
            raise UsageError(f"a {type(model).__name__} does not say where a path's steps would lead; use a latent world model")
        return model

    def _given(self, actions: Tensor) -> Tensor:
        return actions.to(self._goal_cost.model.device, self._goal_cost.model.dtype)
