"""The nouns of acting: what an agent plans with, an agent, its decision."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from imagoal.errors import UsageError
from imagoal.planning import Over, Plan, Planner
from imagoal.world_model import Observation, Place, WorldModel
from imagoal.world_model.readouts import Chain


@dataclass(frozen=True)
class Planning:
    """All that an agent plans with.

    Attributes:
        model: what imagines.
        chain: the links along which the imagined is carried to where the cost is measured.
        planner: what searches.
        at: the place of the chain where the cost is measured.
        distance: (M, *place), (M, *place) -> (M,), at that place.
        over: how the distances along the horizon become one cost.
        replan_every: env steps between plans; a multiple of the model's action block, at most horizon x block.
        warm_start: whether the last plan, shifted, is proposed again.
        deadline_ms: milliseconds within which a plan is to be ready, encoding included, or None; for one problem at a time.
        surprise: a plan is kept while the world is no further from what it imagined than this share of what is left to the
            goal, by `distance`; 0 plans anew every time. For one problem at a time.
    """

    model: WorldModel
    chain: Chain
    planner: Planner
    at: Place
    distance: Callable[[Tensor, Tensor], Tensor]
    over: Over
    replan_every: int = 1
    warm_start: bool = True
    deadline_ms: float | None = None
    surprise: float = 0.0

    def __post_init__(self) -> None:
        if self.deadline_ms is not None and not 0 < self.deadline_ms < math.inf:
            raise UsageError(f"deadline_ms = {self.deadline_ms}; expected a finite number above 0")
        self.chain.check(self.model.place, self.at)
        block, longest = self.model.action_block, self.planner.horizon * self.model.action_block
        if not (1 <= self.replan_every <= longest) or self.replan_every % block:
            raise UsageError(
                f"replan_every = {self.replan_every}; expected a multiple of the action block ({block}) up to "
                f"horizon x block ({longest})"
            )
        if not 0 <= self.surprise < math.inf:
            raise UsageError(f"surprise = {self.surprise}; expected a finite number, 0 or more")
        if self.surprise and 2 * self.replan_every > longest:
            raise UsageError(
                f"surprise = {self.surprise} with replan_every = {self.replan_every}; expected at most half of horizon x block "
                f"({longest}), since of a longer plan nothing would be left to keep"
            )


@dataclass(frozen=True)
class Decision:
    """What an agent does now.

    Attributes:
        actions: (B, A) in [-1, 1], for one env step.
        milliseconds: of a plan, by phase: `encode`, `rollout`, `refit`, and `plan` for all; its `deadline`, if it had one; and
            `check`, if the last plan was held against the world before. Of a plan that was kept, `check` alone. Else empty.
        plan: what the planner found, if one was asked at this step.
        cost: (B,) of that plan.
        regret: (B,), of a plan that was searched at a lower precision: by how much the sequence that this search thought best
            is worse than the plan, which is the best of its finalists in fp32, by the fp32 cost.
        imagine: until the next `act`, gives the future (B, H, ...) that this plan is thought to lead to, at the world model's
            place. A recorder calls it; nothing is imagined again otherwise.
    """

    actions: Tensor
    milliseconds: Mapping[str, float]
    plan: Plan | None = None
    cost: Tensor | None = None
    regret: Tensor | None = None
    imagine: Callable[[], Tensor] | None = None


class Agent(Protocol):
    """Acts in B environments side by side. An entry is made by `Class(env, planning)`; most need only one of the two."""

    @property
    def privileged(self) -> bool:
        """Whether it is given the true state."""
        ...

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes with these goals and one seed each."""
        ...

    def act(self, now: Observation) -> Decision:
        """Choose the next action of each episode."""
        ...
