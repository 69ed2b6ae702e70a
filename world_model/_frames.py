"""Frames between numpy (h, w, 3) and torch (3, h, w): the one place where they are turned."""

import numpy as np
import torch
from torch import Tensor

from imagoal.envs import Frames


def to_tensor(frames: Frames) -> Tensor:
    """Frames u8 (..., h, w, 3) as a tensor u8 (..., 3, h, w)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(frames, -1, -3)))


def to_array(frames: Tensor) -> Frames:
    """Frames (..., 3, h, w), u8 or float in [0, 1] (clamped), as u8 (..., h, w, 3) for display."""
    if frames.dtype != torch.uint8:
        frames = (frames.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.moveaxis(frames.cpu().numpy(), -3, -1)


def as_float(frames: Tensor) -> Tensor:
    """Frames in [0, 1], whether they came as u8 or as floats."""
    return frames / 255 if frames.dtype == torch.uint8 else frames
