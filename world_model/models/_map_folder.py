"""A pixel or token world model on disk: a folder with the network and its settings; of tokens, what reads them too."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagoal import find
from imagoal.envs.store import FrameCache
from imagoal.errors import DataError
from imagoal.world_model.disk import put_tensors, read_folder, understood, write_folder
from imagoal.world_model.models._grid import MapModel
from imagoal.world_model.models._grid_training import TrainedMaps
from imagoal.world_model.models._heads import Diffusion, Head, Mean
from imagoal.world_model.models._latent_folder import SCHEMA, locate
from imagoal.world_model.models._unet import Trunk
from imagoal.world_model.readouts import FrozenEncoder, Gallery, Metric, Probe, load_encoder, load_probe, read_gallery

MAP_KINDS = ("pixel_regression", "pixel_diffusion", "token_regression", "token_diffusion")
"""Entries of this package that are saved like this."""


@dataclass(frozen=True)
class MapFolder:
    """What the folder of a pixel or token model holds.

    Attributes:
        model: the world model.
        config: all settings and hashes that `train` wrote.
        encoder: whose tokens it imagines; None for frames.
        probe: tokens to visible positions, if there are tokens.
        gallery: frames that stand for tokens, if there are tokens.
    """

    model: MapModel
    config: Mapping[str, Any]
    encoder: FrozenEncoder | None = None
    probe: Probe | None = None
    gallery: Gallery | None = None

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Distances of its own: none."""
        return {}

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(h, w, 3) of the frames that it sees."""
        return *self.model.frame_size, 3

    @property
    def parameters(self) -> int:
        """Of what imagines."""
        return sum(parameter.numel() for parameter in self.model.net.parameters())

    def to(self, device: torch.device) -> "MapFolder":
        """The same, its networks moved there; the gallery stays."""
        self.model.net.to(device)
        encoder, probe = self.encoder and self.encoder.to(device), self.probe and self.probe.to(device)
        return replace(self, model=replace(self.model, encoder=encoder), encoder=encoder, probe=probe)


def assemble_maps(
    kind: str,
    cache: FrameCache,
    trained: TrainedMaps,
    head: Head,
    encoder: FrozenEncoder | None,
    readouts: tuple[Probe, Gallery] | None,
    block: int,
    config: Mapping[str, Any],
) -> MapFolder:
    """A world model of a kind from what training gave; `config` is what else to record (env, data, seed)."""
    height, width = cache.frames.shape[1:3]
    actions = int(cache.actions.shape[1]) * block
    model: MapModel = find.find("world-model", kind)(trained.net, head, actions, (height, width), block, encoder)
    return MapFolder(model, config, encoder, *(readouts or ()))


def save_maps(path: Path, folder: MapFolder) -> None:
    """Write a world-model folder, whole or not at all; weights in float16."""
    model = folder.model
    config = {
        "schema": SCHEMA,
        "kind": find.name_of("world-model", type(model)),
        "trunk": asdict(model.net.config),
        "channels": model.net.channels,
        "diffusion": asdict(model.head) if isinstance(model.head, Diffusion) else None,
        "frame_size": model.frame_size,
        "action_size": model.action_size,
        "action_block": model.action_block,
        "encoder_hash": model.encoder_hash,
        **folder.config,
    }

    def fill(part: Path) -> None:
        for name, kept in (("encoder", folder.encoder), ("probe", folder.probe), ("gallery.npz", folder.gallery)):
            if kept is not None:
                kept.save(part / name)

    write_folder(path, config, {"model": {name: value.half() for name, value in model.net.state_dict().items()}}, fill)


def load_maps(name: str | Path, trust: bool = False) -> MapFolder:
    """Read a world-model folder, a run folder, or a shipped world model such as `Ball-pixel_diffusion`.

    Args:
        name: path, or name of a shipped one.
        trust: import what the folder names outside this package.

    Raises:
        DataError: a part is missing, damaged or foreign, the world model is of another kind, or the encoder is not the one that
            it was trained with.
    """
    path = locate(name)
    folder = read_folder(path, SCHEMA)
    with understood(path):
        config = folder.config
        if config["kind"] not in MAP_KINDS:
            raise DataError(
                f"{path} holds a world model of kind {config['kind']!r}; expected {', '.join(MAP_KINDS)}; name another"
            )
        with torch.random.fork_rng(devices=[]):
            net = Trunk(**config["trunk"]).build(config["channels"], config["action_size"])
        put_tensors(net, _whole(folder.tensors["model"]), path)
        head: Head = Diffusion(**config["diffusion"]) if config["diffusion"] else Mean()
        height, width = config["frame_size"]
        encoder = probe = gallery = None
        if config["encoder_hash"]:
            encoder, probe = load_encoder(path / "encoder", trust), load_probe(path / "probe")
            gallery = read_gallery(folder.data["gallery.npz"])
            if encoder.hash != config["encoder_hash"]:
                raise DataError(f"{path}/encoder is {encoder.hash[:8]}.., the model was trained on another; restore it")
        entry = find.find("world-model", config["kind"])
        model: MapModel = entry(net, head, config["action_size"], (height, width), config["action_block"], encoder)
        return MapFolder(model, config, encoder, probe, gallery)


def _whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As fp32."""
    return {name: tensor.float() for name, tensor in tensors.items()}
