"""What is shipped: the wheel holds every file, the links are links, nothing is ignored or too large."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {name: name for name in ("agents", "envs", "eval", "planning", "world_model")}
FOLDERS["results"] = "experiments/results/rows"
"""Where each part of imagoal lies in the repository."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MB = 1_000_000

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="asks git, and this is no clone")


def git(*args: str, text: str | None = None) -> list[str]:
    found = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, input=text, check=False)
    assert found.returncode in {0, 1}, found.stderr  # 1: check-ignore found nothing
    return found.stdout.split("\0")[:-1]


@pytest.fixture(scope="module")
def listed() -> list[str]:
    """All files that git tracks or would track."""
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [name for name in names if os.path.lexists(ROOT / name)]


def shipped(listed: list[str]) -> dict[str, str]:
    """Where each shipped file is to be in the wheel: the folders become parts of imagoal, the links in it vanish."""
    own = {name: name for name in listed if name.startswith("imagoal/") and not (ROOT / name).is_symlink()}
    for part, folder in FOLDERS.items():
        own |= {name: f"imagoal/{part}{name.removeprefix(folder)}" for name in listed if name.startswith(f"{folder}/")}
    return own


@pytest.fixture(scope="module")
def wheel(listed: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in the wheel, built from a copy, since building leaves traces."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in [*shipped(listed), *(f"imagoal/{part}" for part in FOLDERS), "pyproject.toml", "README.md", "LICENSE"]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name, follow_symlinks=False)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(out),
        str(copy),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_holds_every_shipped_file_and_no_other(wheel: list[str], listed: list[str]) -> None:
    inside = {name for name in wheel if ".dist-info/" not in name}
    assert sorted(set(shipped(listed).values()) - inside) == []
    assert sorted(inside - set(shipped(listed).values())) == []


def test_the_wheel_holds_what_is_no_code(wheel: list[str]) -> None:
    assert {
        "imagoal/py.typed",
        "imagoal/eval/tasks/Ball-test.npz",
        "imagoal/results/Ball/oracle-s0.json",
    } <= set(wheel)
    assert len([name for name in wheel if name.endswith((".dist-info/METADATA", ".dist-info/licenses/LICENSE"))]) == 2


def test_nothing_but_imagoal_lands_at_the_top(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert len(tops) == 2
    assert all(re.fullmatch(r"imagoal|imagoal-[\d.]+\.dist-info", top) for top in tops)


def test_every_folder_with_an_init_is_a_package() -> None:
    names = {
        ".".join(["imagoal", part, *path.parent.relative_to(ROOT / folder).parts])
        for part, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == names | {"imagoal", "imagoal.commands"}
    assert PROJECT["tool"]["setuptools"]["package-dir"] == {f"imagoal.{part}": folder for part, folder in FOLDERS.items()}


def test_every_folder_with_code_has_an_init(listed: list[str]) -> None:
    folders = {str(Path(name).parent) for name in shipped(listed) if name.endswith(".py")}
    assert [folder for folder in folders if not (ROOT / folder / "__init__.py").exists()] == []


def test_the_links_are_relative_links_in_git() -> None:
    entries = [entry.split("\t") for entry in git("ls-files", "-z", "--stage", "imagoal")]
    links = {name: meta.split()[1] for meta, name in entries if meta.startswith("120000")}
    assert set(links) == {f"imagoal/{part}" for part in FOLDERS}
    for part, folder in FOLDERS.items():
        command = ["git", "cat-file", "blob", links[f"imagoal/{part}"]]
        target = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        assert target.stdout.decode() == f"../{folder}"


def test_git_ignores_nothing_that_is_shipped() -> None:
    files = [path for top in [*FOLDERS.values(), "imagoal/commands"] for path in (ROOT / top).rglob("*") if path.is_file()]
    files += [path for path in (ROOT / "imagoal").glob("*") if path.is_file()]
    names = [str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts]
    assert len(names) > 80
    assert git("check-ignore", "--no-index", "-z", "--stdin", text="\0".join(names)) == []


def test_the_repository_is_light(listed: list[str]) -> None:
    sizes = {name: (ROOT / name).lstat().st_size for name in listed}
    weights = {name: size for name, size in sizes.items() if name.startswith("world_model/weights/")}
    assert sum(sizes.values()) <= 60 * MB, sorted(sizes.items(), key=lambda item: -item[1])[:5]
    assert sum(weights.values()) <= 40 * MB
    assert not [name for name in listed if name.split("/")[0] in {"runs", "build", "dist", ".venv"}]


def test_every_dependency_is_pinned() -> None:
    def name_of(requirement: str) -> str:
        return re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("_", "-")

    pinned = {name_of(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = {name_of(requirement) for group in [PROJECT["project"]["dependencies"], *extras] for requirement in group}
    assert wanted - pinned == set()
