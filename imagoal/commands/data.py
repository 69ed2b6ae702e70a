"""`imagoal data`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:  # the door stays quick
    from imagoal.envs import Floats
    from imagoal.envs.store import Store


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a store holds (info), whether every byte of it is as it was written (verify), or one store of several (join)."""

    action: Annotated[Literal["info", "verify", "join"], tyro.conf.Positional] = "info"
    """info, verify or join."""
    data: Path
    """Folder of the store; for join, a new one."""
    of: tuple[Path, ...] = ()
    """For join: the stores whose episodes it shall hold, in this order."""

    def run(self) -> int:
        """Print the answer; 3 if something is damaged."""
        from imagoal.envs.store import Store
        from imagoal.errors import UsageError

        if self.action == "join":
            return _join(self.data, self.of)
        if self.of:
            raise UsageError(f"--of with {self.action}; expected --data alone, or join")
        store = Store.open(self.data)
        return _verify(store) if self.action == "verify" else _info(store)


def _join(path: Path, parts: tuple[Path, ...]) -> int:
    from imagoal.envs.store import join

    store = join(path, parts)
    print(f"{path}: {len(store)} episodes of {len(parts)} stores, store hash {store.hash[:12]}")
    return 0


def _verify(store: "Store") -> int:
    from imagoal.envs.store import drop_damaged_cache
    from imagoal.errors import DataError

    problems = store.verify()
    for problem in problems:
        print(problem)
    if problems:
        raise DataError(f"{store.path} is damaged; problems: {len(problems)}, listed above")
    print(f"{store.path}: {len(store)} episodes, every byte as it was written")
    if drop_damaged_cache(store):
        print("the cache differed from the episodes and was removed; it is made again when needed")
    return 0


def _info(store: "Store") -> int:
    from imagoal.envs.store import told_options

    records = store.records
    frames = sum(record.length + 1 for record in records)
    raw = frames * store.spec.frame_shape[0] * store.spec.frame_shape[1] * 3
    behaviours = Counter(record.behaviour for record in records)
    options = {"options": told_options(store.spec.options)} if store.spec.options else {}
    origin = {"made as": store.spec.behaviour} if store.spec.joined else {}
    lines = {
        "env": store.spec.env,
        **options,
        **origin,
        "episodes": f"{len(store):,}",
        "transitions": f"{frames - len(store):,}",
        "behaviours": ", ".join(f"{name} {count}" for name, count in sorted(behaviours.items())),
        "size": f"{sum(record.bytes for record in records) / 1e6:.1f} MB, {raw / 1e6:.1f} MB of frames unpacked",
        "hash": store.hash,
        **_coverage(store),
    }
    for name, text in lines.items():
        print(f"{name:<13}{text}")
    return 0


def _coverage(store: "Store") -> dict[str, str]:
    """How much of its range the first visible object was seen in, and how often it moved."""
    from imagoal.envs import make
    from imagoal.errors import ImagoalError

    if not store.spec.env.startswith("imagoal/") or ":" in store.spec.env:
        return {"coverage": "not known: a store's name of a foreign env is not followed"}
    if not len(store):
        return {}
    try:
        env = make(store.spec.env, store.spec.options)
    except ImagoalError as error:  # it lacks what the store's options need, or the manifest was changed
        return {"coverage": f"not known: {error}"}
    places = [env.visible(store.read(record.id).states)[:, :2] for record in store.records]
    visited, moved = _measure(places)
    return {"coverage": f"{visited:.0%} of 8 x 8 cells of the object's range", "moved": f"{moved:.0%} of transitions"}


def _measure(places: "list[Floats]") -> tuple[float, float]:
    """Shares of 8 x 8 cells visited, and of transitions in which the object moved by more than 1 % of its range.

    Args:
        places: for each episode, the object's positions (T + 1, 2), metres.
    """
    import numpy as np

    every = np.concatenate(places)
    low, size = every.min(0), np.maximum(np.ptp(every, axis=0), 1e-9)
    cells = np.minimum((every - low) / size * 8, 7).astype(int)
    moves = np.concatenate([np.linalg.norm(np.diff(place, axis=0), axis=-1) for place in places])
    return len(np.unique(cells, axis=0)) / 8 ** every.shape[1], float(np.mean(moves > 0.01 * size.max()))
