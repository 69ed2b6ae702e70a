"""The nouns of acting: what an agent plans with, an agent, its decision."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from imagoal.errors import UsageError
from imagoal.planning import Over, Plan, Planner
from imagoal.world_model import Observation, Place, WorldModel
from imagoal.world_model.readouts import Chain


@dataclass(frozen=True)
class Pace:
    """When an agent plans, and how long it may take."""

    replan_every: int = 1
    """Env steps between plans; a multiple of the model's action block, at most horizon x block."""
    warm_start: bool = True
    """Whether the last plan, shifted, is proposed again."""
    deadline_ms: float | None = None
    """Milliseconds within which each plan is to be ready, encoding included; one iteration is done in any case. For one problem
    at a time."""
    surprise: float = 0.0
    """Event-triggered replanning: keep a plan while the prediction error is at most this share of the remaining distance to the
    goal; 0 plans anew every time. For one problem at a time."""

    def __post_init__(self) -> None:
        if self.deadline_ms is not None and not 0 < self.deadline_ms < math.inf:
            raise UsageError(f"deadline_ms = {self.deadline_ms}; expected a finite number above 0")
        if not 0 <= self.surprise < math.inf:
            raise UsageError(f"surprise = {self.surprise}; expected a finite number, 0 or more")

    @property
    def single(self) -> str:
        """Why only one problem at a time can be planned for; empty if that is not so."""
        return "a deadline" if self.deadline_ms is not None else "surprise" if self.surprise else ""

    def check(self, horizon: int, block: int) -> None:
        """Refuse a pace that plans of `horizon` model steps, of `block` env steps each, cannot keep.

        Raises:
            UsageError: naming what was given and what is possible.
        """
        longest = horizon * block
        if not (1 <= self.replan_every <= longest) or self.replan_every % block:
            raise UsageError(
                f"replan_every = {self.replan_every}; expected a multiple of the action block ({block}) up to "
                f"horizon x block ({longest})"
            )
        if self.surprise and 2 * self.replan_every > longest:
            raise UsageError(
                f"surprise = {self.surprise} with replan_every = {self.replan_every}; expected at most half of horizon x block "
                f"({longest}), since of a longer plan nothing would be left to keep"
            )


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
        pace: when it plans, and how long that may take.
    """

    model: WorldModel
    chain: Chain
    planner: Planner
    at: Place
    distance: Callable[[Tensor, Tensor], Tensor]
    over: Over
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        self.chain.check(self.model.place, self.at)
        self.pace.check(self.planner.horizon, self.model.action_block)


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
