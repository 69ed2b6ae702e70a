"""Alignment: what the trunk holds inside is asked to tell what a frozen encoder sees in the frame to come."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagoal.envs.store import FrameCache
from imagoal.errors import UsageError
from imagoal.world_model.models._grid import as_maps, as_tokens
from imagoal.world_model.models._unet import Trunk, TrunkNet
from imagoal.world_model.readouts import FrozenEncoder
from imagoal.world_model.training import Windows, encode_all


@dataclass(frozen=True)
class Align:
    """REPA (arXiv 2410.06940): costs nothing but training time, since what it adds is thrown away afterwards."""

    to: str = ""
    """Encoder folder, or entry, whose tokens of the true next frame are to be told; empty for none."""
    weight: float = 0.5
    """Of its part of the loss."""
    width: int = 256
    """Of the projector's hidden layers."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise UsageError(f"weight = {self.weight}; expected a finite number above 0; leave `to` empty for no alignment")
        if self.width < 1:
            raise UsageError(f"width = {self.width}; expected 1 or more")


class Projector(nn.Module):
    """From the hidden map at the trunk's coarse level to tokens of size D, cell by cell."""

    def __init__(self, config: Align, inner: int, size: int) -> None:
        super().__init__()
        width = config.width
        self.layers = nn.Sequential(
            nn.Linear(inner, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, size)
        )

    def forward(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Minus the mean cosine between projected hidden maps (M, C, g, g) and tokens (M, N, D), averaged to as many cells."""
        wanted = F.adaptive_avg_pool2d(as_maps(tokens), (hidden.shape[-2], hidden.shape[-1]))
        return -F.cosine_similarity(self.layers(as_tokens(hidden)).float(), as_tokens(wanted), dim=-1).mean()


class Alignment:
    """What a training run aligns to: the tokens of a guide.

    Attributes:
        projector: learns with the trunk, and is thrown away.
    """

    def __init__(self, config: Align, guide: FrozenEncoder, cache: FrameCache, trunk: Trunk, seed: int) -> None:
        self._tokens, self._weight = encode_all(cache, guide), config.weight
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.projector = Projector(config, trunk.inner, self._tokens.shape[2])

    def loss(self, hidden: Sequence[Tensor], windows: Windows, step: int, batch: int) -> Tensor:
        """Its weighted part of the loss, from hidden maps of the last frames of a step's windows."""
        tokens, _ = windows.latents(self._tokens, step, batch)
        parts = [self.projector(each, tokens[:, i - len(hidden)]) for i, each in enumerate(hidden)]
        return self._weight * torch.stack(parts).mean()


class Tapped:
    """A trunk's forward pass that keeps the hidden maps of what is being learned."""

    def __init__(self, net: TrunkNet, compile: bool) -> None:
        self._both = torch.compile(net.both) if compile else net.both
        self._kept: list[Tensor] = []

    def __call__(self, maps: Tensor, actions: Tensor, noisy: Tensor, log_sigma: Tensor) -> Tensor:
        """As the trunk's."""
        out, hidden = self._both(maps, actions, noisy, log_sigma)
        if torch.is_grad_enabled():
            self._kept.append(hidden)
        return out

    def take(self) -> list[Tensor]:
        """The hidden maps since the last time, one for each imagined step."""
        kept, self._kept = self._kept, []
        return kept
