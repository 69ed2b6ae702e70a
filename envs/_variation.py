"""Factors of variation: what a reset may draw anew about a world, by name, while all else stays as the env's version says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagoal.errors import UsageError

Values = dict[str, dict[str, float]]
"""What was drawn: by factor, then by number."""


@dataclass(frozen=True)
class Number:
    """One number of a factor, drawn uniformly.

    Attributes:
        low: smallest value.
        high: largest value.
        unit: of both; empty if it has none.
        write: puts a value into the description of a world (a `mujoco.MjSpec`).
    """

    low: float
    high: float
    unit: str
    write: Callable[[Any, float], None]


@dataclass(frozen=True)
class Factor:
    """What is drawn together under one name.

    Attributes:
        changes: in words.
        numbers: by name.
    """

    changes: str
    numbers: Mapping[str, Number]


def chosen(env: str, factors: Mapping[str, Factor], wish: object) -> tuple[str, ...]:
    """The factors that `options={"variation": wish}` asks an env for, in the order of their table.

    Args:
        env: its name, for messages.
        factors: that it has.
        wish: a name, or some; `all` stands for every one.

    Raises:
        UsageError: it has no such factor.
    """
    names = [wish] if isinstance(wish, str) else wish
    if not isinstance(names, list | tuple | set | frozenset):
        raise UsageError(f"variation {wish!r}; expected a list of names")
    known = [*factors, "all"] if factors else []
    unknown = [name for name in names if name not in known]
    if unknown:
        there = f"expected any of {', '.join(factors)}, or all" if factors else f"{env} has no factors of variation"
        raise UsageError(f"variation {unknown[0]!r}; {there}")
    return tuple(factors) if "all" in names else tuple(name for name in factors if name in names)


def drawn(factors: Mapping[str, Factor], names: tuple[str, ...], rng: np.random.Generator) -> Values:
    """Values of the named factors. All are drawn and the others dropped, so none depends on which others are named."""
    if not names:
        return {}
    every = {
        factor: {name: float(rng.uniform(number.low, number.high)) for name, number in entry.numbers.items()}
        for factor, entry in factors.items()
    }
    return {name: every[name] for name in names}


def write(factors: Mapping[str, Factor], values: Values, description: Any) -> None:
    """Put drawn values into the description of a world."""
    for factor, numbers in values.items():
        for name, value in numbers.items():
            factors[factor].numbers[name].write(description, value)
