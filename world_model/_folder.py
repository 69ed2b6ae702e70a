"""Folders of tensors and settings that are there whole or not at all, verified before use, and never run as code."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from imagoal import files
from imagoal.errors import DataError, ResourceError

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Folder:
    """The contents of a verified folder: `config.json`, and tensors by file name without suffix."""

    path: Path
    config: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]


def write(path: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensors]) -> None:
    """Write `config.json`, one `.safetensors` file for each set of tensors, and `MANIFEST.json` with their SHA-256.

    The folder is made beside its place and renamed, so a kill leaves the old one or the new one. Sub-folders of an old one
    are not kept.
    """
    part = path.with_name(path.name + ".tmp")
    shutil.rmtree(part, ignore_errors=True)
    try:
        files.write_json(part / "config.json", config)
        for name, group in tensors.items():
            data = safetensors.torch.save({key: value.detach().cpu().contiguous() for key, value in group.items()})
            files.write(part / f"{name}.safetensors", lambda file, data=data: file.write(data))  # type: ignore[misc]
        hashes = {file.name: files.sha256(file) for file in sorted(part.iterdir())}
        files.write_json(part / "MANIFEST.json", hashes)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(part, path)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder") from error


def read(path: Path, schema: str) -> Folder:
    """Read a folder of the given schema, after checking every file against `MANIFEST.json`.

    Raises:
        DataError: a file is missing, damaged or foreign; the message names it.
    """
    if not path.is_dir():
        raise DataError(f"no folder {path}; make it with `imagoal pretrain` or `imagoal train`, or name another")
    hashes = files.read_json(path / "MANIFEST.json")
    for name, wanted in hashes.items():
        _verify(path / Path(name).name, wanted)
    tensors = {Path(name).stem: _load(path / name) for name in hashes if name.endswith(".safetensors")}
    config = files.read_json(path / "config.json")
    if config.get("schema") != schema:
        raise DataError(f"{path} holds {config.get('schema')!r}; expected {schema!r}; name another folder")
    return Folder(path, config, tensors)


def config_of(path: Path) -> dict[str, Any]:
    """The settings in a folder, without its tensors."""
    return dict(files.read_json(path / "config.json"))


def put(target: Any, tensors: Tensors, path: Path) -> None:
    """Load tensors into a module, naming what does not fit.

    Raises:
        DataError: names or shapes differ from the module's.
    """
    own = target.state_dict()
    wrong = [f"{name}: missing" for name in own.keys() - tensors.keys()]
    wrong += [f"{name}: not expected" for name in tensors.keys() - own.keys()]
    shared = own.keys() & tensors.keys()
    wrong += [
        f"{name}: {tuple(tensors[name].shape)} in file, {tuple(own[name].shape)} expected"
        for name in shared
        if tensors[name].shape != own[name].shape
    ]
    if wrong:
        raise DataError(f"{path} does not fit the settings beside it: {'; '.join(sorted(wrong)[:5])}; restore the folder")
    target.load_state_dict(dict(tensors))


def _verify(path: Path, wanted: str) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing, but MANIFEST.json names it; restore the folder")
    found = files.sha256(path)
    if found != wanted:
        raise DataError(f"{path} is damaged: sha256 {found[:8]}.., MANIFEST.json says {str(wanted)[:8]}..; restore the folder")


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # safetensors raises an error class of its own that it does not export
        raise DataError(f"{path} is no safetensors file ({error}); restore the folder") from error


def remove(path: Path) -> None:
    """Delete a folder and all that is in it."""
    shutil.rmtree(path, ignore_errors=True)
