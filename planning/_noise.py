"""Noise for B problems, each from its own generator, so that a plan does not depend on what it was batched with."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def normal(generators: Sequence[Generator], count: int, like: Tensor) -> Tensor:
    """Standard normal numbers (B, count, H, A') for sequences like (B, E, H, A')."""
    shape = (count, *like.shape[2:])
    draws = [torch.randn(shape, generator=source, device=source.device, dtype=like.dtype) for source in generators]
    return torch.stack(draws).to(like.device)


def uniform(generators: Sequence[Generator], count: int, like: Tensor) -> Tensor:
    """Numbers (B, count, H, A') uniform in [-1, 1) for sequences like (B, E, H, A')."""
    shape = (count, *like.shape[2:])
    draws = [torch.rand(shape, generator=source, device=source.device, dtype=like.dtype) for source in generators]
    return torch.stack(draws).to(like.device) * 2 - 1
