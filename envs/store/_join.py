"""Joining: one store of the episodes of several, in their order, so that a training reads all rounds of collecting at once.

Files are copied as they are, and every byte is checked on the way. Copies that were made are never made again.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from imagoal import files
from imagoal.envs.store._records import JOINED, Record, Spec
from imagoal.envs.store._store import Store
from imagoal.errors import DataError, UsageError
from imagoal.progress import Progress

AGREED = ("env", "options", "frame_shape", "action_size", "state_size")
"""Settings in which all parts must be alike."""
Source = tuple[Store, int]
"""A part, and the number of an episode there."""


def join(path: Path, parts: Sequence[Path]) -> Store:
    """Make a store of the episodes of all parts, or continue to: first those of the first part, under the numbers they have.

    Args:
        path: folder of the new store.
        parts: folders of two or more stores; they are only read.

    Raises:
        UsageError: fewer than two parts, one of them twice, or `path` is a part or lies in one; nothing was written.
        DataError: parts that do not go together, share an episode or are damaged, or `path` holds something else.
        ResourceError: no space, or the store is in use; the same call continues.
    """
    _check_places(path, parts)
    stores = [Store.open(part) for part in parts]
    spec = _spec(stores)
    sources: list[Source] = [(store, record.id) for store in stores for record in store.records]
    records = [dataclasses.replace(store.records[i], id=number) for number, (store, i) in enumerate(sources)]
    _check_episodes(sources)
    with files.lock(path):
        joined = Store.resume(path, spec)
        if joined.records != records[: len(joined)]:
            raise DataError(f"{path} does not begin as {spec.behaviour} does; restore it, or choose another folder")
        missing = joined.missing(len(records))
        if missing:
            _fill(joined, sources, records, missing)
    return joined


def _check_places(path: Path, parts: Sequence[Path]) -> None:
    """Insist on two or more parts, each once, and on a new folder that is outside of them."""
    if len(parts) < 2:
        raise UsageError(f"{len(parts)} stores to join; expected two or more, e.g. --of runs/first runs/second")
    new, places = path.resolve(), [part.resolve() for part in parts]
    for place, part in zip(places, parts, strict=True):
        if place in (new, *new.parents):
            raise UsageError(f"{path} is part {part}, or lies in it; choose a folder outside of all parts")
        if places.count(place) > 1:
            raise UsageError(f"part {part} is given twice; give each store once")


def _spec(stores: Sequence[Store]) -> Spec:
    """The settings of the joined store."""
    first = stores[0]
    for store in stores[1:]:
        differing = first.spec.differences(store.spec, AGREED)
        if differing:
            raise DataError(f"{first.path} and {store.path} differ: {', '.join(differing)}; join stores that agree in these")
    origin = JOINED + "+".join(store.hash[:12] for store in stores)
    return dataclasses.replace(first.spec, seed=0, behaviour=origin, steps=max(store.spec.steps for store in stores))


def _check_episodes(sources: Sequence[Source]) -> None:
    """Insist that no part holds an episode of another: it could be held out of a training and trained on all the same."""
    seen: dict[str, Source] = {}
    for store, number in sources:
        other, twin = seen.setdefault(store.records[number].content, (store, number))
        if other is not store:
            raise DataError(
                f"episode {number} of {store.path} is episode {twin} of {other.path}; join stores that share no episode, "
                "e.g. collected with different seeds"
            )


def _fill(joined: Store, sources: Sequence[Source], records: Sequence[Record], missing: range) -> None:
    """Copy the missing episodes and commit them in order."""
    with Progress("joining", total=missing.stop, done=missing.start) as progress:
        for number in missing:
            _copy(*sources[number], joined.file(number))
            joined.commit(records[number])
            progress.advance()


def _copy(store: Store, number: int, path: Path) -> None:
    """Copy the file of an episode, once all of it was checked."""
    store.check(number)
    data = store.data(number)
    files.write(path, lambda file: file.write(data))
