"""Encoders, one per file, each beside how it learns."""

from imagoal.world_model.encoders._autoencode import learn_autoencoder
from imagoal.world_model.encoders._predictive import HISTORY, pretrain, watch
from imagoal.world_model.encoders._reconstruct import learn_keypoints
from imagoal.world_model.encoders._whiten import fit_whitening

__all__ = ["HISTORY", "fit_whitening", "learn_autoencoder", "learn_keypoints", "pretrain", "watch"]
