"""Command line to frozen dataclass, by tyro, with fields whose class is chosen by name.

    planner: Annotated[Any, Named("planner", "cem")] = None

becomes `--planner NAME`, and the fields of the class of that name become `--planner.FIELD`. A command with a method
`preset(args)` puts flags of its own before the user's, which win.
"""

import contextlib
import dataclasses
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

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
    marks = {
        name: mark for name, hint in hints.items() for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Named)
    }
    preset: Callable[[Sequence[str]], list[str]] = getattr(command, "preset", lambda given: [])
    rest = [*preset(args), *args]
    chosen = {name: find.find(mark.kind, _take(rest, name) or mark.default) for name, mark in marks.items()}
    specialised = _specialise(command, marks, chosen) if marks else command
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(specialised, args=rest, prog=prog)
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


def _specialise(command: type[Command], marks: dict[str, Named], chosen: dict[str, Any]) -> type[Command]:
    """The same command, its named fields typed and filled by the chosen classes."""
    body: dict[str, Any] = {"__annotations__": {}, "__doc__": command.__doc__, "__module__": command.__module__}
    for name, cls in chosen.items():
        body["__annotations__"][name] = Annotated[cls, tyro.conf.arg(help=_choices(name, marks[name].kind, cls))]
        body[name] = dataclasses.field(default=_default(marks[name].kind, cls))
    return dataclass(frozen=True)(type(command.__name__, (command,), body))


def _choices(name: str, kind: str, cls: type) -> str:
    """The help above the fields of a chosen class."""
    names = ", ".join(find.entries(kind))
    return f"--{name.replace('_', '-')} NAME chooses: {names}, or package.module:Class. Fields of {find.name_of(kind, cls)}:"


def _default(kind: str, cls: type) -> Any:
    """An entry with the values that it has by itself.

    Raises:
        UsageError: it is no dataclass, or a field has no default.
    """
    if not dataclasses.is_dataclass(cls):
        raise UsageError(f"{kind} {find.name_of(kind, cls)!r} is no dataclass, so it has no flags; make it a frozen dataclass")
    try:
        return cls()
    except TypeError as error:
        raise UsageError(f"{kind} {find.name_of(kind, cls)!r} needs a default for each field ({error})") from error


REWORDED = (
    (r"Error parsing (--\S+): invalid literal for int\(\) with base 10: ('.*?')", r"\1 is \2; expected a whole number"),
    (r"Error parsing (--\S+): could not convert string to float: ('.*?')", r"\1 is \2; expected a number"),
    (r"Error parsing (--\S+): no type matching (\S+) .*? from \[('.*?')\]\. Got errors:.*", r"\1 is \3; expected \2"),
    (r"Error parsing \w+: ", ""),
    (r"[Ii]nvalid choice ('.*?') for argument '(.*?)'\. Expected one of", r"\2 is \1; expected one of"),
    (r"Missing value for argument '(.*?)'\. Expected 1 values", r"\1 has no value; expected one"),
    (r"Unrecognized options:", "; unrecognised:"),
    (r"Perhaps you meant:", "; did you mean"),
    (r"Missing from .*?:", "missing:"),
)
"""tyro's words, and ours."""


def _flatten(box: str) -> str:
    """tyro's framed complaint as one line: without its title, and without the help that it repeats."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box).strip("\n")
    body = re.sub("[│╰╯]", " ", plain.partition("\n")[2])
    parts = re.split(r"^[ ─-]*[─-][ ─-]*$", body, flags=re.MULTILINE)
    said = [part for part in parts if not re.search(r"For full helptext|Argument helptext", part)]
    lines = [line for part in said for line in part.splitlines() if not line.startswith(10 * " ")]  # the help of a flag
    text = " ".join(" ".join(lines).split())
    for theirs, ours in REWORDED:
        text = re.sub(theirs, ours, text)
    text = re.sub(r"(?<=one of )\(.*\)", _sorted, text)
    return text.replace(" ;", ";").strip(";. ") or "wrong arguments"


def _sorted(choices: re.Match[str]) -> str:
    """tyro's choices, which come in any order: "('b', 'a')" as "a, b"."""
    return ", ".join(sorted(re.findall(r"'(.*?)'", choices[0])))
