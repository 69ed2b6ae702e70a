"""PixelDiffusion: imagines the frames themselves, each one of those that may follow."""

from typing import ClassVar

from imagoal.world_model._types import Place
from imagoal.world_model.models._grid import MapModel


class PixelDiffusion(MapModel):
    """A U-Net that imagines the next frame out of noise, in a few steps of denoising (arXiv 2206.00364, 2405.12399)."""

    place: ClassVar[Place] = "frame"
