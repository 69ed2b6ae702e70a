"""One row of a table: an agent on a list of tasks, continued where it was interrupted."""

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from imagoal import files
from imagoal.envs import env_id, make
from imagoal.errors import DataError, UsageError
from imagoal.eval import _result
from imagoal.eval._build import Built, Request, build
from imagoal.eval._run import EpisodeResult, house_protocol, run_tasks
from imagoal.eval._summary import summarise
from imagoal.eval._tasks import TaskList, choose
from imagoal.progress import Progress
from imagoal.world_model._run import Run, opened


def evaluate(
    env_name: str, request: Request, tasks_name: str, count: int, batch: int, role: str, folder: Path
) -> dict[str, Any]:
    """Run a row and write `result.json` into its folder; what an interrupted run has finished is not run again.

    Args:
        env_name: entry, id or class.
        request: the agent.
        tasks_name: `dev`, `test`, or a file.
        count: how many tasks, from the first; 0 for all.
        batch: episodes side by side; 1 for rows whose latency counts.
        role: of the row, see CONTRACTS.
        folder: of the run.

    Raises:
        UsageError: names or numbers that are wrong or do not go together; nothing was written.
        DataError: a file that is missing, damaged or foreign, or the folder is of another row.
        EnvError: the env cannot start, or the agent's actions are wrong.
    """
    if role not in _result.ROLES:
        raise UsageError(f"role {role!r}; expected one of {', '.join(_result.ROLES)}")
    if batch < 1:
        raise UsageError(f"batch = {batch}; expected at least 1")
    env = make(env_name)
    tasks = choose(env, tasks_name)
    tasks = tasks.first(count) if count else tasks
    built = build(request, env)
    protocol = house_protocol(env, tasks)
    config = {"env": env_id(env), "agent": built.description, "batch": batch, "threads": torch.get_num_threads(), "role": role}
    parents = {"protocol": protocol.hash, **{key: value or "" for key, value in built.hashes.items()}}
    with opened(folder, "eval", config, parents) as run:
        if run.done:
            print(f"{folder} is complete: nothing to do", file=sys.stderr)
            return _result.load(folder / "result.json")
        began = time.perf_counter()
        episodes = _episodes(env_name, built, tasks, protocol.steps, batch, run)
        summary = summarise(episodes, batch, request.replan_every, _peak_mb())
        seeds = {"training": built.description["training_seed"], "first_task": int(tasks.seeds[0])}
        origin = _result.provenance(config, seeds, time.perf_counter() - began, **built.hashes)
        result = _result.assemble(protocol, env_id(env), role, built.description, summary, episodes, origin)
        files.write_json(folder / "result.json", result)
        run.finish()
    return result


def _episodes(env_name: str, built: Built, tasks: TaskList, steps: int, batch: int, run: Run) -> list[EpisodeResult]:
    """All episodes in order: those already in `episodes.jsonl`, and the others, each appended when it is done."""
    log = run.path / "episodes.jsonl"
    done = _finished(log)
    missing = [i for i in range(len(tasks)) if i not in done]
    if done:
        print(f"{len(done)} of {len(tasks)} episodes were already done", file=sys.stderr)
    with Progress("episodes", total=len(tasks), done=len(done)) as progress:
        for begin in range(0, len(missing), batch):
            ids = missing[begin : begin + batch]
            for episode in run_tasks(lambda: make(env_name), built.agent, tasks, ids, steps):
                files.append_line(log, asdict(episode))
                done[episode.id] = episode
            progress.advance(len(ids), **_running(done))
    return [done[i] for i in range(len(tasks))]


def _finished(log: Path) -> dict[int, EpisodeResult]:
    """The episodes that a log holds, by id.

    Raises:
        DataError: a line is no episode.
    """
    try:
        return {line["id"]: EpisodeResult(**line) for line in files.read_lines(log)}
    except (TypeError, KeyError) as error:
        raise DataError(f"{log} holds a line that is no episode ({error}); restore it, or use another --run folder") from error


def _running(done: Mapping[int, EpisodeResult]) -> dict[str, float]:
    return {kind: sum(getattr(e, kind) for e in done.values()) / len(done) for kind in ("hold", "final")}


def _peak_mb() -> float:
    """The most memory that this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)
