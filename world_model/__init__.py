"""The nouns of learning. Each room has its own face: disk, readouts, training, objectives, predictors, encoders, models."""

from imagoal.world_model._frames import as_float, to_array, to_tensor
from imagoal.world_model._types import (
    PLACES,
    Encoder,
    EncoderConfig,
    Label,
    Linearised,
    Memory,
    Observation,
    Past,
    PathModel,
    Place,
    Predictor,
    PredictorConfig,
    State,
    WorldModel,
    pad_start,
    shows_paths,
)

__all__ = [
    "PLACES", "Encoder", "EncoderConfig", "Label", "Linearised", "Memory", "Observation", "Past", "PathModel", "Place",
    "Predictor", "PredictorConfig", "State", "WorldModel", "as_float", "pad_start", "shows_paths", "to_array", "to_tensor",
]  # fmt: skip
