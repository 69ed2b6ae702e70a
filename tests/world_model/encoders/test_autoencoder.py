"""An autoencoder: what it encodes can be painted again, from standardised tokens that are cells and tell where the ball is."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from imagoal import files
from imagoal.cli import main
from imagoal.envs.store import FrameCache, Store
from imagoal.errors import UsageError
from imagoal.world_model._frames import as_float, to_tensor
from imagoal.world_model.disk import Run, open_run
from imagoal.world_model.encoders._autoencode import Learner, learn_autoencoder
from imagoal.world_model.encoders._predictive import Watch
from imagoal.world_model.encoders.autoencoder import Autoencoder, AutoencoderNet
from imagoal.world_model.readouts import FrozenEncoder, fit_probe, load_encoder, named_encoder
from imagoal.world_model.training import Schedule, frame_rows, split_episodes

SMALL = Autoencoder(width=16)
FLAGS = "--encoder.width 8 --schedule.steps 12 --schedule.batch 4 --schedule.save-every 5"


def learn(cache: FrameCache, positions: Tensor, run: Path, steps: int) -> FrozenEncoder:
    with open_run(run, "pretrain", {}, {}) as held:
        watched = Watch(to_tensor(cache.frames[::13]), positions[::13])
        return learn_autoencoder(cache, watched, SMALL, Schedule(steps=steps, batch=16, lr=5e-3), 0, held)


def decoder(encoder: FrozenEncoder) -> AutoencoderNet:
    assert isinstance(encoder.net, AutoencoderNet)
    return encoder.net


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("autoencoder")


@pytest.fixture(scope="module")
def encoder(ball_cache: FrameCache, ball_positions: Tensor, run: Path) -> FrozenEncoder:
    """Four numbers per cell of Ball, trained for some seconds."""
    return learn(ball_cache, ball_positions, run, 300)


def pretrain(store: Store, run: Path, *more: str) -> int:
    arguments = ["pretrain", "--data", str(store.path), "--run", str(run), "--encoder", "autoencoder"]
    return main([*arguments, *FLAGS.split(), *more])


def test_frames_of_held_out_episodes_are_painted_again(encoder: FrozenEncoder, run: Path, ball_cache: FrameCache) -> None:
    frames = as_float(to_tensor(ball_cache.frames[frame_rows(ball_cache, split_episodes(ball_cache)[1], 60, 0)]))
    background = as_float(to_tensor(ball_cache.frames)).mean(0)
    painted = decoder(encoder).decode(encoder.encode(frames))
    assert painted.shape == frames.shape
    error, copied = ((other - frames).square().mean().sqrt() for other in (painted, background))
    assert error < 0.35 * copied
    assert error < 0.02
    assert Run(run).metrics()[-1]["rms"] == pytest.approx(float(error), rel=0.3)


def test_a_short_training_lowers_the_loss_and_a_linear_probe_finds_the_ball(
    encoder: FrozenEncoder, run: Path, ball_cache: FrameCache, ball_positions: Tensor
) -> None:
    metrics = Run(run).metrics()
    assert metrics[-1]["loss"] < 0.2 * metrics[0]["loss"]
    assert set(metrics[-1]) == {"step", "loss", "std", "rank", "r2", "rms"}
    train, held = (frame_rows(ball_cache, episodes, 5000, 0) for episodes in split_episodes(ball_cache))
    latents = encoder.encode(to_tensor(ball_cache.frames))
    probe = fit_probe(latents[train], ball_positions[train])
    assert float((probe(latents[held]) - ball_positions[held]).norm(dim=1).mean()) < 0.5 / 60  # half a pixel


def test_tokens_are_cells_row_by_row(encoder: FrozenEncoder, ball_cache: FrameCache) -> None:
    frame = to_tensor(ball_cache.frames[:1])
    latents = encoder.encode(frame)
    assert latents.shape == (1, 256, 4)
    painted = frame.clone()
    painted[:, :, 8:12, 20:24] = 0
    change = (encoder.encode(painted) - latents).abs().amax((0, 2)).reshape(16, 16)
    assert divmod(int(change.argmax()), 16) == (2, 5)
    change[:5, 3:8] = 0
    assert float(change.max()) < 1e-5, "beyond two cells nothing is seen"


def test_channels_are_standardised(encoder: FrozenEncoder, ball_cache: FrameCache) -> None:
    flat = encoder.encode(to_tensor(ball_cache.frames)).flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(4), atol=0.05, rtol=0)
    torch.testing.assert_close(flat.std(0), torch.ones(4), atol=0.05, rtol=0)


def test_a_little_noise_on_the_latents_is_little_in_the_picture(encoder: FrozenEncoder, ball_cache: FrameCache) -> None:
    net, latents = decoder(encoder), encoder.encode(to_tensor(ball_cache.frames[:40]))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    change = net.decode(latents + 0.05 * noise) - net.decode(latents)
    assert float(change.square().mean().sqrt()) < 0.02


def test_what_is_loaded_decodes_too(encoder: FrozenEncoder, ball_cache: FrameCache, tmp_path: Path) -> None:
    encoder.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    latents = loaded.encode(to_tensor(ball_cache.frames[:40]))
    assert (loaded.hash, loaded.config, loaded.label) == (encoder.hash, SMALL, "in_domain_action_free")
    assert torch.equal(latents, encoder.encode(to_tensor(ball_cache.frames[:40])))
    assert torch.equal(decoder(loaded).decode(latents), decoder(encoder).decode(latents))
    assert Autoencoder.label == "random", "before it is trained"


def test_building_is_repeatable_and_draws_nothing_from_torch() -> None:
    torch.manual_seed(0)
    one = SMALL.build().state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
    assert all(torch.equal(value, one[name]) for name, value in SMALL.build().state_dict().items())
    other = dataclasses.replace(SMALL, seed=1).build().state_dict()
    assert not torch.equal(other["encoder.1.weight"], one["encoder.1.weight"])


def test_neither_actions_nor_states_nor_positions_change_what_is_learned(
    ball_cache: FrameCache, ball_positions: Tensor, tmp_path: Path
) -> None:
    altered = dataclasses.replace(ball_cache, actions=-ball_cache.actions, states=0 * ball_cache.states)
    one = learn(ball_cache, ball_positions, tmp_path / "one", 3)
    assert learn(altered, ball_positions.flip(0), tmp_path / "other", 3).hash == one.hash


def test_frames_that_never_change_are_no_trouble(ball_cache: FrameCache, ball_positions: Tensor, tmp_path: Path) -> None:
    still = dataclasses.replace(ball_cache, frames=ball_cache.frames[:1].repeat(len(ball_cache.frames), 0))
    latents = learn(still, ball_positions, tmp_path, 3).encode(to_tensor(still.frames[:2]))
    assert torch.isfinite(latents).all()


def test_a_stopped_pretrain_ends_as_if_nothing_had_happened(
    ball_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after a checkpoint and some steps more."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert pretrain(ball_store, whole) == 0
    real, left = Learner.forward, iter(range(7))

    def forward(learner: Learner, frames: Tensor, noise: Tensor) -> Tensor:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(learner, frames, noise)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "forward", forward)
        assert pretrain(ball_store, stopped) == 130
    assert (stopped / "latest").read_text() == "step-000005"
    assert pretrain(ball_store, stopped) == 0
    manifests = [files.read_json(path / "encoder" / "MANIFEST.json") for path in (whole, stopped)]
    assert manifests[0] == manifests[1]
    assert named_encoder(str(whole)).label == "in_domain_action_free"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--future 2", "objective and future are of patch_conv; autoencoder learns from single frames"),
        ("--encoder.seed 1", "encoder.seed follows from the seed"),
        ("--encoder.channels 0", "Autoencoder.channels is 0; expected 1 or more"),
        ("--encoder.width 0", "Autoencoder.width is 0; expected 1 or more"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    ball_store: Store, tmp_path: Path, more: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(ball_store, tmp_path / "run", *more.split()) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_wrong_frames_are_named() -> None:
    with pytest.raises(UsageError, match=r"frames of shape \(3, 32, 32\); expected \(3, 64, 64\)"):
        SMALL.build()(torch.rand(1, 3, 32, 32))
