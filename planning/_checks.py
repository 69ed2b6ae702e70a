"""What planners refuse, before anything is computed."""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from imagoal.errors import NumericalError, UsageError
from imagoal.planning._types import Planner


def check_field(planner: object, field: str, low: float, high: float = math.inf) -> None:
    """Refuse a field that is not a finite number in [low, high]; where `low` is a whole number, the field is one too.

    Raises:
        UsageError: naming field, value and range.
    """
    value = getattr(planner, field)
    whole = isinstance(low, int)
    if not (low <= value <= high and value < math.inf) or (whole and not isinstance(value, int)):
        kind = "a whole number " if whole else ""
        bounds = f"{low} or more" if high == math.inf else f"from {low} to {high}"
        raise UsageError(f"{type(planner).__name__}.{field} is {value}; expected {kind}{bounds}")


def check_proposals(candidates: Tensor, horizon: int, num_samples: int, generators: Sequence[Generator]) -> Tensor:
    """Proposals (B, E, H, A') fit for a search, clamped to [-1, 1].

    Raises:
        UsageError: they do not fit the planner or the generators.
        NumericalError: one holds a value that is not finite. A GPU is not waited for to learn that: there, such a search ends
            with no cost that is finite.
    """
    if candidates.ndim != 4 or candidates.shape[1] < 1:
        raise UsageError(
            f"candidates have shape {tuple(candidates.shape)}; expected (problems, 1 or more, horizon, action size)"
        )
    if candidates.shape[0] != len(generators):
        raise UsageError(f"{len(generators)} generators for {candidates.shape[0]} problems; expected one each")
    if candidates.shape[1] > num_samples:
        raise UsageError(f"num_samples is {num_samples}; expected at least the number of candidates, {candidates.shape[1]}")
    if candidates.shape[2] != horizon:
        raise UsageError(f"candidates have {candidates.shape[2]} steps; expected the planner's horizon, {horizon}")
    if candidates.device.type == "cpu" and not torch.isfinite(candidates).all():
        raise NumericalError("a candidate holds an action that is not finite; the policy that proposed it is broken")
    return candidates.clamp(-1, 1)


def check_needs(planner: Planner, differentiable: bool, shows_path: bool = False) -> None:
    """Refuse a planner that follows gradients where the cost has none, or searches over paths where it shows none.

    Raises:
        UsageError: naming the planner and the cure.
    """
    if planner.needs == "path" and not shows_path:
        raise UsageError(
            f"{type(planner).__name__} searches over paths, and this cost does not say where a path's steps would lead; "
            "choose a world model that does, such as latent, or another planner"
        )
    if planner.needs != "values" and not differentiable:
        raise UsageError(
            f"{type(planner).__name__} follows gradients and this cost has none; "
            "choose a world model and a place of the cost without a renderer between them, or another planner"
        )
