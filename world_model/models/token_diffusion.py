"""TokenDiffusion: imagines a grid of a frozen encoder's tokens, out of noise."""

from typing import ClassVar

from imagoal.world_model._types import Place
from imagoal.world_model.models._grid import MapModel


class TokenDiffusion(MapModel):
    """The diffusion of the pixel models on the tokens of a frozen encoder, so that nothing but what is imagined differs."""

    place: ClassVar[Place] = "latent"
