"""The nouns of planning: a cost function, a planner, a plan. Torch alone.

Shapes: B problems side by side, K candidates, E proposed candidates, H horizon in model steps,
A' action size of one model step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Generator, Tensor

Needs = Literal["values", "gradient", "path"]


class CostFunction(Protocol):
    """All that most planners see of the world."""

    @property
    def differentiable(self) -> bool:
        """Whether gradients flow from the cost to the actions."""
        ...

    def __call__(self, actions: Tensor, /) -> Tensor:
        """Costs (B, K), lower is better, of actions (B, K, H, A') in [-1, 1]."""
        ...


@runtime_checkable
class PathCost(CostFunction, Protocol):
    """A cost that also shows its imagined path, for planners that search over paths. `cost = measure(imagine(.))`.

    A point of the path is of any shape, n numbers in all; what follows a point may depend on the last P points and actions.
    """

    def imagine(self, actions: Tensor) -> Tensor:
        """The imagined path (B, K, H, ...) of actions (B, K, H, A')."""
        ...

    def defects(self, path: Tensor, actions: Tensor) -> Tensor:
        """How far each step of a path is from what the model predicts there, (B, K, H): mean squares, in usual changes."""
        ...

    def linearise(self, path: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step ahead of each point of a path, and how each step answers to small changes, all steps at once.

        Returns:
            what the model predicts at each step (B, K, H, ...); its derivatives by the P points before it, oldest first, (B, K,
            H, n, P x n), whatever they are for points before the path; and by the actions taken there, (B, K, H, n, P x A').
        """
        ...

    def measure(self, path: Tensor) -> Tensor:
        """Costs (B, K) of a path (B, K, H, ...)."""
        ...


@dataclass(frozen=True)
class Plan:
    """What a planner found.

    Attributes:
        actions: (B, H, A') in [-1, 1], the best sequence that was evaluated at any time.
        cost: (B,), its cost.
        keep: (B, E, H, A'), sequences worth proposing again (shifted) next time; the first one is `actions`.
        trace: (B, iterations), the best cost so far after each iteration; a last look after them may have found a lower one.
        iterations: how many were done.
        evaluations: cost evaluations per problem.
        on_time: whether the deadline, if any, was kept.
        cost_ms: milliseconds spent in the cost function.
        claimed: (B,), if the planner searched over paths too: the cost of the path that it thought the actions would lead to.
            Where that is far below `cost`, the path was wishful.
    """

    actions: Tensor
    cost: Tensor
    keep: Tensor
    trace: Tensor
    iterations: int
    evaluations: int
    on_time: bool
    cost_ms: float
    claimed: Tensor | None = None

    def cpu(self) -> "Plan":
        """The same, its tensors in the memory of the CPU."""
        moved: dict[str, Any] = {name: value.cpu() for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


class Planner(Protocol):
    """Searches action sequences of low cost. A frozen dataclass: configuration and algorithm in one, without state."""

    @property
    def horizon(self) -> int:
        """Length H of a plan, in model steps."""
        ...

    @property
    def needs(self) -> Needs:
        """What the cost function must offer."""
        ...

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        """Search, starting from proposals.

        Args:
            cost: what to minimise.
            candidates: proposals (B, E, H, A'), E >= 1. They are evaluated first, so the plan is never worse than the best
                of them. The first one is the centre of the first samples.
            generators: one for each of the B problems, so that a plan does not depend on what it was batched with.
            deadline_ms: be ready by then. One iteration is done in any case; no other begins that would end too late if it took
                as long as the longest so far, with a last look at the mean as long again.
        """
        ...


class Wrapped:
    """What a planner around another one says of itself: the same as that one.

    Attributes:
        planner: the one inside.
    """

    planner: Planner

    @property
    def horizon(self) -> int:
        """Length H of a plan, in model steps."""
        return self.planner.horizon

    @property
    def needs(self) -> Needs:
        """What the cost function must offer."""
        return self.planner.needs
