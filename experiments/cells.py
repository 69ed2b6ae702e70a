"""What the pages' tables are made of: results files, and how a number is written."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from experiments import RESULTS

Summary = dict[str, Any]


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table in Markdown."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in (columns, *rows)]
    return [lines[0], "|" + "---|" * len(columns), *lines[1:]]


def rows_of(table: str) -> list[list[Any]]:
    """Of `experiments/results/TABLE.table.json`; none if it is not there."""
    path = RESULTS / f"{table}.table.json"
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def result(row: str) -> dict[str, Any]:
    """The content of `experiments/results/ROW.json`; empty if it is not there."""
    path = RESULTS / f"{row}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def share(rate: dict[str, float]) -> str:
    """A rate with its Wilson 95 % interval, in percent."""
    return f"{100 * rate['rate']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def between(numbers: Sequence[float], digits: int) -> str:
    """A difference with its interval."""
    rate, low, high = (f"{number:+.{digits}f}" for number in numbers)
    return f"{rate} [{low}, {high}]"


def number(value: float | None) -> str:
    """Three digits of it, or nothing."""
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def held(summary: Summary) -> list[object]:
    """Cells: hold, final, and of how many tasks."""
    success = summary["success"]
    return [share(success["hold"]), share(success["final"]), success["hold"]["n"]]


def pace(summary: Summary, digits: int = 1) -> str:
    """Cell: milliseconds per action, median / p90; nothing for who does not plan."""
    times = (summary["latency_ms"] or {}).get("per_action")
    return f"{times['p50']:.{digits}f} / {times['p90']:.{digits}f}" if times else ""
