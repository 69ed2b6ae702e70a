"""A world model on disk: loaded, it is the same to the last bit; whatever is wrong with it is found before it is used."""

import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imagoal import files
from imagoal.envs.store import FrameCache
from imagoal.errors import DataError, ResourceError
from imagoal.world_model._frames import to_tensor
from imagoal.world_model._types import Past
from imagoal.world_model.disk import open_run
from imagoal.world_model.models._latent_folder import LatentFolder, assemble_latent, load_latent, save_latent, weights_hash
from imagoal.world_model.models._latent_training import train_latent
from imagoal.world_model.predictors.mlp import MLP
from imagoal.world_model.readouts import FrozenEncoder, Gallery
from imagoal.world_model.training import Schedule

PREDICTOR = MLP(history=2, width=16, depth=1)
SCHEDULE = Schedule(steps=20, batch=16)


@pytest.fixture(scope="module")
def made(
    ball_cache: FrameCache, ball_positions: Tensor, ball_encoder: FrozenEncoder, tmp_path_factory: pytest.TempPathFactory
) -> LatentFolder:
    """A world model, hardly trained."""
    with open_run(tmp_path_factory.mktemp("run"), "train", {}, {}) as run:
        trained = train_latent(ball_cache, ball_positions, ball_encoder, PREDICTOR, SCHEDULE, 3, 2, 0, run)
    return assemble_latent(ball_cache, ball_encoder, trained, 2, 40, {"env": "imagoal/Ball-v0", "data_hash": "d"})


@pytest.fixture(scope="module")
def saved(made: LatentFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model"
    save_latent(path, made, PREDICTOR)
    return path


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(saved, tmp_path / "model")


def forge(path: Path) -> None:
    """Make all manifests of a folder agree with whatever is there."""
    for manifest in sorted(path.rglob("MANIFEST.json"), key=lambda file: -len(file.parts)):
        there = [file for file in manifest.parent.rglob("*") if file.is_file() and file != manifest]
        files.write_json(manifest, {file.relative_to(manifest.parent).as_posix(): files.sha256(file) for file in there})


def change(path: Path, **settings: Any) -> None:
    files.write_json(path / "config.json", files.read_json(path / "config.json") | settings)


def test_a_loaded_world_model_is_the_same_to_the_last_bit(made: LatentFolder, saved: Path, ball_cache: FrameCache) -> None:
    loaded = load_latent(saved)
    frames = to_tensor(ball_cache.frames[:6]).reshape(2, 3, 3, 64, 64)
    past = Past(frames, torch.rand(2, 2, 4, generator=torch.Generator().manual_seed(0)))
    plans = torch.rand(2, 5, 3, 4, generator=torch.Generator().manual_seed(1))
    imagined = [world.rollout(world.observe(past, [0, 0]), plans) for world in (made.model, loaded.model)]
    assert torch.equal(*imagined)
    latents = imagined[0].flatten(0, 2)
    assert torch.equal(made.probe(latents), loaded.probe(latents))
    assert torch.equal(
        made.metrics["slowness"](latents[:-1], latents[1:]), loaded.metrics["slowness"](latents[:-1], latents[1:])
    )
    assert (made.gallery.frames == loaded.gallery.frames).all()
    assert (loaded.model.action_size, loaded.model.action_block, loaded.model.history) == (4, 2, 2)
    assert loaded.encoder.hash == made.encoder.hash == loaded.config["encoder_hash"]
    assert loaded.config["env"] == "imagoal/Ball-v0"


def test_a_run_folder_stands_for_the_model_in_it(saved: Path) -> None:
    assert load_latent(saved.parent).encoder.hash == load_latent(saved).encoder.hash


def test_the_gallery_shows_each_of_its_latents_as_the_frame_it_came_from(saved: Path) -> None:
    gallery = load_latent(saved).gallery
    assert (gallery.nearest(gallery.latents) == gallery.frames).all()
    assert len(gallery.frames) >= 40


def test_every_flipped_bit_of_every_file_is_found(folder: Path) -> None:
    rng = random.Random(0)
    every = sorted(file for file in folder.rglob("*") if file.is_file())
    assert {file.name for file in every} >= {"model.safetensors", "reduce.safetensors", "config.json", "gallery.npz"}
    for file in every * 4:
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        if file != folder / "MANIFEST.json":
            with pytest.raises(DataError, match=file.relative_to(folder).as_posix()):
                load_latent(folder)
        else:
            with pytest.raises(DataError):
                load_latent(folder)
        file.write_bytes(whole)
    load_latent(folder)


def test_every_missing_file_is_named(folder: Path) -> None:
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        whole = file.read_bytes()
        file.unlink()
        with pytest.raises(DataError, match=file.name):
            load_latent(folder)
        file.write_bytes(whole)


def transpose(tensors: dict[str, Tensor]) -> None:
    tensors["network.0.weight"] = tensors["network.0.weight"].T.contiguous()


def drop(tensors: dict[str, Tensor]) -> None:
    del tensors["network.0.weight"]


def add(tensors: dict[str, Tensor]) -> None:
    tensors["network.0.extra"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (transpose, r"network\.0\.weight: \(\d+, 16\) in file, \(16, \d+\) expected"),
        (drop, r"network\.0\.weight: missing"),
        (add, r"network\.0\.extra: not expected"),
    ],
)
def test_tensors_of_another_network_are_named(folder: Path, damage: Callable[[dict[str, Tensor]], None], words: str) -> None:
    import safetensors.torch

    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    damage(tensors)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    forge(folder)
    with pytest.raises(DataError, match=words):
        load_latent(folder)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"schema": "imagoal.model/2"}, "expected 'imagoal.model/1'"),
        ({"schema": "imagoal.encoder/1"}, "expected 'imagoal.model/1'"),
        ({"kind": "pixel_diffusion"}, "kind 'pixel_diffusion'; expected 'latent'"),
        ({"encoder_hash": "0" * 64}, "the predictor was trained on 00000000"),
        ({"predictor": {"name": "os:system", "fields": {}}}, "--trust imports and runs it"),
        ({"predictor": {"name": "mlq", "fields": {}}}, "no predictor 'mlq'"),
        ({"predictor": {"name": "mlp", "fields": {"widht": 3}}}, "widht"),
        ({"predictor": {"name": "mlp", "fields": {"width": -3}}}, "MLP.width is -3"),
        ({"predictor": "mlp"}, "not what its schema says"),
        ({"token_size": 13}, "expected"),
        ({"token_size": "many"}, "not what its schema says"),
        ({"action_size": 10**15}, "not what its schema says"),
        ({"encoder_hash": None}, "not what its schema says"),
    ],
    ids=str,
)
def test_forged_settings_are_a_data_error(folder: Path, settings: dict[str, Any], words: str) -> None:
    change(folder, **settings)
    forge(folder)
    with pytest.raises(DataError, match=words):
        load_latent(folder)


def test_the_encoder_of_another_model_is_refused(folder: Path) -> None:
    change(folder / "encoder", label="generic")
    forge(folder)
    with pytest.raises(DataError, match=r"encoder .*config\.json says"):
        load_latent(folder)


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_gallery_of_pickles_is_never_run(folder: Path) -> None:
    canary = folder.parent / "canary"
    for write in (
        lambda file: np.savez(file, frames=np.array([Canary(canary)]), latents=np.zeros((1, 1, 12))),
        lambda file: pickle.dump(Canary(canary), file),
        lambda file: file.write(b"PK\x03\x04 not really"),
    ):
        with (folder / "gallery.npz").open("wb") as file:
            write(file)
        forge(folder)
        with pytest.raises(DataError, match="not what its schema says"):
            load_latent(folder)
    assert not canary.exists()


def test_the_weights_hash_sees_weights_and_settings_but_no_pictures(folder: Path) -> None:
    hashes = [weights_hash(folder)]
    (folder / "gallery.npz").write_bytes(b"other pictures")
    forge(folder)
    assert weights_hash(folder) == hashes[0]
    for name in ("model.safetensors", "config.json", "encoder/model.safetensors", "metric/model.safetensors"):
        (folder / name).write_bytes((folder / name).read_bytes() + b"\0")
        forge(folder)
        hashes.append(weights_hash(folder))
    assert len(set(hashes)) == len(hashes)


def test_saving_again_gives_the_same_files(made: LatentFolder, saved: Path, tmp_path: Path) -> None:
    save_latent(tmp_path / "model", made, PREDICTOR)
    assert files.read_json(tmp_path / "model" / "MANIFEST.json") == files.read_json(saved / "MANIFEST.json")


def test_a_save_that_fails_leaves_the_old_model(made: LatentFolder, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files.read_json(folder / "MANIFEST.json")

    def full(self: object, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Gallery, "save", full)
    with pytest.raises(ResourceError, match="No space left"):
        save_latent(folder, made, PREDICTOR)
    assert files.read_json(folder / "MANIFEST.json") == before
    assert list(folder.parent.iterdir()) == [folder]
    load_latent(folder)
