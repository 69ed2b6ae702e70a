"""Noise for B problems, each from its own generator, so that a plan does not depend on what it was batched with."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def normal(generators: Sequence[Generator], count: int, like: Tensor) -> Tensor:
    """Standard normal numbers (B, count, H, A') for sequences like (B, E, H, A')."""
    shape = (count, *like.shape[2:])
    draws = [torch.randn(shape, generator=source, device=source.device, dtype=like.dtype) for source in generators]
    return torch.stack(draws).to(like.device)


def correlated(generators: Sequence[Generator], count: int, like: Tensor, correlation: float, block: int) -> Tensor:
    """Standard normal numbers as `normal`, each correlated with the one an action earlier: a first-order autoregression.

    White noise hardly moves anything that adds up over time; correlated noise explores (Pinneri et al. 2020, arXiv 2008.06389,
    section 3.1, in the frequency domain).

    Args:
        correlation: in [0, 1), between an action and the next; 0 gives the numbers of `normal`.
        block: actions in one model step: A' holds `block` actions one after the other.
    """
    noise = normal(generators, count, like)
    if correlation == 0:
        return noise
    steps = noise.reshape(*noise.shape[:2], like.shape[2] * block, -1)
    fresh = (1 - correlation**2) ** 0.5
    for now in range(1, steps.shape[2]):
        steps[:, :, now] = correlation * steps[:, :, now - 1] + fresh * steps[:, :, now]
    return steps.reshape(noise.shape)


def uniform(generators: Sequence[Generator], count: int, like: Tensor) -> Tensor:
    """Numbers (B, count, H, A') uniform in [-1, 1) for sequences like (B, E, H, A')."""
    shape = (count, *like.shape[2:])
    draws = [torch.rand(shape, generator=source, device=source.device, dtype=like.dtype) for source in generators]
    return torch.stack(draws).to(like.device) * 2 - 1
