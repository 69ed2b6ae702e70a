"""What reads frames and latents without imagining: frozen encoder, probe, metrics, gallery, and the chain between them."""

from imagoal.world_model.readouts._chain import Chain, Link
from imagoal.world_model.readouts._frozen import FRAMES_AT_ONCE, FrozenEncoder, build_encoder, load_encoder, named_encoder
from imagoal.world_model.readouts._gallery import Gallery, read_gallery
from imagoal.world_model.readouts._metric import Metric, load_metric, resting, slowness, still
from imagoal.world_model.readouts._probe import Probe, effective_rank, fit_probe, load_probe, object_size, r2, visible_positions

__all__ = [
    "FRAMES_AT_ONCE", "Chain", "FrozenEncoder", "Gallery", "Link", "Metric", "Probe", "build_encoder", "effective_rank",
    "fit_probe", "load_encoder", "load_metric", "load_probe", "named_encoder", "object_size", "r2", "read_gallery",
    "resting", "slowness", "still", "visible_positions",
]  # fmt: skip
