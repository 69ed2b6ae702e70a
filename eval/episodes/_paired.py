"""The difference of two success rates on the same tasks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imagoal.errors import UsageError
from imagoal.eval.episodes._summary import wilson


@dataclass(frozen=True)
class Interval:
    """A share, or a difference of shares, with its 95 % interval.

    Attributes:
        rate: the estimate.
        low: lower end.
        high: upper end.
    """

    rate: float
    low: float
    high: float


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> Interval:
    """Share of successes of `first` minus that of `second`; entry i of both is the same task.

    Newcombe's square-and-add interval from two Wilson intervals and the correlation of the pairs (Statistics in Medicine
    17:2635-2650, 1998, method 10): never outside [-1, 1], and of a true width also where all pairs agree.

    Raises:
        UsageError: not the same number of tasks, or none.
    """
    n = len(first)
    if not n or n != len(second):
        raise UsageError(f"{n} and {len(second)} outcomes to compare; expected as many of both, and at least one")
    p1, low1, high1 = _wilson(first)
    p2, low2, high2 = _wilson(second)
    correlation = _correlation(first, second)
    down = _hypotenuse(p1 - low1, high2 - p2, correlation)
    up = _hypotenuse(high1 - p1, p2 - low2, correlation)
    return Interval(p1 - p2, p1 - p2 - down, p1 - p2 + up)


def _wilson(outcomes: Sequence[bool]) -> tuple[float, float, float]:
    return (sum(outcomes) / len(outcomes), *wilson(outcomes))


def _hypotenuse(one: float, other: float, correlation: float) -> float:
    """Of two margins that move together by `correlation`; 0 rather than the root of a rounding error below it."""
    return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))


def _correlation(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Phi of the 2x2 table of pairs, with Newcombe's correction for continuity where it is positive."""
    pairs = list(zip(first, second, strict=True))
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    product = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if not product:
        return 0.0
    excess = both * neither - only_first * only_second
    corrected = max(excess - len(pairs) / 2, 0.0) if excess > 0 else float(excess)
    return corrected / math.sqrt(product)
