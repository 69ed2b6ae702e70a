"""PixelRegression: imagines the frames themselves, each the mean of what may follow."""

from typing import ClassVar

from imagoal.world_model._types import Place
from imagoal.world_model.models._grid import MapModel


class PixelRegression(MapModel):
    """A U-Net that imagines the next frame, one step after another: of futures that differ, their blurred mean."""

    place: ClassVar[Place] = "frame"
