"""A pixel world model on disk: a folder with the network and its settings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from imagoal.errors import DataError
from imagoal.world_model import _folder
from imagoal.world_model._model import SCHEMA, locate
from imagoal.world_model._pixel_net import Trunk
from imagoal.world_model.pixel_regression import PixelRegression

KIND = "pixel_regression"


@dataclass(frozen=True)
class PixelFolder:
    """What a pixel world-model folder holds.

    Attributes:
        model: the world model.
        config: all settings and hashes that `train` wrote.
    """

    model: PixelRegression
    config: Mapping[str, Any]


def save(path: Path, folder: PixelFolder) -> None:
    """Write a world-model folder, whole or not at all; `folder.config` is what else to record (env, data, seed)."""
    model = folder.model
    config = {
        "schema": SCHEMA,
        "kind": KIND,
        "trunk": asdict(model.net.config),
        "frame_size": model.frame_size,
        "action_size": model.action_size,
        "action_block": model.action_block,
        **folder.config,
    }
    _folder.write(path, config, {"model": model.net.state_dict()})


def load(name: str | Path) -> PixelFolder:
    """Read a world-model folder or a run folder.

    Raises:
        DataError: a part is missing, damaged or foreign, or the world model is of another kind.
    """
    path = locate(name)
    folder = _folder.read(path, SCHEMA)
    with _folder.understood(path):
        config = folder.config
        if config["kind"] != KIND:
            raise DataError(f"{path} holds a world model of kind {config['kind']!r}; expected {KIND!r}; name another folder")
        with torch.random.fork_rng(devices=[]):
            net = Trunk(**config["trunk"]).build(config["action_size"])
        _folder.put(net, folder.tensors["model"], path)
        height, width = config["frame_size"]
        return PixelFolder(PixelRegression(net, config["action_size"], (height, width), config["action_block"]), config)
