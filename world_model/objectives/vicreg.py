"""VICReg: variance, invariance, covariance."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from imagoal.errors import UsageError


@dataclass(frozen=True)
class VICReg:
    """Predictive VICReg (Bardes et al., arXiv 2105.04906, eq. 6): the prediction is one view, the next embedding the other."""

    normalise: ClassVar[bool] = False

    invariance: float = 25.0
    """Weight of the squared error between predicted and next embedding."""
    variance: float = 25.0
    """Weight of the hinge that keeps each dimension's standard deviation above 1 (eq. 1)."""
    covariance: float = 1.0
    """Weight of the squared covariances between dimensions (eq. 3, 4)."""

    def __post_init__(self) -> None:
        for name in ("invariance", "variance", "covariance"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"VICReg.{name} is {getattr(self, name)}; expected 0 or more")

    def loss(self, embeddings: Tensor, predicted: Tensor, following: Tensor, generator: Generator) -> Tensor:
        """The weighted sum, over embeddings (M, T, D), predicted and following (M, P, D)."""
        points = embeddings.flatten(0, 1)
        centred = points - points.mean(0)
        spread = torch.sqrt(centred.var(0) + 1e-4)
        matrix = centred.T @ centred / (len(points) - 1)
        off_diagonal = matrix - torch.diag(torch.diag(matrix))
        return (
            self.invariance * (predicted - following).square().mean()
            + self.variance * torch.relu(1 - spread).mean()
            + self.covariance * off_diagonal.square().sum() / points.shape[1]
        )
