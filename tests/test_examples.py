"""The examples do what they say."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from imagoal.planning import CEM, Gradient, Planner

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.mark.parametrize("planner", [CEM(horizon=25), Gradient(horizon=25)], ids=["cem", "gradient"])
def test_dynamics_of_ones_own_are_driven_to_their_goals(planner: Planner) -> None:
    assert example("own_dynamics")["drive"](planner).max() < 0.02


def test_somebody_elses_model_is_swung_up() -> None:
    assert example("foreign_model")["swing"](CEM(horizon=15, num_samples=32)) < 0.1
