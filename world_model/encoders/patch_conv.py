"""PatchConv: a small convolutional encoder that is fast on a CPU."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from imagoal.errors import UsageError
from imagoal.world_model._types import Label


@dataclass(frozen=True)
class PatchConv:
    """A small convolutional network, one vector per frame; untrained (label `random`) unless `imagoal pretrain` trains it.

    Its first layer cuts the picture into patches, which on a CPU costs a seventh of a stack of strided 3x3 convolutions.
    Frames of 64x64 pixels; the vector is standardised per dimension by the statistics seen in training (BatchNorm without
    affine) if `normalise`.
    """

    label: ClassVar[Label] = "random"

    size: int = 32
    """Length D of the vector."""
    width: int = 64
    """Channels after the first layer; twice as many after the second."""
    normalise: bool = True
    """Whether a final normalisation standardises each dimension."""
    seed: int = 0
    """Of the weights before training."""

    def __post_init__(self) -> None:
        for name in ("size", "width"):
            if getattr(self, name) < 1:
                raise UsageError(f"PatchConv.{name} is {getattr(self, name)}; expected 1 or more")

    def build(self) -> nn.Module:
        """The network: float frames (M, 3, 64, 64) to (M, 1, D)."""
        return self.layers()

    def layers(self) -> nn.Module:
        """The same: its random weights come from nowhere else."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return _Net(self)


class _Net(nn.Module):
    def __init__(self, config: PatchConv) -> None:
        super().__init__()
        width = config.width
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 8, stride=8),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 2, stride=2),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(2 * width * 16, config.size),
        )
        self.norm = nn.BatchNorm1d(config.size, affine=False) if config.normalise else nn.Identity()

    def forward(self, frames: Tensor) -> Tensor:
        if frames.shape[1:] != (3, 64, 64):
            raise UsageError(f"frames of shape {tuple(frames.shape[1:])}; patch_conv expects (3, 64, 64)")
        return torch.as_tensor(self.norm(self.body(frames - 0.5)))[:, None]

    def before_norm(self, frames: Tensor) -> Tensor:
        """The vectors (M, D) before the final normalisation: where a collapse can be seen."""
        return torch.as_tensor(self.body(frames - 0.5))
