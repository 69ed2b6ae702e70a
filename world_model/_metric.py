"""A distance between latents that is small where little time lies between: learned from the data, without labels.

Euclid's distance between learned latents is often no guide beyond the neighbourhood of the goal: it counts every dimension
alike, and most of them wave back and forth as an object moves. Dividing by how much each direction usually changes in one
step keeps the slow directions, which tell far from near (slow feature analysis, Wiskott & Sejnowski 2002,
doi 10.1162/089976602317318938).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imagoal.world_model import _folder

SCHEMA = "imagoal.metric/1"


@dataclass(frozen=True)
class Slowness:
    """Mahalanobis distance under the covariance of one-step changes: |(a - b) @ matrix|, in usual changes per step.

    Attributes:
        matrix: f32 (N x D, R).
    """

    matrix: Tensor

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (M,) between latents (M, N, D)."""
        difference: Tensor = (first - second).flatten(1) @ self.matrix
        length: Tensor = torch.linalg.vector_norm(difference, dim=1)
        return length

    def save(self, path: Path) -> None:
        """Write the metric as a folder."""
        _folder.write(path, {"schema": SCHEMA}, {"model": {"matrix": self.matrix}})


def load(path: Path) -> Slowness:
    """A metric from its folder.

    Raises:
        DataError: the folder is missing, damaged, or no metric.
    """
    folder = _folder.read(path, SCHEMA)
    with _folder.understood(path):
        return Slowness(folder.tensors["model"]["matrix"])


def fit(changes: Tensor, ridge: float = 0.03) -> Slowness:
    """The metric of one-step changes (M, N, D).

    Args:
        changes: latents after a step minus those before.
        ridge: added to the covariance's diagonal, relative to its mean, so that directions in which nothing ever moves do not
            drown the others.
    """
    rows = changes.flatten(1).double()
    covariance = rows.T @ rows / len(rows)
    floor = ridge * torch.diag(covariance).mean() + 1e-12
    whole = covariance + floor * torch.eye(len(covariance), dtype=covariance.dtype)
    return Slowness(torch.linalg.cholesky(torch.linalg.inv(whole)).float())
