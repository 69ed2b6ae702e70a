"""A distance between pictures that tells from anywhere in which direction the goal lies."""

import functools
import math

import torch
from torch import Tensor

WIDTHS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Standard deviations of the blurs, as shares of the picture's sides: from half the radius of a ball to half the picture."""

MODES = 32
"""Cosines that are kept along a side; of a higher one, the finest blur leaves less than 1 %."""


def blur(first: Tensor, second: Tensor) -> Tensor:
    """Mean over several widths of the distance between frames after a Gaussian blur: (M, C, h, w), (M, C, h, w) to (M,).

    Without a blur, two pictures of a ball are equally far apart wherever the balls are, as soon as they do not overlap; and a
    single blur has a slope only about as far as it is wide. Each distance counts by its width, so that all have about the same
    size once the balls are apart. The mean of the difference, which no blur changes, is left out: a shade too bright all over
    would weigh more than a ball.

    The picture's borders reflect, so nothing leaks out: such a blur only damps the picture's cosines (Strang 1999,
    doi 10.1137/S0036144598336745), and two small matrix products serve all widths. In pixel values; differentiable.
    """
    rows, columns = (_cosines(length).to(first) for length in first.shape[-2:])
    modes = rows @ (first - second) @ columns.T
    energies = modes.square().sum(1).flatten(1) @ _damping(len(rows), len(columns)).to(first)
    distances = energies.clamp_min(torch.finfo(first.dtype).tiny).sqrt()  # its gradient at the goal is 0, not NaN
    return distances.mean(1) / math.sqrt(math.prod(first.shape[1:]))  # of modes as of pixels: Parseval


@functools.cache
def _cosines(length: int) -> Tensor:
    """The first orthonormal cosines (n, length) of a side, n up to `MODES`: the discrete cosine transform, type 2."""
    modes, middles = torch.arange(min(MODES, length))[:, None], torch.arange(length) + 0.5
    cosines = torch.cos(math.pi / length * modes * middles) * math.sqrt(2 / length)
    cosines[0] /= math.sqrt(2)
    return cosines


@functools.cache
def _damping(rows: int, columns: int) -> Tensor:
    """Weights (rows * columns, widths) of the squared modes: what each blur leaves, times its width relative to the finest."""
    squares = (math.pi * torch.arange(rows))[:, None] ** 2 + (math.pi * torch.arange(columns)) ** 2
    left = torch.stack([(width / WIDTHS[0]) ** 2 * torch.exp(-squares * width**2) for width in WIDTHS], -1)
    left[0, 0] = 0  # the mean
    return left.flatten(0, 1)
