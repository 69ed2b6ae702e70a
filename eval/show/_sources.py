"""What a report reads: result files and other tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagoal import files
from imagoal.errors import DataError
from imagoal.eval.episodes import load_result
from imagoal.eval.show._row import Row, parse_row

TABLE_SCHEMA = "imagoal.table/1"
OURS = ("imagoal.result/", "imagoal.table/")


@dataclass(frozen=True)
class Table:
    """Any other table: `columns`, and rows of as many cells."""

    env: str
    topic: str
    command: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def read_results(paths: Iterable[Path]) -> tuple[list[Row], list[Table]]:
    """All results and tables in files and folders; other JSON files in a folder are passed over.

    Raises:
        DataError: nothing is there, or a file is missing, damaged, edited or foreign.
    """
    rows: list[Row] = []
    tables: list[Table] = []
    for file, folder in _files(paths).items():
        if _schema(file).startswith("imagoal.table/"):
            tables.append(_table(file))
        else:
            rows.append(_row(file, folder))
    return rows, tables


def _files(paths: Iterable[Path]) -> dict[Path, str]:
    """Each file once, with the folder that it was found in."""
    found: dict[Path, str] = {}
    for path in paths:
        inside = sorted(file for file in path.rglob("*.json") if _schema(file).startswith(OURS)) if path.is_dir() else []
        if path.is_dir() and not inside:
            raise DataError(f"{path} holds no result file; make one with `imagoal eval`, or name another folder")
        for file in inside or [path]:
            found.setdefault(file.resolve(), str(path) if inside else "")
    return found


def _schema(path: Path) -> str:
    content = files.read_json(path)
    return str(content.get("schema", "")) if isinstance(content, dict) else ""


def _row(path: Path, folder: str) -> Row:
    result = load_result(path)
    try:
        return parse_row(path.parent.name if path.stem == "result" else path.stem, folder, result)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} lacks something of a result ({type(error).__name__} {error}); run its command again"
        ) from error


def _table(path: Path) -> Table:
    content = files.read_json(path)
    if content["schema"] != TABLE_SCHEMA:
        raise DataError(f"{path} is no table; expected schema {TABLE_SCHEMA!r}")
    columns, rows = content.get("columns"), content.get("rows")
    if not isinstance(columns, list) or not isinstance(rows, list) or not isinstance(content.get("command"), str):
        raise DataError(f"{path} lacks command, columns or rows; run what made it again")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise DataError(f"{path} row {number} is not a list of {len(columns)} cells; run what made it again")
    topic = path.name.removesuffix(".json").removesuffix(".table")
    return Table(path.parent.name, topic, content["command"], [str(column) for column in columns], rows)
