"""Simulator: the environment itself as a world model, the ceiling of all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from imagoal.envs import GoalEnv
from imagoal.errors import UsageError
from imagoal.world_model._types import Past, Place, State


@dataclass(frozen=True, eq=False)
class Simulator:
    """The true physics, from the true state: the oracle. It foresees everything but random kicks.

    Attributes:
        env: whose `simulate` imagines; its episode is not disturbed.
        action_block: env steps per model step.
    """

    place: ClassVar[Place] = "state"
    history: ClassVar[int] = 1
    privileged: ClassVar[bool] = True
    differentiable: ClassVar[bool] = False
    encoder_hash: ClassVar[None] = None
    dtype: ClassVar[torch.dtype] = torch.float32
    device: ClassVar[torch.device] = torch.device("cpu")

    env: GoalEnv
    action_block: int = 1

    @property
    def action_size(self) -> int:
        """A' = action_block x A."""
        return self.action_block * int((self.env.action_space.shape or (1,))[0])

    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        """The true state now.

        Raises:
            UsageError: the agent was not given the state.
        """
        if past.state is None:
            raise UsageError("the simulator needs the true state; give it to a privileged agent only")
        return (past.state,)

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        """True states f64 (B, K, H, S) after each of the actions (B, K, H, A')."""
        batch, candidates, horizon, _ = actions.shape
        steps = actions.detach().double().reshape(batch * candidates, horizon * self.action_block, -1)
        start = state[0].repeat_interleave(candidates, 0).numpy()
        path = self.env.simulate(start, steps.numpy())[:, self.action_block - 1 :: self.action_block]
        return torch.from_numpy(path.copy()).reshape(batch, candidates, *path.shape[1:])
