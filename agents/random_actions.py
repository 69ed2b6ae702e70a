"""RandomActions: uniform actions."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from imagoal.agents._types import Decision, Planning
from imagoal.envs import GoalEnv
from imagoal.world_model import Observation


class RandomActions:
    """Uniform random actions: a floor."""

    privileged: ClassVar[bool] = False

    def __init__(self, env: GoalEnv, planning: Planning | None = None) -> None:
        self.shape = env.action_space.shape or ()

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes, one generator each."""
        self.generators = [np.random.default_rng(seed) for seed in seeds]

    def act(self, now: Observation) -> Decision:
        """Uniform in [-1, 1], (B, A)."""
        actions = np.stack([generator.uniform(-1, 1, self.shape) for generator in self.generators])
        return Decision(torch.from_numpy(actions), {})
