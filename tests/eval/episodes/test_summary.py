"""From episodes to numbers: intervals, percentiles, what is excluded and what is not."""

import json
from typing import Any

import numpy as np
import pytest

from imagoal.eval.episodes._run import EpisodeResult
from imagoal.eval.episodes._summary import ENOUGH_FOR_P99, beside, latency, percentiles, rate, summarise


def episode(number: int = 0, **fields: Any) -> EpisodeResult:
    plain: dict[str, Any] = {
        "id": number,
        "seed": number,
        "difficulty": 0.5,
        "trivial": False,
        "ever": True,
        "hold": True,
        "final": True,
        "steps_to_goal": 7,
        "start_distance": 0.5,
        "final_distance": 0.01,
        "early_end": None,
        "iterations": None,
        "actions_sha256": "",
    }
    return EpisodeResult(**plain | fields)


def plan(milliseconds: float, evaluations: int = 10) -> dict[str, float]:
    parts = {"encode": milliseconds / 4, "rollout": milliseconds / 2, "refit": milliseconds / 4}
    return {"plan": milliseconds, **parts, "evaluations": evaluations}


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(45, 50, 0.786, 0.957), (180, 200, 0.851, 0.934), (20, 20, 0.839, 1.0), (0, 20, 0.0, 0.161), (1, 1, 0.207, 1.0)],
)
def test_intervals_are_wilson_s(successes: int, count: int, low: float, high: float) -> None:
    found = rate([True] * successes + [False] * (count - successes))
    assert found["rate"] == successes / count
    assert found["n"] == count
    assert found["low"] == pytest.approx(low, abs=5e-4)
    assert found["high"] == pytest.approx(high, abs=5e-4)


def test_of_no_episodes_nothing_is_known() -> None:
    assert rate([]) == {"rate": 0.0, "low": 0.0, "high": 1.0, "n": 0}


def test_trivial_tasks_are_excluded_and_counted() -> None:
    episodes = [episode(0), episode(1, trivial=True), episode(2, hold=False, ever=False, final=False, steps_to_goal=None)]
    summary = summarise(episodes, 1, 1, 0.0)
    assert summary["excluded_trivial"] == 1
    assert {kind: (found["rate"], found["n"]) for kind, found in summary["success"].items()} == dict.fromkeys(
        ("ever", "hold", "final"), (0.5, 2)
    )
    assert summary["steps_to_goal"] == {"median": 7.0, "n": 1}


def test_failed_episodes_stay_in_n_and_are_counted() -> None:
    lost = episode(1, early_end="RuntimeError at step 3", ever=False, hold=False, final=False, steps_to_goal=None)
    summary = summarise([episode(0), lost], 1, 1, 0.0)
    assert summary["failed_episodes"] == 1
    assert (summary["success"]["hold"]["rate"], summary["success"]["hold"]["n"]) == (0.5, 2)


def test_a_summary_of_nothing_but_trivial_tasks_is_still_json() -> None:
    summary = summarise([episode(trivial=True)], 1, 1, 0.0)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["final_distance"]["median"] is None
    assert summary["latency_ms"] is None
    assert summary["evaluations_per_plan"] is None


def test_what_stands_beside_the_costs_is_told_where_there_is_something() -> None:
    plain = [plan(8.0), plan(9.0)]
    assert beside(plain) == {}
    assert set(summarise([episode(plans=plain)], 1, 1, 0.0)) == PLAIN
    rough = [plan(8.0) | {"regret": regret} for regret in (0.0, 0.0, 0.25, 1.0)]
    found = summarise([episode(0, plans=rough[:1]), episode(1, plans=rough[1:])], 1, 1, 0.0)
    assert set(found) == PLAIN | {"regret"}
    assert found["regret"] == {"median": 0.125, "p90": pytest.approx(0.775), "max": 1.0, "changed": 0.5}
    claimed = [plan(8.0) | {"claimed": share} for share in (1.0, 0.5, 0.75)]
    found = summarise([episode(plans=claimed)], 1, 1, 0.0)
    assert set(found) == PLAIN | {"claimed"}
    assert found["claimed"] == {"median": 0.75, "min": 0.5}


PLAIN = {"success", "excluded_trivial", "failed_episodes", "steps_to_goal", "final_distance", "latency_ms"}
PLAIN |= {"evaluations_per_plan", "peak_mb"}
"""What every summary holds."""


def test_the_99th_percentile_needs_662_plans() -> None:
    values = np.arange(ENOUGH_FOR_P99, dtype=float)
    assert percentiles(values)["p99"] == pytest.approx(0.99 * (ENOUGH_FOR_P99 - 1))
    assert percentiles(values[:-1])["p99"] is None
    assert ENOUGH_FOR_P99 == 662


def test_the_first_plan_is_cold_and_not_among_the_others() -> None:
    times = latency([episode(0, plans=[plan(900.0), plan(4.0)]), episode(1, plans=[plan(8.0)])], 1, 1)
    assert times is not None
    assert (times["cold"], times["n"]) == (900.0, 2)
    assert times["per_plan"]["p50"] == 6
    assert (times["encode"], times["rollout"], times["refit"]) == (1.5, 3, 1.5)


def test_a_plan_s_time_is_shared_by_the_actions_executed_from_it() -> None:
    times = latency([episode(plans=[plan(900.0), plan(8.0)])], 1, 4)
    assert times is not None
    assert times["per_plan"]["p50"] == 8
    assert times["per_action"]["p50"] == 2


def test_a_plan_that_was_kept_shares_its_time_and_that_of_the_checks_among_more_actions() -> None:
    kept = plan(8.0) | {"kept": 3, "checks": 2.0}
    times = latency([episode(plans=[plan(900.0), kept, plan(9.0), plan(9.0)])], 1, 2)
    assert times is not None
    assert (times["n"], times["per_plan"]["p50"]) == (3, 9), "of plans, however long they were followed"
    assert times["per_action"]["p50"] == (8 + 2) / (4 * 2), "of actions, most of which come from the plan that was kept"
    assert times["per_action"]["p90"] == 4.5


def test_plans_kept_for_long_are_not_more_plans() -> None:
    kept = [plan(8.0) | {"kept": 9, "checks": 2.0} for _ in range(ENOUGH_FOR_P99)]
    few = latency([episode(plans=kept)], 1, 1)
    assert few is not None
    assert (few["per_plan"]["p99"], few["per_action"]["p99"]) == (None, None)
    enough = latency([episode(plans=[*kept, plan(1.0)])], 1, 1)
    assert enough is not None
    assert enough["per_action"]["p99"] == 1.0


def test_plans_that_came_too_late_are_counted() -> None:
    hurried = [plan(milliseconds) | {"deadline": 10.0} for milliseconds in (900.0, 10.0, 10.1, 11.0, 2.0)]
    times = latency([episode(plans=hurried)], 1, 1)
    assert times is not None
    assert (times["deadline"], times["missed"], times["n"]) == (10.0, 2, 4), "the cold one stands by itself"
    free = latency([episode(plans=[plan(900.0), plan(8.0)])], 1, 1)
    assert free is not None
    assert (free["deadline"], free["missed"]) == (None, 0)


def test_a_single_plan_is_both_cold_and_all_there_is() -> None:
    times = latency([episode(plans=[plan(9.0)])], 3, 1)
    assert times is not None
    assert (times["cold"], times["n"], times["batch"], times["per_plan"]["p50"]) == (9, 1, 3, 9)
