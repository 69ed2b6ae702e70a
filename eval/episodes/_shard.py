"""A share of a row's tasks that is run apart, and the row that all shares make together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imagoal.errors import DataError, UsageError
from imagoal.eval.episodes._result import SHARD_SCHEMA, assemble_result, command, load_result, sealed
from imagoal.eval.episodes._run import EpisodeResult
from imagoal.eval.episodes._summary import rate, summarise

SUBJECT = ("protocol", "env", "env_options", "role", "agent")
ALIKE = ("config", "seeds", "versions", "threads", "device", "data_hash", "weights_hash", "readouts_hash", "commit")
"""What of their provenance shards of one row have in common."""


@dataclass(frozen=True)
class Shard:
    """One of several shares of a row's tasks; 1/1 is the whole row.

    Attributes:
        number: which, from 1.
        of: how many there are.
    """

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(f"shard {self}; expected i/n with i from 1 to n, e.g. 2/4")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From `i/n`.

        Raises:
            UsageError: it is not of that form.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise UsageError(f"shard {text!r}; expected i/n with i from 1 to n, e.g. 2/4")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def whole(self) -> bool:
        """Whether this is the row itself."""
        return self.of == 1

    def ids(self, count: int) -> list[int]:
        """The tasks of this share: every n-th, so that all shares are alike.

        Raises:
            UsageError: more shares than tasks.
        """
        if self.of > count:
            raise UsageError(f"shard {self} of {count} tasks; expected at most as many shards as tasks")
        return list(range(self.number - 1, count, self.of))


def assemble_shard(
    about: Mapping[str, Any],
    shard: Shard,
    count: int,
    episodes: Sequence[EpisodeResult],
    peak_mb: float,
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """The file of a shard of a row of `count` tasks. It has no summary, and keeps the plans' times for that of the row."""
    lines = [asdict(episode) for episode in episodes]
    share = {"shard": str(shard), "tasks": count, "episodes": lines, "peak_mb": peak_mb, "provenance": dict(origin)}
    return sealed({"schema": SHARD_SCHEMA, **about, **share})


def described_shard(shard: Mapping[str, Any]) -> str:
    """One line: how a shard went."""
    counted = [line for line in shard["episodes"] if not line["trivial"]]
    rates = (f"{kind} {100 * rate([line[kind] for line in counted])['rate']:.1f} %" for kind in ("hold", "final", "ever"))
    return f"shard {shard['shard']}: {len(shard['episodes'])} of {shard['tasks']} tasks, {', '.join(rates)}; no row yet"


def merge(paths: Sequence[Path], across_commits: bool = False) -> dict[str, Any]:
    """The row that these shards make together: but for times and origin, the same as if it had been run whole.

    Each shard's first plan is among the plans that are timed, as is the first after an interruption.

    Args:
        paths: files of all shards of one row, in any order.
        across_commits: take shards that were run at different commits, for which the caller answers.

    Raises:
        DataError: a file that is damaged or foreign, shards of different rows, or one that is missing or there twice.
    """
    if not paths:
        raise UsageError("no shards; expected the result files of `imagoal eval --shard`")
    shards = [load_result(path, SHARD_SCHEMA) for path in paths]
    for path, shard in zip(paths, shards, strict=True):
        _require_same(paths[0], shards[0], path, shard, across_commits)
    _require_all(paths, shards)
    return _row(sorted(shards, key=lambda shard: Shard.parse(shard["shard"]).number))


def _row(shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The result of all shards, in order."""
    first = shards[0]
    episodes = sorted((EpisodeResult(**line) for shard in shards for line in shard["episodes"]), key=lambda e: e.id)
    batch, planner = first["provenance"]["config"]["batch"], first["agent"]["planner"]
    peak = max(shard["peak_mb"] for shard in shards)
    summary = summarise(episodes, batch, planner["replan_every"] if planner else 1, peak)
    return assemble_result({key: first[key] for key in SUBJECT}, summary, episodes, _origin(shards))


def _origin(shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the row comes from: what its shards have in common, their sum, and each of them."""
    origins = [shard["provenance"] for shard in shards]
    newest = max(origins, key=lambda origin: str(origin["date"]))
    kept = ("command", "date", "commit", "dirty", "hardware", "wall_s")
    parts = [
        {"shard": shard["shard"], "sha256": shard["sha256"], **{key: shard["provenance"][key] for key in kept}}
        for shard in shards
    ]
    return {
        **newest,
        "command": " && ".join([*(origin["command"] for origin in origins), command()]),
        "config": _common(shards[0])["config"],
        "hardware": " and ".join(dict.fromkeys(origin["hardware"] for origin in origins)),
        "dirty": any(origin["dirty"] for origin in origins),
        "wall_s": round(sum(origin["wall_s"] for origin in origins), 1),
        "merged": parts,
    }


def _common(shard: Mapping[str, Any]) -> dict[str, Any]:
    """What all shards of a row have in common."""
    origin = shard["provenance"]
    common = {key: shard[key] for key in SUBJECT} | {key: origin.get(key) for key in ALIKE}
    return common | {"config": {key: value for key, value in origin["config"].items() if key != "shard"}}


def _require_same(
    first_path: Path, first: Mapping[str, Any], path: Path, shard: Mapping[str, Any], across_commits: bool
) -> None:
    """Insist that two shards are of the same row."""
    one, other = _leaves(_common(first)), _leaves(_common(shard))
    keys = [key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
    if keys == ["commit"] and across_commits:
        return
    if keys:
        changes = ", ".join(f"{key} {one.get(key)!r:.60} -> {other.get(key)!r:.60}" for key in keys[:4])
        cure = "run it again at one commit, or pass --across-commits" if keys == ["commit"] else "merge shards of one row"
        raise DataError(f"{path} and {first_path} are of different rows ({changes}); {cure}")


def _require_all(paths: Sequence[Path], shards: Sequence[Mapping[str, Any]]) -> None:
    """Insist on every shard, once, and so on every task, once."""
    found: dict[Shard, Path] = {}
    for path, content in zip(paths, shards, strict=True):
        shard = Shard.parse(content["shard"])
        if shard in found:
            raise DataError(f"{path} and {found[shard]} are both shard {shard}; name each shard once")
        if [line["id"] for line in content["episodes"]] != shard.ids(content["tasks"]):
            raise DataError(f"{path} does not hold the tasks of shard {shard} of {content['tasks']}; run it again")
        found[shard] = path
    if len({shard.of for shard in found}) > 1:
        raise DataError(f"shards {', '.join(str(shard) for shard in found)} are of different divisions; use one n")
    of = next(iter(found)).of
    missing = [str(Shard(number, of)) for number in range(1, of + 1) if Shard(number, of) not in found]
    if missing:
        raise DataError(f"shards {', '.join(missing)} are missing; run and name them too")


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level: `agent.planner.horizon`."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {key: leaf for name, part in value.items() for key, leaf in _leaves(part, f"{prefix}.{name}".strip(".")).items()}
