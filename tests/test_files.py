"""Files are whole or absent whatever fails, and a folder is held by one living process at a time."""

import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagoal import files
from imagoal.errors import DataError, ResourceError

HOLD = """
import sys, time
from pathlib import Path
from imagoal import files
with files.lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

WRITES: dict[str, Callable[[Path], None]] = {
    "text": lambda path: files.write_text(path, "new"),
    "json": lambda path: files.write_json(path, {"new": [1, 2.5, None]}),
    "npz": lambda path: files.write_npz(path, {"new": np.arange(5)}),
    "lines": lambda path: files.write_lines(path, [{"new": 1}, {"new": 2}]),
}


class Failing:
    """Stands for a system call; the n-th use of any of them fails as on a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.used, self.at = 0, at
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "mkdir"), (Path, "open")):
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name)))

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            self.used += 1
            if self.used == self.at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*args, **options)

        return wrapped


@pytest.mark.parametrize("kind", WRITES)
def test_a_write_that_fails_anywhere_leaves_the_old_file_or_the_new_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, path = b"old", tmp_path / "folder" / "file"
    WRITES[kind](path)
    new = path.read_bytes()
    outcomes = []
    for at in range(1, 20):
        path.write_bytes(old)
        with monkeypatch.context() as patch:
            failing = Failing(patch, at)
            try:
                WRITES[kind](path)
            except ResourceError as error:
                outcomes.append((str(error), path.read_bytes()))
        assert path.read_bytes() in {old, new}
        assert [file.name for file in path.parent.iterdir()] == ["file"], "nothing half-written is left"
        if failing.used < at:
            break
    assert len(outcomes) >= 4  # folder, file, its content, the rename, the folder's entry
    assert all(message.startswith(f"cannot write {path}: No space left") for message, _ in outcomes)
    assert outcomes[0][1] == old
    assert path.read_bytes() == new


def test_a_disk_that_is_full_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ResourceError, match=r"cannot write .*file: No space left"):
        files.write(path, fill)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        files.write(path, fill)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_json_holds_no_nan_and_what_is_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []
    for text in ("", "{", "[" * 100_000, "\0"):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(DataError, match=r"b\.json"):
            files.read_json(tmp_path / "b.json")
    with pytest.raises(DataError, match="missing"):
        files.read_json(tmp_path / "c.json")


def test_a_torn_last_line_does_not_count_and_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    files.append_line(path, {"a": 1})
    files.append_line(path, {"a": 2})
    path.write_bytes(path.read_bytes()[:-4])
    assert files.read_lines(path) == [{"a": 1}]
    files.append_line(path, {"a": 3})
    assert files.read_lines(path) == [{"a": 1}, {"a": 3}]
    path.write_text('{"a": 1}\nx\n')
    with pytest.raises(DataError, match="line 2"):
        files.read_lines(path)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_folder_takes_its_place_or_the_old_one_stays(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, path = tmp_path / "x.tmp", tmp_path / "x"
    for folder, text in ((part, "new"), (path, "old")):
        folder.mkdir()
        (folder / "file").write_text(text)
    with monkeypatch.context() as patch:
        failing = Failing(patch, at)
        try:
            files.put_folder(part, path)
        except ResourceError:
            assert at <= 3
    assert (path / "file").read_text() == ("old" if at <= 2 else "new")
    assert failing.used <= 4


def test_the_hash_of_arrays_sees_names_dtypes_shapes_and_values() -> None:
    array = np.arange(6, dtype=np.float32)
    hashes = [
        files.hash_arrays(arrays)
        for arrays in (
            {"a": array},
            {"b": array},
            {"a": array.astype(np.float64)},
            {"a": array.reshape(2, 3)},
            {"a": array.reshape(3, 2)},
            {"a": array + 1},
            {"a": array, "b": array},
        )
    ]
    assert len(set(hashes)) == len(hashes)
    assert files.hash_arrays({"a": array[::2]}) == files.hash_arrays({"a": array[::2].copy()})
    assert files.hash_arrays({"a": array, "b": array}) == files.hash_arrays({"b": array, "a": array})


def held(folder: Path) -> subprocess.Popen[str]:
    """A process that holds a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_folder_in_use_is_refused_and_taken_over_once_its_holder_was_killed(tmp_path: Path) -> None:
    process = held(tmp_path)
    try:
        message = f"{tmp_path} is in use by process {process.pid} on {socket.gethostname()}"
        with pytest.raises(ResourceError, match=re.escape(message)), files.lock(tmp_path):
            pass
        assert (tmp_path / "LOCK").read_text() == f"{process.pid} {socket.gethostname()}", "a refused one changes nothing"
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / "LOCK").exists()
    with files.lock(tmp_path):
        assert (tmp_path / "LOCK").read_text() == f"{os.getpid()} {socket.gethostname()}"
    assert not (tmp_path / "LOCK").exists()


@pytest.mark.parametrize("left", ["", "1 elsewhere", f"{os.getppid()} {socket.gethostname()}"])
def test_a_lock_file_that_nobody_holds_is_taken(left: str, tmp_path: Path) -> None:
    """It was left by a kill between create and write, or its process number now belongs to another."""
    (tmp_path / "LOCK").write_text(left)
    with files.lock(tmp_path):
        assert (tmp_path / "LOCK").read_text().startswith(str(os.getpid()))


def test_a_lock_is_not_taken_twice_and_is_let_go_on_error(tmp_path: Path) -> None:
    with files.lock(tmp_path), pytest.raises(ResourceError, match="in use"), files.lock(tmp_path):
        pass
    with pytest.raises(RuntimeError), files.lock(tmp_path):
        raise RuntimeError
    with files.lock(tmp_path):
        pass


def test_a_lock_file_removed_while_it_was_awaited_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking it, its last holder may have removed it: another could then hold the name."""
    real, calls = files.fcntl.flock, []

    def slow(file: Any, flags: int) -> None:
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / "LOCK").unlink()
        real(file, flags)

    monkeypatch.setattr(files.fcntl, "flock", slow)
    with files.lock(tmp_path):
        assert len(calls) == 2
        with pytest.raises(ResourceError), files.lock(tmp_path):
            pass


def test_a_folder_that_is_a_file_or_forbidden_is_a_resource_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"), files.lock(tmp_path / "file"):
        pass
    with pytest.raises(ResourceError, match="cannot write"):
        files.write_text(tmp_path / "file" / "below", "x")
