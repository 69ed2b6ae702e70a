"""The bookkeeping that all planners share: they propose and refit, this judges.

In one place: a cost that is not finite can never win, the best sequence is never lost, and time is kept.
"""

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from imagoal.errors import NumericalError, UsageError
from imagoal.planning._types import CostFunction, Plan


class Search:
    """One search: judges populations and remembers the best sequence.

    Attributes:
        best: (B, H, A'), the best sequence so far; the first proposal before anything was evaluated.
        best_cost: (B,), its cost; +inf where nothing finite was found yet.
    """

    def __init__(self, cost: CostFunction, proposals: Tensor, deadline_ms: float | None = None) -> None:
        """Begin, with proposals (B, E, H, A'); the clock of the deadline starts here."""
        self._began = time.perf_counter()
        self._cost, self._deadline_ms = cost, deadline_ms
        self.best = proposals[:, 0]
        self.best_cost = proposals.new_full((proposals.shape[0],), torch.inf)
        self._trace: list[Tensor] = []
        self._evaluations = 0
        self._cost_ms = 0.0

    def rounds(self, iterations: int) -> Iterator[int]:
        """Count iterations, up to `iterations` or the last that the deadline has room for. Each adds a point to the trace."""
        longest = 0.0
        for number in range(iterations):
            began = time.perf_counter()
            yield number
            self._trace.append(self.best_cost)
            longest = max(longest, _milliseconds_since(began))
            if not self._on_time(2 * longest):  # another one, and a last look after it
                return

    def evaluate(self, population: Tensor) -> Tensor:
        """Costs (B, K) of a population (B, K, H, A') in [-1, 1]; +inf where the cost function gave no finite number.

        Raises:
            UsageError: the cost function returned another shape.
        """
        began = time.perf_counter()
        costs = self._cost(population)
        self._cost_ms += _milliseconds_since(began)
        self._evaluations += population.shape[1]
        if costs.shape != population.shape[:2]:
            raise UsageError(f"the cost has shape {tuple(costs.shape)}; expected {tuple(population.shape[:2])}")
        costs = torch.where(torch.isfinite(costs), costs, torch.inf)
        self._remember(population.detach(), costs.detach())
        return costs

    def differentiate(self, population: Tensor) -> tuple[Tensor, Tensor]:
        """Costs (B, K) of a population (B, K, H, A') as `evaluate`, and their gradients (B, K, H, A').

        Raises:
            UsageError: the cost function returned another shape, or nothing that can be differentiated.
        """
        with torch.enable_grad():
            population = population.detach().requires_grad_()
            costs = self.evaluate(population)
            began = time.perf_counter()
            gradients = None
            if costs.requires_grad:
                (gradients,) = torch.autograd.grad(costs, population, torch.ones_like(costs), allow_unused=True)
        if gradients is None:
            raise UsageError("the cost does not follow from the actions by torch operations alone; compute it without no_grad")
        self._cost_ms += _milliseconds_since(began)
        return costs.detach(), gradients

    def result(self) -> Plan:
        """The best of all that was evaluated.

        Raises:
            NumericalError: a problem had no sequence of finite cost.
        """
        lost = torch.isinf(self.best_cost).nonzero().flatten().tolist()
        if lost:
            raise NumericalError(
                f"all {self._evaluations} sequences of problem {lost[0]} have a cost that is not finite; "
                "check the world model and the observation it was given"
            )
        return Plan(
            actions=self.best,
            cost=self.best_cost,
            keep=self.best[:, None],
            trace=torch.stack(self._trace, 1),
            iterations=len(self._trace),
            evaluations=self._evaluations,
            on_time=self._on_time(),
            cost_ms=self._cost_ms,
        )

    def _remember(self, population: Tensor, costs: Tensor) -> None:
        lowest, index = costs.min(1)
        winners = population[torch.arange(len(index), device=index.device), index]
        better = lowest < self.best_cost
        self.best = torch.where(better[:, None, None], winners, self.best)
        self.best_cost = torch.where(better, lowest, self.best_cost)

    def _on_time(self, more_ms: float = 0.0) -> bool:
        """Whether the deadline is kept, also if there are so many more milliseconds to come."""
        return self._deadline_ms is None or _milliseconds_since(self._began) + more_ms <= self._deadline_ms


def _milliseconds_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
