"""The table of what bf16 changes in a plan."""

from pathlib import Path

import numpy as np
import pytest

import experiments
from experiments.speed import predictors


def test_losses_are_shares_of_what_all_tasks_gain_together() -> None:
    losses = np.array([[0.1, 0.0, -0.1, 1.0], [0.2, 0.0, 0.4, 9.0]])
    assert predictors.shares(losses)[::3] == pytest.approx([3.0, 0.0, 3.0])


def test_an_interval_holds_its_estimate_and_closes_where_all_tasks_agree() -> None:
    gains = np.linspace(1, 2, 30)
    losses = np.stack([0.01 * gains, 0.01 * gains * (-1) ** np.arange(30), 0 * gains, gains], 1)
    share, low, high, other, lower, upper, *_ = predictors.shares(losses)
    assert [share, low, high] == pytest.approx([1, 1, 1])
    assert -1 < lower < other < upper < 1
    assert upper - lower > 0.2


def test_without_a_unit_for_bf16_the_table_says_not_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(predictors, "bf16_units", lambda: ())
    monkeypatch.setattr(experiments, "RESULTS", tmp_path)
    predictors.precision("ball=nowhere")
    assert '"not measured"' in (tmp_path / "speed/precision.table.json").read_text()
