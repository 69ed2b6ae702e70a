"""A joined store holds the episodes of its parts, byte for byte and in order, however often joining was stopped."""

import dataclasses
import errno
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagoal import files
from imagoal.cli import main
from imagoal.envs import Episode
from imagoal.envs.store import Collecting
from imagoal.envs.store._cache import open_cache
from imagoal.envs.store._collect import collect
from imagoal.envs.store._join import join
from imagoal.envs.store._records import Spec
from imagoal.envs.store._store import Store
from imagoal.errors import DataError, ResourceError, UsageError

SPEC = Spec(env="fake/Dot-v0", frame_shape=(6, 5, 3), action_size=2, state_size=3, seed=4, behaviour="noise", steps=9)


def filled(path: Path, seeds: range, spec: Spec = SPEC) -> Store:
    store = Store.create(path, spec)
    for seed in seeds:
        rng, length = np.random.default_rng(seed), 2 + seed % 3
        frames = rng.integers(0, 256, (length + 1, *spec.frame_shape), dtype=np.uint8)
        actions = rng.uniform(-1, 1, (length, spec.action_size)).astype(np.float32)
        states = rng.normal(size=(length + 1, spec.state_size))
        store.append(Episode(frames, actions, states, seed, f"way {seed % 2}", spec.env))
    return store


@pytest.fixture
def parts(tmp_path: Path) -> list[Store]:
    longer = dataclasses.replace(SPEC, seed=0, behaviour="mpc-12ab", steps=12)
    return [filled(tmp_path / "a", range(3)), filled(tmp_path / "b", range(10, 14), longer)]


def paths(parts: list[Store]) -> list[Path]:
    return [part.path for part in parts]


def test_episodes_come_in_order_with_their_bytes_seeds_and_names(tmp_path: Path, parts: list[Store]) -> None:
    joined = join(tmp_path / "new", paths(parts))
    every = [(part, number) for part in parts for number in range(len(part))]
    assert len(joined) == len(every) == 7
    for number, (part, there) in enumerate(every):
        assert joined.file(number).read_bytes() == part.file(there).read_bytes()
        assert joined.records[number] == dataclasses.replace(part.records[there], id=number)
        assert (joined.read(number).seed, joined.read(number).behaviour) == (part.read(there).seed, part.read(there).behaviour)
    assert [record.id for record in joined.records[:3]] == [0, 1, 2], "the numbers of the first part, as in its own training"
    assert joined.verify() == []
    origin = f"joined {parts[0].hash[:12]}+{parts[1].hash[:12]}"
    assert Store.open(joined.path).spec == dataclasses.replace(SPEC, seed=0, steps=12, behaviour=origin)


def test_the_hash_follows_from_the_parts_and_their_order(tmp_path: Path, parts: list[Store]) -> None:
    one, same = (join(tmp_path / name, paths(parts)) for name in ("one", "same"))
    other = join(tmp_path / "other", paths(parts[::-1]))
    assert one.hash == same.hash != other.hash


def test_a_joined_store_is_read_and_joined_as_any_other(tmp_path: Path, parts: list[Store]) -> None:
    first = join(tmp_path / "first", paths(parts))
    third = join(tmp_path / "second", [first.path, filled(tmp_path / "c", range(20, 22)).path])
    cache = open_cache(third)
    assert cache.lengths.tolist() == [record.length for record in third.records]
    np.testing.assert_array_equal(cache.frames[: cache.lengths[0] + 1], parts[0].read(0).frames)
    assert third.spec.behaviour.startswith(f"joined {first.hash[:12]}+")


@pytest.mark.parametrize(
    "change",
    [
        {"env": "fake/Dash-v0"},
        {"options": {"distractors": "noise"}},
        {"frame_shape": (6, 6, 3)},
        {"action_size": 1},
        {"state_size": 4},
    ],
)
def test_parts_that_differ_are_refused_with_the_difference(tmp_path: Path, change: dict[str, Any]) -> None:
    one, two, other = (tmp_path / name for name in "abc")
    filled(one, range(2))
    filled(two, range(5, 6))
    filled(other, range(8, 10), dataclasses.replace(SPEC, **change))
    with pytest.raises(DataError) as caught:
        join(tmp_path / "new", [one, two, other])
    told = {"options": "none -> distractors=noise"}.get(*change, f"{getattr(SPEC, *change)} -> {next(iter(change.values()))}")
    assert f"{one} and {other} differ: {next(iter(change))} {told}; join" in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_no_part_is_joined_twice_nor_with_itself(tmp_path: Path, parts: list[Store]) -> None:
    a, b = paths(parts)
    (tmp_path / "link").symlink_to(a)
    for wrong, words in (
        ((tmp_path / "new", [a, b, a]), "given twice"),
        ((tmp_path / "new", [a, tmp_path / "link"]), "given twice"),
        ((tmp_path / "new", [a]), "1 stores to join; expected two or more"),
        ((tmp_path / "new", []), "0 stores to join"),
        ((a, [a, b]), "is part"),
        ((b / "new", [a, b]), "or lies in it"),
        ((tmp_path / "link" / "episodes", [a, b]), "or lies in it"),
    ):
        with pytest.raises(UsageError, match=words):
            join(*wrong)
    shutil.copytree(a, tmp_path / "copy")
    grown = Store.open(tmp_path / "copy")
    grown.append(parts[1].read(0))
    with pytest.raises(DataError, match=r"episode 0 of .*copy is episode 0 of .*a; join stores that share no episode"):
        join(tmp_path / "new", [a, grown.path])
    with pytest.raises(DataError, match=r"episode 3 of .*copy is episode 0 of .*b;"):
        join(tmp_path / "new", [b, grown.path])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "copy", "link"]
    assert len(Store.open(a)) == 3


def test_a_damaged_part_stops_it_and_a_restored_one_goes_on(
    tmp_path: Path, parts: list[Store], capsys: pytest.CaptureFixture[str]
) -> None:
    expected, file = join(tmp_path / "whole", paths(parts)), parts[1].file(1)
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(DataError, match=r"episode 1: .*b/episodes/000001.npz has SHA-256"):
        join(tmp_path / "new", paths(parts))
    stopped = Store.open(tmp_path / "new")
    assert (len(stopped), stopped.verify()) == (4, [])
    file.write_bytes(good)
    stopped.file(4).with_name("000004.npz.part").write_bytes(good[:9])
    assert join(tmp_path / "new", paths(parts)).hash == expected.hash
    assert not list(stopped.path.rglob("*.part"))
    assert "continuing at episode 4 of 7; unfinished files removed: 1" in capsys.readouterr().err


def test_a_log_that_does_not_fit_its_arrays_is_found(tmp_path: Path, parts: list[Store]) -> None:
    log = parts[0].path / "episodes.jsonl"
    log.write_text(log.read_text().replace("way 1", "way 7"))
    with pytest.raises(DataError, match=r"episode 1: its line in .* does not fit its arrays"):
        join(tmp_path / "new", paths(parts))
    assert len(Store.open(tmp_path / "new")) == 1


def test_a_complete_one_says_so_and_is_left_as_it_is(
    tmp_path: Path, parts: list[Store], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "join", "--data", str(tmp_path / "new"), "--of", *map(str, paths(parts))]
    assert main(command) == 0
    joined = Store.open(tmp_path / "new")
    assert f"7 episodes of 2 stores, store hash {joined.hash[:12]}" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "new").rglob("*")}
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "new").rglob("*")} == before
    assert main(["data", "info", "--data", str(tmp_path / "new"), "--of", "x"]) == 2


def test_other_parts_are_refused_and_so_is_a_store_that_is_no_join_of_them(tmp_path: Path, parts: list[Store]) -> None:
    new = join(tmp_path / "new", paths(parts)).path
    with pytest.raises(DataError, match="made with other settings: behaviour joined"):
        join(new, paths(parts[::-1]))
    parts[1].append(filled(tmp_path / "c", range(30, 31)).read(0))
    with pytest.raises(DataError, match="made with other settings: behaviour joined"):
        join(new, paths(parts))
    with pytest.raises(DataError, match=r"made with other settings: .*behaviour noise -> joined"):
        join(tmp_path / "c", paths(parts))
    changed = join(tmp_path / "changed", paths(parts))
    log = changed.path / "episodes.jsonl"
    log.write_text(log.read_text().replace("way 0", "way 1"))
    with pytest.raises(DataError, match="does not begin as joined"):
        join(changed.path, paths(parts))


def test_nothing_is_collected_into_a_joined_store(tmp_path: Path) -> None:
    for seed in (0, 1):
        collect("ball", tmp_path / str(seed), 2, setting=Collecting(seed=seed, steps=3))
    joined = join(tmp_path / "new", [tmp_path / "0", tmp_path / "1"])
    with pytest.raises(DataError, match=r"new is a joined store \(joined \w{12}\+\w{12}\), and nothing is collected into it"):
        collect("ball", joined.path, 9, setting=Collecting(steps=3))
    assert len(Store.open(joined.path)) == 4


def test_a_full_disk_harms_nothing_and_the_same_call_goes_on(
    tmp_path: Path, parts: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th write to disk fails, for every n."""
    expected, real, failures = join(tmp_path / "whole", paths(parts)).hash, files.os.fsync, 0

    def full_after(writes: int) -> Callable[[int], None]:
        left = iter(range(writes))

        def fsync(handle: int) -> None:
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(handle)

        return fsync

    for number in range(30):
        path = tmp_path / f"disk{number}"
        monkeypatch.setattr(files.os, "fsync", full_after(number))
        complaint = ""
        try:
            join(path, paths(parts))
        except ResourceError as error:
            complaint = str(error)
            failures += 1
        assert not complaint or "No space left" in complaint
        monkeypatch.setattr(files.os, "fsync", real)
        if (path / "manifest.json").exists():
            assert Store.open(path).verify() == []
        assert join(path, paths(parts)).hash == expected
        assert Store.open(path).verify() == []
    assert 20 <= failures < 30, "each write failed once, and in the end none did"


def test_a_killed_one_leaves_no_half_episode_and_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders, new = [tmp_path / "a", tmp_path / "b"], tmp_path / "new"
    for folder, seeds in zip(folders, (range(60), range(60, 120)), strict=True):
        filled(folder, seeds)
    command = ["data", "join", "--data", str(new), "--of", *map(str, folders)]
    log, until = new / "episodes.jsonl", time.monotonic() + 60
    process = subprocess.Popen([sys.executable, "-m", "imagoal", *command], stderr=subprocess.DEVNULL)
    while not log.exists() or log.read_bytes().count(b"\n") < 5:
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stopped = Store.open(new)
    assert 5 <= len(stopped) < 120
    assert stopped.verify() == []
    assert main(command) == 0
    assert f"continuing at episode {len(stopped)} of 120" in capsys.readouterr().err
    assert Store.open(new).hash == join(tmp_path / "whole", folders).hash
    assert not list(new.rglob("*.part"))
