"""What pixel and token models have in common: maps that are imagined one after another by one trunk."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Generator, Tensor

from imagoal.errors import UsageError
from imagoal.world_model._frames import as_float
from imagoal.world_model._types import Past, Place, State, pad_start
from imagoal.world_model.models._compiled import check_compiler, compile_rollout
from imagoal.world_model.models._heads import Diffusion, Head
from imagoal.world_model.models._precision import Precision, check_precision, computing
from imagoal.world_model.models._unet import Forward, TrunkNet
from imagoal.world_model.readouts import FrozenEncoder

CHUNK = 64
"""Sequences that a CPU imagines at a time, so that what a convolution reads is still near it; a GPU imagines all at once."""
NOISE = 5
"""Tells the seeds of noise from those of a search."""


@dataclass(frozen=True, eq=False)
class MapModel:
    """A trunk that imagines the next map, one step after another; an entry says of what.

    Attributes:
        net: the trunk; its weights do not change any more.
        head: what its output stands for.
        action_size: A' of one model step.
        frame_size: (h, w) of the frames that it was trained on.
        action_block: env steps per model step.
        encoder: whose tokens it imagines, if it is a token model.
        precision: of the products and convolutions of a rollout.
        compiled: whether the trunk is compiled: some ten seconds at the first rollout, less time for all others.
        draw: which of many draws of noise; what one draw found best, another is to judge.

    Raises:
        UsageError: the processor has no unit for that precision, or there is nothing to compile with.
    """

    place: ClassVar[Place]
    privileged: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    dtype: ClassVar[torch.dtype] = torch.float32

    net: TrunkNet
    head: Head
    action_size: int
    frame_size: tuple[int, int]
    action_block: int = 1
    encoder: FrozenEncoder | None = None
    precision: Precision = "fp32"
    compiled: bool = False
    draw: int = 0

    def __post_init__(self) -> None:
        check_precision(self.precision, self.device)
        if self.compiled:
            check_compiler()
        self.net.eval().requires_grad_(False)

    @property
    def history(self) -> int:
        """Past frames that the network sees."""
        return self.net.history

    @property
    def encoder_hash(self) -> str | None:
        """Hash of the encoder whose tokens are imagined, if any are."""
        return self.encoder.hash if self.encoder else None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.net.unit.device

    @property
    def rough(self) -> bool:
        """Whether what is imagined is to be judged again: after rounding, or by other noise."""
        return self.precision != "fp32" or self.head.random

    @property
    def exact(self) -> Self:
        """The same in fp32, with noise that no search has seen: judges what was found."""
        return replace(self, precision="fp32", compiled=False, draw=self.draw + 1)

    def denoising(self, steps: int) -> Self:
        """The same with so many Euler steps for each imagined map.

        Raises:
            UsageError: it does not denoise, or there are none.
        """
        if not isinstance(self.head, Diffusion):
            raise UsageError(f"{steps} denoising steps with a {type(self).__name__}; only diffusion denoises: leave them out")
        return replace(self, head=replace(self.head, steps=steps))

    @torch.no_grad()
    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        """The last maps (B, history, C, h, w), the actions (B, history - 1, A') between them, and the seeds (B,) of noise.

        Before an episode's start its first frame is repeated, with zero actions.

        Raises:
            UsageError: frames of another size than those that it was trained on.
        """
        found = tuple(past.frames.shape[-3:])
        if found != (3, *self.frame_size):
            raise UsageError(f"frames of shape {found}; the world model was trained on {(3, *self.frame_size)}; name another")
        maps = self.maps(past.frames[:, -self.history :])
        actions = past.actions.to(self.device, self.dtype)[:, past.actions.shape[1] - maps.shape[1] + 1 :]
        return *pad_start(maps, actions, self.history - maps.shape[1]), torch.as_tensor(seeds)

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        """What is imagined after each of the actions (B, K, H, A'): frames (B, K, H, 3, h, w), tokens (B, K, H, N, D).

        All K sequences of a problem see the same noise, so that they differ by what they do alone. Nothing is clamped.
        """
        parts = [self._imagine(*each) for each in zip(*state, actions, strict=True)]
        return torch.stack(parts)

    def maps(self, frames: Tensor) -> Tensor:
        """Maps f32 (B, T, C, h, w) of frames u8 (B, T, 3, h, w)."""
        if self.encoder is None:
            return as_float(frames.to(self.device))
        tokens = torch.cat([self.encoder.encode(frame[None]) for frame in frames.flatten(0, 1)])  # rounded alike in any batch
        maps = as_maps(tokens)
        return maps.reshape(*frames.shape[:2], *maps.shape[1:])

    def _imagine(self, maps: Tensor, past: Tensor, seed: Tensor, actions: Tensor) -> Tensor:
        """Of one problem: maps (T, C, h, w), past actions (T - 1, A'), actions (K, H, A')."""
        noise = self._noise(int(seed), actions.shape[1], maps.shape[1:]) if self.head.random else None
        chunks = []
        for some in torch.split(actions, CHUNK if self.device.type == "cpu" else len(actions)):
            many = len(some)
            whole = torch.cat([past.expand(many, -1, -1), some], 1)
            with computing(self.precision, self.device):
                chunks.append(unroll(self.net, self.head, maps.expand(many, -1, -1, -1, -1), whole, noise, self._forward))
        imagined = torch.cat(chunks)
        return imagined if self.encoder is None else as_tokens(imagined)

    def _noise(self, seed: int, steps: int, shape: torch.Size) -> Tensor:
        """Standard noise (H, C, h, w) of a problem, the same whatever the device."""
        mixed = int(np.random.SeedSequence([seed, self.draw, NOISE]).generate_state(1)[0])
        return torch.randn(steps, *shape, generator=Generator().manual_seed(mixed)).to(self.device)

    @property
    def imagining(self) -> TrunkNet:
        """What is called to imagine."""
        return self.net

    @cached_property
    def _forward(self) -> Forward:
        """The network's forward pass, compiled or not."""
        if not self.compiled:
            return self.net
        fast = compile_rollout(lambda known, log_sigma: torch.as_tensor(self.net(*known, log_sigma)), self.device)

        def forward(maps: Tensor, actions: Tensor, noisy: Tensor, log_sigma: Tensor) -> Tensor:
            known = tuple(each.contiguous() for each in (maps, actions, noisy))  # other layouts would be compiled anew
            return fast(known, log_sigma.contiguous())

        return forward


def unroll(
    net: TrunkNet, head: Head, maps: Tensor, actions: Tensor, noise: Tensor | None = None, forward: Forward | None = None
) -> Tensor:
    """Imagine: maps (M, H, C, h, w) one after another; the next step sees each like a real one.

    Args:
        net: the trunk.
        head: what its output stands for.
        maps: (M, history, C, h, w), the last true ones.
        actions: (M, history - 1 + H, A'), between those maps and then from now on.
        noise: (H, C, h, w), the same for all; None for a head that needs none.
        forward: the trunk's forward pass, if it is not the plain one.
    """
    imagined = []
    for step in range(actions.shape[1] - net.history + 1):
        drawn = maps[:, 0] if noise is None else noise[step].expand_as(maps[:, 0])
        change = head.follow(net if forward is None else forward, maps, actions[:, step : step + net.history], drawn)
        following = maps[:, -1] + net.unit * change.float()
        imagined.append(following)
        maps = torch.cat([maps[:, 1:], following[:, None]], 1)
    return torch.stack(imagined, 1)


def as_maps(tokens: Tensor) -> Tensor:
    """Maps (..., D, g, g) of tokens (..., N, D), row by row of a square grid.

    Raises:
        UsageError: N is no square.
    """
    side = round(tokens.shape[-2] ** 0.5)
    if side * side != tokens.shape[-2]:
        raise UsageError(f"{tokens.shape[-2]} tokens per frame; expected a square grid of them; choose another encoder")
    return tokens.transpose(-1, -2).reshape(*tokens.shape[:-2], tokens.shape[-1], side, side)


def as_tokens(maps: Tensor) -> Tensor:
    """Tokens (..., N, D) of maps (..., D, g, g)."""
    return maps.flatten(-2).transpose(-1, -2)
