"""Warm start."""

import pytest
import torch

from imagoal.errors import UsageError
from imagoal.planning import CEM, Plan
from imagoal.planning._proposals import no_op, propose, shift


def plan_of(keep: torch.Tensor) -> Plan:
    cost = torch.zeros(len(keep))
    return Plan(keep[:, 0], cost, keep, cost[:, None], iterations=1, evaluations=1, on_time=True, cost_ms=0.0)


def test_shift_drops_what_was_executed_and_rests_at_the_end() -> None:
    keep = torch.arange(1.0, 5.0).reshape(1, 1, 4, 1)
    assert shift(keep, 0).flatten().tolist() == [1, 2, 3, 4]
    assert shift(keep, 1).flatten().tolist() == [2, 3, 4, 0]
    assert shift(keep, 3).flatten().tolist() == [4, 0, 0, 0]


@pytest.mark.parametrize("steps", [4, 9])
def test_a_plan_that_was_executed_whole_leaves_nothing(steps: int) -> None:
    assert shift(torch.ones(2, 3, 4, 1), steps).tolist() == torch.zeros(2, 3, 4, 1).tolist()


def test_a_plan_cannot_be_shifted_back() -> None:
    with pytest.raises(UsageError, match="shifted by -1"):
        shift(torch.ones(1, 1, 4, 1), -1)


def test_doing_nothing_is_always_proposed_and_the_shifted_plan_first() -> None:
    idle = no_op(2, 4, 1)
    assert torch.equal(propose(None, 0, idle), idle)
    keep = torch.rand(2, 3, 4, 1)
    proposed = propose(plan_of(keep), 1, idle)
    assert proposed.shape == (2, 4, 4, 1)
    assert torch.equal(proposed[:, 0, :3], keep[:, 0, 1:])
    assert not proposed[:, -1].any()


def test_proposals_have_the_dtype_the_model_wants() -> None:
    assert propose(plan_of(torch.rand(1, 1, 4, 1)), 1, no_op(1, 4, 1, torch.float64)).dtype == torch.float64


def test_a_shifted_plan_is_a_better_start_than_nothing() -> None:
    class Cost:
        differentiable = False

        def __call__(self, actions: torch.Tensor) -> torch.Tensor:
            return (actions - 0.6).square().sum((2, 3))

    planner = CEM(horizon=6, iterations=1)
    generators = [[torch.Generator().manual_seed(seed)] for seed in range(2)]
    cold = planner.plan(Cost(), no_op(1, 6, 2), generators[0])
    warm = planner.plan(Cost(), propose(cold, 1, no_op(1, 6, 2)), generators[1])
    assert warm.cost.item() < 0.8 * cold.cost.item()
