"""World models, one per file, how they learn, and their folders on disk."""

from imagoal.world_model.models._align import Align
from imagoal.world_model.models._compiled import Imagine, compile_rollout, plain_rollout
from imagoal.world_model.models._grid import MapModel
from imagoal.world_model.models._grid_training import Maps, Practice, fit_readouts, imagining_loss, map_errors, train_maps
from imagoal.world_model.models._heads import Diffusion, Head, Mean
from imagoal.world_model.models._latent_folder import (
    METRICS,
    LatentFolder,
    assemble_latent,
    load_latent,
    locate,
    save_latent,
    weights_hash,
)
from imagoal.world_model.models._latent_training import Trained, probe_errors, train_latent
from imagoal.world_model.models._load import WorldModelFolder, load
from imagoal.world_model.models._loss import Loss
from imagoal.world_model.models._map_folder import MAP_KINDS, MapFolder, assemble_maps, save_maps
from imagoal.world_model.models._precision import Precision, bf16_units, is_rough, mixed
from imagoal.world_model.models._unet import GROUPS, Block, Trunk, TrunkNet

__all__ = [
    "GROUPS", "MAP_KINDS", "METRICS", "Align", "Block", "Diffusion", "Head", "Imagine", "LatentFolder", "Loss", "MapFolder",
    "MapModel", "Maps", "Mean", "Practice", "Precision", "Trained", "Trunk", "TrunkNet", "WorldModelFolder",
    "assemble_latent", "assemble_maps", "bf16_units", "compile_rollout", "fit_readouts", "imagining_loss", "is_rough",
    "load", "load_latent", "locate", "map_errors", "mixed", "plain_rollout", "probe_errors", "save_latent", "save_maps",
    "train_latent", "train_maps", "weights_hash",
]  # fmt: skip
