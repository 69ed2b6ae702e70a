"""Pretrain and train: what is learned, what is frozen, and that a killed one ends as if nothing had happened."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imagoal import files, find
from imagoal.cli import main
from imagoal.envs.store import Collecting, FrameCache, Store, collect
from imagoal.errors import DataError, UsageError
from imagoal.world_model.disk import Run, open_run
from imagoal.world_model.encoders import HISTORY, watch
from imagoal.world_model.encoders import pretrain as pretrain_encoder
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.models._latent_folder import load_latent
from imagoal.world_model.models._latent_training import _changes, probe_errors, train_latent
from imagoal.world_model.models._loss import Loss
from imagoal.world_model.predictors.mlp import MLP
from imagoal.world_model.readouts import FrozenEncoder, Probe, load_encoder
from imagoal.world_model.training import Schedule, Windows, encode_all, split_episodes

PRETRAIN = "--schedule.steps 30 --schedule.batch 8 --schedule.save-every 10 --encoder.size 8 --encoder.width 4 --future 2"
TRAIN = "--schedule.steps 30 --schedule.batch 16 --schedule.save-every 10 --predictor.width 16 --predictor.depth 1 --future 2"


def pretrain(store: Store, run: Path, *more: str) -> int:
    return main(["pretrain", "--data", str(store.path), "--run", str(run), *PRETRAIN.split(), *more])


def train(store: Store, encoder: Path | str, run: Path, *more: str) -> int:
    arguments = ["train", "--data", str(store.path), "--encoder", str(encoder), "--run", str(run)]
    return main([*arguments, *TRAIN.split(), *more])


@pytest.fixture(scope="module")
def encoder_run(ball_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder")
    assert pretrain(ball_store, path) == 0
    return path


@pytest.fixture(scope="module")
def model_run(ball_store: Store, encoder_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    assert train(ball_store, encoder_run, path) == 0
    return path


def result(run: Path) -> dict[str, Any]:
    """Hashes of all that a finished run wrote, and its metrics."""
    manifests = {str(file.relative_to(run)): files.read_json(file) for file in sorted(run.rglob("MANIFEST.json"))}
    return {"files": manifests, "metrics": Run(run).metrics()}


class Stop:
    """Ctrl-C at the n-th batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.left, self.real = at, Windows._ids
        monkeypatch.setattr(Windows, "_ids", lambda windows, step, batch: self.draw(windows, step, batch))

    def draw(self, windows: Windows, step: int, batch: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.real(windows, step, batch)


@pytest.mark.parametrize("stops", [(3,), (12, 15)], ids=str)
def test_a_stopped_pretrain_ends_as_if_nothing_had_happened(
    ball_store: Store, encoder_run: Path, tmp_path: Path, stops: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stop in stops:
        with monkeypatch.context() as patch:
            Stop(patch, stop)
            assert pretrain(ball_store, tmp_path) == 130
    assert pretrain(ball_store, tmp_path) == 0
    assert result(tmp_path) == result(encoder_run)
    assert [line["step"] for line in Run(tmp_path).metrics()] == [0, 29]


@pytest.mark.parametrize("stops", [(3,), (12, 15)], ids=str)
def test_a_stopped_train_ends_as_if_nothing_had_happened(
    ball_store: Store,
    encoder_run: Path,
    model_run: Path,
    tmp_path: Path,
    stops: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for stop in stops:
        with monkeypatch.context() as patch:
            Stop(patch, stop)
            assert train(ball_store, encoder_run, tmp_path) == 130
    assert train(ball_store, encoder_run, tmp_path) == 0
    assert result(tmp_path) == result(model_run)
    assert [line["step"] for line in Run(tmp_path).metrics()] == [0, 29]


def test_a_killed_train_ends_as_if_nothing_had_happened(ball_store: Store, encoder_run: Path, tmp_path: Path) -> None:
    """A real SIGKILL, at whatever it is doing some milliseconds after a checkpoint."""
    whole, killed, more = tmp_path / "whole", tmp_path / "killed", ["--schedule.steps", "300"]
    assert train(ball_store, encoder_run, whole, *more) == 0
    arguments = ["train", "--data", str(ball_store.path), "--encoder", str(encoder_run), "--run", str(killed)]
    process = subprocess.Popen(
        [sys.executable, "-m", "imagoal", *arguments, *TRAIN.split(), *more], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not (killed / "checkpoints" / "step-000050").exists():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.013)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert files.read_json(killed / "run.json")["status"] == "running"
    assert train(ball_store, encoder_run, killed, *more) == 0
    assert result(killed) == result(whole)
    assert not [path for path in killed.rglob("*") if path.suffix in {".tmp", ".part", ".old"}]


def test_the_encoder_is_the_same_before_and_after_train(encoder_run: Path, model_run: Path, ball_cache: FrameCache) -> None:
    before, after = load_encoder(encoder_run / "encoder"), load_latent(model_run)
    assert after.encoder.hash == before.hash
    assert files.read_json(encoder_run / "run.json")["results"]["encoder_hash"] == before.hash
    assert files.read_json(model_run / "run.json")["results"]["encoder_hash"] == before.hash
    assert files.read_json(model_run / "run.json")["parents"]["encoder"] == before.hash
    manifests = [files.read_json(path / "MANIFEST.json") for path in (encoder_run / "encoder", model_run / "model" / "encoder")]
    assert manifests[0] == manifests[1]
    assert torch.equal(encode_all(ball_cache, before), encode_all(ball_cache, after.encoder))
    assert (before.label, after.config["env"]) == ("in_domain_actions", "imagoal/Ball-v0")


def test_a_finished_run_says_so_and_stays_as_it_is(
    ball_store: Store, encoder_run: Path, model_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for run in (encoder_run, model_run) for path in run.rglob("*") if path.is_file()}
    assert pretrain(ball_store, encoder_run) == 0
    assert train(ball_store, encoder_run, model_run) == 0
    assert capsys.readouterr().out.count("nothing to do") == 2
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--seed", "1"], "config.seed 0 -> 1"),
        (["--schedule.lr", "0.1"], "config.schedule.lr 0.001 -> 0.1"),
        (["--predictor.history", "2"], "config.predictor.fields.history 3 -> 2"),
        (["--predictor", "transformer", "--predictor.width", "16"], "config.predictor.name 'mlp' -> 'transformer'"),
        (["--reduce", "4"], "parents.encoder"),
    ],
)
def test_other_settings_are_refused_by_name(
    ball_store: Store, encoder_run: Path, model_run: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(ball_store, encoder_run, model_run, *more) == 3
    complaint = capsys.readouterr().err
    assert words in complaint
    assert "other settings" in complaint


@pytest.mark.parametrize(
    ("verb", "more", "code", "words"),
    [
        ("pretrain", "--future 0", 2, "future = 0; expected at least 1"),
        ("pretrain", "--encoder.seed 3", 2, "follow from the objective and the seed"),
        ("pretrain", "--encoder.no-normalise", 2, "follow from the objective and the seed"),
        ("pretrain", "--encoder.size 0", 2, "PatchConv.size is 0"),
        ("pretrain", "--seed -1", 2, "seed = -1; expected 0 or more"),
        ("pretrain", "--objective sigrex", 2, "did you mean 'sigreg'?"),
        ("pretrain", "--threads 1000", 2, "threads = 1000"),
        ("pretrain", "--future 30", 3, "lower the horizon or collect longer episodes"),
        ("pretrain", "--schedule.lr 1e30", 5, "the last checkpoint is good"),
        ("train", "--future 0", 2, "future = 0"),
        ("train", "--action-block 0", 2, "action_block = 0"),
        ("train", "--reduce -1", 2, "reduce = -1"),
        ("train", "--reduce 9", 2, "reduce = 9; expected at most 8"),
        ("train", "--schedule.weight-decay -1", 2, "weight_decay = -1"),
        ("train", "--encoder nowhere/at/all", 2, "no encoder folder nowhere/at/all"),
        ("train", "--encoder patch_cone", 2, "no encoder 'patch_cone'"),
        ("train", "--data nowhere", 3, "nowhere is no store"),
        ("train", "--future 20 --action-block 2", 3, "lower the horizon or collect longer episodes"),
        ("train", "--schedule.lr 1e30", 5, "the last checkpoint is good"),
    ],
)
def test_exit_codes_and_one_line_that_says_why(
    ball_store: Store,
    encoder_run: Path,
    tmp_path: Path,
    verb: str,
    more: str,
    code: int,
    words: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    found = (
        pretrain(ball_store, run, *more.split()) if verb == "pretrain" else train(ball_store, encoder_run, run, *more.split())
    )
    complaint = [line for line in capfd.readouterr().err.splitlines() if line.startswith("imagoal: ")]
    assert (found, len(complaint)) == (code, 1)
    assert words in complaint[0]
    assert not (run / "model").exists()
    assert not (run / "encoder").exists()


def test_a_run_that_diverged_keeps_its_last_good_checkpoint(
    ball_store: Store, encoder_run: Path, model_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Loss.windows

    def losses(*arguments: Any) -> tuple[Tensor, Tensor]:
        forced, rolled = real(*arguments)
        return forced * (torch.nan if (tmp_path / "latest").exists() else 1), rolled

    with monkeypatch.context() as patch:
        patch.setattr(Loss, "windows", losses)
        assert train(ball_store, encoder_run, tmp_path) == 5
    assert (tmp_path / "latest").read_text() == "step-000010"
    assert train(ball_store, encoder_run, tmp_path) == 0
    assert result(tmp_path) == result(model_run)


def test_a_store_of_one_episode_is_refused_before_anything_is_trained(
    tmp_path: Path, encoder_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = collect("ball", tmp_path / "store", 1, setting=Collecting(steps=8))
    assert pretrain(store, tmp_path / "encoder") == 3
    assert train(store, encoder_run, tmp_path / "model") == 3
    assert capsys.readouterr().err.count("training needs 2 or more") == 2


def test_a_store_of_an_env_from_outside_needs_trust(
    tmp_path: Path, ball_store: Store, encoder_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = collect("ball", tmp_path / "store", 2, setting=Collecting(steps=8))
    (tmp_path / "canary_env.py").write_text("from imagoal.envs.ball import Ball as Outside\n")
    monkeypatch.syspath_prepend(tmp_path)
    files.write_json(
        store.path / "manifest.json", files.read_json(store.path / "manifest.json") | {"env": "canary_env:Outside"}
    )
    store = Store.open(store.path)
    assert pretrain(store, tmp_path / "encoder") == 3
    assert train(store, encoder_run, tmp_path / "model") == 3
    assert capsys.readouterr().err.count("--trust imports and runs it") == 2
    assert "canary_env" not in sys.modules
    assert pretrain(store, tmp_path / "trusted", "--trust") == 0
    assert train(store, encoder_run, tmp_path / "trusting", "--trust") == 0


def learn(cache: FrameCache, positions: Tensor, name: str, run: Path) -> list[dict[str, float]]:
    """What is logged along a short pre-training with an objective."""
    windows = Windows(cache, cache.window_index(HISTORY, 2, episodes=split_episodes(cache)[0]), 0)
    watched = watch(cache, positions, 0)
    schedule = Schedule(steps=150, batch=16, lr=3e-3)
    with open_run(run, "pretrain", {}, {}) as held:
        objective = find.find("objective", name)()
        encoder = pretrain_encoder(windows, watched, PatchConv(size=16, width=8), objective, schedule, 2, 0, held)
        assert encoder.config.normalise == objective.normalise
        return held.metrics()


def test_naive_collapses_and_the_others_do_not(ball_cache: FrameCache, ball_positions: Tensor, tmp_path: Path) -> None:
    naive, sigreg, vicreg = (learn(ball_cache, ball_positions, name, tmp_path / name) for name in ("naive", "sigreg", "vicreg"))
    assert naive[-1]["std"] < naive[0]["std"] / 10
    assert naive[-1]["rank"] < 3
    assert naive[-1]["r2"] < 0.7
    for other in (sigreg, vicreg):
        assert other[-1]["std"] > other[0]["std"] / 2
        assert other[-1]["rank"] > 4
        assert other[-1]["r2"] > max(0.7, other[0]["r2"])
    assert sigreg[-1]["r2"] > 0.95


def test_a_short_training_beats_who_says_that_nothing_moves(
    ball_cache: FrameCache, ball_positions: Tensor, ball_encoder: FrozenEncoder, tmp_path: Path
) -> None:
    """On held-out episodes, by the probed position, after each of three imagined steps."""
    schedule = Schedule(steps=200, batch=64, lr=3e-3)
    with open_run(tmp_path, "train", {}, {}) as run:
        trained = train_latent(ball_cache, ball_positions, ball_encoder, MLP(width=64, depth=2), schedule, 3, 1, 0, run)
    index = ball_cache.window_index(3, 3, 1, split_episodes(ball_cache)[1])
    rows = torch.from_numpy(index.rows(np.arange(len(index))))[:, 2:]
    latents = encode_all(ball_cache, ball_encoder)
    still = trained.probe(latents[rows[:, 0]].float())
    errors = [float((still - ball_positions[rows[:, step]]).norm(dim=-1).mean()) for step in range(4)]
    assert list(trained.errors) == ["object"], "the ball has no body"
    assert trained.errors["object"][0] == pytest.approx(errors[0], rel=0.05), "now, both know the same"
    for step, share in ((1, 0.95), (2, 0.8), (3, 0.75)):
        assert trained.errors["object"][step] < share * errors[step]


def test_errors_tell_the_object_from_the_body(
    ball_cache: FrameCache, ball_positions: Tensor, ball_encoder: FrozenEncoder
) -> None:
    """A probe that is wrong by 3 and 4 m about one, by 0 about the other."""
    latents = encode_all(ball_cache, ball_encoder)
    windows = Windows(ball_cache, ball_cache.window_index(1, 2), 0)
    predictor = MLP(history=1, width=8, depth=1).build(1, 12, 2)
    probe = Probe(torch.zeros(12, 4), torch.tensor([3.0, 4.0, 0.0, 0.0]))
    found = probe_errors(predictor, probe, windows, latents, torch.zeros(len(latents), 4), 2, 50)
    assert found == {"object": [5, 5, 5], "agent": [0, 0, 0]}


def test_a_new_predictor_says_that_nothing_moves_and_its_loss_is_1(ball_cache: FrameCache, ball_encoder: FrozenEncoder) -> None:
    """The loss is in units of the usual change in one step: teacher forcing starts at 1, the rollout above it."""
    latents = encode_all(ball_cache, ball_encoder)
    windows = Windows(ball_cache, ball_cache.window_index(3, 3), 0)
    predictor = MLP().build(1, 12, 2)
    predictor.fit_scale(*_changes(windows, latents))
    with torch.no_grad():
        forced, rolled = Loss().windows(predictor, *windows.latents(latents, 0, 2000), None)
    assert float(forced) == pytest.approx(1, rel=0.1)
    assert float(rolled) > 2


def test_the_watch_leaves_the_network_as_it_was(ball_cache: FrameCache, ball_positions: Tensor) -> None:
    net = PatchConv(size=8, width=4).build().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    looked = watch(ball_cache, ball_positions, 0).look(net)
    assert set(looked) == {"std", "rank", "r2"}
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_errors_are_raised_as_themselves_with_debug(ball_store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="future = 0"):
        pretrain(ball_store, tmp_path, "--future", "0", "--debug")
    with pytest.raises(DataError, match="no store"):
        main(["train", "--data", str(tmp_path / "nowhere"), "--debug"])


def test_pairs_alone_teach_a_step_and_object_errors_can_count_more() -> None:
    changes = torch.randn(2000, 3, 2)
    changes[:, 1] *= torch.rand(2000, 1) < 0.2
    weights = Loss(object_weight=4.0).weights(changes)
    assert weights is not None
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5], [2.0, 2.0], [0.5, 0.5]]))
    assert Loss().weights(changes) is None
    errors = torch.tensor([[[0.1, -0.1], [3.0, 0.0], [0.0, 0.0]]])
    assert Loss(huber=1.0).of(errors, None).item() == pytest.approx((0.5 * 0.02 + 2.5) / 6)
    assert Loss().of(errors, None).item() == pytest.approx(9.02 / 6)
    torch.manual_seed(0)
    predictor = MLP(history=2, width=32, depth=1).build(3, 2, 1)
    latents, actions = torch.randn(64, 3, 3, 2), torch.randn(64, 2, 1)
    forced, _ = Loss().windows(predictor, latents, actions, None)
    assert Loss().pairs(predictor, latents, actions, None).item() == pytest.approx(forced.item())


@pytest.mark.parametrize("wrong", [{"one_step": 1.5}, {"huber": -1.0}, {"object_weight": 0.0}, {"huber": float("nan")}])
def test_a_loss_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Loss(**wrong)
