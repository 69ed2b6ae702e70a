"""Every shipped world model loads without trust or extras, and is the very one of a committed row."""

import json
from pathlib import Path

import pytest

from imagoal import find
from imagoal.world_model.models import load, locate
from imagoal.world_model.models._latent_folder import weights_hash

ROOT = Path(__file__).parents[3]
SHIPPED = sorted(path.name for path in (ROOT / "world_model/weights").iterdir() if path.is_dir())


def test_there_is_one_for_each_env() -> None:
    latent = {name for name in SHIPPED if name.endswith("-latent")}
    assert {f"{entry.class_name}-latent" for entry in find.entries("env").values()} == latent


def test_layers_that_are_not_ours_come_with_their_licence() -> None:
    notice = (ROOT / "world_model/weights/NOTICE.md").read_text()
    configs = {name: ROOT / f"world_model/weights/{name}/encoder/config.json" for name in SHIPPED}
    foreign = [name for name, config in configs.items() if config.exists() and "effnet" in config.read_text()]
    assert foreign
    assert all(f"`{name}`" in notice for name in foreign)
    assert "Apache License" in (ROOT / "world_model/weights/LICENSE-APACHE-2.0").read_text()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_that_of_a_committed_row(name: str) -> None:
    """Of a headline, if it is a latent one."""
    env, _, kind = name.partition("-")
    assert load(name).config["env"] == f"imagoal/{env}-v0"
    rows = [json.loads(path.read_text()) for path in sorted((ROOT / "experiments/results/rows" / env).glob(f"{kind}-s?.json"))]
    role = "headline" if kind == "latent" else "baseline"
    vouched = {row["provenance"]["weights_hash"] for row in rows if row["role"] == role}
    assert weights_hash(locate(name)) in vouched
