"""The nouns of acting: an agent and its decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from imagoal.planning._types import Plan
from imagoal.world_model._types import Observation


@dataclass(frozen=True)
class Decision:
    """What an agent does now.

    Attributes:
        actions: (B, A) in [-1, 1], for one env step.
        milliseconds: by phase (`encode`, `rollout`, `refit`, `plan` for the whole); empty where nothing was planned.
        plan: what the planner found, if one was asked at this step.
        cost: (B,) of that plan.
    """

    actions: Tensor
    milliseconds: Mapping[str, float]
    plan: Plan | None = None
    cost: Tensor | None = None


class Agent(Protocol):
    """Acts in B environments side by side."""

    @property
    def name(self) -> str:
        """As `imagoal list agents` shows it."""
        ...

    @property
    def privileged(self) -> bool:
        """Whether it sees the true state."""
        ...

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes with these goals and one seed each."""
        ...

    def act(self, now: Observation) -> Decision:
        """Choose the next action of each episode."""
        ...
