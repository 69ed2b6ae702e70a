"""Every shipped world model loads without trust or extras, and is the very one of a committed row."""

import json
from pathlib import Path

import pytest

from imagoal.world_model import _model, load, locate

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.name for path in (ROOT / "world_model/weights").iterdir() if path.is_dir())


def test_there_is_one_for_each_ball_env() -> None:
    assert {"Ball-latent", "BallGravity-latent", "BallGust-latent"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_that_of_a_headline_row(name: str) -> None:
    env = name.partition("-")[0]
    assert load(name).config["env"] == f"imagoal/{env}-v0"
    rows = [json.loads(path.read_text()) for path in sorted((ROOT / "eval/results" / env).glob("latent-s?.json"))]
    vouched = {row["provenance"]["weights_hash"] for row in rows if row["role"] == "headline"}
    assert _model.weights_hash(locate(name)) in vouched
