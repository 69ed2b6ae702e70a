"""A world model on disk: a folder with the predictor, its frozen encoder, a probe, and frames to show what it imagines."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from imagoal import files, find
from imagoal.envs.store import FrameCache
from imagoal.errors import DataError
from imagoal.world_model._frames import to_tensor
from imagoal.world_model._types import Predictor, PredictorConfig
from imagoal.world_model.disk import Folder, describe, put_tensors, read_folder, restore, understood, write_folder
from imagoal.world_model.models._latent_training import Trained
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.readouts import (
    FrozenEncoder,
    Gallery,
    Metric,
    Probe,
    load_encoder,
    load_metric,
    load_probe,
    read_gallery,
)

SCHEMA = "imagoal.model/1"

METRICS = {"slowness": "metric", "resting": "resting"}
"""Where in the folder each metric is."""


@dataclass(frozen=True)
class LatentFolder:
    """What a latent world-model folder holds.

    Attributes:
        model: the world model.
        encoder: its encoder, as a link of the chain.
        metrics: distances between latents, by name: slowness, and resting unless the model is older than that.
        probe: latents to visible positions.
        gallery: frames that stand for latents.
        config: all settings and hashes that `train` wrote.
    """

    model: Latent
    encoder: FrozenEncoder
    metrics: Mapping[str, Metric]
    probe: Probe
    gallery: Gallery
    config: Mapping[str, Any]

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """(h, w, 3) of the frames that it sees."""
        return self.gallery.frames.shape[1:]

    @property
    def parameters(self) -> int:
        """Of what imagines."""
        return sum(parameter.numel() for parameter in self.model.predictor.parameters())

    def to(self, device: torch.device) -> "LatentFolder":
        """The same, its networks moved there; the gallery stays."""
        self.model.predictor.to(device)
        metrics = {name: metric.to(device) for name, metric in self.metrics.items()}
        return replace(self, encoder=self.encoder.to(device), metrics=metrics, probe=self.probe.to(device))


def assemble_latent(
    cache: FrameCache, encoder: FrozenEncoder, trained: Trained, block: int, gallery: int, config: Mapping[str, Any]
) -> LatentFolder:
    """A world model from what training gave; `config` is what else to record (env, data, seed)."""
    model = Latent(encoder, trained.predictor, int(cache.actions.shape[1]) * block, block)
    rows = trained.gallery_rows[:: max(1, len(trained.gallery_rows) // gallery)]
    shown = Gallery(cache.frames[rows], encoder.encode(to_tensor(cache.frames[rows])))
    metrics = {"slowness": trained.slowness, "resting": trained.resting}
    return LatentFolder(model, encoder, metrics, trained.probe, shown, config)


def save_latent(path: Path, folder: LatentFolder, predictor: PredictorConfig) -> None:
    """Write a world-model folder, whole or not at all; `folder.config` is what else to record (env, data, seed)."""
    tokens, size = folder.gallery.latents.shape[1:]
    shape = {"tokens": tokens, "token_size": size, "action_size": folder.model.action_size}
    config = {
        "schema": SCHEMA,
        "kind": "latent",
        "predictor": describe("predictor", predictor),
        **shape,
        "action_block": folder.model.action_block,
        "encoder_hash": folder.encoder.hash,
        **folder.config,
    }

    def fill(part: Path) -> None:
        folder.encoder.save(part / "encoder")
        for name, metric in folder.metrics.items():
            metric.save(part / METRICS[name])
        folder.probe.save(part / "probe")
        folder.gallery.save(part / "gallery.npz")

    write_folder(path, config, {"model": folder.model.predictor.state_dict()}, fill)


def locate(name: str | Path) -> Path:
    """Where a world model's folder is: the path itself, the `model` in a run folder, or a shipped one of that name."""
    path, shipped = Path(name), find.folder("world_model") / "weights" / name
    if not path.exists() and (shipped / "MANIFEST.json").exists():
        return shipped
    return path / "model" if (path / "model").is_dir() else path


def load_latent(name: str | Path, trust: bool = False) -> LatentFolder:
    """Read a world-model folder, a run folder, or a shipped world model such as `Ball-latent`.

    Args:
        name: path, or name of a shipped one.
        trust: import what the folder names outside this package.

    Raises:
        DataError: a part is missing, damaged or foreign, or the encoder is not the one that the predictor was trained on.
    """
    path = locate(name)
    folder = read_folder(path, SCHEMA)
    with understood(path):
        config = folder.config
        if config["kind"] != "latent":
            raise DataError(f"{path} holds a world model of kind {config['kind']!r}; expected 'latent'; name another folder")
        encoder = load_encoder(path / "encoder", trust)
        if encoder.hash != config["encoder_hash"]:
            trained_on = config["encoder_hash"][:8]
            raise DataError(f"{path}/encoder is {encoder.hash[:8]}.., the predictor was trained on {trained_on}..; restore it")
        predictor = _predictor(folder, trust)
        model = Latent(encoder, predictor, config["action_size"], config["action_block"])
        metrics = {name: load_metric(path / part) for name, part in METRICS.items() if (path / part).is_dir()}
        return LatentFolder(
            model, encoder, metrics, load_probe(path / "probe"), read_gallery(folder.data["gallery.npz"]), config
        )


def weights_hash(path: Path) -> str:
    """SHA-256 over all weights and settings in a world-model folder: over what its manifests say of them, folder by folder."""
    manifests = sorted(path.rglob("MANIFEST.json"))
    return files.hash_of([[str(file.relative_to(path)), _own(files.read_json(file))] for file in manifests])


def _own(hashes: Mapping[str, str]) -> dict[str, str]:
    """Of a manifest, the weights and settings of that folder itself: no pictures, and nothing of its sub-folders."""
    return {name: value for name, value in hashes.items() if "/" not in name and not name.endswith(".npz")}


def _predictor(folder: Folder, trust: bool) -> Predictor:
    config = folder.config
    with torch.random.fork_rng(devices=[]):
        entry: PredictorConfig = restore("predictor", config["predictor"], trust)
        predictor = entry.build(config["tokens"], config["token_size"], config["action_size"])
    put_tensors(predictor, folder.tensors["model"], folder.path)
    return predictor
