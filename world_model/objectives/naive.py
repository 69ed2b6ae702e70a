"""Naive: similarity alone."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor


@dataclass(frozen=True)
class Naive:
    """Similarity of predicted and next embedding, and nothing against collapse: the embedding shrinks to a point.

    Kept to show what the other objectives are for. It trains without a final normalisation, which would hide the collapse.
    """

    normalise: ClassVar[bool] = False

    def loss(self, embeddings: Tensor, predicted: Tensor, following: Tensor, generator: Generator) -> Tensor:
        """Mean squared error of predicted against following (M, P, D); `embeddings` (M, T, D) are not looked at."""
        return (predicted - following).square().mean()
