"""A grid of frozen features: a frame as one token per cell of the picture."""

from dataclasses import dataclass

from torch import Tensor

from imagoal.world_model.encoders._features import FeatureNet, OnFeatures


@dataclass(frozen=True)
class FeatureGrid(OnFeatures):
    """Frozen features, one token per cell of 4x4 pixels; its whitening is random unless `imagoal pretrain` fits it.

    Frames of 64x64 pixels give 16 x 16 tokens, row by row. The features lose their mean at each cell, so that only what changes
    is seen, and are whitened to `components` numbers, the leading principal components. Like the patch tokens of DINO-WM (arXiv
    2411.04983), of a smaller network on a finer grid. Fitting reads frames alone, in one go: there are no steps of training.
    """

    def network(self) -> "FeatureGridNet":
        """Float frames (M, 3, 64, 64) to (M, 256, components)."""
        return FeatureGridNet(self)


class FeatureGridNet(FeatureNet):
    """Frozen features, centred and whitened, as tokens."""

    def forward(self, frames: Tensor) -> Tensor:
        """Latents (M, 256, C) of frames (M, 3, 64, 64) in [0, 1]."""
        return self.features(frames).flatten(2).transpose(1, 2).contiguous()

    def before_norm(self, frames: Tensor) -> Tensor:
        """The same as vectors (M, 256 C): there is no final normalisation."""
        return self.forward(frames).flatten(1)
