"""Why it fails: an audit's six rows, each run by itself, continued and taken over, and what they say together."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagoal import files
from imagoal.envs import make
from imagoal.errors import UsageError
from imagoal.eval.episodes import SCHEMA, Request, build, evaluate, load_result, provenance, row_subject
from imagoal.eval.explain._audit_figure import figure
from imagoal.eval.explain._audit_gaps import Findings, find_gaps, gap_table
from imagoal.eval.explain._audit_rows import ROWS, folder_name
from imagoal.eval.tasks import choose_tasks, house_protocol

Result = Mapping[str, Any]

ROLE = "gap"


def run_rows(
    env_name: str,
    asked: Mapping[int, Request],
    tasks: str,
    count: int,
    batch: int,
    folder: Path,
    numbers: Collection[int] = tuple(ROWS),
    have: Sequence[Path] = (),
    options: Mapping[str, str] | None = None,
) -> dict[int, Result]:
    """Run rows of an audit, each in a folder of its own, and return all that are there now.

    A row that is complete is not run again, and one that was interrupted is continued. A result of the same row that
    stands elsewhere is taken over: same env, tasks, agent to the last setting, and weights.

    Args:
        env_name: entry, id or class.
        asked: from `_audit_rows.requests`.
        tasks: `dev`, `test`, or a file.
        count: how many tasks, from the first; 0 for all.
        batch: episodes side by side.
        folder: of the audit.
        numbers: of the rows to run.
        have: result files, or folders that hold some, to take rows over from.
        options: of the env's constructor.

    Raises:
        UsageError, DataError, EnvError: as `evaluate`; or there is no row of that number.
    """
    unknown = sorted(set(numbers) - set(ROWS))
    if unknown or not numbers:
        raise UsageError(f"rows {unknown or list(numbers)}; expected some of 1 to {len(ROWS)}")
    others = list(_results(have))
    found: dict[int, Result] = {}
    for number, request in asked.items():
        place = folder / folder_name(number)
        complete = (place / "result.json").exists()
        taken = None
        if others and not complete:
            wanted = _identity(env_name, request, tasks, count, options)
            taken = next((result for result in others if wanted.has(result)), None)
        if taken is not None:
            found[number] = taken
        elif complete or number in numbers:
            found[number] = evaluate(env_name, request, tasks, count, batch, ROLE, place, options)
    return found


def conclude(results: Mapping[int, Result], folder: Path) -> Findings:
    """Write `audit.json`, a table that a report shows too, and `audit.svg` from all six rows.

    Args:
        results: all six, by number.
        folder: of the audit.
    """
    findings = find_gaps(results)
    columns, rows = gap_table(findings)
    last = results[6]  # the row that the whole audit is about
    config = {key: last[key] for key in ("env", "env_options", "protocol", "agent")}
    hashes = {key: last["provenance"][key] for key in ("data_hash", "weights_hash")}
    origin = provenance(config, {}, sum(result["provenance"]["wall_s"] for result in results.values()), **hashes)
    sources = {str(number): results[number]["sha256"] for number in ROWS}
    table = {"schema": "imagoal.table/1", "command": origin.pop("command"), "columns": columns, "rows": rows}
    table |= {"sentence": findings.sentence, "results_sha256": sources, "provenance": origin}
    files.write_json(folder / "audit.json", table)
    files.write_text(folder / "audit.svg", figure(findings))
    return findings


def _results(paths: Sequence[Path]) -> Iterator[Result]:
    """All results in files and folders; other JSON files in a folder are passed over."""
    for path in paths:
        for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
            content = files.read_json(file)
            if not path.is_dir() or (isinstance(content, dict) and content.get("schema") == SCHEMA):
                yield load_result(file)


ABOUT = ("env", "env_options", "protocol", "agent")
"""What makes two results rows of the same kind; the role that they have in a table does not."""


@dataclass(frozen=True)
class Identity:
    """What a row is.

    Attributes:
        about: hash of env, tasks and agent.
        hashes: of data and weights.
    """

    about: str
    hashes: Mapping[str, str | None]

    def has(self, result: Result) -> bool:
        """Whether a result is of this row."""
        origin = result["provenance"]
        return _about(result) == self.about and all(origin.get(key) == value for key, value in self.hashes.items())


def _identity(env_name: str, request: Request, tasks_name: str, count: int, options: Mapping[str, str] | None) -> Identity:
    env = make(env_name, options)
    tasks = choose_tasks(env, tasks_name)
    built = build(request, env)
    protocol = house_protocol(env, tasks.first(count) if count else tasks)
    return Identity(_about(row_subject(protocol, env, ROLE, built.description)), built.hashes)


def _about(subject: Mapping[str, Any]) -> str:
    return files.hash_of([subject[key] for key in ABOUT])
