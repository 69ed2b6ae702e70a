"""Objectives: their values are those of the papers, and what they forbid costs more than what they want."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from imagoal import find
from imagoal.errors import UsageError
from imagoal.world_model.objectives.naive import Naive
from imagoal.world_model.objectives.sigreg import SIGReg, epps_pulley
from imagoal.world_model.objectives.vicreg import VICReg

NAMES = sorted(find.entries("objective"))


def fresh(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def gaussian(count: int, size: int, seed: int = 1) -> Tensor:
    return torch.randn(count, size, generator=fresh(seed))


def statistic(points: Tensor) -> float:
    return float(epps_pulley(points, 256, 17, fresh()))


EXPECTED = math.sqrt(2 * math.pi) * math.erf(3 / math.sqrt(2)) - math.sqrt(2 * math.pi / 3) * math.erf(3 * math.sqrt(1.5))
"""Integral over [-3, 3] of (1 - exp(-t^2)) exp(-t^2 / 2): M times the variance of the empirical characteristic function."""


def test_epps_pulley_of_a_gaussian_is_its_expectation_whatever_the_number_of_points() -> None:
    assert 1.05 < EXPECTED < 1.06
    for count in (100, 1000):
        found = np.mean([statistic(gaussian(count, 8, seed)) for seed in range(20)])
        assert abs(found - EXPECTED) < 0.1


def test_epps_pulley_is_larger_for_everything_but_a_standard_gaussian() -> None:
    points = gaussian(1000, 8)
    others = {
        "rank 1": points[:, :1] * torch.ones(8) / math.sqrt(8) * 2,
        "collapsed to a point": torch.zeros(1000, 8),
        "nearly collapsed": 1e-3 * points,
        "scaled": 1.5 * points,
        "shifted": points + 0.5,
        "on a sphere": math.sqrt(2) * torch.nn.functional.normalize(points[:, :2], dim=1),
        "uniform": torch.rand(1000, 1, generator=fresh()) * math.sqrt(12) - math.sqrt(3),
    }
    for name, other in others.items():
        assert statistic(other) > 3 * statistic(points), name
    assert statistic(others["collapsed to a point"]) > 100 * statistic(points)


def test_epps_pulley_is_what_numpy_makes_of_its_definition() -> None:
    points = 1.3 * gaussian(50, 4) + 0.2
    axes = torch.randn(4, 7, generator=fresh()).numpy()
    total = 0.0
    for axis in axes.T:
        along = points.numpy().astype(np.float64) @ (axis / np.linalg.norm(axis)).astype(np.float64)
        integrand = []
        for t in np.linspace(-3, 3, 2 * 9 - 1):
            empirical = np.mean(np.exp(1j * t * along))
            integrand.append(abs(empirical - math.exp(-t * t / 2)) ** 2 * math.exp(-t * t / 2))
        steps = (np.array(integrand[1:]) + np.array(integrand[:-1])) / 2 * (3 / 8)
        total += 50 * steps.sum() / 7
    assert float(epps_pulley(points, 7, 9, fresh())) == pytest.approx(total, rel=1e-5)


def test_directions_are_drawn_from_the_generator() -> None:
    points = gaussian(30, 4)
    values = [float(epps_pulley(points, 2, 9, fresh(seed))) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_loss(name: str) -> None:
    objective = find.find("objective", name)()
    if name == "sigreg":
        objective = SIGReg(weight=1.0, directions=3, knots=5)
    embeddings, predicted, following = (gaussian(5 * steps, 3, steps).double().reshape(5, steps, 3) for steps in (4, 2, 1))
    inputs = [tensor.clone().requires_grad_() for tensor in (0.3 * embeddings, predicted, following.expand(5, 2, 3))]
    assert torch.autograd.gradcheck(lambda *tensors: objective.loss(*tensors, fresh()), inputs)


@pytest.mark.parametrize("name", NAMES)
def test_no_objective_stops_gradients_through_prediction_or_target(name: str) -> None:
    objective = find.find("objective", name)()
    inputs = [gaussian(20, 3, seed).reshape(5, 4, 3).requires_grad_() for seed in range(3)]
    objective.loss(*inputs, fresh()).backward()
    for tensor in inputs[1:]:
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


def test_naive_is_zero_at_collapse_and_the_others_are_not() -> None:
    point = torch.ones(8, 3, 4)
    assert Naive().loss(point, point, point, fresh()) == 0
    assert SIGReg().loss(point, point, point, fresh()) > 0.05
    assert VICReg().loss(point, point, point, fresh()) > 20


def test_sigreg_is_error_plus_weighted_test() -> None:
    embeddings, predicted, following = (gaussian(40, 5, seed).reshape(10, 4, 5) for seed in range(3))
    error = float((predicted - following).square().mean())
    test = float(epps_pulley(embeddings.flatten(0, 1), 256, 17, fresh()))
    assert float(SIGReg(weight=0.3).loss(embeddings, predicted, following, fresh())) == pytest.approx(error + 0.3 * test)


def test_vicreg_by_hand() -> None:
    """Points (2, 0), (-2, 0), (0, 1), (0, -1): variances 8/3 and 2/3, covariance 0."""
    points = torch.tensor([[[2.0, 0.0], [-2.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]])
    zero = torch.zeros(2, 1, 2)
    hinge = (0 + 1 - math.sqrt(2 / 3 + 1e-4)) / 2
    assert float(VICReg().loss(points, zero, zero, fresh())) == pytest.approx(25 * hinge, rel=1e-5)
    assert float(VICReg().loss(points, zero + 2, zero - 1, fresh())) == pytest.approx(25 * 9 + 25 * hinge, rel=1e-5)
    same = points[..., :1].expand(-1, -1, 2)  # both dimensions are (2, -2, 0, 0): covariance 8/3, twice off the diagonal
    assert float(VICReg().loss(same, zero, zero, fresh())) == pytest.approx(2 * (8 / 3) ** 2 / 2, rel=1e-5)
    weighted = VICReg(invariance=0, variance=2, covariance=0)
    assert float(weighted.loss(points, zero + 2, zero, fresh())) == pytest.approx(2 * hinge, rel=1e-5)


def test_vicreg_asks_nothing_more_of_whitened_points() -> None:
    points = gaussian(500, 6).double()
    centred = points - points.mean(0)
    whitening = torch.linalg.inv(torch.linalg.cholesky(centred.T @ centred / 499)).T
    white = (centred @ whitening).reshape(100, 5, 6)
    zero = torch.zeros(100, 1, 6)
    assert float(VICReg().loss(white, zero, zero, fresh())) < 1e-9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SIGReg(weight=-1), "SIGReg.weight is -1; expected 0 or more"),
        (lambda: SIGReg(weight=math.nan), "SIGReg.weight is nan"),
        (lambda: SIGReg(directions=0), "SIGReg.directions is 0; expected 1 or more"),
        (lambda: SIGReg(knots=1), "SIGReg.knots is 1; expected 2 or more"),
        (lambda: VICReg(variance=-0.5), "VICReg.variance is -0.5; expected 0 or more"),
    ],
)
def test_wrong_fields_are_named(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()
