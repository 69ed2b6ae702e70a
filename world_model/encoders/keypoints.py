"""Keypoints: a frame as a handful of places in the picture."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from imagoal.world_model.encoders._features import FeatureNet, OnFeatures


@dataclass(frozen=True)
class Keypoints(OnFeatures):
    """Places found on frozen features, x and y of each, one token per place; random places unless `imagoal pretrain` trains it.

    A deep spatial autoencoder (Finn et al., arXiv 1509.06113) on generic features instead of pixels. The features, on a grid of
    one cell per 4 x 4 pixels, lose their mean at each cell, so that only what changes is seen, and are whitened. Two 3x3
    convolutions and a 1x1 make a map per keypoint, whose centre of mass is the place: x and y, from -1 at the left and upper
    edge of the picture to 1. Training asks that the features can be painted again from Gaussians at the places (as in Jakab
    et al., arXiv 1806.07823): it sees single frames, no labels, no actions. Frames of 64x64 pixels.
    """

    keypoints: int = 12
    """Places K: tokens of 2 numbers."""
    width: int = 48
    """Channels of the 3x3 convolutions."""

    def __post_init__(self) -> None:
        self._check_counts("keypoints", "width")
        super().__post_init__()

    def network(self) -> "KeypointNet":
        """Float frames (M, 3, 64, 64) to (M, K, 2)."""
        return KeypointNet(self)


class KeypointNet(FeatureNet):
    """Frozen features, centred and whitened, and the layers that find places on them."""

    def __init__(self, config: Keypoints) -> None:
        super().__init__(config)
        self.locate = Locate(config.components, config.width, config.keypoints)

    def forward(self, frames: Tensor) -> Tensor:
        """Latents (M, K, 2) of frames (M, 3, 64, 64) in [0, 1]."""
        return torch.as_tensor(self.locate(self.features(frames)))


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
