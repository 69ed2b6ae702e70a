"""Pre-training an encoder: predict the next embedding from the last ones and the actions, under an objective."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor, nn

from imagoal.envs.store import FrameCache
from imagoal.world_model._frames import as_float, to_tensor
from imagoal.world_model.disk import Run
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.predictors.mlp import MLP
from imagoal.world_model.readouts import FrozenEncoder, effective_rank, fit_probe, r2
from imagoal.world_model.training import Schedule, Windows, fit, frame_rows

HISTORY = 3
"""Embeddings that the prediction sees: velocity shows in two, what a wall did in three."""

WATCHED = 1536
"""Frames on which spread, rank and probe are watched along training; the last third tests the probe."""

LOOK_EVERY = 50
"""Steps between looks."""


class Objective(Protocol):
    """An entry of `world_model/objectives/`."""

    @property
    def normalise(self) -> bool:
        """Whether the encoder ends in a normalisation."""
        ...

    def loss(self, embeddings: Tensor, predicted: Tensor, following: Tensor, generator: Generator) -> Tensor:
        """A scalar, from embeddings (M, T, D), and predicted and following (M, P, D)."""
        ...


@dataclass(frozen=True)
class Watch:
    """Frames (F, 3, h, w) of all episodes, and positions (F, V) in metres, from which nothing but the probe is learned."""

    frames: Tensor
    positions: Tensor

    @torch.no_grad()
    def look(self, net: Any) -> dict[str, float]:
        """Mean standard deviation before any final normalisation; effective rank and the probe's R2 after it."""
        was_training = net.training
        net.eval()
        frames = as_float(self.frames)
        raw, latents = net.before_norm(frames), net(frames)
        net.train(was_training)
        cut = len(frames) * 2 // 3
        probe = fit_probe(latents[:cut], self.positions[:cut], penalty=1e-6)
        score = r2(probe, latents[cut:], self.positions[cut:])
        return {"std": float(raw.std(0).mean()), "rank": effective_rank(latents.flatten(1)), "r2": score}


def watch(cache: FrameCache, positions: Tensor, seed: int) -> Watch:
    """Frames to watch, drawn from all episodes; positions are those of every frame of the cache, (F, V)."""
    rows = frame_rows(cache, np.arange(len(cache.starts)), WATCHED, seed)
    order = np.random.default_rng(seed).permutation(rows)  # so that fitting and testing frames are of the same kind
    return Watch(to_tensor(cache.frames[order]), positions[order])


class _Learner(nn.Module):
    """The encoder's network with the predictor that teaches it."""

    def __init__(self, config: PatchConv, action_size: int, seed: int) -> None:
        super().__init__()
        self.encoder = config.build()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.predictor = MLP(history=HISTORY, depth=2).build(1, config.size, action_size)

    def forward(self, frames: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (M, T, D) of frames (M, T, 3, h, w), and those imagined for the last T - HISTORY."""
        embeddings = self.encoder(as_float(frames).flatten(0, 1)).reshape(*frames.shape[:2], 1, -1)
        memory = self.predictor.start(embeddings[:, :HISTORY], actions[:, : HISTORY - 1])
        predicted, _ = self.predictor.unroll(memory, actions[:, HISTORY - 1 :])
        return embeddings[:, :, 0], predicted[:, :, 0]


@torch.no_grad()
def _calibrate(net: nn.Module, frames: Tensor) -> None:
    """Scale each layer so that its outputs vary by 1 across frames (Mishkin & Matas, arXiv 1511.06422).

    Only where no final normalisation does it: an embedding that starts at a thousandth of unit spread could not be seen to
    collapse. With one, a plain start learns smoother embeddings.
    """
    values = as_float(frames) - 0.5
    for layer in net.get_submodule("body").children():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            outputs = layer(values)
            spread = outputs.var(0).mean().sqrt()
            layer.weight.div_(spread)
            layer.bias.sub_(outputs.transpose(0, 1).flatten(1).mean(1)).div_(spread)
        values = layer(values)


def pretrain(
    windows: Windows,
    watch: Watch,
    config: PatchConv,
    objective: Objective,
    schedule: Schedule,
    future: int,
    seed: int,
    run: Run,
) -> FrozenEncoder:
    """Train a PatchConv encoder on windows of frames and actions, and freeze it.

    Args:
        windows: of HISTORY + `future` frames.
        watch: frames on which `metrics.jsonl` reports spread, rank and probe.
        config: its `normalise` and `seed` are set from the objective and the seed.
        objective: what keeps the embedding from collapsing, or does not.
        schedule: length and rates.
        future: imagined steps that are compared with the true embeddings.
        seed: of the weights, batches and projections.
        run: holds checkpoints and metrics.
    """
    config = dataclasses.replace(config, normalise=objective.normalise, seed=seed)
    learner = _Learner(config, windows.action_size, seed)
    if not objective.normalise:
        _calibrate(learner.encoder, watch.frames)

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        frames, actions = windows.frames(step, schedule.batch)
        embeddings, predicted = learner(frames, actions)
        following = embeddings[:, HISTORY:]
        loss = objective.loss(embeddings, predicted, following, windows.generator(step))
        watched = step % LOOK_EVERY == 0 or step + 1 == schedule.steps
        return loss, watch.look(learner.encoder) if watched else {}

    fit(learner, loss_at, schedule, run, "pretrain", log_every=LOOK_EVERY)
    return FrozenEncoder(config, learner.encoder, "in_domain_actions")
