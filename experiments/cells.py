"""What the pages' tables share: how a results file is read, and how a rate is written."""

import json
from pathlib import Path
from typing import Any


def share(rate: dict[str, float]) -> str:
    """A rate with its Wilson 95 % interval, in percent."""
    return f"{100 * rate['rate']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def between(numbers: list[float], digits: int) -> str:
    """A difference with its interval."""
    rate, low, high = (f"{number:+.{digits}f}" for number in numbers)
    return f"{rate} [{low}, {high}]"


def load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))
