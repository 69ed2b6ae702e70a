import pytest
import torch
from torch import Tensor

from imagoal.envs._cache import FrameCache, open_cache
from imagoal.envs._collect import collect
from imagoal.envs._store import Store
from imagoal.world_model import _frozen
from imagoal.world_model._frozen import FrozenEncoder
from imagoal.world_model._probe import visible_positions
from imagoal.world_model.encoders.patch_conv import PatchConv


@pytest.fixture(scope="session")
def ball_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """60 episodes of Ball, 20 steps each."""
    return collect(tmp_path_factory.mktemp("ball") / "store", "ball", 60, steps=20)


@pytest.fixture(scope="session")
def ball_cache(ball_store: Store) -> FrameCache:
    return open_cache(ball_store)


@pytest.fixture(scope="session")
def ball_positions(ball_store: Store, ball_cache: FrameCache) -> Tensor:
    return visible_positions(ball_store.spec.env, ball_cache.states)


@pytest.fixture(scope="session")
def ball_encoder(ball_cache: FrameCache) -> FrozenEncoder:
    """Principal components of an untrained network: they tell where the ball is."""
    return _frozen.build(PatchConv(size=64, width=16, normalise=False)).with_reduction(ball_cache.frames[::2], 12, seed=0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
