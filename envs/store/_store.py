"""The episode store: one file per episode and a log of what was committed, so that a kill loses at most the running episode.

manifest.json        what all episodes have in common
episodes.jsonl       one line per committed episode, in order of id
episodes/000012.npz  frames u8 (T + 1, h, w, 3), actions f32 (T, A), states f64 (T + 1, S), compressed
"""

import dataclasses
import hashlib
import re
import sys
from importlib.metadata import version
from pathlib import Path

from imagoal import files
from imagoal.envs._types import Episode
from imagoal.envs.store._npz import decode
from imagoal.envs.store._records import SCHEMA, Record, Spec, arrays_of, content_of
from imagoal.errors import DataError, UsageError
from imagoal.progress import Progress


class Store:
    """Episodes on disk. Reading needs nothing but `open`; a writer holds `files.lock(path)` and calls `tidy` first.

    Attributes:
        path: the folder.
        spec: what the episodes have in common.
        records: one per episode, in order of id.
    """

    def __init__(self, path: Path, spec: Spec, records: list[Record]) -> None:
        self.path, self.spec, self.records = path, spec, records

    @classmethod
    def create(cls, path: Path, spec: Spec) -> "Store":
        """An empty store in a folder that is new or empty.

        Raises:
            DataError: the folder holds something else.
            ResourceError: it cannot be written.
        """
        beginnings = {"LOCK", "episodes.jsonl", "episodes.jsonl.part", "manifest.json.part"}
        foreign = sorted({file.name for file in path.iterdir()} - beginnings) if path.exists() else []
        if foreign:
            raise DataError(f"{path} holds {foreign[0]!r} and is no store; choose a new or empty folder")
        versions = {name: version(name) for name in ("numpy", "gymnasium", "mujoco")}
        files.write_text(path / "episodes.jsonl", "")
        files.write_json(path / "manifest.json", {"schema": SCHEMA, **spec.described(), "versions": versions})
        return cls(path, spec, [])

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The store in a folder, as far as it was committed; changes nothing on disk.

        Raises:
            DataError: no store, of a newer version, or its manifest or log is damaged.
        """
        if not (path / "manifest.json").exists() or not (path / "episodes.jsonl").exists():
            raise DataError(
                f"{path} is no store (no manifest.json or episodes.jsonl); make one with imagoal collect --data {path}"
            )
        spec = Spec.parse(files.read_json(path / "manifest.json"), str(path / "manifest.json"))
        records = []
        for number, line in enumerate(files.read_lines(path / "episodes.jsonl")):
            where = f"{path / 'episodes.jsonl'} line {number + 1}"
            records.append(Record.parse(line, where))
            records[-1].check(number, spec, where)
        return cls(path, spec, records)

    @classmethod
    def resume(cls, path: Path, spec: Spec) -> "Store":
        """The store in a folder, to be continued with the same settings; an empty one if there is none yet.

        Raises:
            DataError: the folder holds something else, or a store that is damaged or was made with other settings.
            ResourceError: it cannot be written.
        """
        store = cls.open(path) if (path / "manifest.json").exists() else cls.create(path, spec)
        store.require(spec)
        return store

    def __len__(self) -> int:
        return len(self.records)

    @property
    def hash(self) -> str:
        """SHA-256 over the manifest (but for library versions) and the content of all episodes; zip bytes do not matter."""
        contents = [record.content for record in self.records]
        return files.hash_of({"schema": SCHEMA, **self.spec.described(), "episodes": contents})

    def file(self, number: int) -> Path:
        """Where episode `number` is, or will be."""
        return self.path / "episodes" / f"{number:06}.npz"

    def read(self, number: int) -> Episode:
        """Episode `number`, every byte checked.

        Raises:
            DataError: its file is missing, or is not what was committed.
            UsageError: there is no such episode.
        """
        if not 0 <= number < len(self):
            raise UsageError(f"episode {number}; {self.path} holds 0 to {len(self) - 1}")
        record, label = self.records[number], self._label(number)
        arrays = decode(self.data(number), self.spec.layout(record.length), label)
        episode = Episode(**arrays, seed=record.seed, behaviour=record.behaviour, env=self.spec.env)
        self.spec.check(episode, label)
        return episode

    def data(self, number: int) -> bytes:
        """The bytes of the file of episode `number`, as they were committed.

        Raises:
            DataError: the file is missing, or another.
        """
        record, label = self.records[number], self._label(number)
        cure = "restore the file from a copy, or collect anew"
        try:
            found = self.file(number).stat().st_size
            if found != record.bytes:
                raise DataError(f"{label} has {found:,} bytes, the log says {record.bytes:,}; {cure}")
            data = self.file(number).read_bytes()
        except FileNotFoundError:
            raise DataError(f"{label} is missing; {cure}") from None
        digest = hashlib.sha256(data).hexdigest()
        if digest != record.sha256:
            raise DataError(f"{label} has SHA-256 {digest[:12]}, the log says {record.sha256[:12]}; {cure}")
        return data

    def check(self, number: int) -> None:
        """Insist that every byte of episode `number`, and its line in the log, are what was committed.

        Raises:
            DataError: they are not.
        """
        if content_of(self.read(number)) != self.records[number].content:
            raise DataError(
                f"episode {number}: its line in {self.path / 'episodes.jsonl'} does not fit its arrays; restore the line"
            )

    def write(self, number: int, episode: Episode) -> Record:
        """Write the file of an episode, and the record with which to commit it. Any process may, in any order.

        Raises:
            DataError: the episode does not fit the store, or holds numbers that are not finite.
            ResourceError: no space.
        """
        self.spec.check(episode, f"episode {number}")
        path = self.file(number)
        files.write_npz(path, arrays_of(episode))
        return Record(
            number, len(episode), episode.seed, episode.behaviour, content_of(episode), files.sha256(path), path.stat().st_size
        )

    def commit(self, record: Record) -> None:
        """Make a written episode part of the store; once this returns, a kill does not lose it."""
        record.check(len(self), self.spec, str(self.path))
        files.append_line(self.path / "episodes.jsonl", dataclasses.asdict(record))
        self.records.append(record)

    def append(self, episode: Episode) -> Record:
        """Write and commit an episode under the next id; after an error, open the store anew."""
        record = self.write(len(self), episode)
        self.commit(record)
        return record

    def tidy(self) -> int:
        """Remove the unfinished files that a killed writer left, and return how many there were."""
        unfinished = list((self.path / "episodes").glob("*.part"))
        for path in unfinished:
            path.unlink()
        return len(unfinished)

    def require(self, spec: Spec) -> None:
        """Insist that the store was made with these settings.

        Raises:
            DataError: it was not; the message lists the differences.
        """
        if self.spec.joined and not spec.joined:
            raise DataError(
                f"{self.path} is a joined store ({self.spec.behaviour}), and nothing is collected into it; "
                "choose another folder, and join that too"
            )
        differing = self.spec.differences(spec, [field.name for field in dataclasses.fields(spec)])
        if differing:
            raise DataError(
                f"{self.path} was made with other settings: {', '.join(differing)}; keep them, or choose another folder"
            )

    def missing(self, wanted: int) -> range:
        """Make ready to be continued until there are `wanted` episodes, and say so; the numbers of those still missing."""
        if len(self) >= wanted:
            print(f"nothing to do: {self.path} holds {len(self)} episodes", file=sys.stderr, flush=True)
            return range(0)
        removed = self.tidy()
        if len(self) or removed:
            said = f"continuing at episode {len(self)} of {wanted}; unfinished files removed: {removed}"
            print(said, file=sys.stderr, flush=True)
        return range(len(self), wanted)

    def verify(self) -> list[str]:
        """Read every byte; one line per problem."""
        problems = []
        with Progress("verifying", total=len(self)) as progress:
            for record in self.records:
                try:
                    self.check(record.id)
                except DataError as error:
                    problems.append(str(error))
                progress.advance()
        return problems + [f"{path} does not belong to the store; remove it" for path in self._foreign()]

    def _label(self, number: int) -> str:
        """An episode in messages."""
        return f"episode {number}: {self.file(number)}"

    def _foreign(self) -> list[Path]:
        """Files among the episodes that are neither committed nor left by a killed writer."""
        found = sorted((self.path / "episodes").glob("*"))
        return [path for path in found if not re.fullmatch(r"\d{6,}\.npz(\.part)?", path.name)]
