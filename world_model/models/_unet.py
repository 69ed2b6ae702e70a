"""The trunk that pixel and token models share: a small U-Net over the last maps, told of actions and of noise.

A map is what is imagined of one instant on a grid of cells: the pixels of a frame, or the tokens of an encoder.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagoal.errors import UsageError

GROUPS = 8
"""Of each group norm."""
OCTAVES = 4
"""Of the waves that tell the network how much noise there is."""
CLOSED = -4.0
"""Before the sigmoid, what a mask begins with: covering hardly anything."""


@dataclass(frozen=True)
class Trunk:
    """A U-Net of two levels; most of its weights are at the lower one, where a pixel costs least."""

    history: int = 3
    """How many of the last maps it sees; two or more show velocity."""
    patch: int = 4
    """Side of the squares of cells that become channels; for tokens always 1."""
    width: int = 48
    """Channels at the patches."""
    inner: int = 128
    """Channels at every second patch."""
    blocks: int = 3
    """Residual blocks at every second patch."""
    cover: bool = False
    """Whether it also covers parts of the last map by new content, behind a mask: what moves away then leaves no trace. For
    scenes in which much moves."""

    def __post_init__(self) -> None:
        for field in ("history", "patch", "blocks"):
            if getattr(self, field) < 1:
                raise UsageError(f"Trunk.{field} is {getattr(self, field)}; expected 1 or more")
        for field in ("width", "inner"):
            if getattr(self, field) < 1 or getattr(self, field) % GROUPS:
                raise UsageError(f"Trunk.{field} is {getattr(self, field)}; expected a multiple of {GROUPS}")

    def build(self, channels: int, action_size: int) -> "TrunkNet":
        """A new network for maps of C channels and actions of size A'; random weights come from torch's generator."""
        return TrunkNet(self, channels, action_size)


Forward = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A trunk's forward pass, compiled or not."""


class TrunkNet(nn.Module):
    """Maps, actions and a noisy next map to what a model makes the next map of; zeros before training, but for `cover`.

    Attributes:
        config: its settings.
        channels: C of a map.
        unit: the usual change of each channel in one model step, (C, 1, 1); 1 until training sets it.
    """

    unit: Tensor

    def __init__(self, config: Trunk, channels: int, action_size: int) -> None:
        super().__init__()
        self.config, self.channels = config, channels
        width, inner, cells = config.width, config.inner, channels * config.patch**2
        self.register_buffer("unit", torch.ones(channels, 1, 1))
        self.condition = nn.Sequential(
            nn.Linear(config.history * action_size + 2 * OCTAVES, inner), nn.SiLU(), nn.Linear(inner, inner), nn.SiLU()
        )
        self.enter = nn.Conv2d((1 + config.history) * cells, width, 3, padding=1)
        self.first = Block(width, width, inner)
        self.down = nn.Conv2d(width, inner, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(Block(inner, inner, inner) for _ in range(config.blocks))
        self.up = nn.Conv2d(inner, width, 1)
        self.last = Block(2 * width, width, inner)
        leave = nn.Conv2d(width, self.made * config.patch**2, 3, padding=1)
        self.leave = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), leave)
        for parameter in leave.parameters():
            nn.init.zeros_(parameter)
        nn.init.constant_(torch.as_tensor(leave.bias)[2 * cells :], CLOSED)
        nn.init.zeros_(self.enter.weight[:, -cells:])  # so that a denoiser begins as the regression that it is without noise
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # convolutions on a CPU are fastest with it

    @property
    def made(self) -> int:
        """Numbers of each cell that its last layer makes: the change, and, to cover, content and a mask."""
        return 2 * self.channels + 1 if self.config.cover else self.channels

    @property
    def history(self) -> int:
        """How many of the last maps it sees."""
        return self.config.history

    def forward(self, maps: Tensor, actions: Tensor, noisy: Tensor, log_sigma: Tensor) -> Tensor:
        """What the next map is made of, by a regression or a denoiser.

        Args:
            maps: (M, history, C, h, w), the last ones.
            actions: (M, history, A'); action t is taken at map t.
            noisy: (M, C, h, w), the change to the next map as far as it is known; zeros for a regression.
            log_sigma: (M,), the logarithm of the noise's standard deviation; zeros for a regression.

        Returns:
            (M, C, h, w).
        """
        return self.both(maps, actions, noisy, log_sigma)[0]

    def both(self, maps: Tensor, actions: Tensor, noisy: Tensor, log_sigma: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, and the hidden map (M, inner, h', w') at the coarse level."""
        patches = F.pixel_unshuffle(torch.cat([maps.flatten(1, 2), noisy], 1), self.config.patch)
        told = self.condition(torch.cat([actions.flatten(1), waves(log_sigma)], 1))
        fine = self.first(self.enter(patches), told)
        coarse = self.down(fine)
        for block in self.middle:
            coarse = block(coarse, told)
        raised = F.interpolate(self.up(coarse), scale_factor=2.0)
        hidden = self.last(torch.cat([raised, fine], 1), told)
        return self.covered(F.pixel_shuffle(self.leave(hidden), self.config.patch), maps[:, -1]), coarse

    def covered(self, made: Tensor, last: Tensor) -> Tensor:
        """The change (M, C, h, w) that was made, or the sum of it and of what covers the last map."""
        if not self.config.cover:
            return made
        change, content, mask = torch.split(made.float(), [self.channels, self.channels, 1], 1)
        return torch.as_tensor(change + mask.sigmoid() * (content - last) / self.unit)

    def check(self, height: int, width: int) -> None:
        """Refuse maps that cannot be cut into patches and halved.

        Raises:
            UsageError: a side is no multiple of twice the patch.
        """
        step = 2 * self.config.patch
        if height % step or width % step:
            raise UsageError(f"maps of {height} x {width} cells; expected multiples of {step}, twice the patch")


class Block(nn.Module):
    """Residual block: two convolutions, and in between a norm that actions and noise scale and shift (arXiv 1709.07871)."""

    def __init__(self, size_in: int, size_out: int, told: int) -> None:
        super().__init__()
        self.norm_in, self.conv_in = nn.GroupNorm(GROUPS, size_in), nn.Conv2d(size_in, size_out, 3, padding=1)
        self.norm_out, self.conv_out = nn.GroupNorm(GROUPS, size_out), nn.Conv2d(size_out, size_out, 3, padding=1)
        self.film = nn.Linear(told, 2 * size_out)
        self.skip = nn.Conv2d(size_in, size_out, 1) if size_in != size_out else nn.Identity()

    def forward(self, hidden: Tensor, told: Tensor) -> Tensor:
        """Hidden (M, in, h, w) and what is told (M, told) to (M, out, h, w)."""
        scale, shift = self.film(told)[:, :, None, None].chunk(2, 1)
        inside = self.norm_out(self.conv_in(F.silu(self.norm_in(hidden))))
        return torch.as_tensor(self.skip(hidden) + self.conv_out(F.silu(inside * (1 + scale) + shift)))


def waves(log_sigma: Tensor) -> Tensor:
    """Sines and cosines (M, 2 x OCTAVES) of the logarithm (M,) of a standard deviation; half the longest spans e^8."""
    angles = log_sigma[:, None] * (math.pi / 8) * 2 ** torch.arange(OCTAVES, device=log_sigma.device)
    return torch.cat([angles.sin(), angles.cos()], 1)
