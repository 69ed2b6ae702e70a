"""The cache shows exactly what the store holds, at any window, and is made again whenever it is not whole."""

from pathlib import Path

import numpy as np
import pytest

from imagoal import files
from imagoal.envs import Episode
from imagoal.envs.store._cache import FrameCache, drop_damaged_cache, open_cache
from imagoal.envs.store._records import Spec
from imagoal.envs.store._store import Store
from imagoal.errors import DataError, ResourceError, UsageError

SPEC = Spec(env="fake/Dot-v0", frame_shape=(4, 5, 3), action_size=2, state_size=3, seed=0, behaviour="noise", steps=9)
LENGTHS = (4, 7, 1, 5)


def episode(number: int) -> Episode:
    rng, length = np.random.default_rng(number), LENGTHS[number % len(LENGTHS)]
    frames = rng.integers(0, 256, (length + 1, 4, 5, 3), dtype=np.uint8)
    actions = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
    return Episode(frames, actions, rng.normal(size=(length + 1, 3)), number, "noise", SPEC.env)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store", SPEC)
    for number in range(len(LENGTHS)):
        store.append(episode(number))
    return store


def place(cache: FrameCache, frame: int) -> tuple[Episode, int]:
    """Episode of a flat frame index, and the step within it."""
    number = int(np.searchsorted(cache.starts, frame, side="right")) - 1
    return episode(number), frame - int(cache.starts[number])


def test_the_cache_is_the_store_laid_flat(store: Store) -> None:
    cache = open_cache(store)
    assert cache.lengths.tolist() == list(LENGTHS)
    assert cache.frames.shape == (sum(LENGTHS) + 4, 4, 5, 3)
    assert cache.folder == store.path / "cache" / store.hash
    for number, start in enumerate(cache.starts):
        wanted, end = episode(number), start + LENGTHS[number]
        np.testing.assert_array_equal(cache.frames[start : end + 1], wanted.frames)
        np.testing.assert_array_equal(cache.states[start : end + 1], wanted.states)
        np.testing.assert_array_equal(cache.actions[start:end], wanted.actions)
        assert not cache.actions[end].any()
    with pytest.raises(ValueError, match="read-only"):
        cache.frames[0] = 0


@pytest.mark.parametrize(("context", "future", "block"), [(1, 1, 1), (3, 2, 1), (1, 0, 1), (2, 2, 2), (3, 1, 3)])
def test_windows_are_direct_slices_with_the_beginning_repeated(store: Store, context: int, future: int, block: int) -> None:
    cache = open_cache(store)
    index = cache.window_index(context, future, block)
    assert len(index) == sum(max(0, length - future * block + 1) for length in LENGTHS)
    assert len(set(index.now.tolist())) == len(index)
    ids = np.random.default_rng(0).permutation(len(index))
    frames, actions = cache.windows(index, ids)
    assert frames.shape == (len(ids), context + future, 4, 5, 3)
    assert actions.shape == (len(ids), context + future - 1, 2 * block)
    for window, number in enumerate(ids):
        source, now = place(cache, int(index.now[number]))
        times = [now + block * step for step in range(1 - context, future + 1)]
        wanted = [source.frames[max(time, 0)] for time in times]
        moves = [source.actions[time] if time >= 0 else np.zeros(2) for time in range(times[0], times[-1])]
        np.testing.assert_array_equal(frames[window], wanted)
        np.testing.assert_array_equal(actions[window].reshape(-1, 2), np.reshape(moves, (-1, 2)))


def test_anything_with_an_entry_per_frame_can_be_read_in_windows(store: Store) -> None:
    cache = open_cache(store)
    index, ids = cache.window_index(2, 1), np.array([5, 0, 5])
    latents = np.random.default_rng(0).normal(size=(len(cache.frames), 6, 2)).astype(np.float16)
    np.testing.assert_array_equal(index.take(latents, ids), latents[index.rows(ids)])
    assert index.take(latents, ids).shape == (3, 3, 6, 2)
    assert index.take(cache.states, ids).shape == (3, 3, 3)


def test_windows_can_be_held_to_some_episodes(store: Store) -> None:
    cache = open_cache(store)
    index = cache.window_index(2, 1, episodes=np.array([3, 0]))
    assert set(index.start.tolist()) == {cache.starts[3], cache.starts[0]}


def test_windows_longer_than_any_episode_are_refused(store: Store) -> None:
    cache = open_cache(store)
    assert len(cache.window_index(50, 7)) == 1
    with pytest.raises(DataError, match="windows need 9 frames, the longest episode has 8: lower the horizon"):
        cache.window_index(1, 8)
    with pytest.raises(DataError, match="windows need 9 frames"):
        cache.window_index(1, 2, block=4)
    with pytest.raises(DataError, match="the longest episode has 2:"):
        cache.window_index(1, 2, episodes=np.array([2]))
    with pytest.raises(UsageError, match="context 0, future 1"):
        cache.window_index(0, 1)


def test_an_empty_store_has_no_cache(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no episode"):
        open_cache(Store.create(tmp_path / "empty", SPEC))


@pytest.mark.parametrize("name", ["frames.npy", "actions.npy", "states.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "short", "other shape"])
def test_an_unfinished_cache_is_made_again(store: Store, name: str, damage: str) -> None:
    path = open_cache(store).folder / name
    data = path.read_bytes()
    if damage == "missing":
        path.rename(path.with_name(name + ".part"))
    elif damage == "other shape":
        np.save(path, np.zeros((3, 3)))
    else:
        path.write_bytes(b"" if damage == "empty" else data[:-1])
    open_cache(store)
    assert path.read_bytes() == data
    assert sorted(file.name for file in path.parent.iterdir()) == ["actions.npy", "frames.npy", "states.npy"]


def test_a_whole_cache_is_not_made_again(store: Store) -> None:
    path = open_cache(store).folder / "frames.npy"
    made = path.stat().st_mtime_ns
    store.file(0).unlink()
    open_cache(store)
    assert path.stat().st_mtime_ns == made


def test_the_cache_of_another_hash_is_removed_and_nothing_else(store: Store) -> None:
    old = open_cache(store).folder
    (old.parent / "notes").mkdir()
    store.append(episode(4))
    new = open_cache(store).folder
    assert sorted(path.name for path in old.parent.iterdir()) == sorted([new.name, "notes"])


def test_no_cache_is_made_of_a_damaged_store(store: Store) -> None:
    store.file(2).write_bytes(b"x" * store.records[2].bytes)
    with pytest.raises(DataError, match="episode 2"):
        open_cache(store)
    assert not [path for path in (store.path / "cache").rglob("*") if path.is_file()]


def test_a_cache_that_another_process_is_making_is_left_alone(store: Store) -> None:
    with files.lock(store.path / "cache"), pytest.raises(ResourceError, match="in use"):
        open_cache(store)


def test_a_flipped_bit_in_the_cache_is_found_and_the_cache_made_again(store: Store) -> None:
    assert not drop_damaged_cache(store)
    rng = np.random.default_rng(0)
    for _ in range(20):
        path = open_cache(store).folder / rng.choice(["frames.npy", "actions.npy", "states.npy"])
        data = bytearray(path.read_bytes())
        data[rng.integers(128, len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        assert drop_damaged_cache(store)
    open_cache(store)
    assert not drop_damaged_cache(store)
