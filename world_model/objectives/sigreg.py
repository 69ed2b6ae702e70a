"""SIGReg: embeddings shaped like an isotropic Gaussian."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from imagoal.errors import UsageError


@dataclass(frozen=True)
class SIGReg:
    """Prediction of the next embedding, with embeddings held to an isotropic Gaussian, which rules out collapse.

    As in LeWorldModel (arXiv 2603.19312): no target network, no stopped gradient. The regulariser is the Epps-Pulley test of
    normality on random one-dimensional projections (LeJEPA, arXiv 2511.08544).
    """

    normalise: ClassVar[bool] = True

    weight: float = 0.005
    """Of the regulariser against the prediction error."""
    directions: int = 256
    """Random projections, drawn anew at each step."""
    knots: int = 17
    """Points at which the characteristic functions are compared, from 0 to 3."""

    def __post_init__(self) -> None:
        for name, least in {"weight": 0, "directions": 1, "knots": 2}.items():
            if not getattr(self, name) >= least:
                raise UsageError(f"SIGReg.{name} is {getattr(self, name)}; expected {least} or more")

    def loss(self, embeddings: Tensor, predicted: Tensor, following: Tensor, generator: Generator) -> Tensor:
        """Error of predicted against following (M, P, D), plus the weighted test over embeddings (M, T, D)."""
        error = (predicted - following).square().mean()
        return error + self.weight * epps_pulley(embeddings.flatten(0, 1), self.directions, self.knots, generator)


def epps_pulley(points: Tensor, directions: int, knots: int, generator: Generator) -> Tensor:
    """Mean Epps-Pulley statistic of points (M, D) along random directions: about 1.05 for a standard Gaussian, more otherwise.

    M times the integral over [-3, 3] of |empirical - Gaussian characteristic function|^2 exp(-t^2 / 2), by the trapezoid rule.
    """
    axes = torch.randn(points.shape[1], directions, generator=generator, dtype=points.dtype)
    projected = points @ (axes / axes.norm(dim=0))
    knot = torch.linspace(0, 3, knots, dtype=points.dtype)
    wanted = torch.exp(-knot.square() / 2)
    angles = projected[..., None] * knot
    gap = (angles.cos().mean(0) - wanted).square() + angles.sin().mean(0).square()
    statistic = 2 * torch.trapezoid(gap * wanted, knot, dim=-1)  # the integrand is even
    return len(points) * statistic.mean()
