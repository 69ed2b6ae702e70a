"""Plans under the clock, where they are made: in real episodes, one after another, the settings in turn."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from imagoal.agents import Agent, Decision, Planning
from imagoal.envs import GoalEnv, remake
from imagoal.errors import UsageError
from imagoal.eval.episodes import BuiltAgent, run_tasks
from imagoal.eval.latency._machine import Gemm, cpu_clock
from imagoal.eval.tasks import TaskList, choose_tasks
from imagoal.progress import Progress
from imagoal.world_model import Observation


@dataclass(frozen=True)
class Timing:
    """What is timed."""

    plans: int = 662
    """Warm plans of each row; p90 is given from 64 up, p99 from 662."""
    batches: tuple[int, ...] = (1, 8)
    """Problems side by side."""
    threads: tuple[int, ...] = (1,)
    """CPU threads."""
    seed: int = 0
    """Of the order in which rows take turns."""

    def __post_init__(self) -> None:
        for field, low in (("plans", 1), ("seed", 0)):
            if getattr(self, field) < low:
                raise UsageError(f"{field} = {getattr(self, field)}; expected at least {low}")
        for field in ("batches", "threads"):
            found = getattr(self, field)
            if not found or min(found) < 1 or len(set(found)) < len(found):
                raise UsageError(f"{field} = {', '.join(map(str, found))}; expected different numbers, each at least 1")


@dataclass(frozen=True)
class Variant:
    """A row: B problems side by side on so many threads."""

    batch: int
    threads: int


@dataclass(frozen=True)
class Subject:
    """Whose plans are timed, and where.

    Attributes:
        env_maker: of the episodes' envs.
        env: the agent's own.
        tasks: the episodes.
        agent: made anew for each row, by `agent(env, planning)`.
        planning: what it plans with.
        description: the `agent` of a result.
        hashes: of data and weights.
        steps: env steps of an episode.
    """

    env_maker: Callable[[], GoalEnv]
    env: GoalEnv
    tasks: TaskList
    agent: Callable[[GoalEnv, Planning], Agent]
    planning: Planning
    description: Mapping[str, Any]
    hashes: Mapping[str, str | None]
    steps: int

    def play(self, agent: Agent, ids: Sequence[int], steps: int) -> None:
        """Let an agent go through the first steps of these tasks, side by side; numbers past the last begin anew."""
        run_tasks(self.env_maker, agent, self.tasks, [i % len(self.tasks) for i in ids], steps)


def bench_subject(built: BuiltAgent, env: GoalEnv, tasks: str | TaskList) -> Subject:
    """An agent, its env and its tasks, as what is timed.

    Raises:
        UsageError: an agent that does not plan, or no such tasks.
        DataError: a file that is missing, damaged or foreign.
    """
    if built.planning is None:
        name = built.description["name"]
        raise UsageError(f"agent {name} makes no plans, so there is nothing to time; use one that does, e.g. mpc")
    agent: Any = type(built.agent)
    chosen, described = choose_tasks(env, tasks), (built.description, built.hashes)
    return Subject(partial(remake, env), env, chosen, agent, built.planning, *described, env.max_episode_steps)


@dataclass(frozen=True)
class Timed:
    """One plan, of B problems; milliseconds.

    Attributes:
        wall: from the frame to the plan.
        cpu: that this took of all CPUs.
        phases: of `wall`: encode, rollout, refit.
        iterations: of the search.
        ended: when, by `time.perf_counter`, in seconds.
        kept: how often it was kept.
        checks_wall: of the checks by which it was; so `checks_cpu`.
    """

    wall: float
    cpu: float
    phases: Mapping[str, float]
    iterations: int
    ended: float
    kept: int = 0
    checks_wall: float = 0.0
    checks_cpu: float = 0.0


class Clocked:
    """An agent whose plans are timed."""

    def __init__(self, agent: Agent, threads: int) -> None:
        self._agent, self._cpu = agent, cpu_clock(threads)
        self.privileged = agent.privileged
        self.plans: list[Timed] = []

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        """Begin B episodes."""
        self._agent.reset(goal, seeds)

    def act(self, now: Observation) -> Decision:
        """What the agent does; if it plans anew, or looks whether to keep a plan, that is timed."""
        began = self._cpu()
        decision = self._agent.act(now)
        cpu, plan, times = 1000 * (self._cpu() - began), decision.plan, decision.milliseconds
        if plan is not None:
            phases = {phase: times[phase] for phase in ("encode", "rollout", "refit")}
            self.plans.append(Timed(times["plan"], cpu, phases, plan.iterations, time.perf_counter()))
        elif "check" in times:
            last = self.plans[-1]
            wall, cpu = last.checks_wall + times["check"], last.checks_cpu + cpu
            self.plans[-1] = replace(last, kept=last.kept + 1, checks_wall=wall, checks_cpu=cpu)
        return decision


class Loop:
    """The episodes of one row, one group after another through the tasks."""

    def __init__(self, what: Subject, variant: Variant) -> None:
        self._subject, self._variant = what, variant
        self._clocked = Clocked(what.agent(what.env, what.planning), variant.threads)
        self._group = 0

    @property
    def plans(self) -> list[Timed]:
        """All plans so far."""
        return self._clocked.plans

    def turn(self, most: int) -> None:
        """One group of episodes, cut short after `most` more plans.

        Raises:
            UsageError: the agent made no plan.
        """
        torch.set_num_threads(self._variant.threads)
        before, batch = len(self.plans), self._variant.batch
        steps = min(self._subject.steps, most * self._subject.planning.pace.replan_every)
        self._subject.play(self._clocked, range(self._group * batch, (self._group + 1) * batch), steps)
        self._group += 1
        if len(self.plans) == before:
            raise UsageError(
                "the agent made no plan in a whole episode, so there is nothing to time; use one that does, e.g. mpc"
            )


def time_plans(what: Subject, timing: Timing) -> tuple[dict[Variant, list[Timed]], dict[int, Gemm]]:
    """Every row's plans, and the matrix products that were timed between them, by threads.

    Each row has one plan more than asked for, its first, which warms up; that of the first row is the first of the process.
    From then on the rows take turns, an episode at a time and in random order, so that what else runs here meets all alike.
    """
    variants = [Variant(batch, threads) for threads in timing.threads for batch in timing.batches]
    loops = {variant: Loop(what, variant) for variant in variants}
    gemms = {threads: Gemm(threads) for threads in timing.threads}
    rng, wanted = np.random.default_rng(timing.seed), timing.plans + 1
    left, turns = variants, variants[:1]
    with Progress("plans", total=wanted * len(variants)) as progress:
        while left:
            for variant in turns:
                before = len(loops[variant].plans)
                loops[variant].turn(wanted - before)
                gemms[variant.threads].measure()
                progress.advance(len(loops[variant].plans) - before)
            left = [variant for variant in variants if len(loops[variant].plans) < wanted]
            turns = [left[i] for i in rng.permutation(len(left))]
    return {variant: loop.plans for variant, loop in loops.items()}, gemms
