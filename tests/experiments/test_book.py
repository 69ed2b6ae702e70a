"""The book: every published table is that of its results, every result has a page and a command, every command is there."""

import re
from pathlib import Path

import pytest

from experiments import RESULTS, ROOT
from experiments.book import BLOCK, BOOK, PEERS, Entry, filled
from imagoal import find

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NAMED = re.compile(r"experiments/results/[\w/.*{},-]*[\w*}]")
TABLE = re.compile(r"^\|(?:---\|)+$", re.MULTILINE)


def label(entry: Entry) -> str:
    return f"{entry.page} {entry.table or entry.results}"


def alternatives(pattern: str) -> list[str]:
    """Braces written out."""
    found = re.fullmatch(r"(.*?)\{(.*?)\}(.*)", pattern)
    return [f"{found[1]}{part}{found[3]}" for part in found[2].split(",")] if found else [pattern]


@pytest.mark.parametrize("page", sorted({entry.page for entry in BOOK}))
def test_tables_are_those_of_the_committed_results(page: str) -> None:
    text = (ROOT / page).read_text()
    assert filled(page) == text, f"{page}: run python -m experiments.book"
    assert len(BLOCK.findall(text)) == text.count("<!-- end of table -->")


def test_every_table_of_a_page_stands_once_in_the_book() -> None:
    shown = [(str(page.relative_to(ROOT)), name) for page in PAGES for _, name, _ in BLOCK.findall(page.read_text())]
    assert sorted(shown) == sorted((entry.page, entry.table) for entry in BOOK if entry.table)
    assert all(bool(entry.table) == bool(entry.make) for entry in BOOK)


@pytest.mark.parametrize("page", [page for page in PAGES if page != ROOT / PEERS], ids=lambda page: page.name)
def test_no_table_with_numbers_is_written_by_hand(page: Path) -> None:
    for table in TABLE.finditer(BLOCK.sub("", page.read_text())):
        rows = page.read_text()[table.end() :].split("\n\n")[0]
        assert not re.search(r"\|\s*\**\d+(?:\.\d+)?\**\s*\|", rows), f"{page.name}: a table that no results file makes: {rows}"


@pytest.mark.parametrize("entry", BOOK, ids=label)
def test_its_results_are_there(entry: Entry) -> None:
    for pattern in entry.results.split():
        assert list(RESULTS.glob(pattern)), f"{entry.page}: no results file is called {pattern}"


def test_every_results_file_is_published() -> None:
    listed = {path for entry in BOOK for pattern in entry.results.split() for path in RESULTS.glob(pattern)}
    assert set(RESULTS.rglob("*.json")) - listed == set()


@pytest.mark.parametrize("entry", BOOK, ids=label)
def test_its_command_is_there(entry: Entry) -> None:
    program, *words = entry.command.split()
    if program == "imagoal":
        assert words[0] in find.entries("command")
    elif program == "python":
        assert (ROOT / f"{words[1].replace('.', '/')}.py").exists()
    else:
        script = ROOT / program
        assert script.stat().st_mode & 0o100, f"{program} cannot be run"
        assert all(re.search(rf"^{word}\(\)|\b{word}\b", script.read_text(), re.MULTILINE) for word in words)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    for name in NAMED.findall(page.read_text()):
        for pattern in alternatives(name):
            assert list(ROOT.glob(pattern)), f"{page.name} names {pattern}, which is not there"
    for name in re.findall(r"experiments/(?!results)[\w/]+(?:\.py)?", page.read_text()):
        assert (ROOT / name).exists(), f"{page.name} names {name}, which is not there"
    for name in re.findall(r"python -m (experiments[\w.]+\w)", page.read_text()):
        assert (ROOT / f"{name.replace('.', '/')}.py").exists(), f"{page.name} names {name}, which is not there"
