"""PixelRegression: imagines the frames themselves, each the mean of what may follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from imagoal.errors import UsageError
from imagoal.world_model._pixel_net import PixelNet
from imagoal.world_model._types import Past, Place, State, pad_start

CHUNK = 64
"""Sequences that are imagined at a time, so that what a convolution reads is still near the processor."""


@dataclass(frozen=True, eq=False)
class PixelRegression:
    """A network that imagines the next frame, one step after another: of futures that differ, their blurred mean.

    Attributes:
        net: the trunk; its weights do not change any more.
        action_size: A' of one model step.
        frame_size: (h, w) of the frames that it was trained on.
        action_block: env steps per model step.
    """

    place: ClassVar[Place] = "frame"
    privileged: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    encoder_hash: ClassVar[None] = None
    dtype: ClassVar[torch.dtype] = torch.float32

    net: PixelNet
    action_size: int
    frame_size: tuple[int, int]
    action_block: int = 1

    def __post_init__(self) -> None:
        self.net.eval().requires_grad_(False)

    @property
    def history(self) -> int:
        """Past frames that the network sees."""
        return self.net.history

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.net.unit.device

    @torch.no_grad()
    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        """The last frames (B, history, C, h, w) in [0, 1] and the actions (B, history - 1, A') between them.

        Before an episode's start its first frame is repeated, with zero actions.

        Raises:
            UsageError: frames of another size than those that it was trained on.
        """
        found = tuple(past.frames.shape[-3:])
        if found != (3, *self.frame_size):
            raise UsageError(f"frames of shape {found}; the world model was trained on {(3, *self.frame_size)}; name another")
        frames = self.net.seen(past.frames[:, -self.history :].to(self.device))
        actions = past.actions.to(self.device, self.dtype)[:, past.actions.shape[1] - frames.shape[1] + 1 :]
        return pad_start(frames, actions, self.history - frames.shape[1])

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        """Imagined frames f32 (B, K, H, 3, h, w), not clamped, after each of the actions (B, K, H, A').

        A grey model's frames have three equal channels, which share their memory.
        """
        frames, past = (part.repeat_interleave(actions.shape[1], 0) for part in state)
        whole = torch.cat([past, actions.flatten(0, 1)], 1)
        chunks = zip(torch.split(frames, CHUNK), torch.split(whole, CHUNK), strict=True)
        imagined = torch.cat([unroll(self.net, *chunk) for chunk in chunks])
        shape = *actions.shape[:3], -1, *imagined.shape[-2:]
        return imagined.reshape(shape).expand(-1, -1, -1, 3, -1, -1)


def unroll(net: PixelNet, frames: Tensor, actions: Tensor) -> Tensor:
    """Imagine: frames (M, H, C, h, w) one after another; the next step sees each like a real one.

    Args:
        net: the trunk.
        frames: (M, history, C, h, w), the last true ones, as the network sees them.
        actions: (M, history - 1 + H, A'), between those frames and then from now on.
    """
    imagined = []
    for step in range(actions.shape[1] - net.history + 1):
        following = frames[:, -1] + net.unit * _change(net, frames, actions[:, step : step + net.history])
        imagined.append(following)
        frames = torch.cat([frames[:, 1:], following[:, None]], 1)
    return torch.stack(imagined, 1)


def _change(net: PixelNet, frames: Tensor, actions: Tensor) -> Tensor:
    """The change (M, C, h, w) after the last frame, in usual changes, with nothing said about the next one."""
    nothing = torch.zeros_like(frames[:, 0])
    change: Tensor = net(frames, actions, nothing, nothing.new_zeros(len(nothing)))
    return change
