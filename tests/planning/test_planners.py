"""What any planner promises; every entry of planning/ is held to it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from imagoal.errors import NumericalError
from imagoal.find import entries
from imagoal.planning._noise import correlated, normal

HORIZON, ACTION = 3, 2
PLANNERS = list(entries("planner"))
planners = pytest.mark.parametrize("name", PLANNERS)


class Cost:
    """A cost function from a plain one; it keeps what it was asked."""

    differentiable = True

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self.asked: list[Tensor] = []

    def __call__(self, actions: Tensor) -> Tensor:
        self.asked.append(actions.detach().clone())
        return self.function(actions)


def quadratic(optimum: Tensor | float) -> Cost:
    """Squared distance (B, K) from an optimum (B, H, A') or one number."""
    centre = optimum[:, None] if isinstance(optimum, Tensor) else optimum
    return Cost(lambda actions: (actions - centre).square().sum((2, 3)))


def planner(name: str, **fields: object) -> Any:
    return entries("planner")[name].load()(**{"horizon": HORIZON, **fields})


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
        plan = planner(name, num_samples=128, iterations=8).plan(quadratic(optimum), zeros(), generators(seed))
        assert plan.cost.item() < REACHES.get(name, LEARNER_REACHES)


@planners
def test_an_optimum_outside_the_box_is_approached_within_it(name: str) -> None:
    cost = quadratic(3.0)
    plan = planner(name, num_samples=64, iterations=8).plan(cost, zeros(), generators(0))
    assert all(asked.abs().max() <= 1 for asked in cost.asked)
    assert plan.actions.abs().max() <= 1
    assert plan.cost.item() < (40 if name == "random_shooting" else 28)  # the corner costs 24, doing nothing 54


@planners
def test_never_worse_than_the_best_candidate(name: str) -> None:
    candidates = torch.rand(4, 6, HORIZON, ACTION, generator=generators(3)[0]) * 2 - 1
    cost = quadratic(candidates[:, 4])  # the fifth one is perfect
    plan = planner(name, num_samples=8, iterations=1).plan(cost, candidates, generators(0, 1, 2, 3))
    assert plan.cost.tolist() == [0, 0, 0, 0]
    assert torch.equal(plan.actions, candidates[:, 4])
    assert torch.equal(plan.keep[:, 0], plan.actions)


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
def test_a_cost_that_is_not_finite_never_wins(name: str) -> None:
    def broken(actions: Tensor) -> Tensor:
        costs = actions.square().sum((2, 3)) + 1
        for place, value in enumerate([math.nan, -math.inf, math.inf]):
            costs[:, place::4] = value
        return costs

    plan = planner(name, num_samples=32).plan(Cost(broken), zeros(2, 1), generators(0, 1))
    assert torch.isfinite(plan.actions).all()
    assert torch.allclose(plan.cost, plan.actions.square().sum((1, 2)) + 1)


@planners
def test_one_bad_half_of_the_box_does_not_spoil_the_search(name: str) -> None:
    def half(actions: Tensor) -> Tensor:
        costs = (actions - 0.1).square().sum((2, 3))
        return torch.where(actions[..., 0, 0] < 0, torch.nan, costs)

    plan = planner(name, num_samples=64, iterations=6).plan(Cost(half), zeros() + 0.9, generators(0))
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
    plans = [planner(name).plan(quadratic(0.3), zeros(), generators(seed)) for seed in (5, 5, 6)]
    assert torch.equal(plans[0].actions, plans[1].actions)
    assert not torch.equal(plans[0].actions, plans[2].actions)


@planners
@pytest.mark.parametrize(("horizon", "action"), [(1, 1), (2, 1), (5, 3), (8, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_problems_side_by_side_are_bitwise_the_problems_alone(name: str, horizon: int, action: int, dtype: torch.dtype) -> None:
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
        assert torch.equal(together.actions[index], alone.actions[0])
        assert torch.equal(together.trace[index], alone.trace[0])
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
    short, long = (planner(name, iterations=count).plan(quadratic(0.3), zeros(2), generators(0, 1)) for count in (3, 6))
    assert torch.equal(short.trace, long.trace[:, :3])


@planners
@pytest.mark.parametrize("value", [0.0, 1e30, -1e30])
def test_a_constant_cost_gives_a_finite_plan(name: str, value: float) -> None:
    cost = Cost(lambda actions: torch.full(actions.shape[:2], value))
    plan = planner(name).plan(cost, zeros(2, 2), generators(0, 1))
    assert plan.actions.abs().max() <= 1
    assert plan.cost.tolist() == pytest.approx([value, value])


@planners
def test_huge_costs_are_still_minimised(name: str) -> None:
    optimum = torch.tensor([0.5, -0.3]).repeat(HORIZON, 1)[None]
    huge = Cost(lambda actions: 1e30 * (actions - optimum).square().sum((2, 3)))
    plan = planner(name, num_samples=128, iterations=8).plan(huge, zeros(), generators(0))
    assert plan.cost.item() < 1e30 * REACHES.get(name, LEARNER_REACHES)


@pytest.mark.parametrize("name", [name for name in PLANNERS if name != "random_shooting"])
def test_without_noise_the_plan_stays_where_it_was_proposed(name: str) -> None:
    plan = planner(name, init_std=0.0, min_std=0.0).plan(quadratic(0.7), zeros(), generators(0))
    assert not plan.actions.any()


@planners
@pytest.mark.parametrize("field", ["num_samples", "iterations"])
def test_more_search_finds_better_plans(name: str, field: str) -> None:
    optima = torch.rand(40, HORIZON, ACTION, generator=generators(9)[0]) * 1.6 - 0.8

    def median(count: int) -> float:
        fields = {"num_samples": 16, "iterations": 4, field: count}
        plan = planner(name, **fields, **({"num_elites": 4} if name == "cem" else {})).plan(
            quadratic(optima), zeros(40), generators(*range(40))
        )
        return plan.cost.median().item()

    few, many = (16, 128) if field == "num_samples" else (2, 16)
    assert median(many) < 0.75 * median(few)


@planners
def test_a_deadline_ends_the_search_after_the_iteration_in_which_it_passes(name: str) -> None:
    late = planner(name, iterations=5).plan(quadratic(0.3), zeros(), generators(0), deadline_ms=0.0)
    assert (late.iterations, late.on_time, late.trace.shape[1]) == (1, False, 1)
    replayed = planner(name, iterations=1).plan(quadratic(0.3), zeros(), generators(0))
    assert torch.equal(late.actions, replayed.actions)
    early = planner(name, iterations=5).plan(quadratic(0.3), zeros(), generators(0), deadline_ms=60_000)
    assert (early.iterations, early.on_time) == (5, True)
    assert 0 < early.cost_ms < 60_000


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
