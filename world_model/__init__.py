"""Frozen encoders, predictors, world models, and their training."""

from imagoal.world_model._chain import Chain
from imagoal.world_model._load import load
from imagoal.world_model._map_folder import MapFolder
from imagoal.world_model._model import LatentFolder, locate
from imagoal.world_model._types import Encoder, Observation, Past, Predictor, WorldModel
from imagoal.world_model.latent import Latent
from imagoal.world_model.simulator import Simulator

__all__ = [
    "Chain",
    "Encoder",
    "Latent",
    "LatentFolder",
    "MapFolder",
    "Observation",
    "Past",
    "Predictor",
    "Simulator",
    "WorldModel",
    "load",
    "locate",
]
