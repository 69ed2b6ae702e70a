"""Command line to frozen dataclass, by tyro, with fields whose class is chosen by name.

    planner: Annotated[Any, Named("planner", "cem")] = None

becomes `--planner NAME`, and the fields of the class of that name become `--planner.FIELD`.
"""

import contextlib
import dataclasses
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

import tyro

from imagoal import find
from imagoal.errors import UsageError

Command = TypeVar("Command")


@dataclass(frozen=True)
class Named:
    """Marks a field that holds an entry of `kind`: a frozen dataclass, configured by flags of its own."""

    kind: str
    default: str


def parse(command: type[Command], args: Sequence[str], prog: str) -> Command:
    """The command that these arguments describe.

    Raises:
        UsageError: an unknown flag or name, or a value that a dataclass refuses; one line.
    """
    hints = get_type_hints(command, include_extras=True)
    named = {
        name: mark for name, hint in hints.items() for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Named)
    }
    rest = list(args)
    chosen = {name: find.find(mark.kind, _take(rest, name) or mark.default) for name, mark in named.items()}
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(_specialise(command, chosen), args=rest, prog=prog)
    except SystemExit as stop:
        if stop.code in {0, None}:
            raise
        raise UsageError(f"{_flatten(complaint.getvalue())}; see {prog} --help") from None


def _take(args: list[str], name: str) -> str | None:
    """Remove `--name VALUE` or `--name=VALUE` from the arguments and return the value."""
    flag = f"--{name.replace('_', '-')}"
    for place, arg in enumerate(args):
        if arg.startswith(f"{flag}="):
            return args.pop(place).partition("=")[2]
        if arg == flag:
            if place + 1 == len(args):
                raise UsageError(f"{flag} needs a name")
            args.pop(place)
            return args.pop(place)
    return None


def _specialise(command: type[Command], chosen: dict[str, Any]) -> type[Command]:
    """The same command, its named fields typed and filled by the chosen classes."""
    if not chosen:
        return command
    body: dict[str, Any] = {name: dataclasses.field(default=cls()) for name, cls in chosen.items()}
    body |= {"__annotations__": dict(chosen), "__doc__": command.__doc__, "__module__": command.__module__}
    return dataclass(frozen=True)(type(command.__name__, (command,), body))


def _flatten(box: str) -> str:
    """tyro's framed complaint as one line."""
    words = re.sub(r"[│╭╮╰╯─┌┐└┘]+|\x1b\[[0-9;]*m", " ", box)
    words = re.sub(r"For full helptext.*", "", words, flags=re.DOTALL)
    return " ".join(words.split()).rstrip(". ") or "wrong arguments"
