"""Bench: what is timed and counted, against a world model whose every call takes a known time by a clock that is told."""

import dataclasses
import itertools
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from imagoal import files
from imagoal.agents import Pace, Planning
from imagoal.agents.mpc import MPC
from imagoal.agents.no_op import NoOp
from imagoal.cli import main
from imagoal.envs import make
from imagoal.errors import UsageError
from imagoal.eval.latency import _machine as _bench_machine
from imagoal.eval.latency._bench import measure
from imagoal.eval.latency._budget import Budgets, under_budgets
from imagoal.eval.latency._counts import count, overhead
from imagoal.eval.latency._figure import budget_figure
from imagoal.eval.latency._loop import Loop, Subject, Timed, Timing, Variant, time_plans
from imagoal.eval.latency._rows import batching, floor, spread
from imagoal.eval.latency._text import bench_text
from imagoal.eval.tasks import frozen_tasks
from imagoal.planning import CEM, CostFunction, Over, Plan, Planner, euclid
from imagoal.world_model import Label, Past, Place, State
from imagoal.world_model.models import bf16_units
from imagoal.world_model.readouts import Chain

ENV = make("ball")
TASKS = frozen_tasks(ENV, "dev")
HORIZON, SAMPLES, ITERATIONS = 4, 16, 2
SMALL = CEM(horizon=HORIZON, num_samples=SAMPLES, num_elites=4, iterations=ITERATIONS)
CALLS = ITERATIONS + 1
"""Of the cost function: each iteration, and the last mean."""
ENCODE, ROLLOUT, COLD = 1.0, 2.0, 50.0
"""Milliseconds by the clock below; the first rollout of all takes COLD more."""
PLAN = ENCODE + CALLS * ROLLOUT
STEP_FLOPS = 2 * 2 * 8
"""Of one imagined step of one sequence: two actions to eight numbers."""


class Clock:
    """Stands in for `time`. It goes on when told, and by a nanosecond when it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def tick(self, milliseconds: float) -> None:
        self.now += milliseconds / 1000

    def perf_counter(self) -> float:
        self.now += 1e-9
        return self.now

    thread_time = process_time = perf_counter

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Of all that takes the time; matrix products, which it does not time, are small ones."""
    told = Clock()
    monkeypatch.setattr(_bench_machine, "SIZE", 64)
    for module in ("agents.mpc", "planning._search", "eval.latency._loop", "eval.latency._machine"):
        monkeypatch.setattr(f"imagoal.{module}.time", told)
    return told


class Eye:
    """An encoder that sees nothing."""

    label: Label = "random"
    hash = "eye"

    def encode(self, frames: Tensor) -> Tensor:
        return torch.zeros(len(frames), 1, 8)


@dataclass(frozen=True)
class Ticking:
    """A world model of one linear layer per step, whose calls take the times above."""

    place: ClassVar[Place] = "latent"
    history: ClassVar[int] = 1
    action_block: ClassVar[int] = 1
    action_size: ClassVar[int] = 2
    privileged: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    encoder_hash: ClassVar[str] = "eye"
    dtype: ClassVar[torch.dtype] = torch.float32
    device: ClassVar[torch.device] = torch.device("cpu")

    clock: Clock
    imagining: nn.Linear = field(default_factory=lambda: nn.Linear(2, 8).requires_grad_(False))
    batches: list[int] = field(default_factory=list)
    populations: list[tuple[int, ...]] = field(default_factory=list)

    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        self.clock.tick(ENCODE)
        self.batches.append(len(past.frames))
        return (torch.zeros(len(past.frames), 1),)

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        self.clock.tick(ROLLOUT if self.populations else ROLLOUT + COLD)
        self.populations.append(tuple(actions.shape))
        steps = [self.imagining(actions[:, :, step]) for step in range(actions.shape[2])]
        return torch.stack(steps, 2)[:, :, :, None]


def subject(clock: Clock, planner: Any = SMALL, steps: int = 6, **settings: Any) -> Subject:
    """An MPC agent with the world model above, whose episodes have six steps."""
    model = Ticking(clock)
    planning = Planning(model, Chain(encoder=Eye()), cast(Planner, planner), "latent", euclid, Over(), Pace(**settings))
    described = {"parameters": 24}
    return Subject(lambda: make("ball"), ENV, TASKS, MPC, planning, described, {"weights_hash": "x"}, steps)


def model_of(what: Subject) -> Ticking:
    return cast(Ticking, what.planning.model)


def benched(clock: Clock, timing: Timing | None = None, budgets: Budgets | None = None, **settings: Any) -> dict[str, Any]:
    return measure(subject(clock, **settings), timing or Timing(plans=8, batches=(1, 2)), budgets)


def about(value: float) -> Any:
    """A time by the clock, which goes on a little when it is read."""
    return pytest.approx(value, rel=1e-3)


def test_times_are_those_of_the_plans_and_their_phases(clock: Clock) -> None:
    one, two = benched(clock)["rows"]
    for row, batch in ((one, 1), (two, 2)):
        assert (row["batch"], row["threads"], row["n"]) == (batch, 1, 8)
        assert row["wall_ms"]["per_plan"]["p50"] == about(PLAN)
        assert row["cpu_ms"]["per_plan"]["p50"] == about(PLAN)
        assert (row["encode"], row["rollout"], row["refit"]) == (
            about(ENCODE),
            about(CALLS * ROLLOUT),
            pytest.approx(0, abs=0.01),
        )
        assert row["iterations"] == ITERATIONS


def test_a_plan_s_time_is_shared_by_the_actions_executed_from_it(clock: Clock) -> None:
    found = benched(clock, replan_every=3)
    times = found["rows"][0]["wall_ms"]
    assert times["per_plan"]["p50"] == about(PLAN)
    assert times["per_action"]["p50"] == about(PLAN / 3)
    assert found["setting"]["actions_per_plan"] == 3
    assert found["rows"][0]["n"] == 8, "plans, not actions"


def test_the_first_plan_of_all_is_cold_and_no_row_counts_it(clock: Clock) -> None:
    one, two = benched(clock, Timing(plans=3, batches=(1, 2)))["rows"]
    assert one["cold_ms"] == about(PLAN + COLD)
    assert one["since_process_start_ms"] is None or one["since_process_start_ms"] > 0
    assert (two["cold_ms"], two["since_process_start_ms"]) == (None, None)
    assert one["wall_ms"]["per_plan"]["p50"] == about(PLAN)


@pytest.mark.parametrize(("count", "known"), [(63, 1), (64, 2), (661, 2), (662, 3)])
def test_p90_needs_64_plans_and_p99_needs_662(count: int, known: int) -> None:
    found = spread(np.arange(count, dtype=float))
    assert [value is not None for value in found.values()] == [True, known > 1, known > 2]
    assert found["p50"] == (count - 1) / 2


@pytest.mark.parametrize("batch", [1, 3])
def test_a_plan_s_calls_and_flops_are_counted(clock: Clock, batch: int) -> None:
    counts, problem = count(subject(clock), batch)
    evaluations = ITERATIONS * SAMPLES + 1
    assert (counts.evaluations, counts.cost_calls) == (evaluations, CALLS)
    assert counts.network_calls == CALLS * HORIZON, "a linear layer for each step of each population"
    assert counts.flops == batch * evaluations * HORIZON * STEP_FLOPS
    assert counts.flops_per_step == STEP_FLOPS
    assert problem.candidates.shape == (batch, 2, HORIZON, 2), "a warm plan: the one before, shifted, and doing nothing"
    assert [tuple(each.shape[:2]) for each in problem.populations] == [(batch, SAMPLES), (batch, SAMPLES), (batch, 1)]


def test_a_deadline_does_not_cut_what_is_counted(clock: Clock) -> None:
    assert count(subject(clock, deadline_ms=0.5), 1)[0].cost_calls == CALLS


def test_a_world_model_without_a_network_has_no_flops(clock: Clock) -> None:
    class Still(Ticking):
        """Nothing ever happens."""

        def rollout(self, state: State, actions: Tensor) -> Tensor:
            return torch.zeros(*actions.shape[:3], 1, 8)

    what = subject(clock)
    still = dataclasses.replace(what, planning=dataclasses.replace(what.planning, model=Still(clock)))
    counts, _ = count(still, 1)
    assert (counts.network_calls, counts.flops, counts.flops_per_step) == (None, None, None)
    assert floor(counts.flops, PLAN, {"fp32": 100.0})["share_of_floor"] == {"fp32": None}


@dataclass(frozen=True)
class Slow(CEM):
    """A planner that thinks for three milliseconds before each search."""

    clock: Clock = field(default_factory=Clock)

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        self.clock.tick(3.0)
        return super().plan(cost, candidates, generators, deadline_ms)


def test_overhead_is_what_the_planner_adds_to_its_cost_function(clock: Clock) -> None:
    slow = Slow(horizon=HORIZON, num_samples=SAMPLES, num_elites=4, iterations=ITERATIONS, clock=clock)
    quick, pondering = (count(subject(clock, planner), 1)[1] for planner in (SMALL, slow))
    assert overhead(quick, 1, 5, 0) == about(1)
    assert overhead(pondering, 1, 5, 0) == about((3 + CALLS * ROLLOUT) / (CALLS * ROLLOUT))


@dataclass(frozen=True)
class Steep:
    """A planner that takes gradients, or else asks for paths."""

    needs: str = "gradient"
    horizon: int = HORIZON

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        start = candidates.clone().requires_grad_()
        costs = cost(start)
        (slope,) = torch.autograd.grad(costs.sum(), start)
        actions = (start - slope).detach()[:, 0]
        trace = costs.detach()[:, :1]
        return Plan(actions, trace[:, 0], actions[:, None], trace, 1, start.shape[1], True, 0.0)


def test_the_bare_loop_takes_gradients_where_the_planner_does(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    _, problem = count(subject(clock, Steep()), 1)
    assert [population.requires_grad for population in problem.populations] == [True]
    taken: list[int] = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args: taken.append(1) or grad(*args))
    problem.bare()
    assert taken == [1]


def test_a_planner_over_paths_is_not_held_against_a_loop_of_costs(clock: Clock) -> None:
    planner = Steep()
    _, problem = count(subject(clock, planner), 1)
    assert overhead(problem, 1, 2, 0) is not None
    assert overhead(dataclasses.replace(problem, planner=cast(Planner, Steep("path"))), 1, 2, 0) is None


def test_a_search_is_repeated_to_the_bit(clock: Clock) -> None:
    _, problem = count(subject(clock), 2)
    assert torch.equal(problem.search().actions, problem.search().actions)


def test_the_floor_is_the_time_of_the_flops_at_the_rate_of_matrix_products() -> None:
    found = floor(3_000_000_000, 60.0, {"fp32": 100.0, "bf16": None})
    assert found["floor_ms"] == {"fp32": 30.0, "bf16": None}
    assert found["share_of_floor"] == {"fp32": 0.5, "bf16": None}


def test_a_batch_is_held_against_its_problems_one_by_one(clock: Clock) -> None:
    one, two = benched(clock)["rows"]
    assert one["against_one_by_one"] is None
    assert two["against_one_by_one"] == about(2), "a batch of two takes as long as one, by this clock"
    (alone,) = benched(clock, Timing(plans=2, batches=(2,)))["rows"]
    assert alone["against_one_by_one"] is None, "one was not timed"


def timed(wall: float, cpu: float) -> Timed:
    return Timed(wall, cpu, {"encode": 0.0, "rollout": 0.0, "refit": 0.0}, 1, 0.0)


@pytest.mark.parametrize(("threads", "ratio"), [(1, 8.0), (2, 4.0)])
def test_ratios_are_of_cpu_time_on_one_thread_and_of_wall_time_on_several(threads: int, ratio: float) -> None:
    assert batching([timed(2, 3)], [timed(1, 3)], Variant(8, threads)) == ratio


def test_rows_take_turns_in_an_order_that_the_seed_decides(clock: Clock) -> None:
    def order(seed: int) -> list[int]:
        what = subject(clock, steps=2)
        time_plans(what, Timing(plans=11, batches=(1, 2, 3), seed=seed))
        return model_of(what).batches

    first = order(0)
    assert order(0) == first
    assert order(1) != first
    assert {batch: first.count(batch) for batch in (1, 2, 3)} == {1: 12, 2: 12, 3: 12}
    assert len(list(itertools.groupby(first))) > 6, "not one row after the other"


def test_plans_go_through_the_tasks_and_are_cut_at_their_number(clock: Clock) -> None:
    what = subject(clock)
    few = dataclasses.replace(what, tasks=TASKS.first(3))
    loop = Loop(few, Variant(2, 1))
    for _ in range(2):
        loop.turn(100)
    assert len(loop.plans) == 12, "two episodes of six steps, two side by side; the fourth task is the first again"
    loop.turn(4)
    assert len(loop.plans) == 16


def test_an_agent_that_makes_no_plan_is_refused(clock: Clock) -> None:
    idle = dataclasses.replace(subject(clock), agent=lambda env, _: NoOp(env))
    with pytest.raises(UsageError, match="made no plan in a whole episode"):
        measure(idle, Timing(plans=2, batches=(1,)), None)


def test_more_time_never_means_fewer_iterations(clock: Clock) -> None:
    what = subject(clock, replan_every=2)
    rows = under_budgets(what, Budgets((50.0, 0.5, 4.0, 2.0, 8.0), count=2, most_iterations=9), 1, 0)
    assert [row["budget_ms"] for row in rows] == [0.5, 2.0, 4.0, 8.0, 50.0]
    medians = [row["iterations"]["median"] for row in rows]
    assert medians == sorted(medians)
    assert 1 == medians[0] < medians[2] < medians[-1] == 9
    assert [row["latency_ms"]["deadline"] for row in rows] == [1.0, 4.0, 8.0, 16.0, 100.0], "for two actions, twice as much"
    assert rows[0]["latency_ms"]["missed"] == rows[0]["latency_ms"]["n"], "an iteration takes longer, and is done"
    assert rows[-1]["latency_ms"]["missed"] == 0
    assert {row["success"]["hold"]["n"] for row in rows} == {2}


def test_more_tasks_than_there_are_is_refused_before_anything_is_run(clock: Clock) -> None:
    what = subject(clock)
    with pytest.raises(UsageError, match="201 tasks asked"):
        measure(what, Timing(plans=2), Budgets((5.0,), count=201))
    assert model_of(what).batches == []


def test_a_deadline_is_for_one_problem_at_a_time(clock: Clock) -> None:
    with pytest.raises(UsageError, match="a deadline with 1, 2 problems at a time; use --batches 1"):
        benched(clock, deadline_ms=5.0)
    found = benched(clock, Timing(plans=2, batches=(1,)), deadline_ms=2.0)
    assert found["rows"][0]["iterations"] == 1


def test_a_plan_that_is_kept_is_timed_once_and_shared_by_all_its_actions(clock: Clock) -> None:
    """A plan of four actions, looked at after two, when one rollout says what it led to expect."""
    what = subject(clock, surprise=0.5, replan_every=2)
    planning = dataclasses.replace(what.planning, distance=lambda first, second: torch.zeros(len(first)))
    (row,) = measure(dataclasses.replace(what, planning=planning), Timing(plans=8, batches=(1,)), None)["rows"]
    assert row["n"] == 8
    assert row["wall_ms"]["per_plan"]["p50"] == about(PLAN)
    assert row["wall_ms"]["per_action"]["p50"] == row["cpu_ms"]["per_action"]["p50"] == about((PLAN + ROLLOUT) / HORIZON)
    assert row["evaluations_per_plan"] == ITERATIONS * SAMPLES + 1


def test_surprise_is_for_one_problem_at_a_time(clock: Clock) -> None:
    what = subject(clock, surprise=0.5)
    with pytest.raises(UsageError, match="surprise with 1, 2 problems at a time; use --batches 1"):
        measure(what, Timing(plans=2, batches=(1, 2)), None)
    assert model_of(what).batches == []


def test_what_is_written_is_json_and_is_shown(clock: Clock) -> None:
    found = benched(clock, budgets=Budgets((0.5, 50.0), count=1, most_iterations=3))
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))
    assert list(found) == ["schema", "command", "setting", "rows", "budgets", "provenance"]
    assert found["schema"] == "imagoal.bench/1"
    assert found["provenance"]["weights_hash"] == "x"
    shown = bench_text(found)
    assert "B by B=1" in shown
    assert "of GEMM" in shown
    assert "p90" not in shown.splitlines()[0], "of too few plans it is not known"
    ElementTree.fromstring(budget_figure("a < b", found["budgets"], "hold"))


def test_a_dot_is_hollow_where_deadlines_were_missed(clock: Clock) -> None:
    rows = under_budgets(subject(clock), Budgets((0.5, 50.0), count=1, most_iterations=3), 1, 0)
    svg = budget_figure("", rows, "hold")
    assert svg.index('class="late"') < svg.index('class="dot"')
    assert svg.count('class="late"') == svg.count('class="dot"') == 1


@pytest.mark.parametrize(
    ("load", "threads", "stretch", "words"),
    [(0.0, 2, 1.0, None), (1.2, 1, 1.0, None), (1.2, 2, 1.0, "the load was 1.2"), (0.0, 1, 1.5, "plans waited 50 % longer")],
)
def test_a_busy_machine_is_said_to_be_one(load: float, threads: int, stretch: float, words: str | None) -> None:
    found = _bench_machine.busy(load, threads, 2, stretch)
    assert found is None if words is None else words in str(found)


def test_matrix_products_have_a_rate() -> None:
    gemm = _bench_machine.Gemm(1)
    gemm.measure()
    rates = gemm.gflops()
    assert (rates["fp32"] or 0) > 0
    assert (rates["bf16"] is not None) == bool(bf16_units())


def test_a_moment_is_as_much_after_the_start_of_the_process_as_it_is_later() -> None:
    now = time.perf_counter()
    early, late = _bench_machine.since_start(now), _bench_machine.since_start(now + 100)
    if early is not None and late is not None:
        assert late - early == pytest.approx(100_000, abs=100)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--plans 0", "plans = 0; expected at least 1"),
        ("--plans -3", "plans = -3; expected at least 1"),
        ("--batches 0", "batches = 0; expected different numbers, each at least 1"),
        ("--batches 1,1", "batches = 1, 1; expected different numbers"),
        ("--batches=-1,2", "--batches '-1,2'; expected numbers with commas between them"),
        ("--batches=", "--batches ''; expected numbers"),
        ("--seed -1", "seed = -1; expected at least 0"),
        ("--budget-ms 0", "budget_ms = 0.0; expected different numbers above 0"),
        ("--budget-ms=-10,33", "budget_ms = -10.0, 33.0; expected different numbers above 0"),
        ("--budget-ms 10,x", "--budget-ms '10,x'; expected numbers with commas between them"),
        ("--budget-ms 10,,33", "--budget-ms '10,,33'; expected numbers"),
        ("--budget-ms 10 --count 0", "count = 0; expected at least 1"),
        ("--budget-ms 10 --count 201", "201 tasks asked"),
        ("--budget-ms 10 --most-iterations 0", "most_iterations = 0; expected at least 1"),
        ("--deadline-ms 5", "a deadline with 1, 8 problems at a time; use --batches 1"),
        ("--deadline-ms 0 --batches 1", "deadline_ms = 0.0; expected a finite number above 0"),
        ("--agent no_op", "agent no_op makes no plans, so there is nothing to time"),
    ],
)
def test_wrong_flags_are_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, words: str
) -> None:
    assert main(["bench", "--out", str(tmp_path / "bench.json"), *flags.split()]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_writes_its_numbers_and_its_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new/bench.json"
    flags = "bench --plans 3 --batches 1,2 --budget-ms 0.001,1000 --count 1 --planner.iterations 1 --most-iterations 2"
    assert main([*flags.split(), "--out", str(out)]) == 0
    found = files.read_json(out)
    assert [(row["batch"], row["n"]) for row in found["rows"]] == [(1, 3), (2, 3)]
    one, two = found["rows"]
    assert two["flops_per_plan"] == 2 * one["flops_per_plan"]
    assert (one["evaluations_per_plan"], one["network_calls_per_plan"]) == (32 + 1, 2)
    assert one["flops_per_step"] * one["evaluations_per_plan"] * 8 < one["flops_per_plan"], "encoding is in the plan alone"
    assert found["setting"]["agent"]["planner"]["name"] == "cem"
    assert [row["iterations"]["median"] for row in found["budgets"]] == [1, 2]
    ElementTree.fromstring(out.with_suffix(".svg").read_text())
    assert f"wrote {out}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_a_compiled_plan_is_timed_and_counted_as_the_plain_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "--plans", "2", "--batches", "1", "--planner.horizon", "2", "--planner.iterations", "1", "--out"]
    assert main([*command, str(tmp_path / "plain.json")]) == 0
    assert main([*command, str(tmp_path / "fast.json"), "--compile"]) == 0
    assert "Compiled, which the first plan took its time for." in capsys.readouterr().out
    plain, fast = (files.read_json(tmp_path / f"{name}.json") for name in ("plain", "fast"))
    assert fast["setting"]["agent"]["planner"]["compiled"]
    counts = ("evaluations_per_plan", "cost_calls_per_plan", "network_calls_per_plan", "flops_per_plan", "flops_per_step")
    assert [fast["rows"][0][name] for name in counts] == [plain["rows"][0][name] for name in counts]
    assert fast["rows"][0]["cold_ms"] > 10 * plain["rows"][0]["cold_ms"]
