"""Names to classes: read, not imported; close names; classes from outside; files that break the rule."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from imagoal import find
from imagoal.errors import UsageError


class Mine:
    """A class from outside."""

    class Inner:
        """One inside another."""


THERE = {
    "env": {"ball", "ball_gravity", "ball_gust"},
    "agent": {"mpc", "no_op", "random_actions", "scripted"},
    "planner": {"cem", "gradient", "icem", "icem_adam", "mppi", "random_shooting"},
    "world-model": {"latent", "simulator"},
    "encoder": {"effnet_lite0", "patch_conv"},
    "objective": {"naive", "sigreg", "vicreg"},
    "predictor": {"mlp", "transformer"},
    "command": {"collect", "data", "eval", "list", "plan", "pretrain", "report", "train"},
}


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of somebody else's."""
    module = ModuleType("somebody")
    module.Mine, module.number = Mine, 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "somebody", module)
    return "somebody"


@pytest.mark.parametrize("kind", list(find.KINDS))
def test_every_file_without_underscore_is_an_entry(kind: str) -> None:
    found = find.entries(kind)
    files = {path.stem for path in find.folder(find.KINDS[kind]).glob("*.py") if not path.name.startswith("_")}
    assert set(found) == files
    assert set(found) >= THERE[kind]
    assert list(found) == sorted(found)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in find.KINDS for name in find.entries(kind)])
def test_every_entry_loads_its_class_and_has_a_line_to_say(kind: str, name: str) -> None:
    entry = find.entries(kind)[name]
    assert entry.load().__name__ == entry.class_name
    assert entry.class_name.lower() == name.replace("_", "")
    assert 10 < len(entry.summary) < 130
    assert find.find(kind, name) is entry.load()
    assert find.name_of(kind, entry.load()) == name


def test_names_are_read_without_importing_anything() -> None:
    code = (
        "import sys; from imagoal import find; names = [name for kind in find.KINDS for name in find.entries(kind)];"
        "print(sorted({'torch', 'numpy', 'gymnasium', 'tyro', 'rich'} & set(sys.modules)), len(names))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("[] ")
    assert int(said.split()[-1]) > 20


def test_constants_are_read_too() -> None:
    assert find.entries("env")["ball"].constants["max_episode_steps"] == 40
    assert find.entries("env")["ball_gust"].constants["version"] == 0


@pytest.mark.parametrize("name", ["ball_gravity", "ball-gravity", "Ball_Gravity"])
def test_case_and_hyphens_do_not_matter(name: str) -> None:
    assert find.find("env", name).__name__ == "BallGravity"


def test_a_close_name_is_suggested_and_all_are_listed() -> None:
    with pytest.raises(UsageError) as refused:
        find.find("planner", "cme")
    names = ", ".join(find.entries("planner"))
    assert str(refused.value) == f"no planner 'cme'; did you mean 'cem'? there are: {names}; or package.module:Class"
    with pytest.raises(UsageError) as refused:
        find.find("planner", "annealing")
    assert "did you mean" not in str(refused.value)
    with pytest.raises(UsageError, match="no kind 'planners'; there are: command, env, agent"):
        find.entries("planners")


def test_a_class_from_outside_is_imported_by_its_name(outside: str) -> None:
    assert find.find("planner", f"{outside}:Mine") is Mine
    assert find.find("planner", f"{outside}:Mine.Inner") is Mine.Inner
    assert find.find("planner", "imagoal.planning.cem:CEM") is find.find("planner", "cem")


def test_the_name_of_a_class_from_outside_finds_it_again(outside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Mine, Mine.Inner):
        monkeypatch.setattr(cls, "__module__", outside)
        assert find.find("planner", find.name_of("planner", cls)) is cls


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "nowhere.at.all:X",
            "cannot be imported .ModuleNotFoundError: No module named 'nowhere'.; expected package.module:Class",
        ),
        ("somebody:Nobody", "cannot be imported .AttributeError"),
        ("somebody:", "cannot be imported"),
        (":Mine", "cannot be imported .ValueError"),
        (".relative:Mine", "cannot be imported .TypeError"),
        ("somebody:number", "is a int; expected a class"),
        ("os:path", "is a module; expected a class"),
    ],
)
def test_what_cannot_be_imported_is_refused(outside: str, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"agent {name!r} {words}"):
        find.find("agent", name)


def test_a_module_that_breaks_when_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "breaks.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"env 'breaks:X' cannot be imported \(RuntimeError: no licence\)"):
        find.find("env", "breaks:X")


def test_a_file_without_a_class_named_like_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "folder", lambda package: tmp_path)
    (tmp_path / "_machinery.py").write_text("x = 1\n")
    (tmp_path / "my_planner.py").write_text('class MYPlanner:\n    """Mine."""\n    horizon: int = 3\n')
    find.entries.cache_clear()
    try:
        found = find.entries("planner")
        assert list(found) == ["my_planner"]
        assert (found["my_planner"].summary, found["my_planner"].constants) == ("Mine.", {"horizon": 3})
        find.entries.cache_clear()
        (tmp_path / "other.py").write_text("class Another:\n    pass\n")
        with pytest.raises(UsageError, match=r"other\.py must define a class named like the file"):
            find.entries("planner")
    finally:
        find.entries.cache_clear()
