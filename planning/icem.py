"""The improved cross-entropy method."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor

from imagoal.errors import UsageError
from imagoal.planning._checks import check_field
from imagoal.planning._noise import coloured
from imagoal.planning._proposals import check_proposals
from imagoal.planning._search import Search, rows
from imagoal.planning._types import CostFunction, Needs, Plan
from imagoal.planning.cem import refit


@dataclass(frozen=True)
class ICEM:
    """The improved cross-entropy method: coloured noise, a memory of elites, and a population that shrinks.

    Pinneri et al. 2020 (arXiv 2008.06389, algorithm 1). The noise of the samples, mean + std * noise, has a power that falls
    with frequency as 1 / f^beta; iteration i has max(num_samples * decay^-i, 2 * num_elites) of them; the best elites stay in
    the race, at the cost that they had, and are proposed again, shifted, for the next plan.
    Unlike there, the mean is evaluated beside all but the first samples and once more at the end, not beside the last samples:
    no iteration knows that it is the last one. The noise has unit variance at any horizon, see `coloured`.
    """

    needs: ClassVar[Needs] = "values"

    horizon: int = 8
    """Length of a plan, in model steps."""
    num_samples: int = 64
    """Sequences evaluated in the first iteration, proposals included."""
    num_elites: int = 8
    """How many of the best sequences the distribution is refitted to."""
    kept: float = 0.3
    """Share of the elites that stay for the next iteration, and are proposed for the next plan."""
    iterations: int = 6
    """How often samples are drawn and the distribution is refitted."""
    decay: float = 1.25
    """The number of samples is divided by this after each iteration, down to twice num_elites; 1 keeps it."""
    init_std: float = 0.5
    """Standard deviation of the first samples; actions span [-1, 1]."""
    min_std: float = 0.05
    """The standard deviation never falls below this."""
    momentum: float = 0.1
    """Weight of the old mean and standard deviation in the new ones, in [0, 1)."""
    beta: float = 2.0
    """Exponent of the noise: 0 is white; the larger, the slower it changes along the plan."""
    block: int = 1
    """Actions in one model step, through which coloured noise runs; the world model's action block."""

    def __post_init__(self) -> None:
        check_field(self, "horizon", 1)
        check_field(self, "num_samples", 1)
        check_field(self, "num_elites", 1)
        if 2 * self.num_elites > self.num_samples:
            name = type(self).__name__
            raise UsageError(
                f"{name}.num_elites is {self.num_elites}; expected from 1 to half of num_samples, {self.num_samples}"
            )
        check_field(self, "kept", 0.0, 1.0)
        check_field(self, "iterations", 1)
        check_field(self, "decay", 1.0)
        check_field(self, "min_std", 0.0)
        check_field(self, "init_std", float(self.min_std))
        check_field(self, "momentum", 0.0, 0.999)
        check_field(self, "beta", 0.0)
        check_field(self, "block", 1)

    @property
    def num_kept(self) -> int:
        """How many elites that is."""
        return round(self.kept * self.num_elites)

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
        swarm = Swarm(self, proposals)
        for number in search.rounds(self.iterations):
            swarm.improve(search, generators, number)
        swarm.select(swarm.mean, search.evaluate(swarm.mean), self.num_elites)
        return swarm.keep(search.result())


class Swarm:
    """The sampling of one plan: a normal distribution, and the elites that it was fitted to.

    Attributes:
        mean: (B, 1, H, A'), the centre of the next samples.
        elites: (B, num_elites, H, A'), the best sequences, best first; none before the first samples.
    """

    def __init__(self, settings: ICEM, proposals: Tensor) -> None:
        """Begin with proposals (B, E, H, A'), to be evaluated beside the first samples; the first one is their centre."""
        self.mean, self.elites = proposals[:, :1], proposals[:, :0]
        self._settings, self._proposals = settings, proposals
        self._std = torch.full_like(self.mean, settings.init_std)
        self._costs = proposals.new_zeros(self.elites.shape[:2])

    def improve(self, search: Search, generators: Sequence[Generator], number: int) -> None:
        """Iteration `number`: draw samples, evaluate them, and refit the distribution to the elites."""
        setting = self._settings
        size = max(2 * setting.num_elites, int(setting.num_samples * setting.decay**-number))
        noise = coloured(generators, size - self._proposals.shape[1], self.mean, setting.beta, setting.block)
        population = torch.cat([self._proposals, torch.addcmul(self.mean, self._std, noise)], 1)
        self.select(population, search.evaluate(population), setting.num_kept)
        self.mean, self._std = refit(self.elites, self._costs, self.mean, self._std, setting.momentum, setting.min_std)
        self._proposals = self.mean

    def select(self, population: Tensor, costs: Tensor, old: int) -> None:
        """Make the best of a population (B, K, H, A') of these costs (B, K), and of the first `old` elites, the elites."""
        population = torch.cat([self.elites[:, :old], population], 1)
        costs = torch.cat([self._costs[:, :old], costs], 1)
        self._costs, index = costs.topk(self._settings.num_elites, dim=1, largest=False)
        self.elites = rows(population, index)

    def keep(self, plan: Plan) -> Plan:
        """The plan, with elites worth proposing next time behind its actions."""
        elites = self.elites[:, 1 : self._settings.num_kept].clamp(-1, 1)
        return replace(plan, keep=torch.cat([plan.actions[:, None], elites], 1))
