"""The bookkeeping that all planners share: they propose and refit, this judges.

In one place: a cost that is not finite can never win, the best sequence is never lost, and time is kept.
"""

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from imagoal.errors import NumericalError, UsageError
from imagoal.planning._types import CostFunction, Plan


class Search:
    """One search: judges populations and remembers the best sequence.

    Planners may leave the box [-1, 1], and fit their distributions out there; the cost function sees the nearest actions in it.
    """

    def __init__(self, cost: CostFunction, deadline_ms: float | None = None) -> None:
        """Begin; the clock of the deadline starts here."""
        self._began = time.perf_counter()
        self._cost, self._deadline_ms = cost, deadline_ms
        self._seen: list[tuple[Tensor, Tensor]] = []  # the best of each population, best first, and their costs
        self._before = 0  # how many populations there were before the first iteration
        self._iterations = 0
        self._evaluations = 0
        self._cost_ms = 0.0

    @property
    def best_cost(self) -> Tensor:
        """(B,), the lowest cost so far; +inf where nothing finite was found yet."""
        return torch.stack([costs[:, 0] for _, costs in self._seen]).amin(0)

    def rounds(self, iterations: int, last_look: bool = True) -> Iterator[int]:
        """Count iterations, up to `iterations` or the last that the deadline has room for. Each adds a point to the trace.

        Args:
            iterations: at most.
            last_look: whether one more evaluation follows, for which room is kept as for a whole iteration.
        """
        self._before, longest = len(self._seen), 0.0
        for number in range(iterations):
            began = time.perf_counter()
            yield number
            self._iterations += 1
            longest = max(longest, _milliseconds_since(began))
            if not self._on_time((1 + last_look) * longest):
                return

    def evaluate(self, population: Tensor) -> Tensor:
        """Costs (B, K) of a population (B, K, H, A'), one in each iteration; +inf where they are not finite.

        Raises:
            UsageError: the cost function returned another shape.
        """
        costs = self._judge(population)
        lowest, index = costs.detach().min(1, keepdim=True)
        self._seen.append((rows(population.detach(), index), lowest))
        return costs

    def elect(self, population: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """As `evaluate`, but the `count` best (B, count, H, A') of the population, best first, and their costs (B, count).

        Raises:
            UsageError: the cost function returned another shape.
        """
        lowest, index = self._judge(population).detach().topk(count, dim=1, largest=False)
        elites = rows(population, index)
        self._seen.append((elites, lowest))
        return elites, lowest

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
        costs = torch.stack([costs[:, 0] for _, costs in self._seen], 1)
        cost, index = costs.min(1, keepdim=True)
        for problem, lowest in enumerate(cost[:, 0].tolist()):
            if lowest == math.inf:
                raise NumericalError(
                    f"all {self._evaluations} sequences of problem {problem} have a cost that is not finite; "
                    "check the world model and the observation it was given"
                )
        best = rows(torch.stack([best[:, 0] for best, _ in self._seen], 1), index).clamp(-1, 1)
        return Plan(
            actions=best[:, 0],
            cost=cost[:, 0],
            keep=best,
            trace=costs.cummin(1).values[:, self._before : self._before + self._iterations],
            iterations=self._iterations,
            evaluations=self._evaluations,
            on_time=self._on_time(),
            cost_ms=self._cost_ms,
        )

    def _judge(self, population: Tensor) -> Tensor:
        """Costs (B, K) of what is in the box of a population (B, K, H, A'); +inf where they are not finite."""
        began = time.perf_counter()
        costs = self._cost(population.clamp(-1, 1))
        if costs.is_cuda and self._deadline_ms is not None:
            torch.cuda.synchronize(costs.device)  # only who waits for a GPU knows how late it is
        self._cost_ms += _milliseconds_since(began)
        self._evaluations += population.shape[1]
        if costs.shape != population.shape[:2]:
            raise UsageError(f"the cost has shape {tuple(costs.shape)}; expected {tuple(population.shape[:2])}")
        return costs.nan_to_num(torch.inf, torch.inf, torch.inf)

    def _on_time(self, more_ms: float = 0.0) -> bool:
        """Whether the deadline is kept, also if there are so many more milliseconds to come."""
        return self._deadline_ms is None or _milliseconds_since(self._began) + more_ms <= self._deadline_ms


def _milliseconds_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def rows(sequences: Tensor, index: Tensor) -> Tensor:
    """Of sequences (B, K, ...) those at an index (B, E): (B, E, ...)."""
    whole = index.reshape(*index.shape, *[1] * (sequences.ndim - 2))
    return sequences.gather(1, whole.expand(-1, -1, *sequences.shape[2:]))
