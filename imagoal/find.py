"""Names to classes: what can be named on the command line, found by reading source without importing it.

In the folders below, a file without underscore is an entry: `planning/cem.py` holds `CEM`, and `--planner cem` names it.
`package.module:Class` names a class of yours. Adding an entry is adding one file.
"""

import ast
import difflib
import importlib
import importlib.util
import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imagoal.errors import UsageError

KINDS = {
    "command": "commands",
    "env": "envs",
    "agent": "agents",
    "planner": "planning",
    "world-model": "world_model.models",
    "encoder": "world_model.encoders",
    "objective": "world_model.objectives",
    "predictor": "world_model.predictors",
}


@dataclass(frozen=True)
class Entry:
    """One thing that can be named.

    Attributes:
        kind: one of `KINDS`.
        name: the file's name, e.g. `ball_gravity`.
        module: dotted path, e.g. `imagoal.envs.ball_gravity`.
        class_name: the class in that file that is named like it, e.g. `BallGravity`.
        summary: first line of the class docstring.
        constants: annotated class attributes that are plain constants, e.g. `{"max_episode_steps": 40}`.
    """

    kind: str
    name: str
    module: str
    class_name: str
    summary: str
    constants: dict[str, Any]

    def load(self) -> Any:
        """Import the file and return its class."""
        return getattr(importlib.import_module(self.module), self.class_name)


def folder(package: str) -> Path:
    """The folder of `imagoal.<package>`, found without importing that package."""
    top, *below = package.split(".")
    if top == "commands":
        return Path(__file__).parent / "commands"
    spec = importlib.util.find_spec(f"imagoal.{top}")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"imagoal.{top} is not installed; reinstall imagoal")
    return Path(spec.submodule_search_locations[0]).joinpath(*below)


@cache
def entries(kind: str) -> dict[str, Entry]:
    """All entries of a kind, by name, in alphabetical order."""
    if kind not in KINDS:
        raise UsageError(f"no kind {kind!r}; there are: {', '.join(KINDS)}")
    files = sorted(path for path in folder(KINDS[kind]).glob("*.py") if not path.name.startswith("_"))
    return {path.stem: _read(kind, path) for path in files}


def find(kind: str, name: str) -> Any:
    """The class that `name` stands for: an entry of the kind, or `package.module:Class`.

    Raises:
        UsageError: nothing has that name; the message suggests close ones.
    """
    if ":" in name:
        return _outside(kind, name)
    found = entries(kind).get(name.replace("-", "_").lower())
    if found is None:
        close = difflib.get_close_matches(name.lower(), entries(kind), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(f"no {kind} {name!r}; {hint}there are: {', '.join(entries(kind))}; or package.module:Class")
    return found.load()


def instance(kind: str, cls: type, values: Mapping[str, Any] | None = None) -> Any:
    """An entry with its own defaults, but for these values, of which it takes those that it has a field for.

    Raises:
        UsageError: it is no dataclass, a field has no default, or it refuses a value.
    """
    name = name_of(kind, cls)
    if not is_dataclass(cls):
        raise UsageError(f"{kind} {name!r} is no dataclass, so it has no flags; make it a frozen dataclass")
    names = {field.name for field in fields(cls) if field.init}
    try:
        return cls(**{field: value for field, value in (values or {}).items() if field in names})
    except TypeError as error:
        raise UsageError(f"{kind} {name!r} needs a default for each field ({error})") from error


def name_of(kind: str, cls: type) -> str:
    """The name under which `find` gives this class: an entry's name, or `package.module:Class`."""
    for entry in entries(kind).values():
        if (entry.module, entry.class_name) == (cls.__module__, cls.__name__):
            return entry.name
    return f"{cls.__module__}:{cls.__qualname__}"


def _outside(kind: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        found = operator.attrgetter(attribute)(importlib.import_module(module))
    except Exception as error:  # a module of somebody else's may raise anything
        why = f"{type(error).__name__}: {error}"
        raise UsageError(f"{kind} {name!r} cannot be imported ({why}); expected package.module:Class") from error
    if not isinstance(found, type):
        raise UsageError(f"{kind} {name!r} is a {type(found).__name__}; expected a class")
    return found


def _read(kind: str, path: Path) -> Entry:
    wanted = path.stem.replace("_", "")
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name.lower() == wanted:
            summary = (ast.get_docstring(node) or "").partition("\n")[0]
            module = f"imagoal.{KINDS[kind]}.{path.stem}"
            return Entry(kind, path.stem, module, node.name, summary, _constants(node))
    raise UsageError(f"{path} must define a class named like the file (any case, without underscores)")


def _constants(node: ast.ClassDef) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(line.value, ast.Constant):
            found[line.target.id] = line.value.value
    return found
