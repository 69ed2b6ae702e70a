"""What the gradient planner and the hybrid claim."""

import time

import pytest
import torch
from torch import Tensor

from imagoal.errors import NumericalError
from imagoal.planning._search import Search
from imagoal.planning.gradient import Descent, Gradient
from imagoal.planning.icem import ICEM
from imagoal.planning.icem_adam import ICEMAdam

SCALE = torch.tensor([[1.0, 30.0], [5.0, 0.1]], dtype=torch.float64)


class Recorded:
    """A stretched bowl that keeps what it was asked; candidates can be spoilt."""

    differentiable = True

    def __init__(self, spoilt: float = 0.0) -> None:
        self.spoilt = spoilt
        self.asked: list[Tensor] = []

    def __call__(self, actions: Tensor) -> Tensor:
        self.asked.append(actions.detach().clone())
        costs = (SCALE * (actions - 0.4).square()).sum((2, 3))
        return torch.cat([costs[:, :1], costs[:, 1:2] * (1 + self.spoilt), costs[:, 2:]], 1)


def seeded() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(0)]


def starts(count: int = 4) -> Tensor:
    return torch.rand(1, count, 2, 2, generator=seeded()[0], dtype=torch.float64) * 2 - 1


def followed(cost: Recorded, begin: Tensor, steps: int, lr: float = 0.05) -> list[Tensor]:
    """Where sequences are after each step."""
    search, descent = Search(cost), Descent(begin, lr)
    places = []
    for _ in search.rounds(steps):
        descent.step(search)
        places.append(descent.sequences)
    return places


def test_steps_are_those_of_adam() -> None:
    places = followed(Recorded(), starts(), 12, lr=0.02)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at, mean, square = starts()[0, 0, row, column].item(), 0.0, 0.0
        for step, place in enumerate(places, 1):
            slope = 2 * SCALE[row, column].item() * (at - 0.4)
            mean = 0.9 * mean + 0.1 * slope
            square = 0.999 * square + 0.001 * slope**2
            at -= 0.02 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)) ** 0.5 + 1e-8)
            assert place[0, 0, row, column].item() == pytest.approx(at, abs=1e-6)


def test_the_unit_of_the_cost_does_not_matter() -> None:
    class Scaled(Recorded):
        def __init__(self, unit: float) -> None:
            super().__init__()
            self.unit = unit

        def __call__(self, actions: Tensor) -> Tensor:
            return self.unit * super().__call__(actions)

    paths = [followed(Scaled(unit), starts(), 8)[-1] for unit in (1.0, 1e-20, 1e20)]
    assert torch.allclose(paths[0], paths[1])
    assert torch.allclose(paths[0], paths[2])


def test_every_step_is_projected_to_the_box() -> None:
    places = followed(Recorded(), starts(), 30, lr=0.9)
    assert any((place.abs() == 1).any() for place in places)
    assert all(place.abs().max() <= 1 for place in places)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_sequence_without_a_finite_cost_stays_and_spoils_no_other(value: float) -> None:
    clean, spoilt = followed(Recorded(), starts(), 6)[-1], followed(Recorded(value), starts(), 6)[-1]
    assert torch.equal(spoilt[:, 1], starts()[:, 1])
    assert torch.equal(spoilt[:, [0, 2, 3]], clean[:, [0, 2, 3]])


def test_a_sequence_whose_slope_is_infinite_stays() -> None:
    class Cusp(Recorded):
        def __call__(self, actions: Tensor) -> Tensor:
            return super().__call__(actions) + actions.abs().sqrt().sum((2, 3))

    begin = starts()
    begin[:, 1] = 0
    cost = Cusp()
    last = followed(cost, begin, 6)[-1]
    assert torch.equal(last[:, 1], begin[:, 1])
    assert torch.isfinite(last).all()
    assert (cost(last)[:, [0, 2, 3]] < cost(begin)[:, [0, 2, 3]]).all()


def test_a_sequence_that_runs_out_of_the_finite_stops_there() -> None:
    class Edge(Recorded):
        def __call__(self, actions: Tensor) -> Tensor:
            return torch.where(actions[..., 0, 0] < 0.7, torch.nan, super().__call__(actions))

    cost, begin = Edge(), starts()
    begin[:, 1, 0, 0] = 0.8  # two steps before the edge, and the slope leads over it
    places = followed(cost, begin, 6)
    assert not torch.isfinite(cost(places[2])[0, 1])
    assert not torch.equal(places[1][:, 1], places[2][:, 1])
    assert all(torch.equal(place[:, 1], places[2][:, 1]) for place in places[3:])


def test_a_sequence_without_slope_stays() -> None:
    class Flat(Recorded):
        def __call__(self, actions: Tensor) -> Tensor:
            return 0 * super().__call__(actions)

    assert torch.equal(followed(Flat(), starts(), 6)[-1], starts())


def test_sequences_know_nothing_of_each_other() -> None:
    together = followed(Recorded(), starts(), 8)[-1]
    assert torch.allclose(followed(Recorded(), starts()[:, 2:3], 8)[-1], together[:, 2:3], atol=1e-9)


def test_proposals_are_followed_beside_samples_around_the_first() -> None:
    cost = Recorded()
    candidates = torch.stack([torch.full((2, 2), value, dtype=torch.float64) for value in (0.7, -0.9)])[None]
    Gradient(horizon=2, num_samples=500, iterations=1, init_std=0.1).plan(cost, candidates, seeded())
    assert torch.equal(cost.asked[0][:, :2], candidates)
    assert abs(cost.asked[0][:, 2:].mean() - 0.7) < 0.02
    assert abs(cost.asked[0][:, 2:].std() - 0.1) < 0.02


def test_where_the_last_step_leads_is_evaluated_too() -> None:
    cost = Recorded()
    plan = Gradient(horizon=2, num_samples=1, iterations=3, lr=0.05).plan(cost, torch.zeros(1, 1, 2, 2), seeded())
    assert len(cost.asked) == 4
    assert torch.equal(plan.actions[:, None], cost.asked[3])
    assert plan.trace.shape == (1, 3)


def test_several_sequences_find_what_one_does_not() -> None:
    class Waves(Recorded):
        def __call__(self, actions: Tensor) -> Tensor:
            return super().__call__(actions) / 100 + (9 * actions).cos().sum((2, 3))

    decoy = torch.full((1, 1, 2, 2), -0.35)
    alone, many = (Gradient(horizon=2, num_samples=count, lr=0.05).plan(Waves(), decoy, seeded()) for count in (1, 16))
    assert many.cost.item() < alone.cost.item() - 0.1


def test_time_spent_on_gradients_is_time_of_the_cost() -> None:
    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(context: object, actions: Tensor) -> Tensor:  # type: ignore[override]
            return actions.clone()

        @staticmethod
        def backward(context: object, slope: Tensor) -> Tensor:  # type: ignore[override]
            time.sleep(0.005)
            return slope

    class Costly(Recorded):
        def __call__(self, actions: Tensor) -> Tensor:
            return super().__call__(Slow.apply(actions))  # type: ignore[no-untyped-call]

    plan = Gradient(horizon=2, iterations=4).plan(Costly(), torch.zeros(1, 1, 2, 2), seeded())
    assert plan.cost_ms > 4 * 5


def test_a_gradient_planner_without_a_finite_cost_says_so() -> None:
    class Broken(Recorded):
        def __call__(self, actions: Tensor) -> Tensor:
            return super().__call__(actions) * torch.nan

    with pytest.raises(NumericalError, match="of problem 0 have a cost that is not finite"):
        Gradient(horizon=2).plan(Broken(), torch.zeros(1, 1, 2, 2), seeded())


def test_the_hybrid_begins_as_icem_and_goes_on_from_its_mean_and_best_elites() -> None:
    plain, hybrid, zeros = Recorded(), Recorded(), torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    start = ICEM(horizon=2, iterations=3).plan(plain, zeros, seeded())
    plan = ICEMAdam(horizon=2, iterations=9, sampling=3, num_refined=3).plan(hybrid, zeros, seeded())
    assert torch.equal(plan.trace[:, :3], start.trace)
    for mine, theirs in zip(hybrid.asked[:3], plain.asked[:3], strict=True):
        assert torch.equal(mine, theirs)
    mean, *elites = hybrid.asked[3][0]
    assert torch.equal(mean, plain.asked[3][0, 0])
    pool = torch.cat(plain.asked[:3], 1)
    best = pool[0, Recorded()(pool)[0].argsort()[:2]]
    assert torch.equal(torch.stack(elites), best)
    assert [asked.shape[1] for asked in hybrid.asked[3:]] == [3] * 7  # six steps, and the last look
    assert plan.iterations == 9


def test_the_hybrid_goes_deeper_than_icem_with_as_many_evaluations() -> None:
    class Wide(Recorded):
        def __call__(self, actions: Tensor) -> Tensor:
            return (actions - torch.linspace(-0.7, 0.7, 40).reshape(10, 4)).square().sum((2, 3))

    zeros = torch.zeros(1, 1, 10, 4)
    sampled = ICEM(horizon=10, iterations=8).plan(Wide(), zeros, seeded())
    hybrid = ICEMAdam(horizon=10).plan(Wide(), zeros, seeded())
    assert hybrid.evaluations <= sampled.evaluations
    assert hybrid.cost.item() < 0.5 * sampled.cost.item()


def test_the_hybrid_keeps_elites_for_the_next_plan() -> None:
    plan = ICEMAdam(horizon=2, num_elites=10, kept=0.5).plan(Recorded(), torch.zeros(1, 1, 2, 2), seeded())
    assert plan.keep.shape == (1, 5, 2, 2)
    assert torch.equal(plan.keep[:, 0], plan.actions)
