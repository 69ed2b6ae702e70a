"""Search by a rough cost (bf16, or other noise), then re-score the best sequences exactly (fp32) and take the best of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from imagoal.errors import NumericalError, UsageError
from imagoal.planning._search import rows
from imagoal.planning._types import CostFunction, Plan, Planner

FINALISTS = 8
"""Sequences of each problem that are re-scored."""

Costs = Callable[[Tensor], Tensor]
"""Sequences (B, K, H, A') to (B, K)."""


@dataclass
class Rescoring:
    """Plans by a rough cost, of whose best sequences an exact one takes the best.

    Attributes:
        planner: what searches.
        milliseconds: that the last re-scoring took, which a search under a deadline leaves for its own.
    """

    planner: Planner
    milliseconds: float = 0.0

    def plan(
        self,
        rough: CostFunction,
        exact: CostFunction,
        candidates: Tensor,
        generators: Sequence[Generator],
        deadline_ms: float | None = None,
    ) -> tuple[Plan, Tensor]:
        """Search, as `Planner.plan`, and re-score.

        Returns:
            the plan, whose cost is exact, and whose trace is the rough search's; and by how much what that search thought best
            is worse, exactly (B,).

        Raises:
            UsageError, NumericalError: as the planner, or no finalist has a finite cost.
        """
        finalists = Finalists(rough, FINALISTS, rough.differentiable)
        left = None if deadline_ms is None else max(0.0, deadline_ms - self.milliseconds)
        began = time.perf_counter()
        found = self.planner.plan(finalists, candidates, generators, left)
        searched = time.perf_counter()
        rescored = finalists.settle(exact)
        ended = time.perf_counter()
        self.milliseconds = 1000 * (ended - searched)
        assert finalists.sequences is not None
        plan = replace(
            found,
            actions=rescored.actions,
            cost=rescored.cost,
            keep=torch.cat([rescored.actions[:, None], found.keep[:, 1:]], 1),
            evaluations=found.evaluations + finalists.sequences.shape[1],
            on_time=deadline_ms is None or 1000 * (ended - began) <= deadline_ms,
            cost_ms=found.cost_ms + self.milliseconds,
        )
        return plan, rescored.regret


class Finalists:
    """A cost function that remembers the best sequences that it was ever asked for, so that they can be judged again.

    Attributes:
        cost: the cost function.
        differentiable: as the cost function's.
        sequences: (B, E, H, A'), the best so far, best first; None before the first call.
        costs: (B, E), theirs.
    """

    def __init__(self, cost: Costs, length: int, differentiable: bool = True) -> None:
        self.cost, self._length, self.differentiable = cost, length, differentiable
        self.sequences: Tensor | None = None
        self.costs: Tensor | None = None

    def __call__(self, actions: Tensor) -> Tensor:
        """Costs (B, K) of actions (B, K, H, A')."""
        costs = self.cost(actions)
        self._remember(actions.detach(), costs.detach())
        return costs

    def settle(self, exact: Costs) -> "Rescored":
        """Judge the finalists by a cost function that is exact.

        Raises:
            UsageError: nothing was searched.
            NumericalError: a problem has no finalist of finite cost.
        """
        if self.sequences is None:
            raise UsageError("nothing was searched, so there is nothing to judge; plan with this cost function first")
        costs = exact(self.sequences).nan_to_num(torch.inf, torch.inf, torch.inf)
        lowest, index = costs.min(1)
        if torch.isinf(lowest).any():
            raise NumericalError(
                f"in fp32, none of the best {costs.shape[1]} sequences of a problem has a finite cost; check the world model"
            )
        return Rescored(rows(self.sequences, index[:, None])[:, 0], lowest, costs[:, 0] - lowest)

    def _remember(self, actions: Tensor, costs: Tensor) -> None:
        costs = costs.nan_to_num(torch.inf, torch.inf, torch.inf)
        if self.sequences is not None and self.costs is not None:
            actions, costs = torch.cat([self.sequences, actions], 1), torch.cat([self.costs, costs], 1)
        self.costs, index = costs.topk(min(self._length, costs.shape[1]), dim=1, largest=False)
        self.sequences = rows(actions, index)


@dataclass(frozen=True)
class Rescored:
    """What is best of the finalists, judged exactly.

    Attributes:
        actions: (B, H, A').
        cost: (B,), theirs, exact.
        regret: (B,), by how much the sequence that the search thought best is worse than this one, exact; 0 if it is the same.
    """

    actions: Tensor
    cost: Tensor
    regret: Tensor
