"""How far imagined latents are from true ones, as a predictor is trained on it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from imagoal.errors import UsageError
from imagoal.world_model._types import Predictor
from imagoal.world_model.readouts import still


@dataclass(frozen=True)
class Loss:
    """What a predictor is trained on."""

    one_step: float = 0.0
    """Share of the steps, from the first, that learn from pairs of true latents only, as many pairs as the windows of other
    steps hold: many times cheaper than imagining, and most of what there is to learn."""
    huber: float = 0.0
    """Errors of more than so many usual changes count linearly, so that collisions do not drown the rest; 0: all squared."""
    object_weight: float = 1.0
    """How much more the errors of what mostly rests count: in pushing, the object rather than the arm."""

    def __post_init__(self) -> None:
        if not 0 <= self.one_step <= 1:
            raise UsageError(f"one_step = {self.one_step}; expected from 0 to 1")
        if not 0 <= self.huber < math.inf:
            raise UsageError(f"huber = {self.huber}; expected a finite number, 0 or more")
        if not 0 < self.object_weight < math.inf:
            raise UsageError(f"object_weight = {self.object_weight}; expected a finite number above 0")

    def weights(self, changes: Tensor) -> Tensor | None:
        """Of tokens and dimensions, (N, D), mean 1, from changes (M, N, D) in a model step; None where all count alike."""
        if self.object_weight == 1:
            return None
        weights = torch.where(still(changes), self.object_weight, 1.0)
        return weights / weights.mean()

    def of(self, errors: Tensor, weights: Tensor | None) -> Tensor:
        """A scalar, from errors (..., N, D) in usual changes."""
        if not self.huber:
            losses = errors.square()
        else:
            losses = F.huber_loss(errors, torch.zeros_like(errors), delta=self.huber, reduction="none")
        return (losses if weights is None else losses * weights).mean()

    def windows(self, predictor: Predictor, latents: Tensor, actions: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Teacher-forced and rolled-out loss on windows (M, L, N, D) and actions (M, L - 1, A')."""
        history, unit = predictor.history, predictor.unit
        following = latents[:, history:]
        forced = predictor(latents[:, :-1], actions)[:, history - 1 :]
        memory = predictor.start(latents[:, :history], actions[:, : history - 1])
        rolled, _ = predictor.unroll(memory, actions[:, history - 1 :])
        return self.of((forced - following) / unit, weights), self.of((rolled - following) / unit, weights)

    def pairs(self, predictor: Predictor, latents: Tensor, actions: Tensor, weights: Tensor | None) -> Tensor:
        """Loss of one step on windows (M, history + 1, N, D) and actions (M, history, A')."""
        memory = predictor.start(latents[:, :-1], actions[:, :-1])
        following, _ = predictor.unroll(memory, actions[:, -1:])
        return self.of((following[:, 0] - latents[:, -1]) / predictor.unit, weights)
