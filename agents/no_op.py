"""NoOp: does nothing."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from imagoal.agents._types import Decision, Planning
from imagoal.envs import GoalEnv
from imagoal.world_model import Observation


class NoOp:
    """Does nothing: a floor, and the share of tasks that solve themselves."""

    privileged: ClassVar[bool] = False

    def __init__(self, env: GoalEnv, planning: Planning | None = None) -> None:
        self.shape = env.action_space.shape or ()

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes."""

    def act(self, now: Observation) -> Decision:
        """Zeros (B, A)."""
        return Decision(torch.zeros(len(now.frame), *self.shape), {})
