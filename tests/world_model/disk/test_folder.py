"""Folders of tensors: whole or absent, every bit checked before use, and nothing in them is ever run."""

import json
import os
import pickle
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from imagoal import files
from imagoal.errors import DataError, ResourceError
from imagoal.world_model.disk._folder import put_tensors, read_folder, understood, write_folder

SCHEMA = "imagoal.test/1"
WEIGHTS = {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}


class Canary:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    write_folder(path, {"schema": SCHEMA, "size": 3}, {"model": WEIGHTS, "more": {"x": torch.ones(2).half()}})
    return path


def forge(path: Path) -> None:
    """Make `MANIFEST.json` agree with whatever is there: what somebody does who means harm."""
    hashes = {file.name: files.sha256(file) for file in path.iterdir() if file.name != "MANIFEST.json"}
    files.write_json(path / "MANIFEST.json", hashes)


def test_what_was_written_is_read(folder: Path) -> None:
    found = read_folder(folder, SCHEMA)
    assert found.config == {"schema": SCHEMA, "size": 3}
    assert found.tensors.keys() == {"model", "more"}
    assert found.tensors["more"]["x"].dtype == torch.float16
    for name, value in WEIGHTS.items():
        assert torch.equal(found.tensors["model"][name], value)
    assert sorted(files.read_json(folder / "MANIFEST.json")) == ["config.json", "model.safetensors", "more.safetensors"]


def test_sub_folders_and_other_files_are_part_of_the_whole(tmp_path: Path) -> None:
    def fill(part: Path) -> None:
        write_folder(part / "inner", {"schema": SCHEMA}, {"model": {"x": torch.ones(1)}})
        files.write_text(part / "notes.txt", "hello")

    write_folder(tmp_path / "outer", {"schema": SCHEMA}, {}, fill)
    assert read_folder(tmp_path / "outer", SCHEMA).data["notes.txt"] == b"hello"
    assert read_folder(tmp_path / "outer" / "inner", SCHEMA).tensors["model"]["x"] == 1
    for name in ("notes.txt", "inner/model.safetensors", "inner/config.json", "inner/MANIFEST.json"):
        copy = shutil.copytree(tmp_path / "outer", tmp_path / "copy")
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        with pytest.raises(DataError, match=f"{name} is damaged"):
            read_folder(copy, SCHEMA)
        shutil.rmtree(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "more.safetensors", "config.json"])
def test_every_flipped_bit_and_every_cut_is_found(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    places = torch.randint(len(whole) * 8, (40,), generator=torch.Generator().manual_seed(0)).tolist()
    for place in places:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        (folder / name).write_bytes(damaged)
        with pytest.raises(DataError, match=f"{name} is damaged"):
            read_folder(folder, SCHEMA)
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        (folder / name).write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"{name} is damaged"):
            read_folder(folder, SCHEMA)
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        read_folder(folder, SCHEMA)


def test_every_flipped_bit_of_the_manifest_that_changes_its_meaning_is_found(folder: Path) -> None:
    path = folder / "MANIFEST.json"
    whole = path.read_bytes()
    meaning = json.loads(whole)
    found = 0
    for place in range(0, len(whole) * 8, 7):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            same = json.loads(damaged) == meaning
        except ValueError:
            same = False
        if not same:
            found += 1
            with pytest.raises(DataError):
                read_folder(folder, SCHEMA)
    assert found > 100


@pytest.mark.parametrize("text", ["", "[]", "{}", '"x"', "[" * 100_000, '{"model.safetensors": "0"}'])
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "MANIFEST.json").write_text(text)
    with pytest.raises(DataError, match=r"MANIFEST\.json"):
        read_folder(folder, SCHEMA)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "a/../../outside.safetensors"])
def test_a_manifest_that_names_files_elsewhere_is_refused(folder: Path, name: str) -> None:
    (folder.parent / "outside.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    hashes = files.read_json(folder / "MANIFEST.json")
    files.write_json(folder / "MANIFEST.json", hashes | {name: hashes["model.safetensors"]})
    with pytest.raises(DataError, match="files in that folder"):
        read_folder(folder, SCHEMA)


def test_another_schema_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=f"holds '{SCHEMA}'; expected 'imagoal.other/1'"):
        read_folder(folder, "imagoal.other/1")
    with pytest.raises(DataError, match="no folder"):
        read_folder(folder.parent / "nowhere", SCHEMA)


@pytest.mark.parametrize("text", ["[1]", "3", "{", '{"schema": "imagoal.test/1", "x": ' + "[" * 100_000, "\udcff"])
def test_a_forged_config_that_is_no_object_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    forge(folder)
    with pytest.raises(DataError, match=r"config\.json is no JSON object"):
        read_folder(folder, SCHEMA)


def hostile(header: bytes, length: int | None = None, body: bytes = b"") -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        hostile(b"{}", length=2**60),
        hostile(b"{}", length=2**63 - 1),
        hostile(b"[" * 100_000),
        hostile(b'{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'),
        hostile(b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', body=b"\0" * 4),
        hostile(b'{"x":{"dtype":"O","shape":[1],"data_offsets":[0,4]}}', body=b"\0" * 4),
        hostile(b'{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', body=b"\0" * 4),
    ],
    ids=["empty", "2^60", "2^63", "deep", "terabytes", "short", "object", "negative"],
)
def test_a_hostile_safetensors_file_is_refused(folder: Path, data: bytes) -> None:
    (folder / "model.safetensors").write_bytes(data)
    forge(folder)
    with pytest.raises(DataError, match=r"model\.safetensors is no safetensors file"):
        read_folder(folder, SCHEMA)


@pytest.mark.parametrize("write", [pickle.dumps, "torch"])
def test_a_pickle_by_another_name_is_never_run(folder: Path, write: Any) -> None:
    canary = folder.parent / "canary"
    if write == "torch":
        torch.save(Canary(canary), folder / "model.safetensors")
    else:
        (folder / "model.safetensors").write_bytes(write(Canary(canary)))
    forge(folder)
    with pytest.raises(DataError, match="no safetensors file"):
        read_folder(folder, SCHEMA)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists(), "the canary sings when it is run"


def test_tensors_that_do_not_fit_are_named() -> None:
    target = nn.Linear(3, 2)
    good = {name: value + 1 for name, value in target.state_dict().items()}
    put_tensors(target, good, Path("there"))
    assert torch.equal(target.weight, good["weight"])
    wrong = {
        "weight: (3, 2) in file, (2, 3) expected": good | {"weight": good["weight"].T},
        "bias: missing": {"weight": good["weight"]},
        "extra: not expected": good | {"extra": torch.ones(1)},
    }
    for words, tensors in wrong.items():
        with pytest.raises(DataError) as caught:
            put_tensors(target, tensors, Path("there"))
        assert words in str(caught.value)
        assert "there" in str(caught.value)
    with pytest.raises(DataError) as caught:
        put_tensors(nn.Sequential(*(nn.Linear(3, 3) for _ in range(20))), {}, Path("there"))
    assert str(caught.value).count("missing") == 5, "the first five"


@pytest.mark.parametrize("error", [KeyError("size"), TypeError("x"), RuntimeError("y"), AttributeError("z")])
def test_what_cannot_be_understood_is_a_data_error_that_names_the_folder(error: Exception) -> None:
    with pytest.raises(DataError, match="there is not what its schema says"), understood(Path("there")):
        raise error
    with pytest.raises(ResourceError, match="as it was"), understood(Path("there")):
        raise ResourceError("as it was")


@pytest.mark.parametrize("at", range(1, 12))
def test_a_write_that_fails_leaves_the_old_folder_and_nothing_else(
    folder: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th file to be forced to disk does not fit."""
    calls, real = [], os.fsync

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) == at:
            raise OSError(28, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        expected = pytest.raises(ResourceError, match="No space left") if at <= 7 else nullcontext()
        with expected:  # three files, the folder after each, and the rename
            write_folder(folder, {"schema": SCHEMA, "size": 4}, {"model": WEIGHTS})
    size = read_folder(folder, SCHEMA).config["size"]
    assert size == (4 if at >= 7 else 3)
    assert {path.name for path in folder.parent.iterdir()} - {"folder.old"} == {"folder"}


def test_an_interrupted_write_leaves_the_old_folder(folder: Path) -> None:
    def fill(part: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(folder, {"schema": SCHEMA, "size": 4}, {}, fill)
    assert read_folder(folder, SCHEMA).config["size"] == 3
    assert list(folder.parent.iterdir()) == [folder]


def test_what_a_kill_left_beside_a_folder_is_in_nobody_s_way(folder: Path) -> None:
    for name in ("folder.tmp", "folder.old"):
        shutil.copytree(folder, folder.with_name(name))
    write_folder(folder, {"schema": SCHEMA, "size": 5}, {})
    assert read_folder(folder, SCHEMA).config["size"] == 5
    assert list(folder.parent.iterdir()) == [folder]
