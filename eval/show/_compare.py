"""Two rows on the same tasks: what one is better by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagoal.errors import DataError
from imagoal.eval.episodes import Interval, paired_difference, percent

KINDS = ("hold", "final", "ever")
TASK = ("id", "seed", "trivial", "difficulty", "start_distance")
"""What the line of an episode says of its task."""
MARGIN = 0.03
"""A row is not worse than another if the lower end of their difference is above minus this."""


@dataclass(frozen=True)
class Difference:
    """Of one kind of success.

    Attributes:
        first: share of successes of the first row.
        second: of the second.
        difference: first minus second, paired by task, with its 95 % interval.
        only_first: tasks that only the first row solves.
        only_second: tasks that only the second row solves.
    """

    first: float
    second: float
    difference: Interval
    only_first: int
    only_second: int


@dataclass(frozen=True)
class Comparison:
    """Two rows on the same tasks.

    Attributes:
        env: id.
        split: of the tasks.
        source: where their goals come from.
        protocol: its hash, of the shorter row if one is.
        n: tasks that count.
        headline: the kind of success that the tables head.
        success: by kind, the headline first.
    """

    env: str
    split: str
    source: str
    protocol: str
    n: int
    headline: str
    success: dict[str, Difference]

    def not_worse(self) -> bool:
        """Whether the first row is shown to be no more than `MARGIN` below the second, by the headline."""
        return self.success[self.headline].difference.low > -MARGIN

    def text(self, first: str, second: str) -> str:
        """A few lines for a screen; the rows are called by these names."""
        goals = "" if self.source == "sampler" else f", goals from {self.source}"
        lines = [
            f"A: {first}",
            f"B: {second}",
            f"{self.n} {self.split} tasks of {self.env}{goals}, protocol {self.protocol[:12]}",
            "",
        ]
        lines.append(f"{'':<8}{'A %':>7}{'B %':>7}   {'A - B, points [95 %]':<24}{'only A':>7}{'only B':>8}")
        for kind, found in self.success.items():
            away = found.difference
            span = f"{100 * away.rate:+.1f} [{100 * away.low:+.1f}, {100 * away.high:+.1f}]"
            shares = f"{percent(found.first):>7}{percent(found.second):>7}"
            lines.append(f"{kind:<8}{shares}   {span:<24}{found.only_first:>7}{found.only_second:>8}")
        verdict = "A is not worse than B" if self.not_worse() else "A is not shown to be as good as B"
        rule = f"by {self.headline}, the headline: not worse is a lower end above -{100 * MARGIN:.0f} points"
        return "\n".join([*lines, "", f"{verdict} ({rule})."])


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> Comparison:
    """The paired difference of two results; tasks that are trivial count in neither.

    Where one row is of the first tasks of the other's list, they are compared on those.

    Raises:
        DataError: they are not of the same env, protocol and tasks.
    """
    shorter = min(first, second, key=lambda row: len(row["episodes"]))
    for key, old, new in _conditions(first, second):
        if old != new:
            raise DataError(f"the rows differ in {key} ({old!r:.70} and {new!r:.70}); expected two rows on the same tasks")
    protocol = shorter["protocol"]
    pairs = [(a, b) for a, b in zip(first["episodes"], second["episodes"], strict=False) if not a["trivial"]]
    kinds = sorted(KINDS, key=lambda kind: kind != protocol["headline"])
    success = {kind: _difference([(a[kind], b[kind]) for a, b in pairs]) for kind in kinds}
    names = (first["env"], protocol["split"], protocol["source"], protocol["hash"])
    return Comparison(*names, len(pairs), protocol["headline"], success)


def _conditions(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """What must be alike. The protocol names no env, and envs may share tasks: so the env counts too.

    A shorter list of tasks has hashes of its own; then all that a row says of each task must be alike.
    """
    settings = [(key, first[key], second[key]) for key in ("env", "env_options")]
    count = min(len(first["episodes"]), len(second["episodes"]))
    hashes = () if len(first["episodes"]) == len(second["episodes"]) else ("hash", "tasks_hash")
    protocol = [
        (f"protocol.{key}", value, second["protocol"].get(key)) for key, value in first["protocol"].items() if key not in hashes
    ]
    tasks, others = ([[line.get(key) for key in TASK] for line in row["episodes"][:count]] for row in (first, second))
    return [*settings, *protocol, ("tasks", tasks, others)]


def _difference(pairs: list[tuple[bool, bool]]) -> Difference:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    away = paired_difference(first, second)
    shares = (sum(first) / len(pairs), sum(second) / len(pairs))
    return Difference(*shares, away, pairs.count((True, False)), pairs.count((False, True)))
