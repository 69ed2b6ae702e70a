"""Straight: drives straight at the object."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from imagoal.agents._types import Decision, Planning
from imagoal.envs import GoalEnv
from imagoal.errors import UsageError
from imagoal.world_model import Observation


class Straight:
    """Drives the body straight at the object, whatever the goal: a floor for tasks of pushing."""

    privileged: ClassVar[bool] = True

    def __init__(self, env: GoalEnv, planning: Planning | None = None) -> None:
        self.env = env

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes."""

    def act(self, now: Observation) -> Decision:
        """Actions (B, A) towards the object."""
        if now.state is None:
            raise UsageError("the straight agent needs the true state; it is privileged")
        states = now.state.numpy()
        return Decision(torch.from_numpy(self.env.approach(states, self.env.visible(states)[:, : self.env.object_size])), {})
