"""One row of a table: an agent on a list of tasks, continued where it was interrupted."""

import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from imagoal import files
from imagoal.agents import Agent
from imagoal.envs import GoalEnv, env_id, remake
from imagoal.errors import DataError, UsageError
from imagoal.eval.episodes._built import BuiltAgent, as_built
from imagoal.eval.episodes._result import ROLES, SCHEMA, SHARD_SCHEMA, assemble_result, load_result, provenance, row_subject
from imagoal.eval.episodes._run import EpisodeResult, run_tasks
from imagoal.eval.episodes._shard import Shard, assemble_shard
from imagoal.eval.episodes._summary import summarise
from imagoal.eval.tasks import SAMPLER, TaskList, choose_tasks, house_protocol
from imagoal.progress import Progress
from imagoal.world_model.disk import Run, open_run

Play = Callable[[Sequence[int]], list[EpisodeResult]]
"""Runs the tasks of these numbers side by side."""


@dataclass(frozen=True)
class RowSetting:
    """How a row is run, whatever acts in it."""

    batch: int = 1
    """Episodes side by side; latency is reported per batch, so that 1 is for rows whose latency counts."""
    shard: str = "1/1"
    """i/n runs every n-th task from the i-th, for `imagoal merge` to make one row of all n; 1/1 is the row itself."""
    role: str = "ablation"
    """headline, floor, ceiling, gap, baseline or ablation."""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise UsageError(f"role {self.role!r}; expected one of {', '.join(ROLES)}")
        if self.batch < 1:
            raise UsageError(f"batch = {self.batch}; expected at least 1")

    def check(self, agent: BuiltAgent, tasks: TaskList) -> None:
        """Refuse agents and tasks that such a row cannot be of.

        Raises:
            UsageError: several episodes at a time for a pace that allows one; a headline that the rules do not allow.
            DataError: a world model on the very data that it was trained on.
        """
        if self.batch > 1 and agent.pace.single:
            raise UsageError(f"batch = {self.batch} with {agent.pace.single}; expected 1, since that is for one plan at a time")
        precision = (agent.description["planner"] or {}).get("precision", "fp32")
        unlike = {
            f"a deadline of {agent.pace.deadline_ms} ms": agent.pace.deadline_ms is not None,
            f"precision {precision}": precision != "fp32",
            "goals from a dataset": tasks.origin != SAMPLER,
        }
        for what, holds in unlike.items():
            if holds and self.role == "headline":
                raise UsageError(f"role 'headline' with {what}; expected ablation, since such rows stand apart")
        if tasks.origin.whole and agent.hashes.get("data_hash") == tasks.origin.data_hash:
            raise DataError(
                "the world model was trained on the store that the goals are from; use held-out episodes, or another"
            )


def evaluate(
    agent: Agent,
    env: GoalEnv,
    tasks: str | TaskList = "dev",
    count: int = 0,
    run: str | Path | None = None,
    setting: RowSetting | None = None,
) -> dict[str, Any]:
    """Run an agent on tasks: success with intervals, latency with percentiles.

    Args:
        agent: from `make_agent`, or any object with `reset`, `act` and `privileged`.
        env: in which it acts; each episode has an env of its own like it.
        tasks: `dev` (to choose settings), `test` (to report), an .npz file, or a list.
        count: how many tasks, from the first; 0 for all.
        run: folder for `result.json` and what is needed to continue; what is finished is not run again. None keeps nothing.
        setting: how the row is run.

    Returns:
        The result, or the share of it that `setting.shard` asks for.

    Raises:
        UsageError: names or numbers that are wrong or do not go together; nothing was written.
        DataError: a file that is missing, damaged or foreign, or the folder is of another row.
        EnvError: the env cannot start, or the agent's actions are wrong.

    Example:
        >>> import imagoal
        >>> env = imagoal.make("ball")
        >>> agent = imagoal.make_agent("mpc", env)
        >>> result = imagoal.evaluate(agent, env, tasks="dev", count=2)
    """
    if run is None:
        with TemporaryDirectory() as nowhere:
            return evaluate(agent, env, tasks, count, nowhere, setting)
    setting, built, chosen = setting or RowSetting(), as_built(agent), choose_tasks(env, tasks)
    chosen = chosen.first(count) if count else chosen
    setting.check(built, chosen)
    return _row(built, env, chosen, Path(run), setting)


def _row(built: BuiltAgent, env: GoalEnv, tasks: TaskList, folder: Path, setting: RowSetting) -> dict[str, Any]:
    """The result in a folder, made or continued."""
    shard, protocol = Shard.parse(setting.shard), house_protocol(env, tasks)
    ids, about = shard.ids(len(tasks)), row_subject(protocol, env, setting.role, built.description)
    config: dict[str, Any] = {"env": env_id(env), "agent": built.description, "batch": setting.batch}
    config |= {"threads": torch.get_num_threads(), "role": setting.role} | _unusual(env, tasks, shard)
    parents = {"protocol": protocol.hash, **{key: value or "" for key, value in built.hashes.items()}}
    with open_run(folder, "eval", config, parents) as held:
        if held.done:
            print(f"{folder} is complete: nothing to do", file=sys.stderr)
            return load_result(folder / "result.json", SCHEMA if shard.whole else SHARD_SCHEMA)
        began, maker = time.perf_counter(), partial(remake, env)
        episodes = _episodes(lambda some: run_tasks(maker, built, tasks, some, protocol.steps), ids, setting.batch, held)
        seeds = {"training": built.description["training_seed"], "first_task": int(tasks.seeds[0])}
        origin = provenance(config, seeds, time.perf_counter() - began, device=built.device, **built.hashes)
        if shard.whole:
            summary = summarise(episodes, setting.batch, built.pace.replan_every, peak_mb())
            result = assemble_result(about, summary, episodes, origin)
        else:
            result = assemble_shard(about, shard, len(tasks), episodes, peak_mb(), origin)
        files.write_json(folder / "result.json", result)
        held.finish()
    return result


def _unusual(env: GoalEnv, tasks: TaskList, shard: Shard) -> dict[str, Any]:
    """What of the settings is not as in most rows."""
    options = {"env_options": env.options} if env.options else {}
    goals = {"goals": asdict(tasks.origin)} if tasks.origin != SAMPLER else {}
    return options | goals | ({} if shard.whole else {"shard": str(shard)})


def _episodes(play: Play, ids: Sequence[int], batch: int, run: Run) -> list[EpisodeResult]:
    """These episodes in order: those already in `episodes.jsonl`, and the others, each appended when it is done."""
    log = run.path / "episodes.jsonl"
    done = _finished(log)
    missing = [i for i in ids if i not in done]
    if done:
        print(f"{len(done)} of {len(ids)} episodes were already done", file=sys.stderr)
    with Progress("episodes", total=len(ids), done=len(done)) as progress:
        for begin in range(0, len(missing), batch):
            together = missing[begin : begin + batch]
            for episode in play(together):
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
