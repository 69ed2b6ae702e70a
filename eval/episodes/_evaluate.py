"""One row of a table: an agent on a list of tasks, continued where it was interrupted."""

import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from imagoal import files
from imagoal.envs import GoalEnv, env_id, make
from imagoal.errors import DataError, UsageError
from imagoal.eval.episodes._build import Built, Request, build
from imagoal.eval.episodes._result import ROLES, SCHEMA, SHARD_SCHEMA, assemble_result, load_result, provenance, row_subject
from imagoal.eval.episodes._run import EpisodeResult, run_tasks
from imagoal.eval.episodes._shard import Shard, assemble_shard
from imagoal.eval.episodes._summary import summarise
from imagoal.eval.tasks import SAMPLER, TaskList, choose_tasks, house_protocol
from imagoal.progress import Progress
from imagoal.world_model.disk import Run, open_run

WHOLE = Shard()
"""All tasks of a row."""


def evaluate(
    env_name: str,
    request: Request,
    tasks_name: str,
    count: int,
    batch: int,
    role: str,
    folder: Path,
    options: Mapping[str, str] | None = None,
    shard: Shard = WHOLE,
) -> dict[str, Any]:
    """Run a row, or a share of it, and write `result.json` into its folder; what is finished is not run again.

    Args:
        env_name: entry, id or class.
        request: the agent.
        tasks_name: `dev`, `test`, or a file.
        count: how many tasks, from the first; 0 for all.
        batch: episodes side by side; 1 for rows whose latency counts.
        role: of the row, see CONTRACTS.
        folder: of the run.
        options: of the env's constructor.
        shard: which share of the tasks; `merge` makes a row of all shares.

    Raises:
        UsageError: names or numbers that are wrong or do not go together; nothing was written.
        DataError: a file that is missing, damaged or foreign, or the folder is of another row.
        EnvError: the env cannot start, or the agent's actions are wrong.
    """
    if role not in ROLES:
        raise UsageError(f"role {role!r}; expected one of {', '.join(ROLES)}")
    if batch < 1 or (batch > 1 and (request.deadline_ms is not None or request.surprise)):
        raise UsageError(
            f"batch = {batch}; expected at least 1, and 1 with a deadline or surprise, which are for one plan at a time"
        )
    if role == "headline" and request.deadline_ms is not None:
        raise UsageError(f"role 'headline' with a deadline of {request.deadline_ms} ms; expected ablation")
    if role == "headline" and request.precision != "fp32":
        raise UsageError(f"role 'headline' with precision {request.precision}; expected ablation")
    env = make(env_name, options)
    tasks = choose_tasks(env, tasks_name)
    tasks = tasks.first(count) if count else tasks
    ids = shard.ids(len(tasks))
    built = build(request, env)
    _require_fair(tasks, role, built)
    protocol = house_protocol(env, tasks)
    config = {"env": env_id(env), "agent": built.description, "batch": batch, "threads": torch.get_num_threads(), "role": role}
    config |= _unusual(env, tasks, shard)
    parents = {"protocol": protocol.hash, **{key: value or "" for key, value in built.hashes.items()}}
    with open_run(folder, "eval", config, parents) as run:
        if run.done:
            print(f"{folder} is complete: nothing to do", file=sys.stderr)
            return load_result(folder / "result.json", SCHEMA if shard.whole else SHARD_SCHEMA)
        began = time.perf_counter()
        episodes = _episodes(partial(make, env_name, options), built, tasks, ids, protocol.steps, batch, run)
        seeds = {"training": built.description["training_seed"], "first_task": int(tasks.seeds[0])}
        origin = provenance(config, seeds, time.perf_counter() - began, device=request.device, **built.hashes)
        about = row_subject(protocol, env, role, built.description)
        if shard.whole:
            result = assemble_result(about, summarise(episodes, batch, request.replan_every, peak_mb()), episodes, origin)
        else:
            result = assemble_shard(about, shard, len(tasks), episodes, peak_mb(), origin)
        files.write_json(folder / "result.json", result)
        run.finish()
    return result


def _require_fair(tasks: TaskList, role: str, built: Built) -> None:
    """Insist that goals from data are unseen and give no headline."""
    if tasks.origin != SAMPLER and role == "headline":
        raise UsageError("role 'headline' with goals from a dataset; expected ablation, since such rows stand apart")
    if tasks.origin.whole and built.hashes.get("data_hash") == tasks.origin.data_hash:
        raise DataError("the world model was trained on the store that the goals are from; use held-out episodes, or another")


def _unusual(env: GoalEnv, tasks: TaskList, shard: Shard) -> dict[str, Any]:
    """What of the settings is not as in most rows."""
    options = {"env_options": env.options} if env.options else {}
    goals = {"goals": asdict(tasks.origin)} if tasks.origin != SAMPLER else {}
    return options | goals | ({} if shard.whole else {"shard": str(shard)})


def _episodes(
    env_maker: Callable[[], GoalEnv],
    built: Built,
    tasks: TaskList,
    ids: Sequence[int],
    steps: int,
    batch: int,
    run: Run,
) -> list[EpisodeResult]:
    """These episodes in order: those already in `episodes.jsonl`, and the others, each appended when it is done."""
    log = run.path / "episodes.jsonl"
    done = _finished(log)
    missing = [i for i in ids if i not in done]
    if done:
        print(f"{len(done)} of {len(ids)} episodes were already done", file=sys.stderr)
    with Progress("episodes", total=len(ids), done=len(done)) as progress:
        for begin in range(0, len(missing), batch):
            together = missing[begin : begin + batch]
            for episode in run_tasks(env_maker, built.agent, tasks, together, steps):
                files.append_line(log, asdict(episode))
                done[episode.id] = episode
            progress.advance(len(together), **_running(done))
    return [done[i] for i in ids]


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


def peak_mb() -> float:
    """The most memory that this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)
