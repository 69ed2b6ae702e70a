"""Training a pixel model on the frames of a store."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from imagoal.envs._cache import FrameCache
from imagoal.errors import UsageError
from imagoal.world_model._loop import Schedule, fit
from imagoal.world_model._pixel_net import PixelNet, Trunk
from imagoal.world_model._run import Run
from imagoal.world_model._windows import Windows, split
from imagoal.world_model.pixel_regression import unroll

WATCHED = 64
"""Held-out windows on which the averaged weights are watched in training."""
WATCH_EVERY = 500
"""Steps of training between two looks at them."""
Errors = dict[str, list[float]]


@dataclass(frozen=True)
class PixelLoss:
    """What a pixel model is trained on, and what becomes of its weights."""

    one_step: float = 0.8
    """Share of the steps, from the first, that learn one step from true frames; the others imagine several."""
    noise: float = 0.02
    """When several are imagined, at most so much noise (standard deviation, white being 1) is on the frames before them, so
    that the network learns to mend what it imagines; drawn uniformly for each window."""
    average: float = 0.997
    """Decay of the running mean of the weights, which is what is kept."""

    def __post_init__(self) -> None:
        if not 0 <= self.one_step <= 1:
            raise UsageError(f"one_step = {self.one_step}; expected from 0 to 1")
        if not 0 <= self.noise < math.inf:
            raise UsageError(f"noise = {self.noise}; expected a finite number, 0 or more")
        if not 0 <= self.average < 1:
            raise UsageError(f"average = {self.average}; expected from 0 to below 1")


@dataclass(frozen=True)
class TrainedPixels:
    """What training gives.

    Attributes:
        net: the network, with averaged weights.
        errors: root mean squared errors of frames in [0, 1] on held-out episodes after 1, 2, ... steps: of the `imagined`, and
            of the last true frame, `copied`.
    """

    net: PixelNet
    errors: Errors


def train(
    cache: FrameCache, trunk: Trunk, schedule: Schedule, loss: PixelLoss, future: int, block: int, seed: int, run: Run
) -> TrainedPixels:
    """Train a regression: the mean squared error of the next frame, then of `future` frames, in usual changes of a pixel.

    Args:
        cache: the store's frames and actions.
        trunk: of the network.
        schedule: length and rates.
        loss: how frames are imagined in training.
        future: frames that are imagined in its second part.
        block: env steps per model step.
        seed: of weights, batches and noise.
        run: holds checkpoints and metrics.
    """
    learned, held = split(cache)
    pairs = Windows(cache, cache.window_index(trunk.history, 1, block, learned), seed)
    windows = Windows(cache, cache.window_index(trunk.history, future, block, learned), seed)
    tested = Windows(cache, cache.window_index(trunk.history, future, block, held), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = trunk.build(windows.action_size)
    net.unit.fill_(_usual_change(net, pairs))
    mean_of = get_ema_multi_avg_fn(loss.average)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(net, multi_avg_fn=mean_of)
    kept = cast(PixelNet, averaged.module)

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        if step:
            averaged.update_parameters(net)  # here, so that a checkpoint between two steps holds what both agree on
        alone = step < loss.one_step * schedule.steps
        source = pairs if alone else windows
        noise = None if alone else (loss.noise, source.generator(step))
        value = imagining_loss(net, *source.frames(step, schedule.batch), noise)
        numbers = {"one_step" if alone else "rolled": float(value.detach())}
        return value, numbers | (_watched(kept, tested) if step % WATCH_EVERY == 0 else {})

    fit(nn.ModuleDict({"net": net, "averaged": averaged}), loss_at, schedule, run, "train")
    averaged.update_parameters(net)
    return TrainedPixels(kept, frame_errors(kept, tested))


def imagining_loss(net: PixelNet, frames: Tensor, actions: Tensor, noise: tuple[float, Generator] | None = None) -> Tensor:
    """Mean squared error of imagined frames, in usual changes of a pixel.

    Args:
        net: imagines.
        frames: u8 (M, L, 3, h, w); those after the first `history` are imagined.
        actions: (M, L - 1, A').
        noise: on the frames before: its largest standard deviation, and where it comes from.
    """
    shown = net.seen(frames)
    before, after = shown[:, : net.history], shown[:, net.history :]
    if noise is not None:
        largest, generator = noise
        strength = largest * torch.rand(len(before), 1, 1, 1, 1, generator=generator)
        before = before + strength * torch.randn(before.shape, generator=generator)
    return ((unroll(net, before, actions) - after) / net.unit).square().mean()


@torch.no_grad()
def frame_errors(net: PixelNet, windows: Windows, count: int = 512) -> Errors:
    """Root mean squared errors of frames in [0, 1] after 1, 2, ... steps: imagined, and copied from the last frame."""
    batches = [_squares(net, windows, step, WATCHED) for step in range(max(1, count // WATCHED))]
    return {name: torch.stack([batch[name] for batch in batches]).mean(0).sqrt().tolist() for name in batches[0]}


def _squares(net: PixelNet, windows: Windows, step: int, count: int) -> dict[str, Tensor]:
    """Mean squared errors (H,) of frames imagined in windows drawn from the step's number, and of the last frame before."""
    frames, actions = windows.frames(step, count)
    shown = net.seen(frames)
    before, after = shown[:, : net.history], shown[:, net.history :]
    guesses = {"imagined": unroll(net, before, actions), "copied": before[:, -1:]}
    return {name: (guess - after).square().mean((0, 2, 3, 4)) for name, guess in guesses.items()}


@torch.no_grad()
def _watched(net: PixelNet, windows: Windows) -> dict[str, float]:
    """Held-out errors of the first and of the last step, to be logged."""
    roots = _squares(net, windows, 0, WATCHED)["imagined"].sqrt().tolist()
    return {"held_out_first": roots[0], "held_out_last": roots[-1]}


def _usual_change(net: PixelNet, pairs: Windows, count: int = 512) -> float:
    """Root mean square of how much pixels change in one model step."""
    frames, _ = pairs.frames(0, count)
    now, following = net.seen(frames[:, -2:]).unbind(1)
    return float((following - now).square().mean().sqrt())
