"""Why it fails: an audit's six rows, each run by itself, continued and taken over, and what they say together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagoal import files
from imagoal.envs import GoalEnv
from imagoal.eval.episodes import (
    SCHEMA,
    AgentChoice,
    BuiltAgent,
    RowSetting,
    build,
    evaluate,
    load_result,
    provenance,
    row_subject,
)
from imagoal.eval.explain._audit_figure import figure
from imagoal.eval.explain._audit_gaps import Findings, audit_text, find_gaps, gap_table
from imagoal.eval.explain._audit_rows import ROWS, AuditSetting, choices, folder_name
from imagoal.eval.tasks import TaskList, choose_tasks, house_protocol

Result = Mapping[str, Any]

ROW = RowSetting(role="gap")


@dataclass(frozen=True)
class Audit:
    """What an audit has found so far.

    Attributes:
        rows: results by number.
        findings: of all six rows; None while one is missing.
        folder: where all of it is.
    """

    rows: Mapping[int, Result]
    findings: Findings | None
    folder: Path

    def __str__(self) -> str:
        """The rows, the gaps and the sentence, or which rows are missing."""
        if self.findings:
            return audit_text(self.findings)
        missing = " ".join(str(number) for number in ROWS if number not in self.rows)
        return (
            f"{len(self.rows)} of {len(ROWS)} rows are in {self.folder}; the same command with --rows {missing} runs the others"
        )


def audit(
    env: GoalEnv,
    world_model: str,
    tasks: str | TaskList = "dev",
    count: int = 100,
    run: str | Path = "runs/audit",
    setting: AuditSetting | None = None,
) -> Audit:
    """Say why a world model misses its goals: planner, specification, information, metric or model.

    Each of the six rows has a folder of its own below `run`. A row that is complete is not run again, and one that was
    interrupted is continued. A result of the same row that stands elsewhere is taken over: same env, tasks, agent to the last
    setting, and weights.

    Args:
        env: in which the rows are run.
        world_model: folder of a trained world model, or name of a shipped one.
        tasks: `dev`, `test`, an .npz file, or a list.
        count: how many tasks, from the first; 0 for all.
        run: folder of the audit; `audit.json` and `audit.svg` are written there when all six rows are done.
        setting: the search that all rows share, and which rows to run.

    Raises:
        UsageError, DataError, EnvError: as `evaluate`.

    Example:
        >>> import imagoal
        >>> setting = imagoal.AuditSetting(rows=(1,))
        >>> found = imagoal.audit(imagoal.make("ball"), "Ball-latent", count=2, run="audit", setting=setting)
    """
    setting, folder = setting or AuditSetting(), Path(run)
    found = run_rows(env, choices(world_model, setting), tasks, count, folder, setting)
    return Audit(found, conclude(found, folder) if len(found) == len(ROWS) else None, folder)


def run_rows(
    env: GoalEnv,
    asked: Mapping[int, AgentChoice],
    tasks: str | TaskList,
    count: int,
    folder: Path,
    setting: AuditSetting,
) -> dict[int, Result]:
    """Run the rows that the setting names, or continue them, and return all that are there now, as `audit` says."""
    others, found = list(_results(setting.have)), dict[int, Result]()
    for number, choice in asked.items():
        place = folder / folder_name(number)
        complete = (place / "result.json").exists()
        if not (others or complete or number in setting.rows):
            continue
        agent = build(choice, env)
        wanted = _identity(agent, env, tasks, count)
        taken = None if complete else next((result for result in others if wanted.has(result)), None)
        if taken is not None:
            found[number] = taken
        elif complete or number in setting.rows:
            found[number] = evaluate(agent, env, tasks, count, place, replace(ROW, batch=setting.batch))
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


def _identity(agent: BuiltAgent, env: GoalEnv, tasks: str | TaskList, count: int) -> Identity:
    chosen = choose_tasks(env, tasks)
    protocol = house_protocol(env, chosen.first(count) if count else chosen)
    return Identity(_about(row_subject(protocol, env, ROW.role, agent.description)), agent.hashes)


def _about(subject: Mapping[str, Any]) -> str:
    return files.hash_of([subject[key] for key in ABOUT])
