"""What a store writes about its episodes: the settings they share, and one record for each."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from imagoal import files
from imagoal.envs._types import Episode
from imagoal.envs.store._npz import Layout, size_of
from imagoal.errors import DataError, UsageError

SCHEMA = "imagoal.store/1"
JOINED = "joined "
"""How the `behaviour` of a joined store begins; what it was joined of follows."""
LIMIT = 4_000_000_000
"""Bytes of one episode, uncompressed: more is a damaged or hostile file."""


@dataclass(frozen=True)
class Spec:
    """What all episodes of a store have in common.

    Attributes:
        env: id of the environment.
        frame_shape: (h, w, 3).
        action_size: A.
        state_size: S.
        seed: from which, with its id, all of an episode follows.
        behaviour: one name, or `mixed`, or what the store was joined of.
        steps: limit of an episode's length T.
        options: of the environment's constructor, but for those at their default.
    """

    env: str
    frame_shape: tuple[int, int, int]
    action_size: int
    state_size: int
    seed: int
    behaviour: str
    steps: int
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.frame_shape) != 3 or self.frame_shape[2] != 3 or min(self.frame_shape) < 1:
            raise UsageError(f"frame_shape {self.frame_shape}; expected (height, width, 3)")
        for name, least in {"action_size": 1, "state_size": 1, "seed": 0, "steps": 1}.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name} {getattr(self, name)}; expected at least {least}")
        wrong = [item for item in self.options.items() if not all(isinstance(word, str) for word in item)]
        if wrong:
            raise UsageError(f"options hold {wrong[0]!r:.80}; expected words by name")

    @classmethod
    def parse(cls, manifest: Any, where: str) -> "Spec":
        """The settings in a manifest.

        Raises:
            DataError: another schema, or fields that are missing or wrong; the message begins with `where`.
        """
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        if schema != SCHEMA:
            newer = isinstance(schema, str) and schema.startswith("imagoal.store/")
            cure = "it needs a newer imagoal" if newer else "choose a store"
            raise DataError(f"{where}: schema {schema!r}, expected {SCHEMA!r}; {cure}")
        given = {"options": {}} | manifest
        fields = {field.name: given.get(field.name) for field in dataclasses.fields(cls)}
        kinds = {"env": str, "frame_shape": list, "behaviour": str, "options": dict}
        wrong = [name for name, value in fields.items() if type(value) is not kinds.get(name, int)]
        if not wrong and not all(type(size) is int for size in manifest["frame_shape"]):
            wrong = ["frame_shape"]
        if wrong:
            raise DataError(f"{where}: {wrong[0]} is {fields[wrong[0]]!r:.80}; restore the file")
        try:
            return cls(**fields | {"frame_shape": tuple(manifest["frame_shape"])})
        except UsageError as error:
            raise DataError(f"{where}: {error}; restore the file") from error

    @property
    def joined(self) -> bool:
        """Whether the episodes were collected in other stores."""
        return self.behaviour.startswith(JOINED)

    def described(self) -> dict[str, Any]:
        """The settings as a manifest and a hash hold them; no options leave no trace, so that hashes do not depend on them."""
        fields = dataclasses.asdict(self)
        return fields if self.options else {name: value for name, value in fields.items() if name != "options"}

    def differences(self, other: "Spec", names: Iterable[str]) -> list[str]:
        """Which of these settings are otherwise in another store, in words."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return [f"{name} {_told(mine)} -> {_told(theirs)}" for name, (mine, theirs) in pairs.items() if mine != theirs]

    def layout(self, length: int) -> Layout:
        """Dtypes and shapes of the arrays of an episode of T = `length` steps."""
        return {
            "frames": ("|u1", (length + 1, *self.frame_shape)),
            "actions": ("<f4", (length, self.action_size)),
            "states": ("<f8", (length + 1, self.state_size)),
        }

    def check(self, episode: Episode, label: str) -> None:
        """Insist that an episode fits these settings.

        Raises:
            DataError: a wrong dtype or shape, or a number that is not finite or out of range; the message begins with `label`.
        """
        arrays = arrays_of(episode)
        for name, (kind, shape) in self.layout(len(episode)).items():
            if arrays[name].dtype.str != kind or arrays[name].shape != shape:
                found = f"{arrays[name].dtype} {arrays[name].shape}"
                raise DataError(f"{label}: {name} is {found}, expected {np.dtype(kind)} {shape}; mend what made it")
        if not len(episode) or episode.env != self.env:
            raise DataError(
                f"{label}: {len(episode)} steps of {episode.env}, expected 1 or more of {self.env}; mend what made it"
            )
        for name, bound, expected in (("actions", 1.0, "within [-1, 1]"), ("states", np.inf, "finite")):
            wrong = np.argwhere(~(np.isfinite(arrays[name]) & (np.abs(arrays[name]) <= bound)))
            if len(wrong):
                value = arrays[name][tuple(wrong[0])]
                raise DataError(f"{label}: {name} is {value} at step {wrong[0][0]}, expected {expected}; mend what made it")


def _told(setting: object) -> str:
    """A setting in a message."""
    return told_options(setting) or "none" if isinstance(setting, Mapping) else str(setting)


def told_options(options: Mapping[str, str]) -> str:
    """Options as they are given on the command line."""
    return " ".join(f"{name}={value}" for name, value in options.items())


@dataclass(frozen=True)
class Record:
    """One line of the log.

    Attributes:
        id: number of the episode, from 0 without gaps.
        length: steps T.
        seed: of the episode.
        behaviour: what chose its actions.
        content: SHA-256 of arrays, seed and behaviour, whatever the file format.
        sha256: of the file.
        bytes: of the file.
    """

    id: int
    length: int
    seed: int
    behaviour: str
    content: str
    sha256: str
    bytes: int

    @classmethod
    def parse(cls, line: Any, where: str) -> "Record":
        """A line of the log.

        Raises:
            DataError: fields that are missing, foreign or of a wrong type; the message begins with `where`.
        """
        wanted = {field.name: field.type for field in dataclasses.fields(cls)}
        if not isinstance(line, dict) or {name: type(value) for name, value in line.items()} != wanted:
            raise DataError(f"{where} is {json.dumps(line)[:80]}; expected the fields {', '.join(wanted)}; restore the file")
        return cls(**line)

    def check(self, number: int, spec: Spec, where: str) -> None:
        """Insist that this is the record of episode `number`, and of a sensible size.

        Raises:
            DataError: it is not; the message begins with `where`.
        """
        if self.id != number:
            wrong = "listed twice" if 0 <= self.id < number else f"where episode {number} belongs"
            raise DataError(f"{where}: episode {self.id} {wrong}; restore the file")
        if self.length < 1 or self.seed < 0 or self.bytes < 1:
            raise DataError(f"{where}: length {self.length}, seed {self.seed}, bytes {self.bytes}; restore the file")
        size = max(size_of(spec.layout(self.length)), self.bytes)
        if size > LIMIT:
            raise DataError(
                f"{where}: episode {number} declares {size // 10**9:,} GB, limit {LIMIT // 10**9} GB; restore the file"
            )


def arrays_of(episode: Episode) -> dict[str, npt.NDArray[Any]]:
    """What of an episode is stored as arrays."""
    return {"frames": episode.frames, "actions": episode.actions, "states": episode.states}


def content_of(episode: Episode) -> str:
    """SHA-256 of an episode's arrays, seed and behaviour, as hex."""
    return files.hash_of([files.hash_arrays(arrays_of(episode)), episode.seed, episode.behaviour])
