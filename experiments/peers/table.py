"""The sums behind `peers.py`, and its tables as markdown; needs neither peers nor torch."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagoal import files
from imagoal.errors import DataError

SCHEMA = "imagoal.peers/1"
Row = Mapping[str, Any]


def gap(cost: float, idle: float, best: float) -> float:
    """How much of what the reference plan gains over doing nothing a plan of this cost misses: 0 as good, 1 as bad as idle.

    A plan without a finite cost is as bad as doing nothing.
    """
    return (cost - best) / (idle - best) if math.isfinite(cost) else 1.0


def choose(gaps: Sequence[float], times: Sequence[float], limit: float) -> int:
    """The fastest of the trials with a gap up to the limit; if there is none, the one with the least gap."""
    good = [i for i, each in enumerate(gaps) if each <= limit]
    return min(good, key=times.__getitem__) if good else min(range(len(gaps)), key=gaps.__getitem__)


def times_as_fast(base: Sequence[float], other: Sequence[float]) -> float:
    """Median over rounds of the time of `base` divided by that of `other` in the same round."""
    return statistics.median(mine / theirs for mine, theirs in zip(base, other, strict=True))


def quickest(rows: Sequence[Row], limit: float, ours: bool, again: bool) -> Row | None:
    """The fastest of our rows, or of theirs, whose gap is within the limit; those at a default setting do not compete.

    With `again`, the gap with other random numbers has to be within it too: the least of many trials is partly luck.
    """
    good = [row for row in rows if row["ours"] == ours and row["gap"] <= limit and not row["default"]]
    good = [row for row in good if row["gap_again"] <= limit or not again]
    return min(good, key=lambda row: row["ms"], default=None)


def headline(rows: Sequence[Row], limit: float, again: bool = False) -> dict[str, float | str | None]:
    """Who is fastest within the limit, how many times as fast as the default budget, and as the best peer."""
    mine, theirs = quickest(rows, limit, True, again), quickest(rows, limit, False, again)
    default = next(row["ms"] for row in rows if row["default"])
    return {
        "ours": mine and mine["planner"],
        "peer": theirs and theirs["planner"],
        "default_by_ours": default / mine["ms"] if mine else None,
        "default_by_peer": default / theirs["ms"] if theirs else None,
        "peer_by_ours": theirs["ms"] / mine["ms"] if mine and theirs else None,
    }


def load(path: Path) -> dict[str, Any]:
    """A results file.

    Raises:
        DataError: missing, or of another schema.
    """
    result = files.read_json(path)
    if not isinstance(result, dict) or result.get("schema") != SCHEMA:
        raise DataError(f"{path} is no file of {SCHEMA}; make it with scripts/bench-peers")
    return result


def markdown(result: Mapping[str, Any]) -> str:
    """All tables."""
    cold, warm = (quality_table(result, name) for name in ("cold", "warm"))
    notes = [f"{row['planner']}: {row['note']}." for row in result["quality"]["cold"] if row["note"]]
    parts = [hardware(result), *fixed_table(result), "", *overhead_table(result), "", *batching_table(result)]
    return "\n".join([*parts, "", *cold, "", *warm, "", " ".join(notes)])


def page(result: Mapping[str, Any]) -> str:
    """The tables as a page of the docs."""
    return (
        "# Planners side by side\n\n"
        "Made by `python -m experiments.book` from `experiments/results/peers/peers.json`, which `scripts/bench-peers`\n"
        "writes. Every trial of every planner stands there.\n\n"
        f"{markdown(result)}\n"
    )


def hardware(result: Mapping[str, Any]) -> str:
    peers = ", ".join(f"{name} {version}" for name, version in result["peers"].items())
    return f"{result['provenance']['hardware']}; one thread, CPU time, turn by turn in random order. Peers: {peers}.\n"


def fixed_table(result: Mapping[str, Any]) -> list[str]:
    lines = [
        f"Equal samples, plans of {result['horizon']} steps:",
        "",
        "| world model | samples x iterations | problems | planner | ms per plan "
        "| times as fast as stable-worldmodel's CEM | time / bare loop |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["fixed_budget"]:
        budget = f"{row['samples']} x {row['iterations']}"
        start = f"| {row['model']} | {budget} | {row['problems']} | {bold(row)} | {row['ms']:.1f} |"
        lines.append(f"{start} {row['against_swm_cem']:.2f} | {row['over_bare']:.2f} |")
    return lines


def overhead_table(result: Mapping[str, Any]) -> list[str]:
    lines = [
        "What a planner adds to its cost function, 64 x 5 on Ball-latent:",
        "",
        "| planner | ms per plan | time / bare loop of 64 x 5 | time / bare loop of what it asked for |",
        "|---|---|---|---|",
    ]
    for row in result["overhead"]:
        own = "" if row["over_own"] is None else f"{row['over_own']:.2f}"
        lines.append(f"| {bold(row)} | {row['ms']:.1f} | {row['over_bare']:.2f} | {own} |")
    return lines


def batching_table(result: Mapping[str, Any]) -> list[str]:
    lines = [
        "Eight problems side by side, 64 x 5 on Ball-latent:",
        "",
        "| planner | one by one, ms | together, ms | times as fast |",
        "|---|---|---|---|",
    ]
    for row in result["batching"]:
        lines.append(f"| {bold(row)} | {row['one_by_one_ms']:.1f} | {row['together_ms']:.1f} | {row['ratio']:.2f} |")
    return lines


def quality_table(result: Mapping[str, Any], name: str) -> list[str]:
    part, limit = result["quality"][name], result["limit"]
    titles = {"cold": "First plans, from nothing", "warm": "Replans, from the planner's own last plan"}
    times = f", each {result['draws']} times" if "draws" in result else ""
    lines = [
        f"{titles[name]}: each planner's fastest of {result['trials']} trials with a median gap of at most {100 * limit:g} % "
        f"on {result['tasks']} dev tasks{times}; timed again with other random numbers:",
        "",
        "| planner | setting | gap %, median | again, median / p90 | ms per plan | times as fast as 300 x 30 |",
        "|---|---|---|---|---|---|",
    ]
    default = next(row["ms"] for row in part if row["default"])
    for row in sorted(part, key=lambda row: (row["gap"] > limit, row["ms"])):
        missed = "" if row["gap"] <= limit else " (missed)"
        gaps = f"{100 * row['gap']:.2f}{missed} | {100 * row['gap_again']:.2f} / {100 * row['gap_again_p90']:.1f}"
        lines.append(f"| {bold(row)} | {words(row['setting'])} | {gaps} | {row['ms']:.1f} | {default / row['ms']:.1f} |")
    trials = sentence("within the limit in the trials", headline(part, limit))
    return [*lines, "", trials, sentence("within it both times", headline(part, limit, again=True))]


def sentence(where: str, found: Mapping[str, Any]) -> str:
    if found["ours"] is None or found["peer"] is None:
        missing = "none of ours" if found["ours"] is None else "no peer"
        return f"{where.capitalize()}: {missing}."
    return (
        f"Fastest of ours {where}: {found['ours']}, {found['default_by_ours']:.1f} times as fast as 300 x 30, and "
        f"{found['peer_by_ours']:.2f} times as fast as the fastest peer, {found['peer']}."
    )


def words(setting: Mapping[str, Any]) -> str:
    """A setting in a few words; what it does not use is left out."""
    steps = f" + {setting['descents']} of Adam" if setting["descents"] else ""
    names = {"std": "std", "temperature": "temperature", "lr": "lr", "correlation": "correlation"}
    rest = [f"{word} {setting[name]:g}" for name, word in names.items() if setting[name] is not None]
    return ", ".join([f"{setting['samples']} x {setting['iterations']}{steps}", *rest])


def bold(row: Row) -> str:
    return f"**{row['planner']}**" if row["ours"] else str(row["planner"])
