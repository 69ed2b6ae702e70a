"""Training a predictor on the cached latents of a frozen encoder."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imagoal.envs.store import FrameCache, Ints
from imagoal.world_model._types import Predictor, PredictorConfig
from imagoal.world_model.disk import Run
from imagoal.world_model.models._loss import Loss
from imagoal.world_model.readouts import FrozenEncoder, Metric, Probe, fit_probe, resting, slowness
from imagoal.world_model.training import Schedule, Windows, encode_all, fit, frame_rows, split_episodes

PROBE_FRAMES = 8000
"""Frames to which the probe is fitted."""


@dataclass(frozen=True)
class Trained:
    """What training gives.

    Attributes:
        predictor: the network.
        slowness: distance between latents that keeps the slow directions.
        resting: distance between latents that tells the object from the agent's body.
        probe: linear read-out of the visible positions from the latents.
        gallery_rows: flat indices of frames that stand for the latents near them when an imagined future is shown.
        errors: of the probed positions in metres on held-out episodes, of the object and, if one is shown, of the agent's own
            body, by imagined step; step 0 is the encoded frame.
    """

    predictor: Predictor
    slowness: Metric
    resting: Metric
    probe: Probe
    gallery_rows: Ints
    errors: dict[str, list[float]]


def train_latent(
    cache: FrameCache,
    positions: Tensor,
    encoder: FrozenEncoder,
    config: PredictorConfig,
    schedule: Schedule,
    future: int,
    block: int,
    seed: int,
    run: Run,
    loss: Loss | None = None,
    object_size: int = 2,
) -> Trained:
    """Encode the data once, and train a predictor on it.

    The loss is the error, in units of each dimension's usual change, of one step from true latents (teacher forcing) plus that
    of `future` steps from its own; by default squared.

    Args:
        cache: the store's frames and actions.
        positions: f32 (F, V), what each frame shows, metres; for the probe and the errors only.
        encoder: frozen.
        config: of the predictor.
        schedule: length and rates.
        future: imagined model steps that the rollout loss covers.
        block: env steps per model step.
        seed: of weights and batches.
        run: holds checkpoints and metrics.
        loss: how errors count.
        object_size: how many leading numbers of V are the object's.
    """
    loss = loss or Loss()
    learned, held = split_episodes(cache)
    windows = Windows(cache, cache.window_index(config.history, future, block, learned), seed)
    tested = Windows(cache, cache.window_index(config.history, future, block, held), seed)
    latents = encode_all(cache, encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        predictor = config.build(latents.shape[1], latents.shape[2], windows.action_size)
    now, changes = _changes(windows, latents)
    predictor.fit_scale(now, changes)
    weights = loss.weights(changes)
    pairs = Windows(cache, cache.window_index(config.history, 1, block, learned), seed)

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        if step < loss.one_step * schedule.steps:
            one = loss.pairs(predictor, *pairs.latents(latents, step, schedule.batch * future), weights)
            return one, {"forced": float(one.detach())}
        forced, rolled = loss.windows(predictor, *windows.latents(latents, step, schedule.batch), weights)
        return forced + rolled, {"forced": float(forced.detach()), "rolled": float(rolled.detach())}

    fit(predictor, loss_at, schedule, run, "train")
    rows = frame_rows(cache, learned, PROBE_FRAMES, seed)
    probe = fit_probe(latents[rows].float(), positions[rows])
    return Trained(
        predictor,
        slowness(changes),
        resting(changes),
        probe,
        rows,
        probe_errors(predictor, probe, tested, latents, positions, object_size),
    )


@torch.no_grad()
def probe_errors(
    predictor: Predictor,
    probe: Probe,
    windows: Windows,
    latents: Tensor,
    positions: Tensor,
    object_size: int,
    count: int = 2000,
) -> dict[str, list[float]]:
    """Mean distance in metres between probed and true positions, for the frame itself and after 1, 2, ... imagined steps."""
    ids = np.random.default_rng([windows.seed, 11]).integers(0, len(windows.index), count)
    rows = torch.from_numpy(windows.index.rows(ids))
    actions = torch.from_numpy(windows.index.actions(windows.cache.actions, ids))
    past, history = latents[rows[:, : predictor.history]].float(), predictor.history
    imagined, _ = predictor.unroll(predictor.start(past, actions[:, : history - 1]), actions[:, history - 1 :])
    path = torch.cat([past[:, -1:], imagined], 1)
    probed = probe(path.flatten(0, 1)).reshape(*path.shape[:2], -1)
    errors = probed - positions[rows[:, history - 1 :]]
    parts = {"object": errors[..., :object_size], "agent": errors[..., object_size:]}
    return {name: part.norm(dim=-1).mean(0).tolist() for name, part in parts.items() if part.shape[-1]}


def _changes(windows: Windows, latents: Tensor, count: int = 8192) -> tuple[Tensor, Tensor]:
    """Latents (M, N, D) drawn from the windows, and their changes (M, N, D) in the model step that follows."""
    ids = np.random.default_rng([windows.seed, 3]).integers(0, len(windows.index), count)
    rows = windows.index.rows(ids)
    now, following = (latents[rows[:, column]].float() for column in (-2, -1))
    return now, following - now
