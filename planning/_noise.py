"""Noise for B problems, each from its own generator, so that a plan does not depend on what it was batched with."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def normal(generators: Sequence[Generator], count: int, like: Tensor) -> Tensor:
    """Standard normal numbers (B, count, H, A') for sequences like (B, E, H, A')."""
    return torch.stack(_draws(generators, count, like)).to(like.device)


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
    steps = noise.reshape(*noise.shape[:2], like.shape[2] * block, like.shape[3] // block)
    fresh = (1 - correlation**2) ** 0.5
    for now in range(1, steps.shape[2]):
        steps[:, :, now] = correlation * steps[:, :, now - 1] + fresh * steps[:, :, now]
    return steps.reshape(noise.shape)


def coloured(generators: Sequence[Generator], count: int, like: Tensor, beta: float, block: int) -> Tensor:
    """Normal numbers as `normal`, each of variance 1, whose power falls with frequency as 1 / f^beta.

    Timmer & Koenig 1995 (Astronomy and Astrophysics 300, 707); in planning, Pinneri et al. 2020 (arXiv 2008.06389, section
    3.1). White noise is filtered, by amplitudes that leave its variance as it is, whatever the length and beta; to normalise
    each sequence by its own deviation would not. What does not change at all counts as the slowest wave. As there, the last
    action neighbours the first.

    Args:
        beta: 0 is white, and gives the numbers of `normal`; 1 is pink, 2 is red.
        block: actions in one model step: A' holds `block` actions one after the other.
    """
    if beta == 0 or count == 0:
        return normal(generators, count, like)
    length, size = like.shape[2] * block, like.shape[3] // block
    cycles = torch.fft.fftfreq(length, 1 / length, dtype=torch.float64).abs().clamp_min(1)
    power = cycles**-beta
    amplitudes = (power / power.mean()).sqrt()[: length // 2 + 1, None]
    waves = [_filtered(draw.reshape(count, length, size), amplitudes) for draw in _draws(generators, count, like)]
    return torch.stack(waves).reshape(len(waves), count, *like.shape[2:]).to(like.device)


def uniform(generators: Sequence[Generator], count: int, like: Tensor) -> Tensor:
    """Numbers (B, count, H, A') uniform in [-1, 1) for sequences like (B, E, H, A')."""
    shape = (count, *like.shape[2:])
    draws = [torch.rand(shape, generator=source, device=source.device, dtype=like.dtype) for source in generators]
    return torch.stack(draws).to(like.device) * 2 - 1


def _draws(generators: Sequence[Generator], count: int, like: Tensor) -> list[Tensor]:
    """Standard normal numbers (count, H, A') of each generator, on its own device."""
    shape = (count, *like.shape[2:])
    return [torch.randn(shape, generator=source, device=source.device, dtype=like.dtype) for source in generators]


def _filtered(white: Tensor, amplitudes: Tensor) -> Tensor:
    """White noise (count, L, A), its frequencies multiplied by amplitudes (L // 2 + 1, 1); one problem, so that none is rounded
    otherwise in a batch.
    """
    spectrum = torch.fft.rfft(white, dim=1) * amplitudes.to(white)
    filtered: Tensor = torch.fft.irfft(spectrum, n=white.shape[1], dim=1)
    return filtered
