"""Keypoints: a frame as a handful of places in the picture."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from imagoal.errors import UsageError
from imagoal.world_model._types import Label
from imagoal.world_model.encoders.effnet_lite0 import FeatureMap, put_published

CELL = 4
"""Pixels per cell and side of the grid of features."""

GRID = 16
"""Cells per side: frames have 64 x 64 pixels."""

FITTED = 1e-3
"""Components that vary less than this share of the leading one's standard deviation are not blown up to unit variance."""

CHUNK = 32
"""Frames whose features are computed at once: more do not fit into a processor's cache, and take three times as long each."""


@dataclass(frozen=True)
class Keypoints:
    """Places found on frozen features, x and y of each, one token per place; random places unless `imagoal pretrain` trains it.

    A deep spatial autoencoder (Finn et al., arXiv 1509.06113) on generic features instead of pixels. The features, on a grid of
    one cell per 4 x 4 pixels, lose their mean at each cell, so that only what changes is seen, and are whitened. Two 3x3
    convolutions and a 1x1 make a map per keypoint, whose centre of mass is the place: x and y, from -1 at the left and upper
    edge of the picture to 1. Training asks that the features can be painted again from Gaussians at the places (as in Jakab
    et al., arXiv 1806.07823): it sees single frames, no labels, no actions. Frames of 64x64 pixels.
    """

    label: ClassVar[Label] = "random"

    keypoints: int = 12
    """Places K: tokens of 2 numbers."""
    features: Literal["effnet", "patches", "random"] = "effnet"
    """effnet: EfficientNet-Lite0 up to stride 4, ImageNet weights; patches: raw pixels; random: effnet's layers, untrained."""
    components: int = 16
    """Principal components of the features that are kept."""
    width: int = 48
    """Channels of the 3x3 convolutions."""
    seed: int = 0
    """Of the weights before training."""

    def __post_init__(self) -> None:
        for name in ("keypoints", "components", "width"):
            if getattr(self, name) < 1:
                raise UsageError(f"Keypoints.{name} is {getattr(self, name)}; expected 1 or more")
        if self.features not in CHANNELS:
            raise UsageError(f"Keypoints.features is {self.features!r}; expected one of {', '.join(CHANNELS)}")
        if self.components > CHANNELS[self.features]:
            raise UsageError(
                f"Keypoints.components is {self.components}; expected at most {CHANNELS[self.features]}, "
                f"the channels of features {self.features!r}"
            )

    def build(self) -> "KeypointNet":
        """The network, its features with their published weights: float frames (M, 3, 64, 64) to (M, K, 2).

        Raises:
            ResourceError: features are effnet's, and the package that holds their weights is not installed.
            DataError: those weights are not what was published.
        """
        network = self.layers()
        if self.features == "effnet":
            put_published(network.stem)
        return network

    def layers(self) -> "KeypointNet":
        """The same network with random weights: needs no package, for whoever has the weights saved."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = KeypointNet(self)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class Effnet(FeatureMap):
    """EfficientNet-Lite0 up to its second stage: (M, 3, 64, 64) to (M, 24, 16, 16)."""

    def __init__(self) -> None:
        super().__init__(stages=2, upsample=1)

    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames in [0, 1]."""
        return self.grid(frames)


CHANNELS = {"effnet": 24, "patches": 3 * CELL**2, "random": 24}
"""Of each kind of features."""


class KeypointNet(nn.Module):
    """Frozen features, centred and whitened, and the layers that find places on them."""

    background: Tensor

    def __init__(self, config: Keypoints) -> None:
        super().__init__()
        self.stem = nn.PixelUnshuffle(CELL) if config.features == "patches" else Effnet()
        self.whiten = nn.Conv2d(CHANNELS[config.features], config.components, 1, bias=False)
        self.register_buffer("background", torch.zeros(config.components, GRID, GRID))
        self.locate = Locate(config.components, config.width, config.keypoints)

    def forward(self, frames: Tensor) -> Tensor:
        """Latents (M, K, 2) of frames (M, 3, 64, 64) in [0, 1]."""
        return torch.as_tensor(self.locate(self.features(frames)))

    def features(self, frames: Tensor) -> Tensor:
        """What differs from the background, whitened: (M, C, 16, 16)."""
        if frames.shape[1:] != (3, GRID * CELL, GRID * CELL):
            raise UsageError(f"frames of shape {tuple(frames.shape[1:])}; keypoints expects (3, 64, 64)")
        parts = [self.whiten(self.stem(part)) - self.background for part in torch.split(frames, CHUNK)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    @torch.no_grad()
    def fit(self, frames: Tensor) -> None:
        """Learn background and whitening from frames (M, 3, 64, 64) in [0, 1].

        The features become zero in the mean at each cell, and uncorrelated and of unit variance over all cells.
        """
        raw = torch.cat([self.stem(part) for part in torch.split(frames, CHUNK)])
        changes = (raw - raw.mean(0)).permute(0, 2, 3, 1).flatten(0, 2)
        variances, axes = torch.linalg.eigh((changes.T @ changes).double() / len(changes))
        kept = slice(-len(self.background), None)
        deviations = variances[kept].clamp_min(0).sqrt()
        least = (FITTED * deviations[-1]).clamp_min(1e-4)  # whose inverse fits into float16
        basis = axes[:, kept] / deviations.clamp_min(least)
        self.whiten.weight.copy_(basis.T[:, :, None, None].half())  # as it will be saved, so that the background fits it
        self.background.copy_(self.whiten(raw.mean(0)).half())


class Locate(nn.Module):
    """Features (M, C, h, w) to the places (M, K, 2) of K keypoints."""

    def __init__(self, channels: int, width: int, keypoints: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, keypoints, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """A place is a token: so whoever compares latents can tell which keypoints rest."""
        return centre_of_mass(self.body(features))

    def before_norm(self, features: Tensor) -> Tensor:
        """The same as vectors (M, 2 K): there is no final normalisation."""
        return self.forward(features).flatten(1)


def centre_of_mass(maps: Tensor) -> Tensor:
    """Places (M, K, 2), x and y from -1 to 1 over the picture, of maps (M, K, h, w); the middle where a map is flat.

    A cell weighs the square of what it stands above its map's mean. Unlike a spatial soft-argmax this has no temperature, which
    either leaves places near the middle or lets them snap to the cells' centres.
    """
    weight = (maps - maps.mean((2, 3), keepdim=True)).relu().square().flatten(2)
    share = weight / (weight.sum(2, keepdim=True) + 1e-6)
    return share @ cells(*maps.shape[2:]).to(maps)


@cache
def cells(high: int, wide: int) -> Tensor:
    """Centres (h * w, 2) of a grid's cells, row by row: x and y, where the picture reaches from -1 to 1."""
    rows, columns = ((2 * torch.arange(size) + 1) / size - 1 for size in (high, wide))
    return torch.stack([columns.repeat(high), rows.repeat_interleave(wide)], 1)
