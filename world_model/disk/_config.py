"""Entries to JSON and back: `{"name": "mlp", "fields": {...}}`. Only built-in entries are resolved, unless trusted."""

import dataclasses
from typing import Any

from imagoal import find
from imagoal.errors import DataError, UsageError


def describe(kind: str, entry: Any) -> dict[str, Any]:
    """An entry (a frozen dataclass) by its name and fields."""
    return {"name": find.name_of(kind, type(entry)), "fields": dataclasses.asdict(entry)}


def restore(kind: str, description: dict[str, Any], trust: bool = False) -> Any:
    """The entry that a file describes.

    Args:
        kind: one of `find.KINDS`.
        description: from `describe`.
        trust: whether `package.module:Class`, which imports that package, is allowed.

    Raises:
        DataError: the name is unknown or foreign, or the fields do not fit.
    """
    name, fields = description["name"], description["fields"]
    if not isinstance(name, str):
        raise DataError(f"the file names {kind} {name!r}; expected a name")
    check_trust(kind, name, trust)
    try:
        return find.find(kind, name)(**fields)
    except (TypeError, UsageError) as error:
        raise DataError(
            f"the file describes {kind} {name!r} with {fields}: {error}; was it made by another version?"
        ) from error


def check_trust(kind: str, name: str, trust: bool) -> None:
    """Refuse a name found in a file that would import code from outside, unless trusted.

    Raises:
        DataError: it would.
    """
    if ":" in name and not trust:
        raise DataError(f"the file names {kind} {name!r}, which is not built in; --trust imports and runs it")
