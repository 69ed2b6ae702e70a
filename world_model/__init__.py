"""Frozen encoders, predictors, world models, and their training."""

from imagoal.world_model._chain import Chain
from imagoal.world_model._model import LatentFolder, load, locate
from imagoal.world_model._types import Encoder, Observation, Past, Predictor, WorldModel
from imagoal.world_model.latent import Latent
from imagoal.world_model.simulator import Simulator

__all__ = [
    "Chain",
    "Encoder",
    "Latent",
    "LatentFolder",
    "Observation",
    "Past",
    "Predictor",
    "Simulator",
    "WorldModel",
    "load",
    "locate",
]
