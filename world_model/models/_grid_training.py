"""Training a pixel or token model on the frames of a store."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from imagoal.envs.store import FrameCache, Ints
from imagoal.errors import UsageError
from imagoal.world_model._frames import as_float
from imagoal.world_model.disk import Run
from imagoal.world_model.models._align import Align, Alignment, Tapped
from imagoal.world_model.models._compiled import check_compiler
from imagoal.world_model.models._grid import as_maps, unroll
from imagoal.world_model.models._heads import Head, Lesson
from imagoal.world_model.models._precision import Precision, check_precision, computing
from imagoal.world_model.models._unet import Forward, Trunk, TrunkNet
from imagoal.world_model.readouts import FrozenEncoder, Gallery, Probe, fit_probe
from imagoal.world_model.training import Schedule, Windows, encode_all, fit, frame_rows, split_episodes

WATCHED = 64
"""Held-out windows on which the averaged weights are watched in training."""
WATCH_EVERY = 500
"""Steps of training between two looks at them."""
LEAST_CHANGE = 1e-3
"""A channel that hardly ever changes is not blown up beyond this."""
PROBE_FRAMES = 8000
"""Frames to which a probe of tokens is fitted."""
GALLERY = 1000
"""Of them, how many are kept to show what is imagined."""
Errors = dict[str, list[float]]


@dataclass(frozen=True)
class Practice:
    """What a pixel or token model is trained on, and what becomes of its weights."""

    one_step: float = 0.8
    """Share of the steps, from the first, that learn one step from true frames; the others imagine several."""
    noise: float = 0.3
    """When several are imagined, at most so much noise (standard deviation, in usual changes) is on the maps before them, so
    that the network learns to mend what it imagines; drawn uniformly for each window."""
    average: float = 0.997
    """Decay of the running mean of the weights, which is what is kept."""
    precision: Precision = "fp32"
    """Of products and convolutions in training; bf16 is faster where the processor has a unit for it."""
    compile: bool = False
    """Compile the network for training: half a minute at the first, less time for every step."""

    def __post_init__(self) -> None:
        if not 0 <= self.one_step <= 1:
            raise UsageError(f"one_step = {self.one_step}; expected from 0 to 1")
        if not 0 <= self.noise < math.inf:
            raise UsageError(f"noise = {self.noise}; expected a finite number, 0 or more")
        if not 0 <= self.average < 1:
            raise UsageError(f"average = {self.average}; expected from 0 to below 1")


@dataclass(frozen=True)
class TrainedMaps:
    """What training gives.

    Attributes:
        net: the network, with averaged weights, rounded to what a float16 file holds.
        errors: root mean squared errors on held-out episodes after 1, 2, ... steps, of frames in [0, 1] or of tokens: of the
            `imagined`, and of the last true one, `copied`.
    """

    net: TrunkNet
    errors: Errors


@dataclass(frozen=True)
class Maps:
    """Windows of maps: of frames, or, where there are latents (F, N, D) of all frames, of tokens."""

    windows: Windows
    latents: Tensor | None

    def batch(self, step: int, count: int) -> tuple[Tensor, Tensor]:
        """Maps f32 (M, L, C, h, w) and the actions (M, L - 1, A') between them."""
        if self.latents is None:
            frames, actions = self.windows.frames(step, count)
            return as_float(frames), actions
        tokens, actions = self.windows.latents(self.latents, step, count)
        return as_maps(tokens), actions


def train_maps(
    cache: FrameCache,
    trunk: Trunk,
    head: Head,
    encoder: FrozenEncoder | None,
    schedule: Schedule,
    practice: Practice,
    future: int,
    block: int,
    seed: int,
    run: Run,
    align: Align | None = None,
    guide: FrozenEncoder | None = None,
) -> TrainedMaps:
    """Train a trunk: the mean squared error of the next map, then of `future` maps, in usual changes.

    Args:
        cache: the store's frames and actions.
        trunk: of the network.
        head: what its output stands for.
        encoder: whose tokens it imagines; None for frames.
        schedule: length and rates.
        practice: how maps are imagined in training.
        future: maps that are imagined in its second part.
        block: env steps per model step.
        seed: of weights, batches and noise.
        run: holds checkpoints and metrics.
        align: how hidden maps are aligned to a guide's tokens.
        guide: that encoder, if there is one.

    Raises:
        UsageError: maps that the trunk cannot cut, a precision that the processor has no unit for, or nothing to compile with.
    """
    cpu = torch.device("cpu")
    check_precision(practice.precision, cpu)
    if practice.compile:
        check_compiler()
    learned, held = split_episodes(cache)
    latents = None if encoder is None else encode_all(cache, encoder)

    def windows(steps: int, episodes: Ints) -> Maps:
        return Maps(Windows(cache, cache.window_index(trunk.history, steps, block, episodes), seed), latents)

    pairs, longer, tested = windows(1, learned), windows(future, learned), windows(future, held)
    net = _network(trunk, pairs, seed)
    aligned = Alignment(align, guide, cache, trunk, seed) if align and guide else None
    tapped = Tapped(net, practice.compile) if aligned else None
    plain: Forward = torch.compile(net) if practice.compile else net
    mean_of = get_ema_multi_avg_fn(practice.average)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(net, multi_avg_fn=mean_of)
    kept = cast(TrunkNet, averaged.module)

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        if step:
            averaged.update_parameters(net)  # here, so that a checkpoint between two steps holds what both agree on
        progress = step / schedule.steps
        alone = progress < practice.one_step
        source, noise = (pairs, 0.0) if alone else (longer, practice.noise)
        with computing(practice.precision, cpu):
            batch, generator = source.batch(step, schedule.batch), source.windows.generator(step)
            value = imagining_loss(net, head, *batch, noise, progress, generator, tapped or plain)
            if aligned and tapped:
                value = value + aligned.loss(tapped.take(), source.windows, step, schedule.batch)
        numbers = {"one_step" if alone else "rolled": float(value.detach())}
        return value, numbers | (_watched(kept, head, tested) if step % WATCH_EVERY == 0 else {})

    learning = {"net": net, "averaged": averaged} | ({"projector": aligned.projector} if aligned else {})
    fit(nn.ModuleDict(learning), loss_at, schedule, run, "train")
    averaged.update_parameters(net)
    for tensor in kept.state_dict().values():
        tensor.copy_(tensor.half())
    return TrainedMaps(kept, map_errors(kept, head, tested))


def imagining_loss(
    net: TrunkNet,
    head: Head,
    maps: Tensor,
    actions: Tensor,
    noise: float,
    progress: float,
    generator: Generator,
    forward: Forward | None = None,
) -> Tensor:
    """Mean squared error of imagined maps, in usual changes.

    Args:
        net: imagines; each map follows from those imagined before.
        head: what it is taught.
        maps: (M, L, C, h, w); those after the first `history` are imagined.
        actions: (M, L - 1, A').
        noise: its largest standard deviation, in usual changes, on the maps before.
        progress: of training, from 0 to 1.
        generator: of noise.
        forward: the trunk's forward pass, if it is not the plain one.
    """
    forward = net if forward is None else forward  # compiled modules have a length, and it fails
    before, after = maps[:, : net.history], maps[:, net.history :]
    if noise:
        strength = noise * torch.rand(len(before), 1, 1, 1, 1, generator=generator)
        before = before + strength * net.unit * torch.randn(before.shape, generator=generator)
    squares, lesson = [], Lesson(progress, several=after.shape[1] > 1)
    for step, target in enumerate(after.unbind(1), 1):
        change, given = (target - before[:, -1]) / net.unit, actions[:, step - 1 : step - 1 + net.history]
        guess = head.guess(forward, before, given, change, lesson, generator).float()
        squares.append((guess - change).square().mean())
        if step < after.shape[1]:
            fed = head.feed(forward, before, given, guess, generator)
            before = torch.cat([before[:, 1:], (before[:, -1] + net.unit * fed)[:, None]], 1)
    return torch.stack(squares).mean()


def fit_readouts(cache: FrameCache, encoder: FrozenEncoder, positions: Tensor, seed: int) -> tuple[Probe, Gallery]:
    """What reads an encoder's tokens: a probe of the positions (F, V) that frames show, and frames that stand for tokens."""
    rows = frame_rows(cache, split_episodes(cache)[0], PROBE_FRAMES, seed)
    tokens = encode_all(cache, encoder)[rows].float()
    shown = slice(None, None, PROBE_FRAMES // GALLERY)
    return fit_probe(tokens, positions[rows]), Gallery(cache.frames[rows][shown], tokens[shown])


@torch.no_grad()
def map_errors(net: TrunkNet, head: Head, source: Maps, count: int = 512) -> Errors:
    """Root mean squared errors after 1, 2, ... steps: imagined, and copied from the last true map."""
    batches = [_squares(net, head, source, step, WATCHED) for step in range(max(1, count // WATCHED))]
    return {name: torch.stack([batch[name] for batch in batches]).mean(0).sqrt().tolist() for name in batches[0]}


def _network(trunk: Trunk, pairs: Maps, seed: int, count: int = 512) -> TrunkNet:
    """A new network that knows the usual change of each channel in one model step."""
    maps, actions = pairs.batch(0, count)
    now, following = maps[:, -2:].unbind(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = trunk.build(maps.shape[2], actions.shape[2])
    net.check(*maps.shape[3:])
    net.unit.copy_((following - now).square().mean((0, 2, 3))[:, None, None].sqrt().clamp_min(LEAST_CHANGE))
    return net


def _squares(net: TrunkNet, head: Head, source: Maps, step: int, count: int) -> dict[str, Tensor]:
    """Mean squared errors (H,) of maps imagined in windows drawn from the step's number, and of the last map before."""
    maps, actions = source.batch(step, count)
    before, after = maps[:, : net.history], maps[:, net.history :]
    noise = torch.randn(after.shape[1:], generator=source.windows.generator(step))
    guesses = {"imagined": unroll(net, head, before, actions, noise), "copied": before[:, -1:]}
    return {name: (guess - after).square().mean((0, 2, 3, 4)) for name, guess in guesses.items()}


@torch.no_grad()
def _watched(net: TrunkNet, head: Head, source: Maps) -> dict[str, float]:
    """Held-out errors of the first and of the last step, to be logged."""
    roots = _squares(net, head, source, 0, WATCHED)["imagined"].sqrt().tolist()
    return {"held_out_first": roots[0], "held_out_last": roots[-1]}
