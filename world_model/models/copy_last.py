"""CopyLast: imagines that nothing changes, whatever is done; what every pixel model has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from imagoal.world_model._frames import as_float
from imagoal.world_model._types import Past, Place, State


@dataclass(frozen=True)
class CopyLast:
    """The last frame, again and again.

    Attributes:
        action_size: A' of one model step.
        action_block: env steps per model step.
    """

    place: ClassVar[Place] = "frame"
    history: ClassVar[int] = 1
    privileged: ClassVar[bool] = False
    differentiable: ClassVar[bool] = False
    encoder_hash: ClassVar[None] = None
    dtype: ClassVar[torch.dtype] = torch.float32
    device: ClassVar[torch.device] = torch.device("cpu")

    action_size: int
    action_block: int = 1

    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        """The last frame (B, 3, h, w) in [0, 1]."""
        return (as_float(past.frames[:, -1]),)

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        """Frames (B, K, H, 3, h, w), all alike, after actions (B, K, H, A')."""
        (frame,) = state
        return frame[:, None, None].expand(-1, *actions.shape[1:3], *frame.shape[1:])
