"""Distances between latents that are small where little time lies between: learned from the data, without labels.

Euclid's distance between learned latents is often no guide beyond the neighbourhood of the goal: it counts every dimension
alike, and most of them wave back and forth as an object moves, or belong to the agent's own body. Both distances here are
fitted to the changes of latents in one model step.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from imagoal.world_model.disk import read_folder, understood, write_folder

SCHEMA = "imagoal.metric/1"

RESTS = 0.3
"""What has a median change below this share of its root mean square belongs to an object that mostly rests."""


@dataclass(frozen=True)
class Metric:
    """|(a - b) @ matrix| + agent_weight x |(a - b) @ agent|.

    Attributes:
        matrix: f32 (N x D, R), the directions that count.
        agent: f32 (N x D, Q), those of the agent's own body; Q is 0 where it is not told apart.
        agent_weight: of the latter.
    """

    matrix: Tensor
    agent: Tensor
    agent_weight: float = 0.0

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (M,) between latents (M, N, D)."""
        difference = (first - second).flatten(1)
        length: Tensor = torch.linalg.vector_norm(difference @ self.matrix, dim=1)
        if self.agent_weight and self.agent.shape[1]:
            length = length + self.agent_weight * torch.linalg.vector_norm(difference @ self.agent, dim=1)
        return length

    def weighing(self, agent_weight: float) -> "Metric":
        """The same with another weight on the agent's body."""
        return replace(self, agent_weight=agent_weight)

    def to(self, device: torch.device) -> "Metric":
        """The same, on that device."""
        return replace(self, matrix=self.matrix.to(device), agent=self.agent.to(device))

    def save(self, path: Path) -> None:
        """Write the metric as a folder."""
        agent = {"agent": self.agent} if self.agent.shape[1] else {}
        write_folder(path, {"schema": SCHEMA}, {"model": {"matrix": self.matrix.contiguous()} | agent})


def load_metric(path: Path) -> Metric:
    """A metric from its folder.

    Raises:
        DataError: the folder is missing, damaged, or no metric.
    """
    folder = read_folder(path, SCHEMA)
    with understood(path):
        matrix = folder.tensors["model"]["matrix"]
        return Metric(matrix, folder.tensors["model"].get("agent", matrix[:, :0]))


def slowness(changes: Tensor, ridge: float = 0.03) -> Metric:
    """Mahalanobis distance under the covariance of changes (M, N, D), in usual changes per step.

    It keeps the slow directions, which tell far from near (slow feature analysis, Wiskott & Sejnowski 2002,
    doi 10.1162/089976602317318938). Object and agent are not told apart, except that what seldom moves counts more.

    Args:
        changes: latents after a model step minus those before.
        ridge: added to the covariance's diagonal, relative to its mean, so that directions in which nothing ever moves do not
            drown the others.
    """
    rows = changes.flatten(1).double()
    covariance = rows.T @ rows / len(rows)
    floor = ridge * torch.diag(covariance).mean() + 1e-12
    whole = covariance + floor * torch.eye(len(covariance), dtype=covariance.dtype)
    matrix = torch.linalg.cholesky(torch.linalg.inv(whole)).float()
    return Metric(matrix, matrix[:, :0])


def resting(changes: Tensor) -> Metric:
    """Distance over what mostly rests, plus that over the rest of the latent: changes (M, N, D).

    Each is the root of the mean over tokens, so that the weight between them does not depend on how many tokens each has.
    """
    rests = still(changes)
    every, flat, tokens = torch.eye(rests.numel()), rests.flatten(), rests.any(1)
    return Metric(every[:, flat] / tokens.sum().sqrt(), every[:, ~flat] / (~rests).any(1).sum().clamp_min(1).sqrt())


def still(changes: Tensor) -> Tensor:
    """Which tokens (or dimensions, where there is one token) mostly rest, bool (N, D), from changes (M, N, D) in a model step.

    The agent's body moves at nearly every step, the object only when it is pushed: for what belongs to the object, the median
    change is small beside the root mean square. Where nothing rests, or all does, all is the object's.
    """
    lengths = torch.linalg.vector_norm(changes, dim=2, keepdim=True) if changes.shape[1] > 1 else changes.abs()
    ratio = lengths.median(0).values / lengths.square().mean(0).sqrt().clamp_min(1e-12)
    rests = (ratio < RESTS).expand(changes.shape[1:])
    return rests if rests.any() and not rests.all() else torch.ones_like(rests)
