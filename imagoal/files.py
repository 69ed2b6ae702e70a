"""Files that survive a kill: whole or absent, hashed, and never run as code.

Every write of the project goes through here. A leaf: every folder may import it.
"""

import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import numpy.typing as npt

from imagoal.errors import DataError, ResourceError

Arrays = Mapping[str, npt.NDArray[Any]]


def write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it is there whole or not at all: temporary file, fsync, rename, fsync of the folder.

    Raises:
        ResourceError: no space, no permission, or the parent is not a folder.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ResourceError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder") from error
    finally:
        with suppress(OSError):  # already renamed, or the parent is no folder
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    write(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: object) -> None:
    """Write JSON, whole or not at all; NaN and infinity are refused, since they are not JSON."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_npz(path: Path, arrays: Arrays) -> None:
    """Write arrays as one compressed `.npz` (its zip members carry a checksum), whole or not at all."""
    write(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def write_lines(path: Path, records: Iterable[Mapping[str, object]]) -> None:
    """Write JSON lines, whole or not at all."""
    write_text(path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in records))


def put_folder(part: Path, path: Path) -> None:
    """Give a finished folder its name; an old folder of that name makes way.

    Rename cannot swap folders, so a kill leaves the old one, the new one, or none: never a mixture.
    """
    old = path.with_name(path.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if path.exists():
            path.replace(old)
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if old.exists() and not path.exists():
            old.replace(path)
        raise ResourceError(f"cannot write {path}: {error.strerror or error}; free space or choose another folder") from error
    shutil.rmtree(old, ignore_errors=True)


def append_line(path: Path, record: Mapping[str, object]) -> None:
    """Append one JSON line and force it to disk: once this returns, a kill does not lose it.

    An unfinished last line (a kill, or a full disk, while appending) is cut off first.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.truncate(_end_of_lines(file))
            file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ResourceError(f"cannot append to {path}: {error.strerror or error}; free space, then run again") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: missing, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing; restore it or make it anew") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not readable JSON ({error}); restore it or make it anew") from error


def read_lines(path: Path) -> list[Any]:
    """Read a file of JSON lines; an unfinished last line (a kill while appending) does not count.

    Raises:
        DataError: a line is not JSON.
    """
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    records = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} line {number} is not JSON ({error}); restore the file") from error
    return records


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(value: object) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces), as hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hash_arrays(arrays: Arrays) -> str:
    """SHA-256 over names, dtypes, shapes and values in name order: the same whatever the file format, as hex."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process, by an advisory lock on its `LOCK`, which the system releases however the process ends.

    Raises:
        ResourceError: another process holds it; the message says which.
    """
    path = folder / "LOCK"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _take(path)
    except OSError as error:
        raise ResourceError(f"cannot write to {folder}: {error.strerror or error}; choose another folder") from error
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _take(path: Path) -> TextIO:
    """The lock file, opened and locked, with this process and host written into it."""
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            with file:
                file.seek(0)
                owner, _, host = file.read().partition(" ")
            if not isinstance(error, BlockingIOError):
                raise
            holder = f"process {owner} on {host}" if host else "another process"
            raise ResourceError(f"{path.parent} is in use by {holder}; wait for it, or stop it") from None
        if _is(file, path):
            file.truncate(0)
            file.write(f"{os.getpid()} {socket.gethostname()}")
            file.flush()
            return file
        file.close()  # its last holder removed it after we had opened it


def _is(file: TextIO, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _end_of_lines(file: BinaryIO) -> int:
    """Where the last finished line of a file ends."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - 1, 0))
    if file.read(1) in {b"\n", b""}:
        return end
    file.seek(0)
    return file.read().rfind(b"\n") + 1


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
