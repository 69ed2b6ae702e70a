"""Frozen features on a grid of cells, centred and whitened: what feature_grid hands out, and keypoints finds places on."""

from dataclasses import dataclass
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
class OnFeatures:
    """What the encoders on frozen features have in common; a subclass says which network."""

    label: ClassVar[Label] = "random"

    features: Literal["effnet", "patches", "random"] = "effnet"
    """effnet: EfficientNet-Lite0 up to stride 4, ImageNet weights; patches: raw pixels; random: effnet's layers, untrained."""
    components: int = 16
    """Principal components of the features that are kept."""
    seed: int = 0
    """Of the weights before training."""

    def __post_init__(self) -> None:
        self._check_counts("components")
        owner = type(self).__name__
        if self.features not in CHANNELS:
            raise UsageError(f"{owner}.features is {self.features!r}; expected one of {', '.join(CHANNELS)}")
        if self.components > CHANNELS[self.features]:
            raise UsageError(
                f"{owner}.components is {self.components}; expected at most {CHANNELS[self.features]}, "
                f"the channels of features {self.features!r}"
            )

    def build(self) -> "FeatureNet":
        """The network, its features with their published weights: float frames (M, 3, 64, 64) to (M, N, D).

        Raises:
            ResourceError: features are effnet's, and the package that holds their weights is not installed.
            DataError: those weights are not what was published.
        """
        network = self.layers()
        if self.features == "effnet":
            put_published(network.stem)
        return network

    def layers(self) -> "FeatureNet":
        """The same network with random weights: needs no package, for whoever has the weights saved."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.network()
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def network(self) -> "FeatureNet":
        """The layers, with weights from torch's generator."""
        raise NotImplementedError

    def _check_counts(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 1:
                raise UsageError(f"{type(self).__name__}.{name} is {getattr(self, name)}; expected 1 or more")


class Effnet(FeatureMap):
    """EfficientNet-Lite0 up to its second stage: (M, 3, 64, 64) to (M, 24, 16, 16)."""

    def __init__(self) -> None:
        super().__init__(stages=2, upsample=1)

    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames in [0, 1]."""
        return self.grid(frames)


CHANNELS = {"effnet": 24, "patches": 3 * CELL**2, "random": 24}
"""Of each kind of features."""


class FeatureNet(nn.Module):
    """Frozen features, centred and whitened; a subclass says what becomes of them."""

    background: Tensor

    def __init__(self, config: OnFeatures) -> None:
        super().__init__()
        self.stem = nn.PixelUnshuffle(CELL) if config.features == "patches" else Effnet()
        self.whiten = nn.Conv2d(CHANNELS[config.features], config.components, 1, bias=False)
        self.register_buffer("background", torch.zeros(config.components, GRID, GRID))

    def features(self, frames: Tensor) -> Tensor:
        """What differs from the background, whitened: (M, C, 16, 16)."""
        if frames.shape[1:] != (3, GRID * CELL, GRID * CELL):
            raise UsageError(f"frames of shape {tuple(frames.shape[1:])}; expected (3, 64, 64)")
        parts = [self.whiten(self.stem(part)) - self.background for part in torch.split(frames, CHUNK)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    @torch.no_grad()
    def fit(self, frames: Tensor) -> None:
        """Learn background and whitening from frames (M, 3, 64, 64) in [0, 1].

        The features become zero in the mean at each cell, and uncorrelated and of unit variance over all cells. All weights are
        rounded to float16, as they will be saved, so that the background fits them.
        """
        self.half().float()
        raw = torch.cat([self.stem(part) for part in torch.split(frames, CHUNK)])
        changes = (raw - raw.mean(0)).permute(0, 2, 3, 1).flatten(0, 2)
        variances, axes = torch.linalg.eigh((changes.T @ changes).double() / len(changes))
        kept = slice(-len(self.background), None)
        deviations = variances[kept].clamp_min(0).sqrt()
        least = (FITTED * deviations[-1]).clamp_min(1e-4)  # whose inverse fits into float16
        basis = axes[:, kept] / deviations.clamp_min(least)
        self.whiten.weight.copy_(basis.T[:, :, None, None].half())
        self.background.copy_(self.whiten(raw.mean(0)).half())
