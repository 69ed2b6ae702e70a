"""Running an agent on tasks: episodes over the whole budget, scored by ever, hold and final."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from imagoal import files
from imagoal.agents._types import Agent, Decision
from imagoal.envs import GoalEnv
from imagoal.envs._types import Bools, Floats, Frames
from imagoal.errors import EnvError
from imagoal.eval._tasks import TaskList, trivial
from imagoal.world_model._frames import to_tensor
from imagoal.world_model._types import Observation


@dataclass(frozen=True)
class Protocol:
    """How tasks are run and scored; never the planner's budget.

    Attributes:
        name: of the protocol.
        tasks_hash: SHA-256 of the task list.
        split: `dev` or `test`.
        steps: env steps of every episode.
        tolerance: metres.
        hold_steps: steps in a row at the goal that count as *hold*.
        headline: which success the tables head.
        source: where goals come from.
    """

    name: str
    tasks_hash: str
    split: str
    steps: int
    tolerance: float
    hold_steps: int
    headline: str
    source: str = "sampler"

    @property
    def hash(self) -> str:
        """SHA-256 of all of it."""
        return files.hash_of(asdict(self))


HOLD_STEPS = 5


def house_protocol(env: GoalEnv, tasks: TaskList) -> Protocol:
    """The protocol of the house: the env's own budget, tolerance and headline."""
    return Protocol("house", tasks.hash, tasks.split, env.max_episode_steps, env.tolerance, HOLD_STEPS, env.headline)


@dataclass(frozen=True)
class EpisodeResult:
    """One line of a result: how a task went. Distances in metres, times in milliseconds.

    Attributes:
        id: index of the task in its list.
        steps_to_goal: steps until first at the goal; None if never.
        early_end: what ended the episode before its time, if anything did.
        iterations: of each plan, if there were plans.
        actions_sha256: of the actions as float32.
        plans: for each plan, milliseconds by phase, and its `evaluations`.
    """

    id: int
    seed: int
    difficulty: float
    trivial: bool
    ever: bool
    hold: bool
    final: bool
    steps_to_goal: int | None
    start_distance: float
    final_distance: float
    early_end: str | None
    iterations: list[int] | None
    actions_sha256: str
    plans: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Moment:
    """What is on show at one step of one episode, for a recorder."""

    frame: Frames
    decision: Decision
    row: int


Actions = npt.NDArray[np.float32]
Recorder = Callable[[int, "Moment"], None]


def run_tasks(
    env_maker: Callable[[], GoalEnv],
    agent: Agent,
    tasks: TaskList,
    ids: Sequence[int],
    steps: int,
    record: Recorder | None = None,
) -> list[EpisodeResult]:
    """Run the tasks with these ids side by side, each for `steps` steps.

    An episode whose env fails counts as unsuccessful and says why; an agent never sees `info`.

    Raises:
        EnvError: the agent's action is not finite or has another shape.
    """
    envs = [env_maker() for _ in ids]
    chosen, seeds = [tasks.task(i) for i in ids], [int(tasks.seeds[i]) for i in ids]
    starts = zip(envs, seeds, chosen, strict=True)
    frames = [env.reset(seed=seed, options={"task": task})[0]["image"] for env, seed, task in starts]
    goal = _observation([task.goal_image for task in chosen], [task.goal for task in chosen], agent.privileged)
    agent.reset(goal, seeds)
    runs = [_Episode(env) for env in envs]
    for _ in range(steps):
        decision = agent.act(_observation(frames, [env.state() for env in envs], agent.privileged))
        actions = _checked(decision.actions, envs[0])
        for row, (run, action) in enumerate(zip(runs, actions, strict=True)):
            if record:
                record(ids[row], Moment(frames[row], decision, row))
            frames[row] = run.step(action, frames[row])
            run.note(decision)
    return [run.result(i, tasks) for run, i in zip(runs, ids, strict=True)]


def _observation(frames: Sequence[Frames], states: Sequence[Floats], privileged: bool) -> Observation:
    state = torch.from_numpy(np.stack(states)) if privileged else None
    return Observation(to_tensor(np.stack(frames)), state)


def _checked(actions: torch.Tensor, env: GoalEnv) -> Actions:
    values = np.asarray(actions.detach().cpu().numpy(), dtype=np.float32)
    wanted = env.action_space.shape or ()
    if values.shape[1:] != wanted or not np.all(np.isfinite(values)):
        raise EnvError(f"the agent's actions have shape {values.shape[1:]} or are not finite; expected {wanted} finite numbers")
    return values


class _Episode:
    """One episode under way: the env, the path, the plans' times."""

    def __init__(self, env: GoalEnv) -> None:
        self.env = env
        self.path = [env.state()]
        self.digest = hashlib.sha256()
        self.iterations: list[int] = []
        self.plans: list[dict[str, float]] = []
        self.early_end: str | None = None

    def step(self, action: Actions, frame: Frames) -> Frames:
        """One env step; the next frame, or the same one once the env has failed."""
        self.digest.update(np.ascontiguousarray(action, np.float32).tobytes())
        if self.early_end is None:
            try:
                frame = self.env.step(action)[0]["image"]
                self.path.append(self.env.state())
            except Exception as error:  # a foreign env may raise anything; the episode is lost, the run is not
                self.early_end = f"{type(error).__name__}: {error} at step {len(self.path) - 1}"
        return frame

    def note(self, decision: Decision) -> None:
        """Keep what a plan took."""
        if decision.plan is not None:
            self.iterations.append(decision.plan.iterations)
            times = {phase: round(value, 4) for phase, value in decision.milliseconds.items()}
            self.plans.append(times | {"evaluations": decision.plan.evaluations})

    def result(self, index: int, tasks: TaskList) -> EpisodeResult:
        """The line of this episode."""
        task = tasks.task(index)
        path = np.stack(self.path)
        there = self.env.at_goal(path[1:], task.goal) & (self.early_end is None)
        first = int(np.argmax(there)) + 1 if there.any() else None
        ended = float(self.env.task_distance(path[-1], task.goal))
        return EpisodeResult(
            index,
            int(tasks.seeds[index]),
            round(task.difficulty, 6),
            bool(trivial(self.env, task)),
            bool(there.any()),
            longest_streak(there) >= HOLD_STEPS,
            bool(len(there) and there[-1]),
            first,
            round(float(self.env.task_distance(path[0], task.goal)), 6),
            round(ended, 6),
            self.early_end,
            self.iterations or None,
            self.digest.hexdigest(),
            self.plans,
        )


def longest_streak(there: Bools) -> int:
    """The longest run of True in (T,)."""
    longest = streak = 0
    for now in there:
        streak = streak + 1 if now else 0
        longest = max(longest, streak)
    return longest
