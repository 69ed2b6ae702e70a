"""What the trunk's output stands for: the mean of what may come next, or, by diffusion, one of the things that may."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Protocol

import torch
from torch import Generator, Tensor

from imagoal.errors import UsageError
from imagoal.world_model.models._unet import Forward

RHO = 7.0
"""How much shorter Euler's steps become where there is little noise (arXiv 2206.00364, eq. 5)."""


@dataclass(frozen=True)
class Lesson:
    """Where training is.

    Attributes:
        progress: from 0 to 1.
        several: whether several maps are imagined, each from those before.
    """

    progress: float = 0.0
    several: bool = False


class Head(Protocol):
    """How a trunk imagines the next map, and how it is taught to.

    A map is imagined as the change from the last one, in usual changes (`TrunkNet.unit`).
    """

    @property
    def random(self) -> bool:
        """Whether what is imagined depends on noise."""
        ...

    def follow(self, net: Forward, maps: Tensor, actions: Tensor, noise: Tensor) -> Tensor:
        """The next change (M, C, h, w) after maps (M, history, C, h, w) and actions (M, history, A'), from standard noise."""
        ...

    def guess(
        self, net: Forward, maps: Tensor, actions: Tensor, change: Tensor, lesson: Lesson, generator: Generator
    ) -> Tensor:
        """The same in training, where noise may be put on the true change, which is known."""
        ...

    def feed(self, net: Forward, maps: Tensor, actions: Tensor, guess: Tensor, generator: Generator) -> Tensor:
        """The change on which training on several steps goes on: what would be imagined."""
        ...


@dataclass(frozen=True)
class Mean:
    """Regression: the mean of all that may come next."""

    random: ClassVar[bool] = False

    def follow(self, net: Forward, maps: Tensor, actions: Tensor, noise: Tensor) -> Tensor:
        """The next change; what the noise is does not matter."""
        return net(maps, actions, torch.zeros_like(maps[:, 0]), maps.new_zeros(len(maps)))

    def guess(
        self, net: Forward, maps: Tensor, actions: Tensor, change: Tensor, lesson: Lesson, generator: Generator
    ) -> Tensor:
        """As `follow`."""
        return self.follow(net, maps, actions, change)

    def feed(self, net: Forward, maps: Tensor, actions: Tensor, guess: Tensor, generator: Generator) -> Tensor:
        """What was guessed: errors of later steps teach the earlier ones."""
        return guess


@dataclass(frozen=True)
class Diffusion:
    """Diffusion (EDM, arXiv 2206.00364), with the usual change as the data's standard deviation.

    Unlike DIAMOND (arXiv 2405.12399) it starts from so much noise that the first step alone is the regression's; at least half
    of what it learns is that step. Unlike EDM all noise counts alike, in squared changes: where there is little of it, little
    is left to be learned, and EDM's weight would make that as important.
    """

    random: ClassVar[bool] = True

    steps: int = 1
    """Euler steps of denoising for each imagined map: in the last part of training, and after it unless `eval` says otherwise.
    """
    sigma_max: float = 300.0
    """Standard deviation of the noise at the first step, in usual changes. What changes is a small part of a picture, and there
    by ten times the usual: less noise would show it from the start."""
    sigma_min: float = 3.0
    """The same at the last of several steps."""
    mean: float = 1.8
    """Of the logarithm of the noise in training."""
    deviation: float = 1.4
    """Its standard deviation."""
    at_max: float = 0.5
    """Share of each batch that learns at `sigma_max`."""
    warm: float = 0.3
    """Share of training, from its start, in which nothing but the mean is learned, without noise."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"{self.steps} denoising steps; expected 1 or more")
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise UsageError(f"sigma_min, sigma_max = {self.sigma_min}, {self.sigma_max}; expected 0 < sigma_min < sigma_max")
        if not (math.isfinite(self.mean) and 0 < self.deviation < math.inf):
            raise UsageError(f"mean, deviation = {self.mean}, {self.deviation}; expected finite numbers, the second above 0")
        for field in ("at_max", "warm"):
            if not 0 <= getattr(self, field) <= 1:
                raise UsageError(f"{field} = {getattr(self, field)}; expected from 0 to 1")

    def sigmas(self) -> list[float]:
        """Noise before each step, and 0 after the last (eq. 5)."""
        ends = self.sigma_max ** (1 / RHO), self.sigma_min ** (1 / RHO)
        shares = (step / max(1, self.steps - 1) for step in range(self.steps))
        return [(ends[0] + share * (ends[1] - ends[0])) ** RHO for share in shares] + [0.0]

    def follow(self, net: Forward, maps: Tensor, actions: Tensor, noise: Tensor) -> Tensor:
        """A next change, by Euler's method (algorithm 1 without its second-order correction, as DIAMOND)."""
        sigmas = self.sigmas()
        change = noise * sigmas[0]
        for now, then in pairwise(sigmas):
            sigma = maps.new_full((len(maps),), now)
            change = torch.lerp(denoised(net, maps, actions, change, sigma), change, then / now)
        return change

    def guess(
        self, net: Forward, maps: Tensor, actions: Tensor, change: Tensor, lesson: Lesson, generator: Generator
    ) -> Tensor:
        """The change, denoised: from a random amount of noise, or, where one step imagines several maps, from noise alone."""
        whole = maps.new_full((len(maps),), self.sigma_max)
        if lesson.progress < self.warm:
            return net(maps, actions, torch.zeros_like(change), whole.log())
        noise = torch.randn(change.shape, generator=generator)
        if lesson.several and self.steps == 1:
            return self.follow(net, maps, actions, noise)
        sigma = (self.mean + self.deviation * torch.randn(len(maps), generator=generator)).exp().clamp_max(self.sigma_max)
        sigma[: round(self.at_max * len(maps))] = self.sigma_max
        return denoised(net, maps, actions, change + _each(sigma) * noise, sigma)

    def feed(self, net: Forward, maps: Tensor, actions: Tensor, guess: Tensor, generator: Generator) -> Tensor:
        """What was guessed, where one step imagines all; else a sample, through which no error teaches anything."""
        if self.steps == 1:
            return guess
        noise = torch.randn(guess.shape, generator=generator)
        with torch.no_grad():
            return self.follow(net, maps, actions, noise)


def denoised(net: Forward, maps: Tensor, actions: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
    """The mean (M, C, h, w) of what a noisy change may have been, sigma (M,) being the noise's standard deviation.

    Preconditioned (table 1, sigma_data = 1) so that the network sees unit variance and would learn unit variance.
    """
    skip, scale = 1 / (1 + sigma**2), 1 / (1 + sigma**2).sqrt()
    learned = net(maps, actions, _each(scale) * noisy, sigma.log())
    return _each(skip) * noisy + _each(sigma * scale) * learned


def _each(values: Tensor) -> Tensor:
    """Values (M,), to be multiplied with maps (M, C, h, w)."""
    return values[:, None, None, None]
