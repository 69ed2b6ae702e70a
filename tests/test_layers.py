"""Imports point downward only, and nobody imports the folders by their bare names."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ["envs", "world_model", "planning", "agents", "eval"]
LEAVES = {"imagoal.__version__", "imagoal.find", "imagoal.errors", "imagoal.files", "imagoal.progress"}
BELOW = {folder: set(ORDER[: level + 1]) for level, folder in enumerate(ORDER)}
SOURCES = [path for folder in ORDER for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write imagoal.{path.parent.name}..."
            module = node.module or ""
            found |= {f"{module}.{alias.name}" if module == "imagoal" else module for alias in node.names}
    return found


def house(modules: set[str]) -> set[str]:
    """The folders of the house among imported modules."""
    return {name.split(".")[1] for name in modules if name.startswith("imagoal.") and name not in LEAVES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    above = house(imports(path)) - BELOW[folder]
    assert not above, f"{folder} must not import {above}"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(ROOT / "envs")], ids=lambda path: path.name)
def test_envs_know_no_torch(path: Path) -> None:
    assert "torch" not in {name.split(".")[0] for name in imports(path)}


def test_planners_are_torch_alone() -> None:
    for path in sorted((ROOT / "planning").glob("*.py")):
        if path.name != "_goal_cost.py":
            assert house(imports(path)) <= {"planning"}, f"{path.name} must not know a world model"


def test_leaves_import_no_folder_of_the_house() -> None:
    for leaf in LEAVES:
        path = ROOT / "imagoal" / f"{leaf.split('.')[1]}.py"
        if path.exists():
            assert not house(imports(path)), f"{leaf} is a leaf"


def test_nobody_imports_bare_folders() -> None:
    for path in [*SOURCES, *sorted((ROOT / "imagoal").glob("*.py")), *sorted((ROOT / "tests").glob("*.py"))]:
        assert not {name.split(".")[0] for name in imports(path)} & set(ORDER), f"{path}: write imagoal.<folder>"


def test_no_utils() -> None:
    assert not [path for path in SOURCES if "util" in path.stem], "a utils module: give its contents a home"
