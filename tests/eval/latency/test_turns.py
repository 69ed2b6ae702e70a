"""Comparisons of times: order, warm-up, what is not timed."""

import itertools

from imagoal.eval.latency import in_turn, ratio, take_turns


def test_each_has_one_turn_in_every_round_and_the_order_changes() -> None:
    turns = list(in_turn(3, 20, 0))
    orders = [tuple(which for number, which in turns if number == each) for each in range(20)]
    assert {tuple(sorted(order)) for order in orders} == {(0, 1, 2)}
    assert len(set(orders)) > 1
    assert turns == list(in_turn(3, 20, 0)) != list(in_turn(3, 20, 1))


def test_the_first_round_warms_up_and_preparing_takes_no_time() -> None:
    now, prepared = itertools.count(), []
    passed = {"slow": 0, "fast": 0}
    seconds = {"now": 0.0}

    def work(name: str) -> None:
        passed[name] += 1
        seconds["now"] += (100.0 if passed[name] == 1 else 1.0) * (3 if name == "slow" else 1)

    def prepare(name: str, number: int) -> None:
        prepared.append((name, number))
        seconds["now"] += 50 + next(now)

    jobs = {name: (lambda name=name: work(name)) for name in passed}
    times = take_turns(jobs, 4, clock=lambda: seconds["now"], prepare=prepare)
    assert times == {"slow": [3.0] * 4, "fast": [1.0] * 4}
    assert sorted(prepared) == sorted((name, number) for name in passed for number in range(5))
    assert ratio(times, "slow", "fast") == 3


def test_ratio_is_taken_within_rounds() -> None:
    """A round in which all took ten times as long changes nothing."""
    assert ratio({"a": [2.0, 20.0, 2.0], "b": [1.0, 10.0, 1.0]}, "a", "b") == 2
