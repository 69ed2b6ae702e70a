"""The improved cross-entropy method, then gradient descent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from imagoal.planning._checks import check_field, check_needs
from imagoal.planning._proposals import check_proposals
from imagoal.planning._search import Search
from imagoal.planning._types import CostFunction, Needs, Plan
from imagoal.planning.gradient import Descent
from imagoal.planning.icem import ICEM, Swarm


@dataclass(frozen=True)
class ICEMAdam(ICEM):
    """The improved cross-entropy method finds the valley, and Adam goes down to its bottom.

    Huang et al. 2021 (arXiv 2112.07746): samples first, then gradient descent from the best of them; Bharadhwaj et al. 2020
    (arXiv 2004.08763) interleave the two. Here the first iterations are those of `ICEM`, and all others are steps of Adam, as
    in `Gradient`, from the mean and the best elites.
    """

    needs: ClassVar[Needs] = "gradient"

    iterations: int = 13
    """In all: of iCEM first, then steps of Adam."""
    sampling: int = 3
    """How many of the iterations are of iCEM."""
    num_refined: int = 4
    """Sequences that Adam follows side by side: the mean, and the best elites, as far as there are so many."""
    lr: float = 0.05
    """About how far Adam moves an action in a step; actions span [-1, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_field(self, "sampling", 1)
        check_field(self, "num_refined", 1)
        check_field(self, "lr", 1e-9)

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
        swarm, descent = Swarm(self, proposals), Descent(proposals, self.lr)
        for number in search.rounds(self.iterations):
            if number < self.sampling:
                swarm.improve(search, generators, number)
                starts = torch.cat([swarm.mean, swarm.elites[:, : self.num_refined - 1]], 1).clamp(-1, 1)
                descent = Descent(starts, self.lr)
            else:
                descent.step(search)
        search.evaluate(descent.sequences)
        return swarm.keep(search.result())
