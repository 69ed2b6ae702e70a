"""Linear probes: what a latent says about positions, in metres. For diagnosis and as the last place of the chain."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imagoal.envs import Floats, make
from imagoal.world_model.disk import check_trust, read_folder, understood, write_folder

SCHEMA = "imagoal.probe/1"


@dataclass(frozen=True)
class Probe:
    """Positions (M, V) = latents (M, N, D), flattened, @ weight + bias: differentiable, fitted by ridge regression."""

    weight: Tensor
    bias: Tensor

    def __call__(self, latents: Tensor) -> Tensor:
        """Probed positions (M, V) in metres of latents (M, N, D)."""
        return latents.flatten(1).to(self.weight.dtype) @ self.weight + self.bias

    def to(self, device: torch.device) -> "Probe":
        """The same, on that device."""
        return Probe(self.weight.to(device), self.bias.to(device))

    def save(self, path: Path) -> None:
        """Write the probe as a folder."""
        write_folder(path, {"schema": SCHEMA}, {"model": {"weight": self.weight, "bias": self.bias}})


def load_probe(path: Path) -> Probe:
    """A probe from its folder.

    Raises:
        DataError: the folder is missing, damaged, or no probe.
    """
    folder = read_folder(path, SCHEMA)
    with understood(path):
        return Probe(folder.tensors["model"]["weight"], folder.tensors["model"]["bias"])


def visible_positions(env: str, states: Floats, trust: bool = False) -> Tensor:
    """What pictures of states (F, S) of the environment that a store names show, f32 (F, V) in metres.

    Raises:
        DataError: the environment is from outside, and not trusted.
    """
    check_trust("env", env, trust)
    return torch.tensor(make(env).visible(np.asarray(states)), dtype=torch.float32)


def object_size(env: str, trust: bool = False) -> int:
    """How many leading numbers of what that environment shows are the object's.

    Raises:
        DataError: the environment is from outside, and not trusted.
    """
    check_trust("env", env, trust)
    return make(env).object_size


def fit_probe(latents: Tensor, positions: Tensor, penalty: float = 1e-4) -> Probe:
    """Ridge regression of positions (M, V) on latents (M, N, D).

    The penalty is relative to the latents' variance and the number of frames; solved in float64.
    """
    inputs, targets = latents.flatten(1).double(), positions.double()
    mean, centre = inputs.mean(0), targets.mean(0)
    inputs = inputs - mean
    gram = inputs.T @ inputs
    ridge = penalty * torch.diag(gram).mean() + 1e-12
    weight = torch.linalg.solve(gram + ridge * torch.eye(len(gram), dtype=gram.dtype), inputs.T @ (targets - centre))
    # contiguous, as it is when loaded: some processors round a product by how its matrices lie in memory
    return Probe(weight.float().contiguous(), (centre - mean @ weight).float())


def r2(probe: Probe, latents: Tensor, positions: Tensor) -> float:
    """Share of the positions' variance that the probe explains, on frames that it was not fitted to."""
    residual = (probe(latents) - positions).square().sum()
    return float(1 - residual / (positions - positions.mean(0)).square().sum().clamp_min(1e-12))


def effective_rank(vectors: Tensor) -> float:
    """exp(entropy of the normalised singular values) of vectors (M, D), not centred (RankMe, arXiv 2210.02885, eq. 1).

    1 where all vectors are the same.
    """
    values = torch.linalg.svdvals(vectors.double())
    share = values / values.sum().clamp_min(1e-300)
    return float(torch.exp(-(share * share.clamp_min(1e-300).log()).sum()))
