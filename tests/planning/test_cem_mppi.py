"""What CEM and MPPI claim by their equations."""

import pytest
import torch
from torch import Tensor

from imagoal.planning import CEM, MPPI
from imagoal.planning.cem import refit
from imagoal.planning.mppi import weigh


class Recorded:
    """A quadratic that keeps what it was asked."""

    differentiable = True

    def __init__(self, optimum: float) -> None:
        self.optimum = optimum
        self.asked: list[Tensor] = []

    def __call__(self, actions: Tensor) -> Tensor:
        self.asked.append(actions)
        return (actions - self.optimum).square().sum((2, 3))


def seeded() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(0)]


def test_cem_evaluates_the_mean_of_its_elites_next() -> None:
    cost = Recorded(0.4)
    CEM(horizon=2, num_samples=32, num_elites=4, iterations=2).plan(cost, torch.zeros(1, 1, 2, 2), seeded())
    first, second, last = cost.asked
    elites = first[0, cost(first)[0].argsort()[:4]]
    assert torch.allclose(second[0, 0], elites.mean(0))
    assert first.shape == second.shape
    assert last.shape[1] == 1


def test_momentum_keeps_a_part_of_the_old_mean() -> None:
    plain, slow = Recorded(0.4), Recorded(0.4)
    for cost, momentum in ((plain, 0.0), (slow, 0.75)):
        CEM(horizon=2, iterations=2, momentum=momentum).plan(cost, torch.zeros(1, 1, 2, 2), seeded())
    assert torch.allclose(slow.asked[1][0, 0], 0.25 * plain.asked[1][0, 0])


def test_an_elite_of_infinite_cost_is_replaced() -> None:
    elites = torch.tensor([3.0, 1.0, 7.0]).reshape(1, 3, 1, 1)
    old = torch.full((1, 1, 1, 1), 2.0)
    mean, std = refit(elites, torch.tensor([[1.0, 2.0, torch.inf]]), old, old, momentum=0.0, min_std=0.0)
    assert mean.item() == 2.0
    assert std.item() == pytest.approx((2 / 3) ** 0.5)


def test_mppi_evaluates_the_weighted_mean_next() -> None:
    cost = Recorded(0.4)
    MPPI(horizon=2, iterations=2, temperature=0.3, init_std=0.2).plan(cost, torch.zeros(1, 1, 2, 2), seeded())
    first, second, last = cost.asked
    weights = weigh(cost(first), 0.3)[0].float()
    assert torch.allclose(second[0, 0], torch.einsum("k,kha->ha", weights, first[0]), atol=1e-6)
    assert last.shape[1] == 1


def test_mppi_weights_are_those_of_the_equation() -> None:
    costs = torch.tensor([[1.0, 2.0, 4.0, torch.inf, 5.0]])
    finite = costs[torch.isfinite(costs)].double()
    standard = (finite - finite.mean()) / finite.std(correction=0)
    expected = (-standard / 0.5).exp()
    weights = weigh(costs, 0.5)
    assert torch.allclose(weights[0, [0, 1, 2, 4]], expected / expected.sum())
    assert weights[0, 3] == 0


def test_mppi_weights_do_not_know_the_unit_of_cost() -> None:
    costs = torch.rand(2, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(weigh(costs, 0.1), weigh(1000 * costs - 7, 0.1))


def test_mppi_weights_are_finite_when_no_cost_is() -> None:
    weights = weigh(torch.full((1, 4), torch.inf), 0.1)
    assert weights.tolist() == [[0.25] * 4]


def test_towards_temperature_zero_mppi_moves_to_the_best_sample() -> None:
    cost = Recorded(0.4)
    MPPI(horizon=2, temperature=1e-6, iterations=1).plan(cost, torch.zeros(1, 1, 2, 2), seeded())
    samples, mean = cost.asked
    assert torch.equal(mean[0, 0], samples[0, cost(samples)[0].argmin()])


def test_towards_infinite_temperature_mppi_moves_to_the_plain_mean() -> None:
    cost = Recorded(0.4)
    MPPI(horizon=2, temperature=1e9, iterations=1, init_std=0.2).plan(cost, torch.zeros(1, 1, 2, 2), seeded())
    samples, mean = cost.asked
    assert torch.allclose(mean[0, 0], samples[0].mean(0), atol=1e-6)


def test_the_noise_of_mppi_shrinks_and_stops_at_min_std() -> None:
    cost = Recorded(0.0)
    planner = MPPI(horizon=4, num_samples=500, iterations=4, init_std=0.4, min_std=0.08, std_decay=0.5)
    planner.plan(cost, torch.zeros(1, 1, 4, 2), seeded())
    spread = [asked[0, 1:].std(0).mean().item() for asked in cost.asked[:4]]
    for measured, expected in zip(spread, [0.4, 0.2, 0.1, 0.08], strict=True):
        assert abs(measured / expected - 1) < 0.05


@pytest.mark.parametrize("planner", [CEM(horizon=4, iterations=1), MPPI(horizon=4, iterations=1, temperature=0.5)])
def test_the_last_mean_can_be_the_plan(planner: CEM | MPPI) -> None:
    cost = Recorded(0.05)
    plan = planner.plan(cost, torch.zeros(1, 1, 4, 2) + 0.1, seeded())
    samples, mean = cost.asked
    candidate, *drawn = cost(samples)[0].tolist()
    last = cost(mean).item()
    assert last < min(drawn)
    assert plan.cost.item() == min(last, candidate)
    assert plan.trace.item() == min(candidate, *drawn)
