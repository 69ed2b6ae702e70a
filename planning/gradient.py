"""Gradient descent on the actions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from imagoal.planning._checks import check_field, check_needs
from imagoal.planning._noise import normal
from imagoal.planning._proposals import check_proposals
from imagoal.planning._search import Search
from imagoal.planning._types import CostFunction, Needs, Plan

MEAN_DECAY, SQUARE_DECAY = 0.9, 0.999
"""Adam's beta 1 and beta 2."""


@dataclass(frozen=True)
class Gradient:
    """Gradient descent: follow the slope of the cost back through the model, from several sequences at once.

    Planning by backpropagation through a learned model: Henaff et al. 2017 (arXiv 1705.07177); Srinivas et al. 2018 (arXiv
    1804.00645). The steps are Adam's (Kingma & Ba 2014, arXiv 1412.6980, algorithm 1), each projected to [-1, 1]. The sequences
    know nothing of each other, and the best one ever seen, at any step, is returned. A step costs about as much as three plain
    evaluations.
    """

    needs: ClassVar[Needs] = "gradient"

    horizon: int = 8
    """Length of a plan, in model steps."""
    num_samples: int = 8
    """Sequences that are followed side by side: the proposals, and samples around the first one up to this number."""
    iterations: int = 20
    """Steps of each sequence."""
    lr: float = 0.1
    """About how far an action moves in a step; actions span [-1, 1]."""
    init_std: float = 0.5
    """Standard deviation of the samples."""

    def __post_init__(self) -> None:
        check_field(self, "horizon", 1)
        check_field(self, "num_samples", 1)
        check_field(self, "iterations", 1)
        check_field(self, "lr", 1e-9)
        check_field(self, "init_std", 0.0)

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        """Search, starting from proposals (B, E, H, A'); see `Planner.plan`.

        Raises:
            UsageError: candidates or generators do not fit, or the cost has no gradient.
            NumericalError: a problem has no sequence of finite cost.
        """
        check_needs(self, cost.differentiable)
        proposals = check_proposals(candidates, self.horizon, self.num_samples, generators)
        search = Search(cost, deadline_ms)
        samples = proposals[:, :1] + self.init_std * normal(generators, self.num_samples - proposals.shape[1], proposals)
        descent = Descent(torch.cat([proposals, samples.clamp(-1, 1)], 1), self.lr)
        for _ in search.rounds(self.iterations):
            descent.step(search)
        search.evaluate(descent.sequences)
        return search.result()


class Descent:
    """Adam on sequences side by side.

    Attributes:
        sequences: (B, K, H, A') in [-1, 1], where they are now, not evaluated yet.
    """

    def __init__(self, starts: Tensor, lr: float) -> None:
        """Begin at sequences (B, K, H, A')."""
        self.sequences, self._adam = starts, Adam(starts, lr)

    def step(self, search: Search) -> None:
        """Evaluate the sequences and move each down its slope; one whose cost or slope is not finite stays where it is."""
        costs, slopes = search.differentiate(self.sequences)
        sound = (torch.isfinite(costs) & torch.isfinite(slopes).all(3).all(2))[..., None, None]
        moved = (self.sequences + self._adam.step(torch.where(sound, slopes, 0))).clamp(-1, 1)
        self.sequences = torch.where(sound, moved, self.sequences)


class Adam:
    """Steps down slopes of any scale."""

    def __init__(self, like: Tensor, lr: float) -> None:
        """Begin, for numbers in the shape and type of `like`; each moves by about `lr` in a step."""
        self._lr, self._steps, self._dtype = lr, 0, like.dtype
        self._mean = torch.zeros_like(like, dtype=torch.float64)  # f64: the square of a large slope is still finite
        self._square = torch.zeros_like(self._mean)

    def step(self, slopes: Tensor) -> Tensor:
        """How far to move, given finite slopes; 0 where there never was one."""
        self._steps += 1
        self._mean.lerp_(slopes.double(), 1 - MEAN_DECAY)
        self._square.lerp_(slopes.double().square(), 1 - SQUARE_DECAY)
        mean = self._mean / (1 - MEAN_DECAY**self._steps)
        square = self._square / (1 - SQUARE_DECAY**self._steps)
        return (-self._lr * mean / (square.sqrt() + torch.finfo(torch.float64).tiny)).to(self._dtype)
