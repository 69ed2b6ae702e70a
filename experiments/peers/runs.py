"""The measurements of `peers.py`: equal budgets, overhead, batching, and quality against time."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from experiments.peers import contenders as own
from experiments.peers import foreign, lewm
from experiments.peers.contenders import LIMIT, Contender, Kind, Maker, Setting
from experiments.peers.problems import HORIZON, Moment, Problem, chronicle, together
from experiments.peers.table import choose, gap, times_as_fast
from imagoal.eval.latency import Recorder
from imagoal.progress import Progress
from imagoal.world_model.models import bf16_units

SHORT = 5
"""Horizon of equal budgets."""
DRAWS = 2
"""Trials of a setting on each task, with other random numbers: luck chooses less."""

EQUAL, EQUAL_MANY = Setting(300, 10, temperature=0.5), Setting(300, 4, temperature=0.5)
SMALL = Setting(64, 5, temperature=0.5)
BARE, SWM_CEM = "bare loop: the cost function alone", "stable-worldmodel CEM"

SIDE_BY_SIDE: dict[str, Maker] = {
    BARE: own.Bare,
    "hand-written CEM": own.HandWritten,
    "imagoal CEM": own.cem,
    "imagoal iCEM, samples not decaying": own.icem_equal,
    "imagoal MPPI": own.mppi,
    "imagoal random shooting": own.random_shooting,
    SWM_CEM: foreign.swm_cem,
    "stable-worldmodel iCEM": foreign.swm_icem,
    "stable-worldmodel MPPI": foreign.swm_mppi,
    "pytorch-mppi MPPI": foreign.PytorchMPPI,
    "pytorch-icem iCEM": foreign.PytorchICEM,
    "torchrl CEM": foreign.rl_cem,
    "torchrl MPPI": foreign.rl_mppi,
    "mbrl-lib CEM": foreign.mbrl_cem,
    "mbrl-lib iCEM, samples not decaying": foreign.mbrl_icem_equal,
    "mbrl-lib MPPI": foreign.mbrl_mppi,
}
"""Those that evaluate as many samples in each iteration; ours look at the last mean as well."""
ONE_BY_ONE = "stable-worldmodel CEM, one problem at a time (its default)"


@dataclass(frozen=True)
class Job:
    """Something that is timed, again and again.

    Attributes:
        work: what is timed.
        prepare: before it, with the number of the round; not timed.
    """

    work: Callable[[], object]
    prepare: Callable[[int], object] = int


def plan_job(contender: Contender, problem: Any) -> Job:
    return Job(lambda: contender.plan(problem), lambda number: contender.seed(number, problem))


def take_turns(jobs: Mapping[str, Job], rounds: int, seed: int) -> dict[str, list[float]]:
    """Milliseconds of CPU time of each job in each round, in random order within a round; one round before them warms up."""
    rng, names = np.random.default_rng(seed), list(jobs)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for which in rng.permutation(len(names)):
            job = jobs[names[which]]
            job.prepare(number)
            found[names[which]].append(clocked(job.work)[0])
    return {name: times[1:] for name, times in found.items()}


def clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of this thread's CPU time, and what came out."""
    began = time.thread_time()
    result = work()
    return 1000 * (time.thread_time() - began), result


def ours(name: str) -> bool:
    return name.startswith("imagoal")


def fixed_budget(problems: Sequence[Problem], rounds: int) -> list[dict[str, Any]]:
    """Equal samples on Ball's world model."""
    many = together(problems)
    rows = []
    for setting, problem in ((EQUAL, problems[0]), (EQUAL_MANY, many), (SMALL, problems[0]), (SMALL, many)):
        makers = SIDE_BY_SIDE | ({ONE_BY_ONE: foreign.swm_cem_one_by_one} if len(problem) > 1 else {})
        jobs = {name: plan_job(make(setting, SHORT), problem) for name, make in makers.items()}
        rows += budget_rows("Ball-latent", setting, len(problem), take_turns(jobs, rounds, len(rows)))
    return rows


def transformer(rounds: int) -> list[dict[str, Any]]:
    """Equal samples on the network of the published size, by its own rollout and by ours, in fp32 and where possible bf16."""
    model = lewm.build(0)
    ways = {
        "its own rollout": partial(lewm.Native, model),
        "nothing computed twice": partial(lewm.Exact, lewm.Weights(model)),
    }
    if bf16_units():
        ways["nothing computed twice, bf16"] = partial(lewm.Exact, lewm.Weights(model, torch.bfloat16))
    ways["streaming predictor"] = lewm.Made.streaming(bf16=False)
    ways["streaming predictor, compiled"] = lewm.Made.streaming(bf16=False, fast=True)
    if bf16_units():
        ways["streaming predictor, bf16"] = lewm.Made.streaming(bf16=True)
        ways["streaming predictor, bf16, compiled"] = lewm.Made.streaming(bf16=True, fast=True)
    rows = []
    for samples, iterations, count in ((300, 5, 1), (64, 5, 1), (64, 2, 8)):
        setting = Setting(samples, iterations)
        first = lewm.Task.random(count, ways["its own rollout"])
        jobs = {BARE: plan_job(own.Bare(setting, SHORT), first), SWM_CEM: plan_job(foreign.swm_cem(setting, SHORT), first)}
        for way, costing in ways.items():
            jobs[f"imagoal CEM, {way}"] = plan_job(own.cem(setting, SHORT), lewm.Task.random(count, costing))
        trimmed = lewm.Task.random(count, ways["nothing computed twice"])
        jobs[f"{SWM_CEM}, nothing computed twice"] = plan_job(foreign.swm_cem(setting, SHORT), trimmed)
        times = take_turns(jobs, rounds, count)
        rows += budget_rows("LeWM, 10.8 M, random weights: speed only", setting, count, times)
    return rows


def budget_rows(model: str, setting: Setting, problems: int, times: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    about = {"model": model, "samples": setting.samples, "iterations": setting.iterations, "problems": problems}
    return [
        {
            **about,
            "planner": name,
            "ours": ours(name),
            "ms": statistics.median(each),
            "against_swm_cem": times_as_fast(times[SWM_CEM], each),
            "over_bare": times_as_fast(each, times[BARE]),
        }
        for name, each in times.items()
    ]


class Overheard:
    """A problem whose cost function remembers what it was asked for."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self.action_size = problem, problem.action_size
        self.recorder = Recorder(problem.cost())

    def __len__(self) -> int:
        return len(self._problem)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)

    def cost(self) -> Recorder:
        return self.recorder


def overhead(problem: Problem, rounds: int) -> list[dict[str, Any]]:
    """Plans against bare calls of the cost function: with as many samples, and with the populations that it asked for."""
    contenders = {name: make(SMALL, SHORT) for name, make in SIDE_BY_SIDE.items()}
    jobs = {name: plan_job(contender, problem) for name, contender in contenders.items()}
    for name, contender in contenders.items():
        overheard: Any = Overheard(problem)
        contender.seed(0, problem)
        contender.plan(overheard)
        asked = overheard.recorder.populations
        if asked:  # those that roll out by themselves ask for no populations
            jobs[f"{name}: asked"] = Job(lambda asked=asked: [problem.cost()(population) for population in asked])
    times = take_turns(jobs, rounds, 0)
    return [
        {
            "planner": name,
            "ours": ours(name),
            "ms": statistics.median(times[name]),
            "over_bare": times_as_fast(times[name], times[BARE]),
            "over_own": times_as_fast(times[name], times[f"{name}: asked"]) if f"{name}: asked" in times else None,
        }
        for name in SIDE_BY_SIDE
    ]


def batching(problems: Sequence[Problem], rounds: int) -> list[dict[str, Any]]:
    """Eight problems in one call against one after the other."""
    many = together(problems)
    jobs = {}
    for name, make in SIDE_BY_SIDE.items():
        single, whole = make(SMALL, SHORT), make(SMALL, SHORT)
        jobs[name] = plan_job(whole, many)
        jobs[f"{name}: one by one"] = in_turn(single, problems)
    times = take_turns(jobs, rounds, 0)
    rows = []
    for name in SIDE_BY_SIDE:
        single_times, whole_times = times[f"{name}: one by one"], times[name]
        middles = {"one_by_one_ms": statistics.median(single_times), "together_ms": statistics.median(whole_times)}
        rows.append({"planner": name, "ours": ours(name), **middles, "ratio": times_as_fast(single_times, whole_times)})
    return rows


def in_turn(contender: Contender, problems: Sequence[Problem]) -> Job:
    """Plans for one problem after the other; seeded once, from the first."""
    return Job(lambda: [contender.plan(problem) for problem in problems], lambda number: contender.seed(number, problems[0]))


DEFAULT = Kind(
    "stable-worldmodel CEM, 300 x 30 (the default)", foreign.swm_cem, [Setting(300, 30, 1.0)], [Setting(300, 30, 1.0)]
)
KINDS = (*own.OURS, *foreign.FOREIGN)


def moments(task: int, steps: int) -> list[Moment]:
    """The first steps of a dev task along the reference's path, with what plans are measured by."""
    problems, plans = chronicle(task, steps)
    peer = DEFAULT.make(DEFAULT.cold[0], HORIZON)
    found = []
    for problem, plan in zip(problems, plans, strict=True):
        peer.seed(task, problem)
        costs = [float(problem.judge(each)) for each in (torch.zeros_like(plan), plan, peer.plan(problem)[0])]
        found.append(Moment(problem, costs[0], min(costs[1:])))
    return found


@dataclass
class Found:
    """Of one planner with one setting, one entry for each plan: its gap, and milliseconds."""

    gaps: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    @property
    def gap(self) -> float:
        return statistics.median(self.gaps)

    @property
    def time(self) -> float:
        return statistics.median(self.ms)


Entry = tuple[Kind, Setting]


class Campaign:
    """Plans for many tasks by many planners, in turn and in random order.

    With `first`, the setting of each planner's first plans, those are not measured, but the replans that follow from them.
    """

    def __init__(self, entries: Sequence[Entry], first: Mapping[str, Setting] | None, seed: int) -> None:
        self._entries, self._first, self._seed = entries, first, seed
        self._made: dict[tuple[str, Setting], Contender] = {}
        self.found = [Found() for _ in entries]

    def run(self, tasks: Sequence[Sequence[Moment]], title: str) -> list[Found]:
        rng = np.random.default_rng(self._seed)
        with Progress(title, total=len(tasks) * len(self._entries)) as progress:
            for number, task in enumerate(tasks):
                memories: dict[str, Any] = {}
                for which in rng.permutation(len(self._entries)):
                    kind, setting = self._entries[which]
                    for ms, each in self._plans(kind, setting, task, number, memories):
                        self.found[which].ms.append(ms)
                        self.found[which].gaps.append(each)
                    progress.advance()
        return self.found

    def _plans(
        self, kind: Kind, setting: Setting, task: Sequence[Moment], number: int, memories: dict[str, Any]
    ) -> Iterator[tuple[float, float]]:
        """Milliseconds and gaps of one planner on one task."""
        memory, ahead = None, task[:1]
        if self._first is not None:
            if kind.name not in memories:
                starter = self._contender(kind, self._first[kind.name])
                starter.seed(self._seed + number, task[0].problem)
                memories[kind.name] = starter.plan(task[0].problem)[1]
            memory, ahead = memories[kind.name], task[1:]
        contender = self._contender(kind, setting)
        for later, moment in enumerate(ahead):
            contender.seed(self._seed + 1000 * (later + 1) + number, moment.problem)
            ms, (plan, memory) = clocked(partial(contender.plan, moment.problem, memory if kind.warm else None))
            yield ms, gap(float(moment.problem.judge(plan)), moment.idle, moment.best)

    def _contender(self, kind: Kind, setting: Setting) -> Contender:
        key = (kind.name, setting)
        if key not in self._made:
            self._made[key] = kind.make(setting, HORIZON)
        return self._made[key]


Paths = Sequence[Sequence[Moment]]
"""The first moments of each task."""


def quality(paths: Paths, trials_kept: int | None) -> dict[str, Any]:
    """Each planner's fastest setting within the limit, of first plans and of replans, and all the trials.

    Args:
        paths: what is planned for.
        trials_kept: how many trials of each planner are run; None for all.
    """
    cold_trials = {kind.name: list(kind.cold)[:trials_kept] for kind in KINDS}
    cold, tried = choose_settings(paths, cold_trials, None, "first plans")
    rows = report(paths, cold, None, "first plans again")
    first = {name: choice.setting for name, choice in cold.items()}
    warm_trials = {kind.name: list(kind.warm)[:trials_kept] or [first[kind.name]] for kind in KINDS}
    warm, tried_again = choose_settings(paths, warm_trials, first, "replans")
    return {"cold": rows, "warm": report(paths, warm, first, "replans again"), "trials": {"cold": tried, "warm": tried_again}}


@dataclass(frozen=True)
class Choice:
    """A planner's setting, and its median gap in the trials."""

    setting: Setting
    gap: float


def choose_settings(
    paths: Paths, trials: Mapping[str, Sequence[Setting]], first: Mapping[str, Setting] | None, title: str
) -> tuple[dict[str, Choice], list[dict[str, Any]]]:
    """Each planner's choice, and all its trials."""
    entries = [(kind, setting) for kind in KINDS for setting in trials[kind.name]]
    found = Campaign(entries, first, 0).run([*paths] * DRAWS, title)
    chosen: dict[str, Choice] = {}
    for kind in KINDS:
        mine = [(entry[1], each) for entry, each in zip(entries, found, strict=True) if entry[0] is kind]
        setting, best = mine[choose([each.gap for _, each in mine], [each.time for _, each in mine], LIMIT)]
        chosen[kind.name] = Choice(setting, best.gap)
    tried = [
        {"planner": kind.name, **dataclasses.asdict(setting), "gap": round(each.gap, 5), "ms": round(each.time, 2)}
        for (kind, setting), each in zip(entries, found, strict=True)
    ]
    return chosen, tried


def report(paths: Paths, chosen: Mapping[str, Choice], first: Mapping[str, Setting] | None, title: str) -> list[dict[str, Any]]:
    """One row for each planner with its choice, and one for the field's default, timed again with other random numbers."""
    chosen = {**chosen, DEFAULT.name: Choice(DEFAULT.cold[0], 0.0)}
    entries = [(kind, chosen[kind.name].setting) for kind in (*KINDS, DEFAULT)]
    starts = None if first is None else {**first, DEFAULT.name: DEFAULT.cold[0]}
    found = Campaign(entries, starts, 10_000).run(paths, title)
    return [
        {
            "planner": kind.name,
            "ours": kind.ours,
            "default": kind is DEFAULT,
            "note": kind.note,
            "setting": dataclasses.asdict(setting),
            "gap": chosen[kind.name].gap,
            "gap_again": each.gap,
            "gap_again_p90": float(np.percentile(each.gaps, 90)),
            "ms": each.time,
        }
        for (kind, setting), each in zip(entries, found, strict=True)
    ]
