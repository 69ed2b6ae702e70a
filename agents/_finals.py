"""A search by a rough cost, and the finals that decide it: no rough digit chooses between the best."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from imagoal.planning._types import CostFunction, Plan, Planner
from imagoal.world_model._precision import Shortlist

FINALISTS = 8
"""Sequences of each problem that are judged exactly."""


@dataclass
class Finals:
    """Plans by a rough cost, of whose best sequences an exact one takes the best.

    Attributes:
        planner: what searches.
        milliseconds: that the last finals took, which a search under a deadline leaves for its own.
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
        """Search, as `Planner.plan`, and judge.

        Returns:
            the plan, whose cost is exact, and whose trace is the rough search's; and by how much what that search thought best
            is worse, exactly (B,).

        Raises:
            UsageError, NumericalError: as the planner, or no finalist has a finite cost.
        """
        shortlist = Shortlist(rough, FINALISTS, rough.differentiable)
        left = None if deadline_ms is None else max(0.0, deadline_ms - self.milliseconds)
        began = time.perf_counter()
        found = self.planner.plan(shortlist, candidates, generators, left)
        searched = time.perf_counter()
        verdict = shortlist.settle(exact)
        ended = time.perf_counter()
        self.milliseconds = 1000 * (ended - searched)
        assert shortlist.finalists is not None
        plan = replace(
            found,
            actions=verdict.actions,
            cost=verdict.cost,
            keep=torch.cat([verdict.actions[:, None], found.keep[:, 1:]], 1),
            evaluations=found.evaluations + shortlist.finalists.shape[1],
            on_time=deadline_ms is None or 1000 * (ended - began) <= deadline_ms,
            cost_ms=found.cost_ms + self.milliseconds,
        )
        return plan, verdict.regret
