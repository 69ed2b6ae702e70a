"""Model predictive path integral control."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from imagoal.planning._checks import check_field
from imagoal.planning._noise import correlated
from imagoal.planning._proposals import check_proposals
from imagoal.planning._search import Search
from imagoal.planning._types import CostFunction, Needs, Plan


@dataclass(frozen=True)
class MPPI:
    """Model predictive path integral control: move to the average of the samples, weighted by exp(-cost / temperature).

    Williams et al. 2015 (arXiv 1509.01149) and 2017 (arXiv 1707.02342): for samples v_k of cost S_k, with rho = min S,

        mean = sum_k w_k v_k,    w_k = exp(-(S_k - rho) / temperature) / sum_j exp(-(S_j - rho) / temperature).

    Here S is standardised over the samples of a problem first, so that one temperature serves any unit of cost; there is no
    price on effort; and the noise shrinks with each iteration (as in Xue et al. 2024, arXiv 2409.15610). The mean is evaluated
    beside the next samples, the last one by itself, and the best sequence ever seen is returned.
    """

    needs: ClassVar[Needs] = "values"

    horizon: int = 8
    """Length of a plan, in model steps."""
    num_samples: int = 64
    """Sequences evaluated in each iteration, proposals included."""
    temperature: float = 0.1
    """Divides the standardised cost: towards 0 only the best sample counts, and the larger the more evenly all do."""
    iterations: int = 4
    """How often samples are drawn and averaged."""
    init_std: float = 0.5
    """Standard deviation of the first samples; actions span [-1, 1]."""
    min_std: float = 0.05
    """The standard deviation never falls below this."""
    std_decay: float = 0.7
    """The standard deviation is multiplied by this after each iteration; 1 keeps it."""
    correlation: float = 0.0
    """Of the noise from one action to the next, in [0, 1); 0 is white."""
    block: int = 1
    """Actions in one model step, through which correlated noise runs; the world model's action block."""

    def __post_init__(self) -> None:
        check_field(self, "horizon", 1)
        check_field(self, "num_samples", 1)
        check_field(self, "temperature", 1e-9)
        check_field(self, "iterations", 1)
        check_field(self, "min_std", 0.0)
        check_field(self, "init_std", float(self.min_std))
        check_field(self, "std_decay", 0.0, 1.0)
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
        std = self.init_std
        for _ in search.rounds(self.iterations):
            noise = correlated(generators, self.num_samples - proposals.shape[1], mean, self.correlation, self.block)
            population = torch.cat([proposals, mean + std * noise], 1)
            weights = weigh(search.evaluate(population), self.temperature).to(population)
            mean = (weights[..., None, None] * population).sum(1, keepdim=True).clamp(-1, 1)
            std = max(self.min_std, self.std_decay * std)
            proposals = mean
        search.evaluate(mean)
        return search.result()


def weigh(costs: Tensor, temperature: float) -> Tensor:
    """Weights (B, K), f64, that sum to 1, of costs (B, K); 0 for an infinite cost, as long as one is finite."""
    finite = torch.isfinite(costs)
    count = finite.sum(1, keepdim=True).clamp_min(1)
    costs = torch.where(finite, costs, 0).double()  # f64: the square of a large cost is still finite
    centred = torch.where(finite, costs - costs.sum(1, keepdim=True) / count, 0)
    std = (centred.square().sum(1, keepdim=True) / count).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    scores = torch.where(finite, -centred / std / temperature, torch.finfo(torch.float64).min)
    return torch.softmax(scores, 1)  # softmax subtracts the largest score, which is rho
