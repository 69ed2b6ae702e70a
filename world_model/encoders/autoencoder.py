"""An autoencoder: a frame as a grid of compressed pixels, from which it can be painted again."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from imagoal.errors import UsageError
from imagoal.world_model._types import Label
from imagoal.world_model.encoders._features import CELL, CHUNK, GRID

LEAST_CONTRAST = 1e-3
"""A picture in which nothing changes is not blown up."""


@dataclass(frozen=True)
class Autoencoder:
    """Compressed pixels, one token per cell of 4x4 pixels, that a decoder inverts; random unless `imagoal pretrain` trains it.

    Frames of 64x64 pixels give 16 x 16 tokens, row by row, whose channels are standardised; `build().decode` paints the frames
    again. Like the continuous tokenizers in front of latent diffusion (Rombach et al., arXiv 2112.10752; Cosmos, arXiv
    2501.03575), but trained by squared errors alone, with noise on the latents in place of a KL term. What all frames share is
    not compressed, but subtracted first and added in the end. It sees single frames, no labels, no actions.
    """

    label: ClassVar[Label] = "random"

    channels: int = 4
    """Numbers per cell D, of 48 in the picture."""
    width: int = 64
    """Channels of the 3x3 convolutions."""
    seed: int = 0
    """Of the weights before training."""

    def __post_init__(self) -> None:
        for name in ("channels", "width"):
            if getattr(self, name) < 1:
                raise UsageError(f"Autoencoder.{name} is {getattr(self, name)}; expected 1 or more")

    def build(self) -> "AutoencoderNet":
        """The network: float frames (M, 3, 64, 64) to (M, 256, D)."""
        return self.layers()

    def layers(self) -> "AutoencoderNet":
        """The same: its random weights come from nowhere else."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = AutoencoderNet(self)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class AutoencoderNet(nn.Module):
    """Encoder, standardisation of its channels, and decoder, of what differs from the background."""

    background: Tensor
    contrast: Tensor

    def __init__(self, config: Autoencoder) -> None:
        super().__init__()
        pixels = 3 * CELL**2
        self.register_buffer("background", torch.zeros(3, GRID * CELL, GRID * CELL))
        self.register_buffer("contrast", torch.ones(()))
        self.encoder = nn.Sequential(nn.PixelUnshuffle(CELL), *convolutions(pixels, config.width, config.channels))
        self.norm = nn.BatchNorm2d(config.channels, affine=False)
        self.decoder = nn.Sequential(*convolutions(config.channels, config.width, pixels), nn.PixelShuffle(CELL))

    def forward(self, frames: Tensor) -> Tensor:
        """Latents (M, 256, D) of frames (M, 3, 64, 64) in [0, 1]."""
        return torch.as_tensor(self.norm(self.before_norm(frames))).flatten(2).transpose(1, 2).contiguous()

    def before_norm(self, frames: Tensor) -> Tensor:
        """Latents (M, D, 16, 16), not yet standardised."""
        return torch.cat([self.encoder(self.changes(part)) for part in torch.split(frames, CHUNK)])

    def decode(self, latents: Tensor) -> Tensor:
        """Frames (M, 3, 64, 64), in [0, 1] but for small errors, of latents (M, 256, D)."""
        grids = latents.transpose(1, 2).reshape(len(latents), -1, GRID, GRID)
        changes = torch.cat([self.decoder(part) for part in torch.split(grids, CHUNK)])
        return changes * self.contrast + self.background

    def changes(self, frames: Tensor) -> Tensor:
        """What differs from the background (M, 3, 64, 64), about as much as 1 in the root of the mean square."""
        if frames.shape[1:] != self.background.shape:
            raise UsageError(f"frames of shape {tuple(frames.shape[1:])}; expected {tuple(self.background.shape)}")
        return (frames - self.background) / self.contrast

    @torch.no_grad()
    def fit_background(self, frames: Tensor) -> None:
        """Learn background and contrast, before training, from frames (M, 3, 64, 64) in [0, 1]."""
        self.background.copy_(frames.mean(0).half())
        self.contrast.copy_((frames - self.background).square().mean().sqrt().clamp_min(LEAST_CONTRAST).half())

    @torch.no_grad()
    def standardise(self, frames: Tensor) -> None:
        """Give each channel mean 0 and variance 1 over frames (M, 3, 64, 64) in [0, 1].

        Weights are rounded to float16 first, as they will be saved, so that this holds for what is loaded.
        """
        grids = self.half().float().before_norm(frames)
        self.get_buffer("norm.running_mean").copy_(grids.mean((0, 2, 3)))
        self.get_buffer("norm.running_var").copy_(grids.var((0, 2, 3)))


def convolutions(inputs: int, width: int, outputs: int) -> list[nn.Module]:
    """Two 3x3 convolutions and a 1x1."""
    return [
        nn.Conv2d(inputs, width, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(width, outputs, 1),
    ]
