"""Imports point down between packages and between rooms, never in a circle, and only at faces or at one's own privates."""

import ast
import graphlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ["envs", "world_model", "planning", "agents", "eval"]
ROOMS = {
    "envs": ["arm", "store", "check"],
    "world_model": ["disk", "readouts", "training", "objectives", "predictors", "encoders", "models"],
    "eval": ["tasks", "episodes", "latency", "explain", "show"],
}
"""From the bottom up. A package's own files lie below its rooms, but for entries, which may use them."""
LEAVES = {"imagoal.find", "imagoal.errors", "imagoal.files", "imagoal.progress", "imagoal.version"}
BELOW = {folder: set(ORDER[: level + 1]) for level, folder in enumerate(ORDER)}


def listed() -> list[Path]:
    """All Python files that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = found.stdout.split("\0")[:-1] or [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py")]
    return sorted(path for path in map(Path, names) if (ROOT / path).exists() and path.parts[0] != ".venv")


FILES = listed()
SOURCES = [path for path in FILES if path.parts[0] in ORDER]


def module(path: Path) -> str:
    """The dotted name of a file; `imagoal.envs` for its `__init__.py`; a test's is that of what it mirrors."""
    parts = path.with_suffix("").parts
    parts = parts[1:] if parts[0] == "tests" else parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[:1] == ("imagoal",) else ("imagoal", *parts))


MODULES = {module(path) for path in FILES if path.parts[0] in {*ORDER, "imagoal"}}


def imports(path: Path) -> Iterator[str]:
    """Dotted names that a file imports: of a module where there is one of that name, else with the name taken from it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write imagoal.{path.parent.name}..."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def owner(name: str) -> str:
    """The module that an imported name is, or is taken from."""
    return name if name in MODULES else name.rpartition(".")[0]


def packages(path: Path) -> set[str]:
    """The packages of the house that a file imports from."""
    ours = {owner(name) for name in imports(path) if name.partition(".")[0] == "imagoal"}
    return {name.split(".")[1] for name in ours - LEAVES}


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_point_down_between_packages(path: Path) -> None:
    above = packages(path) - BELOW[path.parts[0]]
    assert not above, f"{path.parts[0]} must not import {above}"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parts[0] in ROOMS], ids=str)
def test_imports_point_down_between_rooms(path: Path) -> None:
    """An entry at the top of a package stands above its rooms, a private file below, and the face shows what it likes."""
    folder, order = path.parts[0], ROOMS[path.parts[0]]
    room = path.parts[1] if len(path.parts) > 2 else None
    if room is None and not path.name.startswith("_"):
        return
    allowed = {"imagoal", *order[: order.index(room) + 1]} if room else set()
    for name in imports(path):
        parts = owner(name).split(".")
        if parts[:2] == ["imagoal", folder] and len(parts) > 2 and parts[2] in order and path.name != "__init__.py":
            assert parts[2] in allowed, f"{path} must not import {name}: {parts[2]} lies above"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_private_name_is_imported_from_elsewhere(path: Path) -> None:
    """`x._y` is of x alone, and of the tests that mirror x."""
    home = module(path).split(".") if path.name == "__init__.py" else module(path).split(".")[:-1]
    for name in imports(path):
        parts = name.split(".")
        private = next((place for place, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")), None)
        if parts[0] == "imagoal" and private is not None:
            assert home[:private] == parts[:private], (
                f"{path} imports {name}; take it from the face of {'.'.join(parts[:private])}"
            )


def test_there_is_no_import_in_a_circle() -> None:
    files = [path for path in FILES if path.parts[0] in {*ORDER, "imagoal"}]
    graph = {module(path): {owner(name) for name in imports(path)} & MODULES - {module(path)} for path in files}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parts[0] == "envs"], ids=str)
def test_envs_know_no_torch(path: Path) -> None:
    assert "torch" not in {name.split(".")[0] for name in imports(path)}


def test_planners_are_torch_alone() -> None:
    for path in (path for path in SOURCES if path.parts[0] == "planning"):
        if path.name not in {"_goal_cost.py", "__init__.py"}:
            assert packages(path) <= {"planning"}, f"{path.name} must not know a world model"


def test_leaves_import_no_package_of_the_house() -> None:
    for leaf in LEAVES:
        assert not packages(Path("imagoal") / f"{leaf.split('.')[1]}.py"), f"{leaf} is a leaf"


def test_every_room_is_in_the_order() -> None:
    found = {(path.parts[0], path.parts[1]) for path in SOURCES if len(path.parts) > 2}
    assert found == {(folder, room) for folder, rooms in ROOMS.items() for room in rooms}


def test_nobody_imports_bare_folders() -> None:
    for path in FILES:
        if path.parts[0] in {*ORDER, "imagoal", "tests"}:
            assert not {name.split(".")[0] for name in imports(path)} & set(ORDER), f"{path}: write imagoal.<folder>"


def test_no_utils() -> None:
    assert not [path for path in FILES if "util" in path.stem], "a utils module: give its contents a home"
