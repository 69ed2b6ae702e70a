"""The cross-entropy method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from imagoal.errors import UsageError
from imagoal.planning._checks import check_field
from imagoal.planning._noise import correlated
from imagoal.planning._proposals import check_proposals
from imagoal.planning._search import Search
from imagoal.planning._types import CostFunction, Needs, Plan


@dataclass(frozen=True)
class CEM:
    """The cross-entropy method: refit a normal distribution to the elites of its own samples.

    Rubinstein 1999 (doi 10.1023/A:1010091220143); de Boer et al. 2005 (doi 10.1007/s10479-005-5724-z); in planning with learned
    models, Chua et al. 2018 (arXiv 1805.12114). Samples are clamped to [-1, 1] for the cost alone: a distribution fitted to
    clamped ones would never get quite to the bounds. The mean is evaluated beside the next samples, the last one by itself, and
    the best sequence ever seen is returned (as in Pinneri et al. 2020, arXiv 2008.06389).
    Unlike there, elites are not carried over to the next iteration: with 64 samples it brought nothing.
    """

    needs: ClassVar[Needs] = "values"

    horizon: int = 8
    """Length of a plan, in model steps."""
    num_samples: int = 64
    """Sequences evaluated in each iteration, proposals included."""
    num_elites: int = 8
    """How many of the best samples the distribution is refitted to."""
    iterations: int = 4
    """How often samples are drawn and the distribution is refitted."""
    init_std: float = 0.5
    """Standard deviation of the first samples; actions span [-1, 1]."""
    min_std: float = 0.05
    """The standard deviation never falls below this."""
    momentum: float = 0.0
    """Weight of the old mean and standard deviation in the new ones, in [0, 1)."""
    correlation: float = 0.0
    """Of the noise from one action to the next, in [0, 1): 0 is white; where motion adds up, as in pushing, try 0.85."""
    block: int = 1
    """Actions in one model step, through which correlated noise runs; the world model's action block."""

    def __post_init__(self) -> None:
        check_field(self, "horizon", 1)
        check_field(self, "num_samples", 1)
        check_field(self, "num_elites", 1)
        if self.num_elites > self.num_samples:
            raise UsageError(f"CEM.num_elites is {self.num_elites}; expected from 1 to num_samples, {self.num_samples}")
        check_field(self, "iterations", 1)
        check_field(self, "min_std", 0.0)
        check_field(self, "init_std", float(self.min_std))
        check_field(self, "momentum", 0.0, 0.999)
        check_field(self, "correlation", 0.0, 0.999)
        check_field(self, "block", 1)

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
        mean = proposals[:, :1]
        std = torch.full_like(mean, self.init_std)
        for _ in search.rounds(self.iterations):
            noise = correlated(generators, self.num_samples - proposals.shape[1], mean, self.correlation, self.block)
            elites, costs = search.elect(torch.cat([proposals, torch.addcmul(mean, std, noise)], 1), self.num_elites)
            mean, std = refit(elites, costs, mean, std, self.momentum, self.min_std)
            proposals = mean
        search.evaluate(mean)
        return search.result()


def refit(elites: Tensor, costs: Tensor, mean: Tensor, std: Tensor, momentum: float, min_std: float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, 1, H, A') of elites (B, E, H, A'), moved from the old ones by 1 - momentum.

    An elite of infinite cost (B, E) counts as the old mean.
    """
    elites = torch.where((costs < torch.inf)[..., None, None], elites, mean)
    new_std, new_mean = torch.std_mean(elites, 1, correction=0, keepdim=True)
    if momentum:
        new_mean, new_std = new_mean.lerp(mean, momentum), new_std.lerp(std, momentum)
    return new_mean, new_std.clamp_min(min_std)
