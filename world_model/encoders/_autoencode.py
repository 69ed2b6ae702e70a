"""Training an autoencoder: paint a frame again from its latents, on which noise lies. Neither labels nor actions are read."""

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagoal.envs.store import FrameCache
from imagoal.world_model._frames import as_float, to_tensor
from imagoal.world_model.disk import Run
from imagoal.world_model.encoders._features import GRID
from imagoal.world_model.encoders._predictive import Watch
from imagoal.world_model.encoders._whiten import FITTED_FRAMES
from imagoal.world_model.encoders.autoencoder import Autoencoder, AutoencoderNet
from imagoal.world_model.readouts import FRAMES_AT_ONCE, FrozenEncoder
from imagoal.world_model.training import Schedule, fit, frame_rows, split_episodes

NOISE = 0.05
"""On standardised latents in training: what is nearly the same in the latents is then nearly the same in the picture."""

LOOK_EVERY = 200
"""Steps between looks: each encodes and paints all watched frames."""


class Learner(nn.Module):
    """The autoencoder, and a linear layer that paints a blurred frame from the same latents.

    One pixel of the blurred frame is a cell, under a tent that reaches to the next cells' centres. Such a blur keeps centres of
    mass, so that where an object is remains linear in the latents; without it, a linear probe of the ball's place errs by a
    pixel and more in latents from which the frame is painted as well.
    """

    def __init__(self, net: AutoencoderNet, seed: int) -> None:
        super().__init__()
        self.net = net
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.blurred = nn.Conv2d(net.norm.num_features, 3, 1)

    def forward(self, frames: Tensor, noise: Tensor) -> Tensor:
        """Mean squared errors of frames (M, 3, h, w) and of blurred ones, each over the variance of what is painted."""
        changes = self.net.changes(frames)
        latents = self.net.norm(self.net.encoder(changes)) + NOISE * noise
        blurred = F.interpolate(changes, size=latents.shape[2:], mode="bilinear", antialias=True)
        return error(self.net.decoder(latents), changes) + error(self.blurred(latents), blurred)


def error(painted: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error over the mean square of what is wanted, which has no mean to speak of."""
    return (painted - wanted).square().mean() / wanted.square().mean().clamp_min(1e-6)


def learn_autoencoder(
    cache: FrameCache, watch: Watch, config: Autoencoder, schedule: Schedule, seed: int, run: Run
) -> FrozenEncoder:
    """Train an autoencoder on the frames of a cache, and freeze it.

    Args:
        cache: only frames are read, of the episodes that are not held out.
        watch: frames on which `metrics.jsonl` reports spread, rank and probe, and `rms`, the error of pixels in [0, 1].
        config: its `seed` is set from the seed.
        schedule: length and rates; a batch counts frames.
        seed: of the weights, batches and noise.
        run: holds checkpoints and metrics.
    """
    config = dataclasses.replace(config, seed=seed)
    episodes, _ = split_episodes(cache)
    rows = frame_rows(cache, episodes, len(cache.frames), seed)
    fitted = as_float(to_tensor(cache.frames[frame_rows(cache, episodes, FITTED_FRAMES, seed)]))
    net = config.build()
    net.fit_background(fitted)
    learner = Learner(net, seed)

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([seed, step])
        frames = as_float(to_tensor(cache.frames[rows[rng.integers(0, len(rows), schedule.batch)]]))
        noise = rng.standard_normal((len(frames), config.channels, GRID, GRID), dtype=np.float32)
        loss = learner(frames, torch.from_numpy(noise))
        looking = step % LOOK_EVERY == 0 or step + 1 == schedule.steps
        return loss, watch.look(net) | {"rms": painting_error(net, watch.frames)} if looking else {}

    fit(learner, loss_at, schedule, run, "pretrain")
    net.standardise(fitted)
    return FrozenEncoder(config, net, "in_domain_action_free")


@torch.no_grad()
def painting_error(net: AutoencoderNet, frames: Tensor) -> float:
    """Root mean square difference, pixels in [0, 1], of frames (F, 3, h, w) and what is painted from their latents."""
    was_training = net.training
    net.eval()
    squares = [
        (net.decode(net(part)) - part).square().mean((1, 2, 3)) for part in map(as_float, torch.split(frames, FRAMES_AT_ONCE))
    ]
    net.train(was_training)
    return float(torch.cat(squares).mean().sqrt())
