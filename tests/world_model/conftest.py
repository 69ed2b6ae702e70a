import pytest
import torch
from torch import Tensor

from imagoal.envs.store import Collecting, FrameCache, Store, collect, open_cache
from imagoal.world_model.disk import open_run
from imagoal.world_model.encoders import HISTORY, pretrain, watch
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.objectives.sigreg import SIGReg
from imagoal.world_model.readouts import FrozenEncoder, visible_positions
from imagoal.world_model.training import Schedule, Windows, split_episodes


@pytest.fixture(scope="session")
def ball_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """60 episodes of Ball, 20 steps each."""
    return collect("ball", tmp_path_factory.mktemp("ball") / "store", 60, setting=Collecting(steps=20))


@pytest.fixture(scope="session")
def ball_cache(ball_store: Store) -> FrameCache:
    return open_cache(ball_store)


@pytest.fixture(scope="session")
def ball_positions(ball_store: Store, ball_cache: FrameCache) -> Tensor:
    return visible_positions(ball_store.spec.env, ball_cache.states)


@pytest.fixture(scope="session")
def ball_encoder(ball_cache: FrameCache, ball_positions: Tensor, tmp_path_factory: pytest.TempPathFactory) -> FrozenEncoder:
    """A small encoder, trained for two seconds and reduced to its principal components; it tells where the ball is."""
    windows = Windows(ball_cache, ball_cache.window_index(HISTORY, 2, episodes=split_episodes(ball_cache)[0]), seed=0)
    watched = watch(ball_cache, ball_positions, seed=0)
    schedule = Schedule(steps=150, batch=16, lr=3e-3)
    with open_run(tmp_path_factory.mktemp("encoder"), "pretrain", {}, {}) as run:
        encoder = pretrain(windows, watched, PatchConv(size=16, width=8), SIGReg(), schedule, 2, 0, run)
    return encoder.with_reduction(ball_cache.frames, 12, seed=0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
