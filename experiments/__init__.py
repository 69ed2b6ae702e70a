"""What the published numbers come from: `python -m experiments.FOLDER.SCRIPT`, from the root of the repository."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments/results"
ROWS = RESULTS / "rows"
"""Results and tables of each env, which ship with imagoal."""


def publish(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], settings: Mapping[str, Any]) -> None:
    """Write `experiments/results/TABLE.table.json`, and show it."""
    from imagoal.eval.episodes import write_table

    write_table(RESULTS / f"{table}.table.json", columns, rows, settings)
    for row in [columns, *rows]:
        print("  ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row), flush=True)


def pairs(words: Iterable[str]) -> dict[str, str]:
    """Arguments of the form NAME=VALUE."""
    return dict(word.split("=", 1) for word in words)
