"""The interval of a paired difference: published values, coverage, and the extremes."""

import numpy as np
import pytest

from imagoal.errors import UsageError
from imagoal.eval.episodes._paired import paired_difference
from imagoal.eval.episodes._summary import wilson

Pairs = tuple[list[bool], list[bool]]


def pairs(both: int, only_first: int, only_second: int, neither: int) -> Pairs:
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


@pytest.mark.parametrize(
    ("table", "difference", "low", "high"),
    [
        ((36, 12, 2, 0), 0.2, 0.0569, 0.3404),  # Newcombe 1998
        (
            (59, 6, 16, 80),
            -0.0621,
            -0.1186,
            -0.0046,
        ),  # what R's contingencytables gives for this table
    ],
)
def test_the_interval_is_newcombe_s(table: tuple[int, int, int, int], difference: float, low: float, high: float) -> None:
    found = paired_difference(*pairs(*table))
    assert (found.rate, found.low, found.high) == pytest.approx((difference, low, high), abs=6e-5)


def test_the_other_way_round_is_the_same_with_the_signs_turned() -> None:
    first, second = pairs(20, 9, 3, 8)
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert (there.rate, there.low, there.high) == pytest.approx((-back.rate, -back.high, -back.low))


def test_pairing_narrows_the_interval_where_the_rows_agree() -> None:
    alike, unlike = paired_difference(*pairs(90, 10, 0, 100)), paired_difference(*pairs(48, 52, 42, 58))
    assert alike.rate == unlike.rate == pytest.approx(0.05)
    assert alike.high - alike.low < 0.7 * (unlike.high - unlike.low)


EXTREMES = [((200, 0, 0, 0), 0), ((0, 0, 0, 200), 0), ((0, 200, 0, 0), 1), ((0, 0, 200, 0), -1)]


@pytest.mark.parametrize(("table", "rate"), EXTREMES)
def test_at_the_extremes_nothing_is_certain_and_nothing_out_of_range(table: tuple[int, int, int, int], rate: int) -> None:
    found = paired_difference(*pairs(*table))
    assert found.rate == rate
    assert -1 <= found.low <= found.rate <= found.high <= 1
    assert 0.01 < found.high - found.low < 0.04


def test_two_perfect_rows_differ_by_no_more_than_one_of_them_may_miss() -> None:
    found = paired_difference([True] * 200, [True] * 200)
    assert -found.low == found.high == pytest.approx(1 - wilson([True] * 200)[0])


def test_the_interval_covers_the_true_difference_about_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(0)
    shares = [0.80, 0.12, 0.05, 0.03]
    drawn = rng.choice(4, (400, 100), p=shares)
    found = [paired_difference((row < 2).tolist(), np.isin(row, (0, 2)).tolist()) for row in drawn]
    covered = np.mean([one.low <= shares[1] - shares[2] <= one.high for one in found])
    assert 0.92 <= covered <= 0.985


@pytest.mark.parametrize(("first", "second"), [([], []), ([True], []), ([True], [True, False])])
def test_what_cannot_be_paired_is_refused(first: list[bool], second: list[bool]) -> None:
    with pytest.raises(UsageError, match="outcomes to compare; expected as many of both, and at least one"):
        paired_difference(first, second)
