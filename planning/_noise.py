"""Noise for B problems, each from its own generator, so that a plan does not depend on what it was batched with."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Generator, Tensor


def normal(generators: Sequence[Generator], count: int, like: Tensor) -> Tensor:
    """Standard normal numbers (B, count, H, A') for sequences like (B, E, H, A')."""
    return _side_by_side(_draws(generators, count, like), like)


def correlated(generators: Sequence[Generator], count: int, like: Tensor, correlation: float, block: int) -> Tensor:
    """Standard normal numbers as `normal`, each correlated with the one an action earlier: a first-order autoregression.

    White noise hardly moves anything that adds up over time; correlated noise explores (Pinneri et al. 2020, arXiv 2008.06389,
    section 3.1, in the frequency domain).

    Args:
        correlation: in [0, 1), between an action and the next; 0 gives the numbers of `normal`.
        block: actions in one model step: A' holds `block` actions one after the other.
    """
    if correlation == 0:
        return normal(generators, count, like)
    steps, size = like.shape[2] * block, like.shape[3] // block
    return _mixed(generators, count, like, _autoregression(steps, size, correlation))


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
    if beta == 0:
        return normal(generators, count, like)
    steps, size = like.shape[2] * block, like.shape[3] // block
    return _mixed(generators, count, like, _filter(steps, size, beta))


def uniform(generators: Sequence[Generator], count: int, like: Tensor) -> Tensor:
    """Numbers (B, count, H, A') uniform in [-1, 1) for sequences like (B, E, H, A')."""
    shape = (count, *like.shape[2:])
    draws = [torch.rand(shape, generator=source, device=source.device, dtype=like.dtype) for source in generators]
    return _side_by_side(draws, like) * 2 - 1


def _draws(generators: Sequence[Generator], count: int, like: Tensor) -> list[Tensor]:
    """Standard normal numbers (count, H, A') of each generator, on its own device."""
    shape = (count, *like.shape[2:])
    return [torch.randn(shape, generator=source, device=source.device, dtype=like.dtype) for source in generators]


def _mixed(generators: Sequence[Generator], count: int, like: Tensor, mixing: Tensor) -> Tensor:
    """White noise (B, count, H, A'), each sequence multiplied by a matrix (H x A', H x A'): one product for all its steps.

    Problem by problem, so that none is rounded otherwise in a batch.
    """
    draws = _draws(generators, count, like)
    return _side_by_side([torch.mm(draw.flatten(1), mixing.to(draw)).reshape(draw.shape) for draw in draws], like)


def _side_by_side(draws: list[Tensor], like: Tensor) -> Tensor:
    """(B, count, H, A') of each problem's (count, H, A'), on the device of `like`."""
    return (torch.stack(draws) if len(draws) > 1 else draws[0][None]).to(like.device)


@cache
def _autoregression(steps: int, size: int, correlation: float) -> Tensor:
    """What makes white noise follow x[t] = c x[t - 1] + sqrt(1 - c^2) w[t], x[0] = w[0]: (steps x size, steps x size), f64."""
    time = torch.arange(steps, dtype=torch.float64)
    decay = torch.where(time >= time[:, None], correlation ** (time - time[:, None]).clamp_min(0), 0)  # [source, target]
    decay[1:] *= (1 - correlation**2) ** 0.5
    return torch.kron(decay, torch.eye(size, dtype=torch.float64))


@cache
def _filter(steps: int, size: int, beta: float) -> Tensor:
    """What scales the frequencies f of white noise by f^(-beta / 2), at unit variance: (steps x size, steps x size), f64."""
    cycles = torch.fft.fftfreq(steps, 1 / steps, dtype=torch.float64).abs().clamp_min(1)
    power = cycles**-beta
    amplitudes = (power / power.mean()).sqrt()[: steps // 2 + 1]
    waves = torch.fft.irfft(torch.fft.rfft(torch.eye(steps, dtype=torch.float64)) * amplitudes, n=steps)
    return torch.kron(waves, torch.eye(size, dtype=torch.float64))
