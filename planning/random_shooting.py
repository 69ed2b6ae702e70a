"""Random shooting: the floor for every other planner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from imagoal.planning._checks import check_field
from imagoal.planning._noise import uniform
from imagoal.planning._proposals import check_proposals
from imagoal.planning._search import Search
from imagoal.planning._types import CostFunction, Needs, Plan


@dataclass(frozen=True)
class RandomShooting:
    """The best of many independent uniform sequences; learns nothing from one to the next.

    Nagabandi et al. 2017 (arXiv 1708.02596, section IV-C).
    """

    needs: ClassVar[Needs] = "values"

    horizon: int = 8
    """Length of a plan, in model steps."""
    num_samples: int = 64
    """Sequences evaluated in each iteration, proposals included."""
    iterations: int = 4
    """How often; more is only more samples."""

    def __post_init__(self) -> None:
        check_field(self, "horizon", 1)
        check_field(self, "num_samples", 1)
        check_field(self, "iterations", 1)

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        """Search, starting from proposals (B, E, H, A'); see `Planner.plan`.

        Raises:
            UsageError: candidates or generators do not fit.
            NumericalError: a problem has no sequence of finite cost.
        """
        proposals = check_proposals(candidates, self.horizon, self.num_samples, generators)
        search = Search(cost, deadline_ms)
        for _ in search.rounds(self.iterations, last_look=False):
            samples = uniform(generators, self.num_samples - proposals.shape[1], proposals)
            search.evaluate(torch.cat([proposals, samples], 1))
            proposals = proposals[:, :0]  # evaluated once
        return search.result()
