"""Who is measured in `peers.py`: our planners, a bare loop, a hand-written one. Those of others are in `peers_foreign.py`."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from experiments.peers.problems import Problem
from imagoal.planning import CEM, ICEM, MPPI, Collocation, Gradient, ICEMAdam, Plan, RandomShooting, no_op, propose


@dataclass(frozen=True)
class Setting:
    """One point of a grid; what a planner has no use for is None.

    Attributes:
        samples: sequences per iteration.
        iterations: how often they are drawn; or steps of gradient descent.
        std: of the first samples.
        temperature: of planners that weigh, in the planner's own convention.
        lr: of gradient descent.
        descents: steps of gradient descent after the iterations; of collocation, in each iteration.
        elite_share: of the samples, in percent, that a distribution is fitted to.
        correlation: of the noise from one action to the next, of our planners that have the option; the others' coloured
            noise is as they set it.
    """

    samples: int
    iterations: int
    std: float | None = 0.5
    temperature: float | None = None
    lr: float | None = None
    descents: int | None = None
    elite_share: int = 10
    correlation: float | None = None

    @property
    def elites(self) -> int:
        return max(4, self.samples * self.elite_share // 100)


Trials = Sequence[Setting]


class Contender:
    """A planner with its budget. Its memory of a plan is its own affair; it is given back for the next plan, one step later."""

    def seed(self, number: int, problem: Problem) -> None:
        """Before a plan; not timed."""
        torch.manual_seed(number)

    @abstractmethod
    def plan(self, problem: Problem, memory: Any = None) -> tuple[Tensor, Any]:
        """Plans (B, H, A) and the memory of them; timed. Without a memory, from nothing."""


Maker = Callable[[Setting, int], Contender]
"""From a setting and a horizon."""


@dataclass(frozen=True)
class Kind:
    """A planner of some library.

    Attributes:
        name: in tables.
        make: with a setting.
        cold: the grid of plans from nothing.
        warm: the grid of plans from the last one; empty if the planner cannot.
        ours: whether it is imagoal's.
        note: what a reader should know.
    """

    name: str
    make: Maker
    cold: Trials
    warm: Trials
    ours: bool = False
    note: str = ""


LIMIT = 0.01
"""A plan whose gap to the reference is at most this counts as good."""

BUDGETS = ((48, 5), (64, 4), (64, 5), (64, 8), (100, 8), (200, 10))
LATER = ((32, 1), (64, 1), (64, 3), (64, 5), (100, 5), (100, 10))
SHOTS = (32, 64, 100, 300, 600, 1000)
SOME, FEW = ((64, 5), (64, 8), (100, 10)), ((64, 1), (64, 3), (64, 5))


def fitted(budgets: Sequence[tuple[int, int]], stds: Sequence[float]) -> Trials:
    """Trials of a planner that fits a normal distribution."""
    return [Setting(samples, iterations, std) for samples, iterations in budgets for std in stds]


def weighing(budgets: Sequence[tuple[int, int]], stds: Sequence[float], temperatures: Sequence[float]) -> Trials:
    """Trials of a planner that weighs by exp(-cost / temperature)."""
    return [Setting(n, i, std, heat) for n, i in budgets for std in stds for heat in temperatures]


def smooth(trials: Trials) -> Trials:
    """The same trials, with noise that is correlated in time."""
    return [replace(setting, correlation=0.5) for setting in trials]


def descending(budgets: Sequence[tuple[int, int]], lrs: Sequence[float]) -> Trials:
    """Trials of gradient descent."""
    return [Setting(n, i, lr=lr) for n, i in budgets for lr in lrs]


def refined(budgets: Sequence[tuple[int, int]], stds: Sequence[float], descents: Sequence[int], lrs: Sequence[float]) -> Trials:
    """Trials of a planner that fits a normal distribution, then descends."""
    return [Setting(n, i, std, lr=lr, descents=d) for n, i in budgets for std in stds for d in descents for lr in lrs]


def collocating(budgets: Sequence[tuple[int, int]], descents: Sequence[int]) -> Trials:
    """Trials of collocation: samples once, then iterations."""
    return [Setting(n, i, 1.0, lr=0.1, descents=d, correlation=0.8) for n, i in budgets for d in descents]


COLD_FITS, WARM_FITS = fitted(BUDGETS, (2.0, 3.0)), fitted(LATER, (0.5, 1.0))
COLD_SHOTS, WARM_SHOTS = fitted([(n, 1) for n in SHOTS], (0.5, 1.0)), fitted([(n, 1) for n in SHOTS], (0.1, 0.3))
COLD_DESCENTS = descending(((1, 10), (1, 15), (1, 20), (2, 15), (4, 15), (4, 20)), (0.3, 0.6))
WARM_DESCENTS = descending(((1, 3), (1, 5), (1, 10), (1, 15), (4, 10), (4, 15)), (0.2, 0.4))
COLD_BOTH = refined(((32, 2), (32, 3), (48, 4)), (2.0,), (3, 6), (0.3, 0.6))
WARM_BOTH = refined(((16, 1), (32, 1)), (0.5,), (2, 5, 10), (0.2, 0.4))


COLD_PATHS = collocating(((16, 3), (32, 2), (32, 3), (64, 2), (64, 3), (64, 4)), (6, 12))
WARM_PATHS = collocating(((2, 1), (2, 2), (2, 3), (8, 1), (8, 2), (8, 3)), (6, 12))


class Ours(Contender):
    """A planner of imagoal, started as its agent does: from the last plan, shifted, and from doing nothing if there is room."""

    def __init__(self, planner: Any) -> None:
        self.planner = planner

    def seed(self, number: int, problem: Problem) -> None:
        self._generators = [torch.Generator().manual_seed(number + row) for row in range(len(problem))]

    def plan(self, problem: Problem, memory: Plan | None = None) -> tuple[Tensor, Plan]:
        candidates = propose(memory, 1, no_op(len(problem), self.planner.horizon, problem.action_size))
        plan = self.planner.plan(problem.cost(), candidates[:, : self.planner.num_samples], self._generators)
        return plan.actions, plan


def cem(setting: Setting, horizon: int) -> Ours:
    return Ours(CEM(**sampled(setting, horizon), num_elites=setting.elites, correlation=setting.correlation or 0.0))


def icem(setting: Setting, horizon: int) -> Ours:
    return Ours(ICEM(**sampled(setting, horizon), num_elites=setting.elites))


def icem_equal(setting: Setting, horizon: int) -> Ours:
    """As many samples in each iteration, for equal budgets."""
    return Ours(ICEM(**sampled(setting, horizon), num_elites=setting.elites, decay=1.0))


def mppi(setting: Setting, horizon: int) -> Ours:
    heat, correlation = setting.temperature or 0.1, setting.correlation or 0.0
    return Ours(MPPI(**sampled(setting, horizon), temperature=heat, correlation=correlation))


def random_shooting(setting: Setting, horizon: int) -> Ours:
    return Ours(RandomShooting(horizon=horizon, num_samples=setting.samples, iterations=setting.iterations))


def gradient(setting: Setting, horizon: int) -> Ours:
    return Ours(Gradient(**sampled(setting, horizon), lr=setting.lr or 0.1))


def icem_adam(setting: Setting, horizon: int) -> Ours:
    budget = sampled(setting, horizon) | {"iterations": setting.iterations + (setting.descents or 0)}
    return Ours(ICEMAdam(**budget, num_elites=4, sampling=setting.iterations, lr=setting.lr or 0.1))


def collocation(setting: Setting, horizon: int) -> Ours:
    rest = {"steps": setting.descents or 12, "lr": setting.lr or 0.1, "correlation": setting.correlation or 0.0}
    return Ours(Collocation(**sampled(setting, horizon), **rest, radius=2.0))


def sampled(setting: Setting, horizon: int) -> dict[str, Any]:
    """The fields that most planners have."""
    budget = {"horizon": horizon, "num_samples": setting.samples, "iterations": setting.iterations}
    return budget | {"init_std": setting.std or 0.5}


STANDARD_HEATS = (0.05, 0.2)
"""Temperatures for costs that are standardised first."""
COLD_HEATS, WARM_HEATS = weighing(SOME, (1.0, 2.0), STANDARD_HEATS), weighing(FEW, (0.3, 0.6), STANDARD_HEATS)

OURS = (
    Kind("imagoal CEM", cem, smooth(COLD_FITS), smooth(WARM_FITS), True),
    Kind("imagoal iCEM", icem, COLD_FITS, WARM_FITS, True),
    Kind("imagoal MPPI", mppi, smooth(COLD_HEATS), smooth(WARM_HEATS), True),
    Kind("imagoal gradient", gradient, COLD_DESCENTS, WARM_DESCENTS, True),
    Kind("imagoal iCEM, then Adam", icem_adam, COLD_BOTH, WARM_BOTH, True),
    Kind("imagoal collocation", collocation, COLD_PATHS, WARM_PATHS, True),
    Kind("imagoal random shooting", random_shooting, COLD_SHOTS, COLD_SHOTS, True),
)


class Bare(Contender):
    """Calls the cost function with populations that are there already, and does nothing else."""

    def __init__(self, setting: Setting, horizon: int) -> None:
        self._setting, self._horizon = setting, horizon

    def seed(self, number: int, problem: Problem) -> None:
        shape = (len(problem), self._setting.samples, self._horizon, problem.action_size)
        generator = torch.Generator().manual_seed(number)
        draws = [torch.randn(shape, generator=generator).clamp(-1, 1) for _ in range(self._setting.iterations)]
        self._populations = draws

    def plan(self, problem: Problem, memory: None = None) -> tuple[Tensor, None]:
        cost = problem.cost()
        for population in self._populations:
            cost(population)
        return self._populations[0][:, 0], memory


class HandWritten(Contender):
    """CEM in the fewest lines: what a planner can hardly be faster than, with nothing checked, kept or reported."""

    def __init__(self, setting: Setting, horizon: int) -> None:
        self._setting, self._horizon = setting, horizon

    @torch.inference_mode()
    def plan(self, problem: Problem, memory: None = None) -> tuple[Tensor, None]:
        cost, count, size = problem.cost(), len(problem), problem.action_size
        mean = torch.zeros(count, 1, self._horizon, size)
        std = torch.full_like(mean, self._setting.std or 0.5)
        rows = torch.arange(count)[:, None]
        for _ in range(self._setting.iterations):
            noise = torch.randn(count, self._setting.samples, self._horizon, problem.action_size)
            population = (mean + std * noise).clamp(-1, 1)
            elites = population[rows, cost(population).topk(self._setting.elites, 1, largest=False)[1]]
            std, mean = torch.std_mean(elites, 1, keepdim=True)
        return mean[:, 0], memory
