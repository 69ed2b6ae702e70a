"""What planners refuse, before anything is computed."""

import math

from imagoal.errors import UsageError
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
