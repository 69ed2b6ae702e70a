"""Training keypoints: paint a frame's features again from the places alone. Neither labels nor actions are read."""

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn

from imagoal.envs.store import FrameCache
from imagoal.progress import Progress
from imagoal.world_model._frames import as_float, to_tensor
from imagoal.world_model.disk import Run
from imagoal.world_model.encoders._features import FeatureNet
from imagoal.world_model.encoders._predictive import LOOK_EVERY, Watch
from imagoal.world_model.encoders._whiten import FITTED_FRAMES
from imagoal.world_model.encoders.keypoints import Keypoints, cells
from imagoal.world_model.readouts import FRAMES_AT_ONCE, FrozenEncoder
from imagoal.world_model.training import Schedule, fit, frame_rows, split_episodes

POOL = 16384
"""Frames whose features are computed once and kept: 8 kB each, in float16, at 64 x 64 pixels and 16 components."""

SIGMAS = (1.0, 3.5)
"""Radii in cells of the Gaussians that mark a keypoint: one says where, the other reaches far enough to be found."""


class Decoder(nn.Module):
    """Places (M, K, 2) to features (M, C, h, w): Gaussians at the places, dilated convolutions, a learned background."""

    def __init__(self, keypoints: int, width: int, shape: torch.Size) -> None:
        super().__init__()
        channels, high, wide = shape
        layers: list[nn.Module] = []
        inputs = len(SIGMAS) * keypoints + 2
        for dilation in (1, 2, 4):
            layers += [nn.Conv2d(inputs, width, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
            inputs = width
        layers.append(nn.Conv2d(width, channels, 1))
        self.body = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.background = nn.Parameter(torch.zeros(shape))
        self.register_buffer("cells", cells(high, wide).T.reshape(2, high, wide), persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Features that these places explain."""
        grid = self.get_buffer("cells")
        maps = gaussians(latents, grid)
        painted = torch.cat([maps, grid.expand(len(maps), -1, -1, -1)], 1).contiguous(memory_format=torch.channels_last)
        return torch.as_tensor(self.body(painted)) + self.background


def gaussians(places: Tensor, grid: Tensor) -> Tensor:
    """Maps (M, 2 K, h, w) that are 1 at places (M, K, 2) and fall off with the distance to a cell's centre, grid (2, h, w)."""
    size = torch.tensor([grid.shape[2], grid.shape[1]]) / 2
    gaps = (places[..., None, None] - grid) * size[:, None, None]  # in cells
    squares = gaps.square().sum(2)
    return torch.cat([torch.exp(-squares / (2 * sigma**2)) for sigma in SIGMAS], 1)


class Learner(nn.Module):
    """The layers that find places, with the decoder that teaches them."""

    def __init__(self, config: Keypoints, locate: nn.Module, shape: torch.Size) -> None:
        super().__init__()
        self.locate = locate
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.decoder = Decoder(config.keypoints, config.width, shape)

    def forward(self, features: Tensor) -> Tensor:
        """Mean squared error of the features (M, C, h, w) painted again."""
        return torch.as_tensor((self.decoder(self.locate(features)) - features).square().mean())


def learn_keypoints(
    cache: FrameCache, watch: Watch, config: Keypoints, schedule: Schedule, seed: int, run: Run
) -> FrozenEncoder:
    """Train keypoints on the frames of a cache, and freeze them.

    Args:
        cache: only frames are read, of the episodes that are not held out.
        watch: frames on which `metrics.jsonl` reports spread, rank and probe.
        config: its `seed` is set from the seed.
        schedule: length and rates; a batch counts frames.
        seed: of the weights and batches.
        run: holds checkpoints and metrics.
    """
    config = dataclasses.replace(config, seed=seed)
    net = config.build().requires_grad_(False)
    rows = frame_rows(cache, split_episodes(cache)[0], POOL, seed)
    net.fit(as_float(to_tensor(cache.frames[rows[:: max(1, len(rows) // FITTED_FRAMES)]])))
    pool = _features(net, to_tensor(cache.frames[rows]))
    watched = Watch(_features(net, watch.frames).float(), watch.positions)
    locate = net.get_submodule("locate").requires_grad_(True)
    learner = Learner(config, locate, pool.shape[1:])

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        ids = np.random.default_rng([seed, step]).integers(0, len(pool), schedule.batch)
        loss = learner(pool[ids].float())
        looking = step % LOOK_EVERY == 0 or step + 1 == schedule.steps
        return loss, watched.look(locate) if looking else {}

    fit(learner, loss_at, schedule, run, "pretrain", log_every=LOOK_EVERY)
    return FrozenEncoder(config, net, "in_domain_action_free")


@torch.no_grad()
def _features(net: FeatureNet, frames: Tensor) -> Tensor:
    """Whitened features f16 (F, C, h, w) of frames u8 (F, 3, H, W)."""
    parts = []
    with Progress("computing features", total=len(frames)) as progress:
        for part in torch.split(frames, FRAMES_AT_ONCE):
            parts.append(net.features(as_float(part)).half())
            progress.advance(len(part))
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)
