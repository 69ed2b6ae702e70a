"""What iCEM claims: a population that shrinks, elites that stay, a memory for the next plan."""

import pytest
import torch
from torch import Tensor

from imagoal.planning._proposals import no_op, propose
from imagoal.planning.icem import ICEM


class Recorded:
    """A bumpy bowl that keeps what it was asked."""

    differentiable = True

    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def __call__(self, actions: Tensor) -> Tensor:
        self.asked.append(actions)
        return ((actions - 0.4).square() + 0.1 * (20 * actions).sin()).sum((2, 3))


def seeded(seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed)]


def cheapest(cost: Recorded, count: int, among: Tensor) -> Tensor:
    """The `count` sequences (count, H, A') of lowest cost among (1, K, H, A')."""
    return among[0, cost(among)[0].argsort()[:count]]


def test_the_population_shrinks_to_twice_the_elites() -> None:
    cost = Recorded()
    plan = ICEM(horizon=2, num_samples=40, num_elites=6, iterations=7, decay=1.25).plan(cost, torch.zeros(1, 1, 2, 2), seeded())
    sizes = [asked.shape[1] for asked in cost.asked]
    assert sizes == [40, 32, 25, 20, 16, 13, 12, 1]  # the last one is the mean
    assert plan.evaluations == sum(sizes)


def test_a_long_search_has_no_number_too_large() -> None:
    plan = ICEM(horizon=1, num_samples=4, num_elites=2, iterations=20, decay=1e30).plan(
        Recorded(), torch.zeros(1, 1, 1, 1), seeded()
    )
    assert plan.iterations == 20


def test_the_mean_of_elites_old_and_new_is_evaluated_next() -> None:
    cost = Recorded()
    ICEM(horizon=2, num_samples=32, num_elites=4, kept=0.5, iterations=3, momentum=0.25).plan(
        cost, torch.zeros(1, 1, 2, 2), seeded()
    )
    first, second, third, _ = cost.asked[:4]
    old = cheapest(cost, 4, first)
    assert torch.allclose(second[0, 0], 0.75 * old.mean(0))  # the first mean was 0
    pool = torch.cat([old[:2], second[0]])[None]
    assert torch.allclose(third[0, 0], 0.75 * cheapest(cost, 4, pool).mean(0) + 0.25 * second[0, 0])


def test_an_elite_that_stays_is_not_evaluated_again() -> None:
    cost = Recorded()
    ICEM(horizon=2, iterations=6, kept=1.0).plan(cost, torch.zeros(1, 1, 2, 2), seeded())
    asked = torch.cat(cost.asked, 1)[0].flatten(1)
    assert len(asked.unique(dim=0)) == len(asked)


def test_what_is_kept_are_the_best_of_all_that_was_evaluated() -> None:
    cost = Recorded()
    plan = ICEM(horizon=3, num_elites=10, kept=0.5, iterations=5).plan(cost, torch.zeros(1, 1, 3, 2), seeded())
    assert plan.keep.shape == (1, 5, 3, 2)
    assert torch.equal(plan.keep[:, 0], plan.actions)
    assert torch.equal(plan.keep[0], cheapest(cost, 5, torch.cat(cost.asked, 1)))


@pytest.mark.parametrize("kept", [0.0, 0.05])
def test_a_plan_always_keeps_its_actions(kept: float) -> None:
    plan = ICEM(horizon=3, kept=kept).plan(Recorded(), torch.zeros(1, 1, 3, 2), seeded())
    assert torch.equal(plan.keep, plan.actions[:, None])


def test_memory_gives_the_next_search_a_better_start() -> None:
    idle = no_op(1, 6, 2)

    def first_look(kept: float) -> float:
        """Mean of the mean cost of the best eight of the first samples of a second plan."""
        total = 0.0
        for seed in range(20):
            search, cost = ICEM(horizon=6, kept=kept), Recorded()
            plan = search.plan(cost, idle, seeded(seed))
            cost.asked.clear()
            search.plan(cost, propose(plan, 1, idle), seeded(100 + seed))
            total += cost(cost.asked[0])[0].sort().values[:8].mean().item()
        return total / 20

    assert first_look(1.0) < first_look(0.0) - 0.1


@pytest.mark.parametrize(("samples", "elites"), [(2, 1), (4, 2), (6, 3)])
def test_all_that_is_kept_and_doing_nothing_fit_the_smallest_population(samples: int, elites: int) -> None:
    search, idle = ICEM(horizon=3, num_samples=samples, num_elites=elites, kept=1.0), no_op(1, 3, 2)
    plan = search.plan(Recorded(), idle, seeded())
    again = search.plan(Recorded(), propose(plan, 1, idle), seeded())
    assert again.keep.shape[1] == elites


def test_where_nothing_was_finite_the_search_starts_again_from_the_best() -> None:
    class Cliff(Recorded):
        def __call__(self, actions: Tensor) -> Tensor:
            costs = super().__call__(actions)
            return torch.where(torch.arange(costs.shape[1]) > 0, torch.nan, costs)

    cost = Cliff()
    ICEM(horizon=2, iterations=2, init_std=0.3, momentum=0.0).plan(cost, torch.full((1, 1, 2, 2), 0.2), seeded())
    assert torch.allclose(cost.asked[1][0, 0], torch.full((2, 2), 0.2))
