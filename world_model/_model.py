"""A world model on disk: a folder with the predictor, its frozen encoder, a probe, and frames to show what it imagines."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imagoal import files, find
from imagoal.envs._cache import FrameCache
from imagoal.envs._types import Frames
from imagoal.errors import DataError
from imagoal.world_model import _folder, _frozen, _metric, _named, _probe
from imagoal.world_model._frames import to_tensor
from imagoal.world_model._frozen import FrozenEncoder
from imagoal.world_model._train import Trained
from imagoal.world_model._types import Predictor, PredictorConfig
from imagoal.world_model.latent import Latent

SCHEMA = "imagoal.model/1"

METRICS = {"slowness": "metric", "resting": "resting"}
"""Where in the folder each metric is."""


@dataclass(frozen=True)
class Gallery:
    """Frames with their latents: an imagined latent is shown as the real frame nearest to it, since nothing decodes latents.

    Attributes:
        frames: u8 (G, h, w, 3).
        latents: f32 (G, N, D).
    """

    frames: Frames
    latents: Tensor

    def nearest(self, latents: Tensor) -> Frames:
        """Frames (M, h, w, 3) nearest to latents (M, N, D)."""
        nearest: Frames = self.frames[torch.cdist(latents.cpu().flatten(1), self.latents.flatten(1)).argmin(1).numpy()]
        return nearest

    def save(self, path: Path) -> None:
        """Write as one `.npz`."""
        files.write_npz(path, {"frames": self.frames, "latents": self.latents.half().numpy()})


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
    metrics: Mapping[str, _metric.Metric]
    probe: _probe.Probe
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


def assemble(
    cache: FrameCache, encoder: FrozenEncoder, trained: Trained, block: int, gallery: int, config: Mapping[str, Any]
) -> LatentFolder:
    """A world model from what training gave; `config` is what else to record (env, data, seed)."""
    model = Latent(encoder, trained.predictor, int(cache.actions.shape[1]) * block, block)
    rows = trained.gallery_rows[:: max(1, len(trained.gallery_rows) // gallery)]
    shown = Gallery(cache.frames[rows], encoder.encode(to_tensor(cache.frames[rows])))
    metrics = {"slowness": trained.slowness, "resting": trained.resting}
    return LatentFolder(model, encoder, metrics, trained.probe, shown, config)


def save(path: Path, folder: LatentFolder, predictor: PredictorConfig) -> None:
    """Write a world-model folder, whole or not at all; `folder.config` is what else to record (env, data, seed)."""
    tokens, size = folder.gallery.latents.shape[1:]
    shape = {"tokens": tokens, "token_size": size, "action_size": folder.model.action_size}
    config = {
        "schema": SCHEMA,
        "kind": "latent",
        "predictor": _named.describe("predictor", predictor),
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

    _folder.write(path, config, {"model": folder.model.predictor.state_dict()}, fill)


def locate(name: str | Path) -> Path:
    """Where a world model's folder is: the path itself, the `model` in a run folder, or a shipped one of that name."""
    path, shipped = Path(name), find.folder("world_model") / "weights" / name
    if not path.exists() and (shipped / "MANIFEST.json").exists():
        return shipped
    return path / "model" if (path / "model").is_dir() else path


def load(name: str | Path, trust: bool = False) -> LatentFolder:
    """Read a world-model folder, a run folder, or a shipped world model such as `Ball-latent`.

    Args:
        name: path, or name of a shipped one.
        trust: import what the folder names outside this package.

    Raises:
        DataError: a part is missing, damaged or foreign, or the encoder is not the one that the predictor was trained on.
    """
    path = locate(name)
    folder = _folder.read(path, SCHEMA)
    with _folder.understood(path):
        config = folder.config
        if config["kind"] != "latent":
            raise DataError(f"{path} holds a world model of kind {config['kind']!r}; expected 'latent'; name another folder")
        encoder = _frozen.load(path / "encoder", trust)
        if encoder.hash != config["encoder_hash"]:
            trained_on = config["encoder_hash"][:8]
            raise DataError(f"{path}/encoder is {encoder.hash[:8]}.., the predictor was trained on {trained_on}..; restore it")
        predictor = _predictor(folder, trust)
        model = Latent(encoder, predictor, config["action_size"], config["action_block"])
        metrics = {name: _metric.load(path / part) for name, part in METRICS.items() if (path / part).is_dir()}
        return LatentFolder(
            model, encoder, metrics, _probe.load(path / "probe"), read_gallery(folder.data["gallery.npz"]), config
        )


def weights_hash(path: Path) -> str:
    """SHA-256 over all weights and settings in a world-model folder: over what its manifests say of them, folder by folder."""
    manifests = sorted(path.rglob("MANIFEST.json"))
    return files.hash_of([[str(file.relative_to(path)), _own(files.read_json(file))] for file in manifests])


def _own(hashes: Mapping[str, str]) -> dict[str, str]:
    """Of a manifest, the weights and settings of that folder itself: no pictures, and nothing of its sub-folders."""
    return {name: value for name, value in hashes.items() if "/" not in name and not name.endswith(".npz")}


def _predictor(folder: _folder.Folder, trust: bool) -> Predictor:
    config = folder.config
    with torch.random.fork_rng(devices=[]):
        entry: PredictorConfig = _named.restore("predictor", config["predictor"], trust)
        predictor = entry.build(config["tokens"], config["token_size"], config["action_size"])
    _folder.put(predictor, folder.tensors["model"], folder.path)
    return predictor


def read_gallery(data: bytes) -> Gallery:
    """A gallery from the bytes of its file."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Gallery(arrays["frames"], torch.from_numpy(arrays["latents"]).float())
