"""Frames that stand for latents, since nothing decodes them."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagoal import files
from imagoal.envs import Frames


@dataclass(frozen=True)
class Gallery:
    """Frames with their latents: an imagined latent is shown as the real frame nearest to it, since nothing decodes latents.

    Attributes:
        frames: u8 (G, h, w, 3).
        latents: f32 (G, N, D).
    """

    frames: Frames
    latents: Tensor

    def nearest(self, latents: Tensor) -> Frames:
        """Frames (M, h, w, 3) nearest to latents (M, N, D)."""
        nearest: Frames = self.frames[torch.cdist(latents.cpu().flatten(1), self.latents.flatten(1)).argmin(1).numpy()]
        return nearest

    def save(self, path: Path) -> None:
        """Write as one `.npz`."""
        files.write_npz(path, {"frames": self.frames, "latents": self.latents.half().numpy()})


def read_gallery(data: bytes) -> Gallery:
    """A gallery from the bytes of its file."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Gallery(arrays["frames"], torch.from_numpy(arrays["latents"]).float())
