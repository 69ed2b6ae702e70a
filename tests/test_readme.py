"""The README is run: its Python blocks, and its shell blocks but for the two that set the machine up."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SET_UP = {"scripts/demo\n", "scripts/test\n"}
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def run(command: list[str], folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


PYTHON = [code for language, code in BLOCKS if language == "python"]
SHELL = [code for language, code in BLOCKS if language == "sh" and code not in SET_UP]


def test_the_two_set_up_commands_stand_in_the_readme() -> None:
    assert {code for language, code in BLOCKS if language == "sh"} >= SET_UP


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_block(number: int, tmp_path: Path) -> None:
    run([sys.executable, "-W", "error", "-c", PYTHON[number]], tmp_path)


def test_shell_blocks(tmp_path: Path) -> None:
    """In order, in an empty folder, as a newcomer would run them."""
    for code in SHELL:
        run(["sh", "-euc", code], tmp_path)


def test_quick_demo_stands_in_for_the_demo(tmp_path: Path) -> None:
    run(["imagoal", "demo", "--quick", "--run", "demo"], tmp_path)
    folder = tmp_path / "demo-quick"
    assert (folder / "report.html").stat().st_size > 10_000
    assert (folder / "film/plan.webp").stat().st_size > 1_000
