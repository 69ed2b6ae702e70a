"""What planners refuse, and how they say it."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import Generator, Tensor

from imagoal.errors import NumericalError, UsageError
from imagoal.find import entries
from imagoal.planning._checks import check_needs
from imagoal.planning._types import Needs, Planner

HORIZON, ACTION = 3, 2
planners = pytest.mark.parametrize("name", list(entries("planner")))


class Zero:
    """A cost that does not care; the wrong shape on request. Its path is the actions."""

    differentiable = True

    def __init__(self, per_step: bool = False) -> None:
        self.per_step = per_step

    def __call__(self, actions: Tensor) -> Tensor:
        return 0 * actions.sum(3 if self.per_step else (2, 3))

    def imagine(self, actions: Tensor) -> Tensor:
        return actions

    def defects(self, path: Tensor, actions: Tensor) -> Tensor:
        return (path - actions).square().mean(3)

    def linearise(self, path: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        identity = torch.eye(path.shape[3]).expand(*path.shape, -1)
        return actions, torch.zeros_like(identity), identity

    def measure(self, path: Tensor) -> Tensor:
        return self(path)


def planner(name: str, **fields: object) -> Any:
    return entries("planner")[name].load()(**{"horizon": HORIZON, **fields})


def generators(*seeds: int) -> list[Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def zeros(proposals: int = 1) -> Tensor:
    return torch.zeros(1, proposals, HORIZON, ACTION)


@planners
@pytest.mark.parametrize(
    ("candidates", "seeds", "message"),
    [
        (torch.zeros(1, 1, HORIZON + 1, ACTION), (0,), "candidates have 4 steps; expected the planner's horizon, 3"),
        (torch.zeros(1, 1, HORIZON - 1, ACTION), (0,), "candidates have 2 steps; expected the planner's horizon, 3"),
        (torch.zeros(1, 65, HORIZON, ACTION), (0,), "num_samples is 64; expected at least the number of candidates, 65"),
        (torch.zeros(1, 0, HORIZON, ACTION), (0,), r"shape \(1, 0, 3, 2\)"),
        (torch.zeros(1, HORIZON, ACTION), (0,), r"shape \(1, 3, 2\)"),
        (torch.zeros(2, 1, HORIZON, ACTION), (0,), "1 generators for 2 problems"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, candidates: Tensor, seeds: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        planner(name, num_samples=64).plan(Zero(), candidates, generators(*seeds))


@planners
def test_a_candidate_that_is_not_finite_is_refused(name: str) -> None:
    candidates = zeros(2)
    candidates[0, 1, 0, 0] = torch.nan
    with pytest.raises(NumericalError, match="the policy that proposed it"):
        planner(name).plan(Zero(), candidates, generators(0))


@planners
def test_a_cost_of_the_wrong_shape_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"the cost has shape \(1, 64, 3\); expected \(1, 64\)"):
        planner(name, num_samples=64).plan(Zero(per_step=True), zeros(), generators(0))


@planners
@pytest.mark.parametrize("field", ["horizon", "num_samples", "iterations"])
@pytest.mark.parametrize("value", [0, -1, 2.5, math.nan, math.inf])
def test_wrong_counts_are_refused(name: str, field: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"\w+\.{field} is {value}; expected a whole number 1 or more"):
        planner(name, **{field: value})


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("cem", {"num_elites": 80}, "CEM.num_elites is 80; expected from 1 to num_samples, 64"),
        ("cem", {"num_elites": 0}, "CEM.num_elites is 0; expected a whole number 1 or more"),
        ("cem", {"init_std": math.nan}, "CEM.init_std is nan; expected 0.05 or more"),
        ("cem", {"init_std": math.inf}, "CEM.init_std is inf; expected 0.05 or more"),
        ("cem", {"min_std": -0.1}, "CEM.min_std is -0.1; expected 0.0 or more"),
        ("cem", {"momentum": 1.0}, "CEM.momentum is 1.0; expected from 0.0 to 0.999"),
        ("mppi", {"temperature": 0.0}, "MPPI.temperature is 0.0; expected 1e-09 or more"),
        ("mppi", {"init_std": 0.01}, "MPPI.init_std is 0.01; expected 0.05 or more"),
        ("mppi", {"std_decay": 1.1}, "MPPI.std_decay is 1.1; expected from 0.0 to 1.0"),
        ("icem", {"num_elites": 33}, "ICEM.num_elites is 33; expected from 1 to half of num_samples, 64"),
        ("icem", {"kept": 1.5}, "ICEM.kept is 1.5; expected from 0.0 to 1.0"),
        ("icem", {"decay": 0.9}, "ICEM.decay is 0.9; expected 1.0 or more"),
        ("icem", {"beta": -1.0}, "ICEM.beta is -1.0; expected 0.0 or more"),
        ("icem", {"block": 0}, "ICEM.block is 0; expected a whole number 1 or more"),
        ("gradient", {"lr": 0.0}, "Gradient.lr is 0.0; expected 1e-09 or more"),
        ("gradient", {"init_std": math.inf}, "Gradient.init_std is inf; expected 0.0 or more"),
        ("icem_adam", {"num_elites": 33}, "ICEMAdam.num_elites is 33; expected from 1 to half of num_samples, 64"),
        ("icem_adam", {"sampling": 0}, "ICEMAdam.sampling is 0; expected a whole number 1 or more"),
        ("icem_adam", {"num_refined": 0}, "ICEMAdam.num_refined is 0; expected a whole number 1 or more"),
        ("icem_adam", {"lr": math.nan}, "ICEMAdam.lr is nan; expected 1e-09 or more"),
    ],
)
def test_wrong_fields_are_refused_by_name_value_and_range(name: str, fields: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        planner(name, num_samples=64, **fields)
    assert str(refused.value) == message


@pytest.mark.parametrize("name", ["cem", "icem", "mppi", "random_shooting"])
def test_values_are_enough(name: str) -> None:
    assert planner(name).needs == "values"
    check_needs(planner(name), differentiable=False)


@pytest.mark.parametrize("name", ["gradient", "icem_adam"])
def test_a_cost_without_gradient_is_refused_before_anything_is_computed(name: str) -> None:
    class Rendered(Zero):
        differentiable = False

        def __call__(self, actions: Tensor) -> Tensor:
            raise AssertionError("asked")

    with pytest.raises(UsageError, match="follows gradients and this cost has none"):
        planner(name).plan(Rendered(), zeros(), generators(0))


@pytest.mark.parametrize("name", ["gradient", "icem_adam"])
@pytest.mark.parametrize("weight", [None, torch.ones((), requires_grad=True)])
def test_a_cost_that_only_says_it_has_a_gradient_is_refused(name: str, weight: Tensor | None) -> None:
    class Detached(Zero):
        def __call__(self, actions: Tensor) -> Tensor:
            costs = actions.detach().square().sum((2, 3))
            return costs if weight is None else weight * costs

    with pytest.raises(UsageError, match="does not follow from the actions"):
        planner(name).plan(Detached(), zeros(), generators(0))


def test_a_planner_that_follows_gradients_is_refused_where_there_are_none() -> None:
    @dataclass(frozen=True)
    class Adam:
        needs: ClassVar[Needs] = "gradient"
        horizon: int = HORIZON

    check_needs(cast(Planner, Adam()), differentiable=True)
    with pytest.raises(UsageError, match="Adam follows gradients and this cost has none"):
        check_needs(cast(Planner, Adam()), differentiable=False)
