"""The frame cache: a store unpacked into flat arrays, memory-mapped, from which windows are read at the speed of memory.

It is disposable: made again whenever it is missing, unfinished, or of another store hash. Flat arrays hold all episodes one
after the other: F frames, E episodes. M windows of L frames are read at once.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from imagoal import files
from imagoal.envs._types import Episode, Floats, Frames
from imagoal.envs.store._npz import Layout
from imagoal.envs.store._store import Store
from imagoal.errors import DataError, UsageError
from imagoal.progress import Progress

Ints = npt.NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class WindowIndex:
    """All windows of `context` frames up to now and `future` frames after, one every `block` env steps; numbered from 0.

    A window may begin before its episode: the first frame is then repeated, with zero actions, as a world model sees the
    beginning of an episode.

    Attributes:
        now: (W,) flat index of the present frame of each window.
        start: (W,) flat index of the first frame of its episode.
        context: frames up to now, 1 or more.
        future: frames after now.
        block: env steps from one frame of a window to the next.
    """

    now: Ints
    start: Ints
    context: int
    future: int
    block: int = 1

    def __len__(self) -> int:
        return len(self.now)

    @property
    def length(self) -> int:
        """Frames L of a window."""
        return self.context + self.future

    def rows(self, ids: Ints) -> Ints:
        """Flat indices (M, L) of the frames of windows `ids` (M,)."""
        return self._steps(ids, np.arange(1 - self.context, self.future + 1) * self.block)

    def take(self, array: npt.NDArray[Scalar], ids: Ints) -> npt.NDArray[Scalar]:
        """Windows (M, L, ...) of anything that has one entry per frame (F, ...): frames, states, latents."""
        return array[self.rows(ids)]

    def actions(self, actions: npt.NDArray[np.float32], ids: Ints) -> npt.NDArray[np.float32]:
        """Actions (M, L - 1, block * A) between the frames of windows `ids` (M,), from those of a cache (F, A)."""
        offsets = np.arange((1 - self.context) * self.block, self.future * self.block)
        taken = actions[self._steps(ids, offsets)]
        taken[self.now[ids, None] + offsets < self.start[ids, None]] = 0
        return taken.reshape(len(ids), self.length - 1, self.block * actions.shape[1])

    def _steps(self, ids: Ints, offsets: Ints) -> Ints:
        clipped: Ints = np.maximum(self.now[ids, None] + offsets, self.start[ids, None])
        return clipped


@dataclass(frozen=True)
class FrameCache:
    """A store as flat arrays.

    Attributes:
        frames: u8 (F, h, w, 3), memory-mapped, read-only.
        actions: f32 (F, A); entry i is taken at frame i, zero at the last frame of an episode.
        states: f64 (F, S), privileged.
        starts: (E,) flat index of each episode's first frame.
        lengths: (E,) steps T of each episode, which has T + 1 frames.
        folder: `cache/<store hash>`, where what was computed from the frames is kept too.
    """

    frames: Frames
    actions: npt.NDArray[np.float32]
    states: Floats
    starts: Ints
    lengths: Ints
    folder: Path

    def window_index(self, context: int, future: int, block: int = 1, episodes: Ints | None = None) -> WindowIndex:
        """All windows of these (or some) episodes.

        Args:
            context: frames up to the present one, 1 or more; they may begin before the episode.
            future: frames after the present one, 0 or more, all within the episode.
            block: env steps between frames.
            episodes: ids; None for all.

        Raises:
            DataError: no episode is long enough.
        """
        if context < 1 or future < 0 or block < 1:
            raise UsageError(f"context {context}, future {future}, block {block}; expected at least 1, 0, 1")
        chosen = np.arange(len(self.starts)) if episodes is None else episodes
        starts, counts = self.starts[chosen], np.maximum(self.lengths[chosen] - future * block + 1, 0)
        if not counts.sum():
            needed, longest = future * block + 1, int(self.lengths[chosen].max(initial=-1)) + 1
            raise DataError(
                f"windows need {needed} frames, the longest episode has {longest}: lower the horizon or collect longer episodes"
            )
        start = np.repeat(starts, counts)
        now = start + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return WindowIndex(now, start, context, future, block)

    def windows(self, index: WindowIndex, ids: Ints) -> tuple[Frames, npt.NDArray[np.float32]]:
        """Frames (M, L, h, w, 3) and the actions (M, L - 1, block * A) between them, of windows `ids` (M,)."""
        return index.take(self.frames, ids), index.actions(self.actions, ids)


def open_cache(store: Store) -> FrameCache:
    """The cache of a store, made if need be.

    Raises:
        DataError: the store is empty, or an episode is damaged.
        ResourceError: no space, or another process is making it.
    """
    if not len(store):
        raise DataError(f"{store.path} holds no episode; collect some first")
    folder = store.path / "cache" / store.hash
    arrays = _load(folder, _layout(store))
    if arrays is None:
        with files.lock(folder.parent):
            _build(store, folder)
        arrays = _load(folder, _layout(store))
    if arrays is None:
        raise DataError(f"{folder} changed while it was made; delete it and run again")
    return FrameCache(**arrays, starts=_starts(store), lengths=_lengths(store), folder=folder)


def drop_damaged_cache(store: Store) -> bool:
    """Compare the cache, if there is one, with every episode; remove it if it differs, and say whether it was removed."""
    folder = store.path / "cache" / store.hash
    arrays = _load(folder, _layout(store)) if len(store) else None
    if arrays is None:
        return False
    for start, record in zip(_starts(store), store.records, strict=True):
        for name, rows in _rows(store.read(record.id)).items():
            if arrays[name][start : start + len(rows)].tobytes() != rows.tobytes():
                shutil.rmtree(folder)
                return True
    return False


def _lengths(store: Store) -> Ints:
    return np.array([record.length for record in store.records], dtype=np.int64)


def _starts(store: Store) -> Ints:
    frames = _lengths(store) + 1
    return np.cumsum(frames) - frames


def _layout(store: Store) -> Layout:
    """Of the flat arrays: an entry per frame, of actions too."""
    total = int(_lengths(store).sum()) + len(store)
    return {name: (kind, (total, *shape[1:])) for name, (kind, shape) in store.spec.layout(0).items()}


def _rows(episode: Episode) -> dict[str, npt.NDArray[Any]]:
    """What the flat arrays hold of an episode, T + 1 rows each."""
    return {"frames": episode.frames, "actions": np.pad(episode.actions, ((0, 1), (0, 0))), "states": episode.states}


def _load(folder: Path, layout: Layout) -> dict[str, npt.NDArray[Any]] | None:
    """The flat arrays, or None if one is missing or not what it should be."""
    arrays = {}
    for name, (kind, shape) in layout.items():
        try:
            mapped = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if (mapped.dtype.str, mapped.shape) != (kind, shape):
            return None
        arrays[name] = np.asarray(mapped)  # indexing a plain view is faster than indexing a memmap
    return arrays


def _build(store: Store, folder: Path) -> None:
    """Unpack all episodes; each file is there whole or not at all."""
    for other in folder.parent.iterdir():
        if other != folder and re.fullmatch(r"[0-9a-f]{64}", other.name):
            shutil.rmtree(other)
    layout = _layout(store)
    actions, states = (np.zeros(shape, kind) for kind, shape in (layout["actions"], layout["states"]))

    def unpack(file: BinaryIO) -> None:
        kind, shape = layout["frames"]
        np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
        with Progress("unpacking episodes", total=len(store)) as progress:
            for start, record in zip(_starts(store), store.records, strict=True):
                rows = _rows(store.read(record.id))
                actions[start : start + record.length + 1] = rows["actions"]
                states[start : start + record.length + 1] = rows["states"]
                file.write(rows["frames"].data)
                progress.advance()

    files.write(folder / "frames.npy", unpack)
    files.write(folder / "actions.npy", lambda file: np.save(file, actions))
    files.write(folder / "states.npy", lambda file: np.save(file, states))
