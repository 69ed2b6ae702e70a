"""Fitting a grid of frozen features to a store: its background and its whitening. Neither labels nor actions are read."""

import dataclasses

from imagoal.envs.store import FrameCache
from imagoal.world_model._frames import as_float, to_tensor
from imagoal.world_model.disk import Run
from imagoal.world_model.encoders._predictive import Watch
from imagoal.world_model.encoders.feature_grid import FeatureGrid
from imagoal.world_model.readouts import FrozenEncoder
from imagoal.world_model.training import frame_rows, split_episodes

FITTED_FRAMES = 2048
"""Frames to which the whitening is fitted."""


def fit_whitening(cache: FrameCache, watch: Watch, config: FeatureGrid, seed: int, run: Run) -> FrozenEncoder:
    """Fit a grid of features to the frames of a cache, and freeze it.

    Args:
        cache: only frames are read, of the episodes that are not held out.
        watch: frames on which `metrics.jsonl` reports spread, rank and probe.
        config: its `seed` is set from the seed.
        seed: of the weights, if they are random, and of the draw of frames.
        run: holds metrics.
    """
    config = dataclasses.replace(config, seed=seed)
    net = config.build().requires_grad_(False)
    net.fit(as_float(to_tensor(cache.frames[frame_rows(cache, split_episodes(cache)[0], FITTED_FRAMES, seed)])))
    run.log(0, watch.look(net))
    return FrozenEncoder(config, net, "in_domain_action_free")
