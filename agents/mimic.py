"""Mimic: brings the body to where the goal picture shows it."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from imagoal.agents._types import Decision, Planning
from imagoal.envs import GoalEnv
from imagoal.errors import UsageError
from imagoal.world_model import Observation


class Mimic:
    """Brings its body straight to where the goal picture shows it, and ignores the object: what looks right and is not."""

    privileged: ClassVar[bool] = True

    def __init__(self, env: GoalEnv, planning: Planning | None = None) -> None:
        self.env = env

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes with the goals' states."""
        if goal.state is None:
            raise UsageError("the mimic agent needs the goal's state; it is privileged")
        self.places = self.env.visible(goal.state.numpy())[:, -self.env.object_size :]

    def act(self, now: Observation) -> Decision:
        """Actions (B, A) towards the goal's pose."""
        if now.state is None:
            raise UsageError("the mimic agent needs the true state; it is privileged")
        return Decision(torch.from_numpy(self.env.approach(now.state.numpy(), self.places)), {})
