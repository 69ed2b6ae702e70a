"""The store keeps what it acknowledged, finds all damage, and runs nothing that a file says."""

import dataclasses
import errno
import hashlib
import io
import json
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagoal import files
from imagoal.envs import Episode
from imagoal.envs.store._records import Spec
from imagoal.envs.store._store import Store
from imagoal.errors import DataError, ResourceError, UsageError

SPEC = Spec(env="fake/Dot-v0", frame_shape=(6, 5, 3), action_size=2, state_size=3, seed=0, behaviour="noise", steps=9)


def episode(seed: int, length: int = 4) -> Episode:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (length + 1, 6, 5, 3), dtype=np.uint8)
    actions = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
    return Episode(frames, actions, rng.normal(size=(length + 1, 3)), seed, "noise", SPEC.env)


def filled(path: Path, count: int = 3) -> Store:
    store = Store.create(path, SPEC)
    for seed in range(count):
        store.append(episode(seed, length=4 + seed))
    return store


def edit_log(store: Store, change: Callable[[list[Any]], object]) -> None:
    log = store.path / "episodes.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    change(lines)
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))


def edit_manifest(store: Store, **changes: object) -> None:
    path = store.path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def plant(store: Store, number: int, data: bytes) -> Store:
    """Put bytes in the place of an episode, and a log that vouches for them."""
    store.file(number).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    edit_log(store, lambda lines: lines[number].update(sha256=digest, bytes=len(data)))
    return Store.open(store.path)


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(kind: str, shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    filled(tmp_path)
    store = Store.open(tmp_path)
    assert len(store) == 3
    assert [record.length for record in store.records] == [4, 5, 6]
    for number in range(3):
        wrote, read = episode(number, 4 + number), store.read(number)
        for name in ("frames", "actions", "states"):
            np.testing.assert_array_equal(getattr(read, name), getattr(wrote, name))
            assert getattr(read, name).dtype == getattr(wrote, name).dtype
        assert (read.seed, read.behaviour, read.env) == (number, "noise", SPEC.env)
    assert store.verify() == []


def test_hash_depends_on_content_and_settings_but_not_on_zip_bytes(tmp_path: Path) -> None:
    one, same, fewer = filled(tmp_path / "a"), filled(tmp_path / "b"), filled(tmp_path / "c", count=2)
    assert one.hash == same.hash == Store.open(one.path).hash
    assert one.hash != fewer.hash
    plain = io.BytesIO()
    np.savez(plain, allow_pickle=False, **{name: getattr(one.read(1), name) for name in ("frames", "actions", "states")})
    repacked = plant(same, 1, plain.getvalue())
    assert repacked.hash == one.hash
    assert repacked.verify() == []
    other = Store(one.path, dataclasses.replace(SPEC, steps=8), one.records)
    assert other.hash != one.hash


def test_a_store_without_options_is_told_and_hashed_as_before_there_were_any(tmp_path: Path) -> None:
    """Committed results name such hashes."""
    store = filled(tmp_path)
    old = {"env": "fake/Dot-v0", "frame_shape": [6, 5, 3], "action_size": 2, "state_size": 3, "seed": 0, "behaviour": "noise"}
    old |= {"schema": "imagoal.store/1", "steps": 9}
    assert store.hash == files.hash_of({**old, "episodes": [record.content for record in store.records]})
    assert set(files.read_json(tmp_path / "manifest.json")) == {*old, "versions"}


def test_options_are_kept_and_are_a_part_of_the_hash(tmp_path: Path) -> None:
    plain = filled(tmp_path / "plain")
    some = dataclasses.replace(SPEC, options={"distractors": "noise", "goal_finger": "hidden"})
    store = Store.create(tmp_path / "some", some)
    for number in range(3):
        store.append(plain.read(number))
    again = Store.open(store.path)
    assert again.spec == some
    assert again.hash == store.hash != plain.hash
    again.require(dataclasses.replace(some, options={"goal_finger": "hidden", "distractors": "noise"}))
    with pytest.raises(DataError, match=r"options distractors=noise goal_finger=hidden -> none;"):
        again.require(SPEC)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: {"frames": e.frames.astype(np.float32)}, "frames is float32 (5, 6, 5, 3), expected uint8"),
        (lambda e: {"frames": e.frames[:-1]}, "frames is uint8 (4, 6, 5, 3), expected uint8 (5, 6, 5, 3)"),
        (lambda e: {"actions": e.actions.astype(np.float64)}, "actions is float64"),
        (lambda e: {"actions": e.actions * np.float32(np.nan)}, "actions is nan at step 0, expected within [-1, 1]"),
        (lambda e: {"actions": e.actions + np.float32(3)}, "expected within [-1, 1]"),
        (lambda e: {"states": np.where(np.arange(5)[:, None] == 3, np.inf, e.states)}, "states is inf at step 3"),
        (lambda e: {"frames": e.frames[:1], "actions": e.actions[:0], "states": e.states[:1]}, "0 steps"),
        (lambda e: {"env": "fake/Other-v0"}, "fake/Other-v0"),
    ],
)
def test_an_episode_that_does_not_fit_is_refused_and_nothing_is_written(
    tmp_path: Path, change: Callable[[Episode], dict[str, Any]], words: str
) -> None:
    store = filled(tmp_path)
    with pytest.raises(DataError) as caught:
        store.append(dataclasses.replace(episode(9), **change(episode(9))))
    assert str(caught.value).startswith("episode 3: ")
    assert words in str(caught.value)
    assert not store.file(3).exists()
    assert len(Store.open(tmp_path)) == 3


def test_every_flipped_bit_is_detected(tmp_path: Path) -> None:
    store, rng = filled(tmp_path), np.random.default_rng(0)
    good = store.file(1).read_bytes()
    for _ in range(200):
        data = bytearray(good)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        store.file(1).write_bytes(data)
        with pytest.raises(DataError, match="episode 1"):
            store.read(1)


def test_every_flipped_bit_that_the_log_vouches_for_is_detected_or_harmless(tmp_path: Path) -> None:
    store, rng, wrote = filled(tmp_path), np.random.default_rng(1), episode(1, 5)
    good = store.file(1).read_bytes()
    detected = 0
    for _ in range(100):
        data = bytearray(good)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            read = plant(store, 1, bytes(data)).read(1)
            np.testing.assert_array_equal(read.frames, wrote.frames)  # an unused field of the zip
            np.testing.assert_array_equal(read.states, wrote.states)
        except DataError:
            detected += 1
    assert detected > 70


@pytest.mark.parametrize("share", [0, 1e-9, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_found_on_read_and_by_verify(tmp_path: Path, share: float) -> None:
    store = filled(tmp_path)
    data = store.file(1).read_bytes()
    store.file(1).write_bytes(data[: int(np.ceil(share * len(data))) if share < 0.999 else -1])
    with pytest.raises(DataError, match=r"episode 1: .*000001.npz has .* bytes, the log says"):
        store.read(1)
    assert [problem.split(":")[0] for problem in store.verify()] == ["episode 1"]
    assert len(store.read(2)) == 6


def test_a_missing_and_a_foreign_file_are_named(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.file(0).unlink()
    (tmp_path / "episodes" / "notes.txt").write_text("hello")
    missing, foreign = store.verify()
    assert "episode 0" in missing
    assert "missing" in missing
    assert "notes.txt does not belong" in foreign


def test_a_torn_last_line_is_dropped_and_the_store_goes_on(tmp_path: Path) -> None:
    store = filled(tmp_path)
    log = tmp_path / "episodes.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    reopened = Store.open(tmp_path)
    assert len(reopened) == 2
    assert log.read_bytes() == whole[:-20], "a reader changes nothing"
    reopened.append(episode(2, length=6))
    assert log.read_bytes() == whole
    assert Store.open(tmp_path).hash == store.hash


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines.append(lines[1]), "line 4: episode 1 listed twice"),
        (lambda lines: lines.pop(1), "line 2: episode 2 where episode 1 belongs"),
        (lambda lines: lines[1].update(id=-1), "episode -1"),
        (lambda lines: lines[1].update(id="../../etc"), "line 2"),
        (lambda lines: lines[1].update(file="../../etc/passwd"), "expected the fields id, length"),
        (lambda lines: lines[1].update(id=True), "line 2"),
        (lambda lines: lines[1].pop("sha256"), "expected the fields"),
        (lambda lines: lines[1].update(length=0), "length 0"),
        (lambda lines: lines[1].update(length=10**12), "GB, limit 4 GB"),
        (lambda lines: lines[1].update(length=10**400), "GB, limit 4 GB"),
        (lambda lines: lines.insert(1, [1, 2]), "line 2"),
    ],
)
def test_a_wrong_line_is_refused(tmp_path: Path, change: Callable[[list[Any]], object], words: str) -> None:
    edit_log(filled(tmp_path), change)
    with pytest.raises(DataError) as caught:
        Store.open(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_deeply_nested_and_broken_lines_are_refused(tmp_path: Path) -> None:
    store = filled(tmp_path)
    good = (tmp_path / "episodes.jsonl").read_bytes()
    for line in (b"[" * 100_000, b"{", b"\xff\xfe"):
        (store.path / "episodes.jsonl").write_bytes(line + b"\n" + good)
        with pytest.raises(DataError, match="line 1 is not JSON"):
            Store.open(tmp_path)


def test_a_changed_seed_or_behaviour_in_the_log_is_found_by_verify(tmp_path: Path) -> None:
    edit_log(filled(tmp_path), lambda lines: lines[2].update(behaviour="expert"))
    (problem,) = Store.open(tmp_path).verify()
    assert "episode 2" in problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": "imagoal.store/2"}, "needs a newer imagoal"),
        ({"schema": "other/1"}, "choose a store"),
        ({"schema": None}, "choose a store"),
        ({"frame_shape": [64, 64, 4]}, "frame_shape (64, 64, 4)"),
        ({"frame_shape": [64, "64", 3]}, "frame_shape"),
        ({"frame_shape": [10**7, 10**7, 3]}, "limit 4 GB"),
        ({"action_size": 2.0}, "action_size is 2.0"),
        ({"state_size": -3}, "state_size -3"),
        ({"env": None}, "env is None"),
        ({"options": None}, "options is None"),
        ({"options": ["distractors=noise"]}, "options is ['distractors=noise']"),
        ({"options": {"distractors": 1}}, "options hold ('distractors', 1)"),
        ({"options": {"distractors": {"__class__": "Canary"}}}, "options hold"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    edit_manifest(filled(tmp_path), **changes)
    with pytest.raises(DataError) as caught:
        Store.open(tmp_path)
    assert words in str(caught.value)


def test_what_is_no_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no store"):
        Store.open(tmp_path / "nowhere")
    store = filled(tmp_path / "a")
    (store.path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest.json is not readable JSON"):
        Store.open(store.path)
    (store.path / "episodes.jsonl").unlink()
    with pytest.raises(DataError, match="no store"):
        Store.open(store.path)
    with pytest.raises(UsageError, match=r"episode 3; .* holds 0 to 2"):
        store.read(3)


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match=r"thesis.tex"):
        Store.create(tmp_path, SPEC)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_no_pickle_is_ever_run(tmp_path: Path) -> None:
    canary, store, good = tmp_path / "canary", filled(tmp_path / "store"), episode(1, 5)
    objects = io.BytesIO()
    np.save(objects, np.array([Canary(canary)], dtype=object), allow_pickle=True)
    bare = pickle.dumps(Canary(canary))
    rest = {"actions": npy(good.actions), "states": npy(good.states)}
    for data in (zipped(frames=objects.getvalue(), **rest), zipped(frames=bare, **rest), bare, objects.getvalue()):
        with pytest.raises(DataError, match="episode 1") as caught:
            plant(store, 1, data).read(1)
        assert "allow_pickle" not in str(caught.value)
        assert not canary.exists()


def test_absurd_declarations_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    store, good = filled(tmp_path), episode(1, 5)
    rest = {"actions": npy(good.actions), "states": npy(good.states)}
    bomb = npy(good.frames)[: len(npy_header("|u1", (6, 6, 5, 3)))] + bytes(300_000_000)
    long_header = b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b" " * 1000
    hostile = {
        "expected uint8 (6, 6, 5, 3)": zipped(frames=npy_header("|u1", (10**12, 6, 5, 3)), **rest),
        "90,000 GB": zipped(frames=npy_header("|u1", (10**12, 6, 5, 3)), **rest),
        "frames has 541 bytes or more, expected 540": zipped(frames=bomb, **rest),
        "npy format (2, 0)": zipped(frames=long_header, **rest),
        "holds ['../x.npy'": zipped(**{"../x": npy(good.frames)}, **rest),
        "holds ['actions.npy', 'states.npy']": zipped(**rest),
    }
    for words, data in hostile.items():
        began = time.perf_counter()
        with pytest.raises(DataError) as caught:
            plant(store, 1, data).read(1)
        assert words in str(caught.value)
        assert time.perf_counter() - began < 1
    assert not (tmp_path.parent / "x.npy").exists()


def test_numbers_that_are_not_finite_are_refused_on_reading_too(tmp_path: Path) -> None:
    store, good = filled(tmp_path), episode(1, 5)
    actions = np.where(np.arange(5)[:, None] == 2, np.nan, good.actions).astype(np.float32)
    data = zipped(frames=npy(good.frames), actions=npy(actions), states=npy(good.states))
    with pytest.raises(DataError, match=r"episode 1: .*actions is nan at step 2"):
        plant(store, 1, data).read(1)


def test_a_full_disk_harms_nothing_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th write to disk fails, for every n: the store stays good and goes on when there is space."""
    expected = filled(tmp_path / "uninterrupted").hash
    real = files.os.fsync

    def full_after(writes: int) -> Callable[[int], None]:
        left = iter(range(writes))

        def fsync(handle: int) -> None:
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(handle)

        return fsync

    failures = 0
    for number in range(20):
        path = tmp_path / str(number)
        monkeypatch.setattr(files.os, "fsync", full_after(number))
        complaint = ""
        try:
            filled(path)
        except ResourceError as error:
            complaint = str(error)
            failures += 1
        assert not complaint or "No space left" in complaint
        monkeypatch.setattr(files.os, "fsync", real)
        assert not list(path.rglob("*.part"))
        store = Store.open(path) if (path / "manifest.json").exists() else Store.create(path, SPEC)
        assert store.verify() == []
        for seed in range(len(store), 3):
            store.append(episode(seed, length=4 + seed))
        assert Store.open(path).hash == expected
        shutil.rmtree(path)
    assert 10 <= failures < 20, "each write failed once, and in the end none did"
