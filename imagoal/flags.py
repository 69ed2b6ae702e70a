"""Command line to frozen dataclass, by tyro, with fields whose class is chosen by name, and groups without a prefix.

    planner: Annotated[Any, Named("planner", "cem")] = None
    pace: Flat[Pace] = field(default_factory=Pace)

The first becomes `--planner NAME`, and the fields of the class of that name become `--planner.FIELD`; the fields of the second
become flags of the command. A command with a method `preset(args)` has other defaults, field by field, which depend on some of
the arguments; its help shows them. For a field whose class is chosen, a preset holds values by the names of its fields,
of which every class takes those that it has.
"""

import argparse
import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro
from tyro import _errors as tyro_errors

from imagoal import find
from imagoal.errors import UsageError

Command = TypeVar("Command")
Group = TypeVar("Group")
Flat = Annotated[Group, tyro.conf.arg(name="", prefix_name=False)]
"""A group of flags that is a field of a command, and has no prefix."""


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
    marks = {name: mark for name, hint in hints.items() if (mark := _mark(hint))}
    asked, rest = _take(args, marks)
    defaults: dict[str, Any] = dict(getattr(command, "preset", lambda given: {})(args))
    for name, mark in marks.items():
        chosen = find.find(mark.kind, asked.get(name) or mark.default)
        defaults[name] = find.instance(mark.kind, chosen, defaults.get(name))
        hints[name] = Annotated[chosen, tyro.conf.arg(help=_choices(name, mark.kind, chosen))]
    specialised = _specialise(command, {name: (hints[name], value) for name, value in defaults.items()})

    def complain(event: tyro_errors.ParseErrorEvent) -> None:
        raise UsageError(f"{_said(event, specialised)}; see {prog} --help")

    with tyro_errors.on_parse_error(complain):
        return tyro.cli(specialised, args=rest, prog=prog)


def peek(args: Sequence[str], *names: str) -> dict[str, str]:
    """Values that the arguments give to these flags, before anything is parsed."""
    return _take(args, names)[0]


def _mark(hint: Any) -> Named | None:
    return next((mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Named)), None)


def _take(args: Sequence[str], names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What `--name VALUE` and `--name=VALUE` give, the last one counting, and the other arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        parser.add_argument(_flag(name), dest=name, default=None)
    try:
        found, rest = parser.parse_known_args(list(args))
    except argparse.ArgumentError as error:
        raise UsageError(f"{error.argument_name} needs a name") from error
    return {name: value for name, value in vars(found).items() if value is not None}, rest


def _specialise(command: type[Command], defaults: Mapping[str, tuple[Any, Any]]) -> type[Command]:
    """The same command with these types and defaults of fields."""
    if not defaults:
        return command
    annotations = {name: hint for name, (hint, _) in defaults.items()}
    body: dict[str, Any] = {"__annotations__": annotations, "__doc__": command.__doc__, "__module__": command.__module__}
    body |= {name: dataclasses.field(default=value) for name, (_, value) in defaults.items()}
    return dataclass(frozen=True)(type(command.__name__, (command,), body))


def _choices(name: str, kind: str, cls: type) -> str:
    """The help above the fields of a chosen class."""
    names = ", ".join(find.entries(kind))
    return f"{_flag(name)} NAME chooses: {names}, or package.module:Class. Fields of {find.name_of(kind, cls)}:"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _said(event: tyro_errors.ParseErrorEvent, command: type) -> str:
    """A complaint of tyro's in one line of ours: flag, value, what was expected."""
    match event:
        case tyro_errors.InvalidChoice(argument=argument, value=value, choices=choices):
            return f"{_title(argument)} is {value!r}; expected one of {', '.join(sorted(choices))}"
        case tyro_errors.BadValue(argument=argument):
            return f"{_title(argument)} has no value; expected one"
        case tyro_errors.UnrecognizedArgs(tokens=tokens):
            return f"unrecognised: {', '.join(tokens)}{_close(tokens, command)}"
        case tyro_errors.MissingArgs(missing_arguments=missing):
            return f"missing: {', '.join(_title(each.arg) for each in missing)}"
        case tyro_errors.InstantiationFailure(message=message, argument=argument):
            return _refused(message, argument)
    return f"wrong arguments ({type(event).__name__})"


def _title(argument: Any) -> str:
    return str(argument.lowered.name_or_flags[-1])


WANTED = {"INT": "a whole number", "FLOAT": "a number"}


def _refused(message: str, argument: Any) -> str:
    """A value that does not become what its flag holds; or what a dataclass says of its fields, as it is."""
    value = re.search(r"'(.*)'", message)
    if argument is None or value is None or not re.match("Error parsing|invalid literal|could not convert|no type", message):
        return " ".join(message.split())
    metavar = str(argument.lowered.metavar)
    return f"{_title(argument)} is {value[0]}; expected {WANTED.get(metavar, metavar)}"


def _close(tokens: Sequence[str], command: type) -> str:
    """Flags that may have been meant."""
    near = [difflib.get_close_matches(token, _flags(command), n=1, cutoff=0.8) for token in tokens if token.startswith("--")]
    found = [flag for flags in near for flag in flags if flag not in tokens]
    return f"; did you mean {', '.join(found)}?" if found else ""


def _flags(command: Any, prefix: str = "--") -> list[str]:
    """All flags of a dataclass: those of a field that is one too come after its name, unless it has none."""
    found: list[str] = []
    for name, hint in get_type_hints(command, include_extras=True).items():
        told = [mark.name for mark in getattr(hint, "__metadata__", ()) if getattr(mark, "name", None) is not None]
        flag, inner = prefix + (told or [name.replace("_", "-")])[0], getattr(hint, "__origin__", hint)
        found += _flags(inner, flag if flag.endswith("--") else f"{flag}.") if dataclasses.is_dataclass(inner) else [flag]
    return found
