"""Latents of every frame of a store: encoded once, kept beside the frames, read by every training."""

import numpy as np
import torch
from torch import Tensor

from imagoal import files
from imagoal.envs.store import FrameCache
from imagoal.errors import NumericalError
from imagoal.progress import Progress
from imagoal.world_model._frames import to_tensor
from imagoal.world_model.readouts import FRAMES_AT_ONCE, FrozenEncoder


def encode_all(cache: FrameCache, encoder: FrozenEncoder) -> Tensor:
    """Latents f16 (F, N, D) of all frames of a cache, from `latents-<encoder hash>.npy` there if it is good.

    Raises:
        NumericalError: a latent is not finite in float16.
    """
    path = cache.folder / f"latents-{encoder.hash}.npy"
    if path.exists():
        try:
            found = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            found = np.zeros(0)
        if len(found) == len(cache.frames) and found.dtype == np.float16:
            return torch.from_numpy(found)
    latents = _encode(cache, encoder)
    if not torch.isfinite(latents).all():
        raise NumericalError(f"encoder {encoder.hash[:12]} gives latents that are not finite in float16; scale it down")
    files.write(path, lambda file: np.save(file, latents.numpy(), allow_pickle=False))
    return latents


def _encode(cache: FrameCache, encoder: FrozenEncoder) -> Tensor:
    parts = []
    with Progress("encoding frames", total=len(cache.frames)) as progress, torch.no_grad():
        for begin in range(0, len(cache.frames), FRAMES_AT_ONCE):
            part = encoder.encode(to_tensor(cache.frames[begin : begin + FRAMES_AT_ONCE])).half()
            parts.append(part)
            progress.advance(len(part))
    return torch.cat(parts)
