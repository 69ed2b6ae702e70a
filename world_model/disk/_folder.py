"""Folders of tensors and settings that are there whole or not at all, verified before use, and never run as code."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from imagoal import files
from imagoal.errors import DataError, ImagoalError, ResourceError

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Folder:
    """The contents of a verified folder.

    Attributes:
        path: the folder.
        config: what `config.json` says.
        tensors: by name of the `.safetensors` file, without suffix.
        data: the bytes of every file, by name; those of sub-folders too.
    """

    path: Path
    config: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]
    data: dict[str, bytes]


def write_folder(
    path: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensors],
    fill: Callable[[Path], None] | None = None,
) -> None:
    """Write `config.json`, one `.safetensors` file for each set of tensors, and `MANIFEST.json` with the SHA-256 of all files.

    The folder is made beside its place and renamed when it is whole. `fill` may write more files and folders into it.

    Raises:
        ResourceError: no space, or no permission; an older folder at that place is as it was.
    """
    part = path.with_name(path.name + ".tmp")
    shutil.rmtree(part, ignore_errors=True)
    try:
        files.write_json(part / "config.json", config)
        for name, group in tensors.items():
            _save(part / f"{name}.safetensors", group)
        if fill:
            fill(part)
        written = sorted(file for file in part.rglob("*") if file.is_file())
        files.write_json(part / "MANIFEST.json", {file.relative_to(part).as_posix(): files.sha256(file) for file in written})
        files.put_folder(part, path)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_folder(path: Path, schema: str) -> Folder:
    """Read a folder of the given schema. What is used are the very bytes that were checked against `MANIFEST.json`.

    Raises:
        DataError: a file is missing, damaged or foreign; the message names it.
    """
    if not path.is_dir():
        raise DataError(f"no folder {path}; make it with `imagoal pretrain` or `imagoal train`, or name another")
    data = {name: _verified(path / name, wanted) for name, wanted in _manifest(path).items()}
    config = _config(path / "config.json", data["config.json"])
    if config.get("schema") != schema:
        raise DataError(f"{path} holds {config.get('schema')!r}; expected {schema!r}; name another folder")
    own = [PurePosixPath(name) for name in data if name.endswith(".safetensors") and "/" not in name]
    return Folder(path, config, {name.stem: _load(path / name, data[name.name]) for name in own}, data)


def put_tensors(target: nn.Module, tensors: Tensors, path: Path) -> None:
    """Load tensors into a module, naming what does not fit.

    Raises:
        DataError: names or shapes differ from the module's.
    """
    own = target.state_dict()
    wrong = [f"{name}: missing" for name in own.keys() - tensors.keys()]
    wrong += [f"{name}: not expected" for name in tensors.keys() - own.keys()]
    wrong += [
        f"{name}: {tuple(tensors[name].shape)} in file, {tuple(own[name].shape)} expected"
        for name in own.keys() & tensors.keys()
        if tensors[name].shape != own[name].shape
    ]
    if wrong:
        raise DataError(f"{path} does not fit the settings beside it: {'; '.join(sorted(wrong)[:5])}; restore the folder")
    target.load_state_dict(dict(tensors))


def remove_folder(path: Path) -> None:
    """Delete a folder and all that is in it."""
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while the contents of a folder are made into objects into one line that names the folder.

    Raises:
        DataError: a setting is missing, of a wrong type, or describes what cannot be built.
    """
    try:
        yield
    except ImagoalError:
        raise
    except Exception as error:
        raise DataError(f"{path} is not what its schema says ({type(error).__name__}: {error}); restore the folder") from error


def _save(path: Path, tensors: Tensors) -> None:
    data = safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    files.write(path, lambda file: file.write(data))


def _manifest(path: Path) -> dict[str, Any]:
    """The SHA-256 of each file of a folder, by name."""
    if not (path / "MANIFEST.json").is_file():
        raise DataError(
            f"{path} holds no MANIFEST.json: it is no folder of an encoder or world model; name one, or make it anew"
        )
    hashes = files.read_json(path / "MANIFEST.json")
    names = list(hashes) if isinstance(hashes, dict) else []
    if "config.json" not in names or any(name.startswith("/") or ".." in name.split("/") for name in names):
        raise DataError(
            f"{path / 'MANIFEST.json'} is no list of the files in that folder and their SHA-256; restore the folder"
        )
    return dict(hashes)


def _verified(path: Path, wanted: object) -> bytes:
    """The bytes of a file whose SHA-256 is as wanted."""
    if not path.is_file():
        raise DataError(f"{path} is missing, but MANIFEST.json names it; restore the folder")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise DataError(f"{path} is damaged: sha256 {found[:8]}.., MANIFEST.json says {str(wanted)[:8]}..; restore the folder")
    return data


def _config(path: Path, data: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(data))
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is no JSON object ({error}); restore the folder") from error


def _load(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except Exception as error:  # whatever a hostile file makes the parser raise
        raise DataError(f"{path} is no safetensors file ({error}); restore the folder") from error
