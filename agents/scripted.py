"""Scripted: the environment's own expert."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from imagoal.agents._types import Decision, Planning
from imagoal.envs import GoalEnv
from imagoal.errors import UsageError
from imagoal.world_model import Observation


class Scripted:
    """The environment's scripted expert, which sees the true state and goal: shows that the tasks can be solved."""

    privileged: ClassVar[bool] = True

    def __init__(self, env: GoalEnv, planning: Planning | None = None) -> None:
        self.env = env

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes with the goals' states."""
        if goal.state is None:
            raise UsageError("the scripted agent needs the goal's state; it is privileged")
        self.goals = goal.state.numpy()

    def act(self, now: Observation) -> Decision:
        """The expert's actions (B, A)."""
        if now.state is None:
            raise UsageError("the scripted agent needs the true state; it is privileged")
        return Decision(torch.from_numpy(self.env.expert(now.state.numpy(), self.goals)), {})
