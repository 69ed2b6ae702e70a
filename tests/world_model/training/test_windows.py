"""Which windows are trained on: none crosses into another episode, none is of an episode that is held out."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imagoal.envs.store import FrameCache, WindowIndex
from imagoal.errors import DataError
from imagoal.world_model.disk import open_run
from imagoal.world_model.models import probe_errors, train_latent
from imagoal.world_model.predictors.mlp import MLP
from imagoal.world_model.readouts import FrozenEncoder, Probe
from imagoal.world_model.training._loop import Schedule
from imagoal.world_model.training._windows import Windows, frame_rows, split_episodes


def places(cache: FrameCache) -> Tensor:
    """Latents f32 (F, 1, 2) of another kind: number of the episode, and of the frame within it."""
    episodes = np.repeat(np.arange(len(cache.starts)), cache.lengths + 1)
    within = np.arange(len(cache.frames)) - cache.starts[episodes]
    return torch.from_numpy(np.stack([episodes, within], 1))[:, None].float()


@pytest.mark.parametrize("block", [1, 2, 3])
def test_windows_stay_in_their_episode_and_their_actions_lie_between_their_frames(ball_cache: FrameCache, block: int) -> None:
    learned, held = split_episodes(ball_cache)
    windows = Windows(ball_cache, ball_cache.window_index(3, 2, block, learned), seed=0)
    assert windows.action_size == 2 * block
    for step in range(5):
        found, actions = windows.latents(places(ball_cache), step, 200)
        assert found.shape == (200, 5, 1, 2)
        assert actions.shape == (200, 4, 2 * block)
        episodes, frames = found[:, :, 0].long().unbind(-1)
        assert (episodes == episodes[:, :1]).all()
        assert not np.isin(episodes.numpy(), held).any()
        now = frames[:, 2:3]
        assert torch.equal(frames, (now + block * torch.arange(-2, 3)).clamp_min(0))
        for window in range(0, 200, 17):
            for gap in range(4):
                first = int(now[window, 0]) + block * (gap - 2)
                start = ball_cache.starts[episodes[window, 0]]
                taken = [ball_cache.actions[start + first + i] if first + i >= 0 else np.zeros(2) for i in range(block)]
                assert np.allclose(actions[window, gap].numpy(), np.concatenate(taken))


def test_frames_and_latents_of_a_step_are_of_the_same_windows(ball_cache: FrameCache) -> None:
    windows = Windows(ball_cache, ball_cache.window_index(2, 1), seed=3)
    pictures, first = windows.frames(7, 20)
    rows, second = windows.latents(torch.arange(len(ball_cache.frames))[:, None, None], 7, 20)
    assert torch.equal(first, second)
    wanted = ball_cache.frames[rows.long().flatten().numpy()].reshape(20, 3, 64, 64, 3)
    assert np.array_equal(pictures.numpy(), np.moveaxis(wanted, -1, -3))


def test_a_step_s_windows_follow_from_seed_and_step_alone(ball_cache: FrameCache) -> None:
    index = ball_cache.window_index(2, 1)
    batches = [Windows(ball_cache, index, seed)._ids(step, 30).tolist() for seed, step in ((0, 5), (0, 6), (1, 5))]
    assert Windows(ball_cache, index, 0)._ids(5, 30).tolist() == batches[0]
    assert len({tuple(batch) for batch in batches}) == 3
    draws = [
        torch.rand(1, generator=Windows(ball_cache, index, seed).generator(step)) for seed, step in ((0, 5), (0, 6), (1, 5))
    ]
    assert len({float(draw) for draw in draws}) == 3


@pytest.mark.parametrize(("episodes", "held"), [(2, [1]), (5, [4]), (19, [18]), (20, [19]), (45, [19, 39])])
def test_one_episode_in_twenty_is_held_out(ball_cache: FrameCache, episodes: int, held: list[int]) -> None:
    cache = replace(ball_cache, starts=ball_cache.starts[:episodes], lengths=ball_cache.lengths[:episodes])
    learned, found = split_episodes(cache)
    assert found.tolist() == held
    assert sorted([*learned.tolist(), *held]) == list(range(episodes))


def test_one_episode_is_too_few(ball_cache: FrameCache) -> None:
    with pytest.raises(DataError, match="holds 1 episode; training needs 2 or more"):
        split_episodes(replace(ball_cache, starts=ball_cache.starts[:1], lengths=ball_cache.lengths[:1]))


def test_frames_are_drawn_from_the_episodes_that_were_named(ball_cache: FrameCache) -> None:
    rows = frame_rows(ball_cache, np.array([3, 8]), 1000, seed=0)
    assert rows.tolist() == [*range(3 * 21, 4 * 21), *range(8 * 21, 9 * 21)], "all there are, last frames too"
    few = frame_rows(ball_cache, np.array([3, 8]), 10, seed=0)
    assert len(set(few.tolist())) == 10
    assert set(few.tolist()) < set(rows.tolist())


def test_training_never_sees_what_is_held_out(
    ball_cache: FrameCache, ball_positions: Tensor, ball_encoder: FrozenEncoder, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the predictor's windows, nor its scales, nor the metric, nor the probe."""
    seen: list[np.ndarray[Any, Any]] = []
    real_rows, real_frames, real_test = WindowIndex.rows, frame_rows, probe_errors

    def rows(index: WindowIndex, ids: Any) -> Any:
        seen.append(real_rows(index, ids))
        return seen[-1]

    def frames(*arguments: Any) -> Any:
        seen.append(real_frames(*arguments))
        return seen[-1]

    def test(*arguments: Any) -> dict[str, list[float]]:
        before = list(seen)
        errors = real_test(*arguments)
        tested, seen[:] = np.concatenate([part.ravel() for part in seen[len(before) :]]), before
        assert np.isin(tested, held).all()
        return errors

    monkeypatch.setattr(WindowIndex, "rows", rows)
    monkeypatch.setattr("imagoal.world_model.models._latent_training.frame_rows", frames)
    monkeypatch.setattr("imagoal.world_model.models._latent_training.probe_errors", test)
    held = np.concatenate([np.arange(ball_cache.starts[e], ball_cache.starts[e] + 21) for e in split_episodes(ball_cache)[1]])
    with open_run(tmp_path, "train", {}, {}) as run:
        trained = train_latent(
            ball_cache, ball_positions, ball_encoder, MLP(width=8, depth=1), Schedule(steps=5, batch=64), 3, 1, 0, run
        )
    assert isinstance(trained.probe, Probe)
    assert len(seen) >= 5 + 2, "batches, changes, and frames for the probe"
    assert not np.isin(np.concatenate([part.ravel() for part in seen]), held).any()
    assert not np.isin(trained.gallery_rows, held).any()
