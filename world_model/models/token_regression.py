"""TokenRegression: imagines a grid of a frozen encoder's tokens, each the mean of what may follow."""

from typing import ClassVar

from imagoal.world_model._types import Place
from imagoal.world_model.models._grid import MapModel


class TokenRegression(MapModel):
    """The U-Net of the pixel models on the tokens of a frozen encoder, so that nothing but what is imagined differs."""

    place: ClassVar[Place] = "latent"
