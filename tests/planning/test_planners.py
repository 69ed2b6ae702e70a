"""What any planner promises; every entry of planning/ is held to it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from imagoal.errors import NumericalError
from imagoal.find import entries
from imagoal.planning._noise import coloured, correlated, normal
from imagoal.planning._proposals import no_op, propose
from imagoal.planning._search import time

HORIZON, ACTION = 3, 2
PLANNERS = list(entries("planner"))
FOLLOWED = 60  # steps that a planner gets where it follows slopes, each of them small
NEEDS = {name: entries("planner")[name].load().needs for name in PLANNERS}
SAMPLERS = [name for name in PLANNERS if NEEDS[name] == "values"]
planners = pytest.mark.parametrize("name", PLANNERS)


class Cost:
    """A cost function from a plain one of the actions; it keeps what it was asked.

    It offers all that any planner needs: its world is the simplest linear one, whose state after a step is that step's action.
    """

    differentiable = True

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.asked: list[Tensor] = []

    def __call__(self, actions: Tensor) -> Tensor:
        return self.measure(self.imagine(actions))

    def imagine(self, actions: Tensor) -> Tensor:
        self.asked.append(actions.detach().clone())
        return actions

    def defects(self, path: Tensor, actions: Tensor) -> Tensor:
        return (path - actions).square().mean(3)

    def linearise(self, path: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        identity = torch.eye(path.shape[3], dtype=path.dtype).expand(*path.shape, -1)
        return actions, torch.zeros_like(identity), identity

    def measure(self, path: Tensor) -> Tensor:
        return self.function(path)


def quadratic(optimum: Tensor | float) -> Cost:
    """Squared distance (B, K) from an optimum (B, H, A') or one number."""
    centre = optimum[:, None] if isinstance(optimum, Tensor) else optimum
    return Cost(lambda actions: (actions - centre).square().sum((2, 3)))


def fields_of(name: str) -> set[str]:
    return {field.name for field in dataclasses.fields(entries("planner")[name].load())}


def planner(name: str, **fields: Any) -> Any:
    """A planner by name; with few samples it has few elites."""
    if "num_samples" in fields and "num_elites" in fields_of(name):
        fields = {"num_elites": max(2, min(8, fields["num_samples"] // 4)), **fields}
    return entries("planner")[name].load()(**{"horizon": HORIZON, **fields})


def patient(name: str, samples: int, iterations: int) -> Any:
    """A planner with a budget that it can find an optimum with."""
    return planner(name, num_samples=samples, iterations=iterations if NEEDS[name] == "values" else FOLLOWED)


def generators(*seeds: int) -> list[Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def zeros(problems: int = 1, proposals: int = 1) -> Tensor:
    return torch.zeros(problems, proposals, HORIZON, ACTION)


# What each reaches from nothing with 128 x 8 samples, where doing nothing costs 1.02. Uniform samples are the floor, far above.
REACHES = {"random_shooting": 0.5}
LEARNER_REACHES = 0.002


@planners
def test_reaches_the_optimum_of_a_quadratic(name: str) -> None:
    optimum = torch.tensor([0.5, -0.3]).repeat(HORIZON, 1)[None]
    for seed in range(5):
        plan = patient(name, 128, 8).plan(quadratic(optimum), zeros(), generators(seed))
        assert plan.cost.item() < REACHES.get(name, LEARNER_REACHES)


@planners
def test_an_optimum_outside_the_box_is_approached_within_it(name: str) -> None:
    cost = quadratic(3.0)
    plan = planner(name, num_samples=64, iterations=8).plan(cost, zeros(), generators(0))
    assert all(asked.abs().max() <= 1 for asked in cost.asked)
    assert plan.actions.abs().max() <= 1
    assert plan.cost.item() < (40 if name == "random_shooting" else 28)  # the corner costs 24, doing nothing 54


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_a_distribution_gets_quite_to_the_bounds(name: str) -> None:
    """One fitted to clamped samples would stay inside by about its standard deviation."""
    cost = quadratic(3.0)
    planner(name, num_samples=64, iterations=20).plan(cost, zeros(), generators(0))
    assert cost.asked[-1][0, 0].min() > 0.999  # the mean, beside the last samples or alone


@planners
def test_never_worse_than_the_best_candidate(name: str) -> None:
    candidates = torch.rand(4, 6, HORIZON, ACTION, generator=generators(3)[0]) * 2 - 1
    cost = quadratic(candidates[:, 4])  # the fifth one is perfect
    plan = planner(name, num_samples=8, iterations=1).plan(cost, candidates, generators(0, 1, 2, 3))
    assert plan.cost.tolist() == [0, 0, 0, 0]
    assert torch.equal(plan.actions, candidates[:, 4])
    assert torch.equal(plan.keep[:, 0], plan.actions)


@planners
@pytest.mark.parametrize("action", [1, 2, 7])
def test_the_default_configuration_plans_for_any_action_size(name: str, action: int) -> None:
    search = entries("planner")[name].load()()
    plan = search.plan(quadratic(0.3), torch.zeros(2, 1, search.horizon, action), generators(0, 1))
    assert plan.actions.shape == (2, search.horizon, action)
    assert (plan.cost < 0.0901 * search.horizon * action).all()  # doing nothing costs 0.09 for each number


@planners
def test_what_a_plan_keeps_fits_the_next_plan(name: str) -> None:
    search, idle = planner(name, num_samples=8), no_op(2, HORIZON, ACTION)
    plan = None
    for _ in range(3):
        plan = search.plan(quadratic(0.3), propose(plan, 1, idle), generators(0, 1))
        assert torch.equal(plan.keep[:, 0], plan.actions)
        assert plan.keep.abs().max() <= 1


@planners
def test_planning_leaves_the_world_as_it_was(name: str) -> None:
    weight = torch.ones((), requires_grad=True)
    cost = Cost(lambda actions: weight * (actions - 0.3).square().sum((2, 3)))
    candidates, state, mode = zeros() + 0.1, torch.get_rng_state(), torch.is_grad_enabled()
    plans = [planner(name).plan(cost, candidates, generators(0)) for _ in range(2)]
    assert torch.equal(plans[0].actions, plans[1].actions)  # a planner remembers nothing
    assert torch.equal(candidates, zeros() + 0.1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled() == mode
    assert weight.grad is None
    assert not any(tensor.requires_grad for tensor in (plans[0].actions, plans[0].cost, plans[0].keep, plans[0].trace))


@planners
def test_gradients_need_not_be_on(name: str) -> None:
    with torch.no_grad():
        plan = planner(name).plan(quadratic(0.3), zeros(), generators(0))
    assert torch.equal(plan.actions, planner(name).plan(quadratic(0.3), zeros(), generators(0)).actions)


@planners
def test_the_plan_is_the_best_that_was_ever_evaluated(name: str) -> None:
    cost = Cost(lambda actions: (9 * actions).sin().sum((2, 3)))
    plan = planner(name, num_samples=16, iterations=5).plan(cost, zeros(2), generators(0, 1))
    asked = torch.cat(cost.asked, 1)
    lowest = cost.function(asked).amin(1)
    assert torch.equal(plan.cost, lowest)
    assert torch.equal(cost.function(plan.actions[:, None])[:, 0], plan.cost)
    assert plan.evaluations == asked.shape[1]
    assert plan.iterations == 5
    assert plan.trace.shape == (2, 5)
    assert (plan.trace.diff(dim=1) <= 0).all()


@planners
@pytest.mark.parametrize("offset", [1.0, -1000.0])
def test_a_cost_that_is_not_finite_never_wins(name: str, offset: float) -> None:
    def broken(actions: Tensor) -> Tensor:
        costs = actions.square().sum((2, 3)) + offset
        for place, value in enumerate([math.nan, -math.inf, math.inf]):
            costs[:, place:-1:4] = value
        return costs

    plan = planner(name, num_samples=32).plan(Cost(broken), zeros(2, 1), generators(0, 1))
    assert torch.isfinite(plan.actions).all()
    assert torch.allclose(plan.cost, plan.actions.square().sum((1, 2)) + offset)


@planners
def test_one_bad_half_of_the_box_does_not_spoil_the_search(name: str) -> None:
    def half(actions: Tensor) -> Tensor:
        costs = (actions - 0.1).square().sum((2, 3))
        return torch.where(actions[..., 0, 0] < 0, torch.nan, costs)

    plan = patient(name, 64, 6).plan(Cost(half), zeros() + 0.9, generators(0))
    assert plan.cost.item() < (0.5 if name == "random_shooting" else 0.1)


@planners
def test_nothing_finite_stops_the_plan(name: str) -> None:
    def broken(actions: Tensor) -> Tensor:
        costs = actions.square().sum((2, 3))
        costs[1] = torch.nan
        return costs

    with pytest.raises(NumericalError, match="of problem 1 have a cost that is not finite"):
        planner(name).plan(Cost(broken), zeros(3), generators(0, 1, 2))


@planners
def test_the_same_generator_gives_the_same_plan(name: str) -> None:
    costs = [quadratic(0.3) for _ in range(3)]
    plans = [planner(name).plan(cost, zeros(), generators(seed)) for cost, seed in zip(costs, (5, 5, 6), strict=True)]
    assert torch.equal(plans[0].actions, plans[1].actions)
    assert torch.equal(torch.cat(costs[0].asked, 1), torch.cat(costs[1].asked, 1))
    assert not torch.equal(costs[0].asked[0], costs[2].asked[0])


@planners
@pytest.mark.parametrize(("horizon", "action"), [(1, 1), (2, 1), (5, 3), (8, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_problems_side_by_side_are_the_problems_alone(name: str, horizon: int, action: int, dtype: torch.dtype) -> None:
    problems = 5
    optima = torch.rand(problems, horizon, action, generator=generators(0)[0], dtype=dtype) * 2 - 1
    candidates = torch.rand(problems, 2, horizon, action, generator=generators(1)[0], dtype=dtype) * 2 - 1
    search = planner(name, horizon=horizon, num_samples=50)

    def cost(optimum: Tensor) -> Cost:
        return Cost(
            lambda actions: torch.stack([(each - o).square().sum((1, 2)) for each, o in zip(actions, optimum, strict=True)])
        )

    together = search.plan(cost(optima), candidates, generators(*range(problems)))
    for index in range(problems):
        alone = search.plan(cost(optima[index : index + 1]), candidates[index : index + 1], generators(index))
        off = 0.0 if NEEDS[name] == "values" else 1e-6  # bitwise where nothing is differentiated
        assert torch.allclose(together.actions[index], alone.actions[0], rtol=0, atol=off)
        assert torch.allclose(together.keep[index], alone.keep[0], rtol=0, atol=off)
        assert torch.allclose(together.trace[index], alone.trace[0], rtol=0, atol=off)
    assert together.actions.dtype == dtype


@planners
def test_the_order_of_further_candidates_does_not_matter(name: str) -> None:
    candidates = torch.rand(1, 6, HORIZON, ACTION, generator=generators(0)[0], dtype=torch.float64)
    shuffled = candidates[:, [0, 4, 2, 5, 1, 3]]
    plans = [planner(name).plan(quadratic(0.3), proposals, generators(1)) for proposals in (candidates, shuffled)]
    assert torch.allclose(plans[0].cost, plans[1].cost, atol=1e-9)
    assert torch.allclose(plans[0].trace, plans[1].trace, atol=1e-9)


@planners
def test_an_iteration_does_not_know_how_many_will_follow(name: str) -> None:
    short, middle, long = (
        planner(name, iterations=count).plan(quadratic(0.3), zeros(2), generators(0, 1)) for count in (3, 5, 16)
    )
    assert torch.equal(short.trace, long.trace[:, :3])
    assert torch.equal(middle.trace, long.trace[:, :5])


@planners
@pytest.mark.parametrize("value", [0.0, 1e30, -1e30])
def test_a_constant_cost_gives_a_finite_plan(name: str, value: float) -> None:
    cost = Cost(lambda actions: value + 0 * actions.sum((2, 3)))
    plan = planner(name).plan(cost, zeros(2, 2), generators(0, 1))
    assert plan.actions.abs().max() <= 1
    assert plan.cost.tolist() == pytest.approx([value, value])


@planners
def test_huge_costs_are_still_minimised(name: str) -> None:
    optimum = torch.tensor([0.5, -0.3]).repeat(HORIZON, 1)[None]
    huge = Cost(lambda actions: 1e30 * (actions - optimum).square().sum((2, 3)))
    plan = patient(name, 128, 8).plan(huge, zeros(), generators(0))
    assert plan.cost.item() < 1e30 * REACHES.get(name, LEARNER_REACHES)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "random_shooting"])
def test_without_noise_the_plan_stays_where_it_was_proposed(name: str) -> None:
    plan = planner(name, init_std=0.0, min_std=0.0).plan(quadratic(0.7), zeros(), generators(0))
    assert not plan.actions.any()


def gets_better(make: Callable[..., Any], field: str) -> bool:
    """Whether plans with eight times the samples or iterations are better by far more than chance, over 40 problems."""
    optima = torch.rand(40, HORIZON, ACTION, generator=generators(9)[0]) * 1.6 - 0.8

    def median(count: int) -> float:
        fields = {"num_samples": 16, "iterations": 4, field: count}
        median: float = make(**fields).plan(quadratic(optima), zeros(40), generators(*range(40))).cost.median().item()
        return median

    few, many = (16, 128) if field == "num_samples" else (2, 16)
    return median(many) < 0.75 * median(few)


@planners
@pytest.mark.parametrize("field", ["num_samples", "iterations"])
def test_more_search_finds_better_plans(name: str, field: str) -> None:
    assert gets_better(lambda **fields: planner(name, **fields), field)


@pytest.mark.parametrize("field", ["num_samples", "iterations"])
def test_a_planner_that_wastes_its_samples_would_be_caught(field: str) -> None:
    def wasteful(**fields: int) -> Any:
        return planner("random_shooting", num_samples=min(16, fields["num_samples"]), iterations=min(2, fields["iterations"]))

    assert not gets_better(wasteful, field)


@planners
def test_a_deadline_ends_the_search_and_one_iteration_is_always_done(name: str) -> None:
    late = planner(name, iterations=5).plan(quadratic(0.3), zeros(), generators(0), deadline_ms=0.0)
    assert (late.iterations, late.on_time, late.trace.shape[1]) == (1, False, 1)
    replayed = planner(name, iterations=1).plan(quadratic(0.3), zeros(), generators(0))
    assert torch.equal(late.actions, replayed.actions)
    early = planner(name, iterations=5).plan(quadratic(0.3), zeros(), generators(0), deadline_ms=60_000)
    assert (early.iterations, early.on_time) == (5, True)
    assert 0 < early.cost_ms < 60_000


@pytest.mark.parametrize(
    ("name", "deadline_ms", "iterations", "on_time"),
    [
        ("cem", 45, 3, True),
        ("cem", 25, 1, True),
        ("cem", 19, 1, False),
        ("cem", 999, 5, True),
        ("random_shooting", 45, 4, True),
        ("random_shooting", 9, 1, False),
    ],
)
def test_no_iteration_begins_that_would_end_too_late(
    monkeypatch: pytest.MonkeyPatch, name: str, deadline_ms: float, iterations: int, on_time: bool
) -> None:
    """Each look at the cost takes 10 ms: one an iteration, and for CEM one at the mean in the end."""
    seconds = 0.0

    class Slow:
        differentiable = False

        def __call__(self, actions: Tensor) -> Tensor:
            nonlocal seconds
            seconds += 0.01
            return actions.square().sum((2, 3))

    monkeypatch.setattr(time, "perf_counter", lambda: seconds)
    found = planner(name, iterations=5).plan(Slow(), zeros(), generators(0), deadline_ms=deadline_ms)
    assert (found.iterations, found.on_time) == (iterations, on_time)


@planners
def test_the_first_candidate_is_the_centre_and_all_fit_the_samples(name: str) -> None:
    cost = quadratic(0.3)
    candidates = torch.stack([torch.full((HORIZON, ACTION), value) for value in (0.9, -0.9, 0.1)])[None]
    planner(name, num_samples=40).plan(cost, candidates, generators(0))
    assert torch.equal(cost.asked[0][:, :3], candidates)
    assert cost.asked[0].shape[1] == 40
    if name != "random_shooting":
        assert cost.asked[0][:, 3:].mean() > 0.5


@planners
def test_a_proposal_is_evaluated_once(name: str) -> None:
    cost = quadratic(0.3)
    planner(name, iterations=3).plan(cost, zeros() + 0.77, generators(0))
    asked = torch.cat(cost.asked, 1)
    assert (asked == 0.77).all((2, 3)).sum() == 1


@planners
def test_candidates_that_leave_the_box_are_clamped(name: str) -> None:
    cost = quadratic(3.0)
    plan = planner(name).plan(cost, zeros() + 1.5, generators(0))
    assert torch.equal(plan.actions, torch.ones(1, HORIZON, ACTION))


@pytest.mark.parametrize("block", [1, 2])
def test_correlated_noise_runs_through_the_actions_of_a_block(block: int) -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    like = torch.zeros(2, 1, 12 // block, 3 * block)
    noise = correlated(generators, 4000, like, 0.85, block)
    assert noise.shape == (2, 4000, 12 // block, 3 * block)
    actions = noise.reshape(2, 4000, 12, 3)
    assert torch.allclose(actions.std((0, 1)), torch.ones(12, 3), atol=0.05)
    neighbours = (actions[:, :, 1:] * actions[:, :, :-1]).mean((0, 1))
    assert torch.allclose(neighbours, torch.full((11, 3), 0.85), atol=0.05)
    white = [torch.Generator().manual_seed(seed) for seed in range(2)]
    again = [torch.Generator().manual_seed(seed) for seed in range(2)]
    assert torch.equal(correlated(white, 4000, like, 0.0, block), normal(again, 4000, like))


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 8])
def test_coloured_noise_has_variance_one_at_any_time_of_any_length(beta: float, length: int) -> None:
    noise = coloured(generators(0, 1), 20_000, torch.zeros(2, 1, length, 1), beta, 1)
    assert noise.shape == (2, 20_000, length, 1)
    assert torch.allclose(noise.square().mean(1), torch.ones(2, length, 1), atol=0.05)
    assert noise.mean(1).abs().max() < 0.03


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_the_power_of_coloured_noise_falls_with_frequency_along_the_actions(beta: float, block: int) -> None:
    noise = coloured(generators(0), 20_000, torch.zeros(1, 1, 12 // block, 2 * block), beta, block)
    actions = noise.reshape(20_000, 12, 2)
    power = torch.fft.rfft(actions, dim=1).abs().square().mean((0, 2))
    wanted = torch.tensor([1.0, *range(1, 7)]) ** -beta  # what is constant counts as the slowest wave
    assert torch.allclose(power / power[1], wanted, rtol=0.05)
    assert actions.prod(2).mean().abs() < 0.03  # the numbers of one action do not know each other


def test_coloured_noise_without_colour_is_white() -> None:
    like = torch.zeros(2, 1, 6, 2)
    assert torch.equal(coloured(generators(0, 1), 9, like, 0.0, 2), normal(generators(0, 1), 9, like))


def test_the_slowest_noise_is_finite() -> None:
    noise = coloured(generators(0), 9, torch.zeros(1, 1, 30, 2), 1000.0, 1)
    assert torch.isfinite(noise).all()


@pytest.mark.parametrize("name", [name for name in PLANNERS if "block" in fields_of(name)])
def test_a_block_of_actions_is_searched_as_if_each_were_a_step(name: str) -> None:
    smooth = {"correlation": 0.85} if "correlation" in fields_of(name) else {}
    blocks, steps = quadratic(0.3), quadratic(0.3)
    planner(name, block=2, **smooth).plan(blocks, torch.zeros(1, 1, HORIZON, 2 * ACTION), generators(0))
    planner(name, horizon=2 * HORIZON, **smooth).plan(steps, torch.zeros(1, 1, 2 * HORIZON, ACTION), generators(0))
    assert torch.equal(blocks.asked[0].flatten(2), steps.asked[0].flatten(2))


@pytest.mark.parametrize("colour", [correlated, coloured])
def test_no_noise_at_all_is_nothing(colour: Callable[..., Tensor]) -> None:
    assert colour(generators(0), 0, torch.zeros(1, 2, 4, 6), 0.5, 2).shape == (1, 0, 4, 6)


@planners
def test_proposals_may_fill_the_population(name: str) -> None:
    candidates = torch.rand(2, 8, HORIZON, ACTION, generator=generators(0)[0])
    cost = quadratic(0.3)
    planner(name, num_samples=8).plan(cost, candidates, generators(0, 1))
    assert torch.equal(cost.asked[0], candidates)
