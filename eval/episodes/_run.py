"""Running an agent on tasks: episodes over the whole budget, scored by ever, hold and final."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from imagoal.agents import Agent, Decision
from imagoal.envs import Bools, Floats, Frames, GoalEnv
from imagoal.errors import EnvError
from imagoal.eval.tasks import HOLD_STEPS, TaskList, is_trivial
from imagoal.planning import Plan
from imagoal.world_model import Observation, to_tensor


@dataclass(frozen=True)
class EpisodeResult:
    """One line of a result: how a task went. Distances in metres, times in milliseconds.

    Attributes:
        id: index of the task in its list.
        steps_to_goal: steps until first at the goal; None if never.
        early_end: what ended the episode before its time, if anything did.
        iterations: of each plan, if there were plans.
        actions_sha256: of the actions as float32.
        plans: for each plan, milliseconds by phase, its `deadline` if it had one, and its `evaluations`; if it was kept, how
            often (`kept`), and the milliseconds of the checks by which it was (`checks`). As shares of the plan's cost: if the
            search was at a lower precision, the `regret` of what it thought best; if it was over paths, what it `claimed`.
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

    An episode whose env fails under way counts as unsuccessful and says why, and the others go on; an agent never sees `info`.

    Raises:
        EnvError: an episode cannot start, or the agent's action is not finite or has another shape.
    """
    runs = [_Episode(env_maker(), tasks, i) for i in ids]
    goal = _observation([run.task.goal_image for run in runs], [run.task.goal for run in runs], agent.privileged)
    agent.reset(goal, [run.seed for run in runs])
    for _ in range(steps):
        decision = agent.act(_observation([run.frame for run in runs], [run.path[-1] for run in runs], agent.privileged))
        actions = _checked(decision.actions, (len(runs), *(runs[0].env.action_space.shape or ())))
        for row, (run, action) in enumerate(zip(runs, actions, strict=True)):
            if record:
                record(ids[row], Moment(run.frame, decision, row))
            run.step(action, decision, row)
    return [run.result() for run in runs]


def _observation(frames: Sequence[Frames], states: Sequence[Floats], privileged: bool) -> Observation:
    state = torch.from_numpy(np.stack(states)) if privileged else None
    return Observation(to_tensor(np.stack(frames)), state)


def _checked(actions: torch.Tensor, wanted: tuple[int, ...]) -> Actions:
    values = np.asarray(actions.detach().cpu().numpy(), dtype=np.float32)
    if values.shape != wanted:
        raise EnvError(f"the agent's actions have shape {values.shape}; expected {wanted}; mend the agent")
    if not np.all(np.isfinite(values)):
        raise EnvError(f"the agent's actions are {values.tolist()}; expected finite numbers in [-1, 1]; mend the agent")
    return values


class _Episode:
    """One episode under way: the env, the frame on show, the path so far, the plans' times."""

    def __init__(self, env: GoalEnv, tasks: TaskList, index: int) -> None:
        self.env, self.index = env, index
        self.task, self.seed = tasks.task(index), int(tasks.seeds[index])
        self.digest = hashlib.sha256()
        self.iterations: list[int] = []
        self.plans: list[dict[str, float]] = []
        self.over = False
        self.early_end: str | None = None
        try:
            self.frame, state = self._seen(env.reset(seed=self.seed, options={"task": self.task})[0])
        except Exception as error:  # a foreign env may raise anything
            raise EnvError(f"task {index} (seed {self.seed}) cannot start: {_named(error)}; mend the env") from error
        self.path = [state]

    def step(self, action: Actions, decision: Decision, row: int) -> None:
        """One env step, in that row of the agent's; once the env has failed, only the agent goes on, before the same frame."""
        self.digest.update(np.ascontiguousarray(action, np.float32).tobytes())
        if decision.plan is not None:
            self.iterations.append(decision.plan.iterations)
            times = {phase: round(value, 4) for phase, value in decision.milliseconds.items()}
            self.plans.append(times | {"evaluations": decision.plan.evaluations} | _shares(decision, decision.plan, row))
        elif "check" in decision.milliseconds:
            last = self.plans[-1]
            last["kept"] = last.get("kept", 0) + 1
            last["checks"] = round(last.get("checks", 0.0) + decision.milliseconds["check"], 4)
        if self.early_end is None:
            self.early_end = self._advance(action)

    def _advance(self, action: Actions) -> str | None:
        """Advance the env; what ended the episode before its time, if anything did."""
        number = len(self.path) - 1
        if self.over:
            return f"the env ended the episode after {number} steps"
        try:
            observation, _, terminated, truncated, _ = self.env.step(action)
            self.frame, state = self._seen(observation)
        except Exception as error:  # a foreign env may raise anything; the episode is lost, the run is not
            return f"{_named(error)} at step {number}"
        self.path.append(state)
        self.over = bool(terminated or truncated)
        return None

    def _seen(self, observation: dict[str, Frames]) -> tuple[Frames, Floats]:
        """Frame and state now, if they are what an env owes."""
        frame, state = observation["image"], self.env.state()
        wanted = self.task.goal_image
        if frame.dtype != wanted.dtype or frame.shape != wanted.shape:
            raise EnvError(f"frame is {frame.dtype} {frame.shape}, expected {wanted.dtype} {wanted.shape}")
        if state.shape != self.task.goal.shape or not np.all(np.isfinite(state)):
            raise EnvError(f"state is {state.tolist()}, expected {self.task.goal.size} finite numbers")
        return frame, state

    def result(self) -> EpisodeResult:
        """The line of this episode."""
        task, path = self.task, np.stack(self.path)
        there = self.env.at_goal(path[1:], task.goal) & (self.early_end is None)
        return EpisodeResult(
            id=self.index,
            seed=self.seed,
            difficulty=round(task.difficulty, 6),
            trivial=bool(is_trivial(self.env, task)),
            ever=bool(there.any()),
            hold=longest_streak(there) >= HOLD_STEPS,
            final=bool(len(there) and there[-1]),
            steps_to_goal=int(np.argmax(there)) + 1 if there.any() else None,
            start_distance=round(float(self.env.task_distance(path[0], task.goal)), 6),
            final_distance=round(float(self.env.task_distance(path[-1], task.goal)), 6),
            early_end=self.early_end,
            iterations=self.iterations or None,
            actions_sha256=self.digest.hexdigest(),
            plans=self.plans,
        )


MOST = 1e6
"""A larger share of a cost says no more than this one, and JSON has no infinity."""


def _shares(decision: Decision, plan: Plan, row: int) -> dict[str, float]:
    """What stands beside the cost of one episode's plan, as shares of that; nothing beside most."""
    beside = {"regret": decision.regret, "claimed": plan.claimed}
    whole = max(float(plan.cost[row]), sys.float_info.min)
    shares = {name: min(float(part[row]) / whole, MOST) for name, part in beside.items() if part is not None}
    return {name: float(f"{share:.6g}") for name, share in shares.items()}


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def longest_streak(there: Bools) -> int:
    """The longest run of True in (T,)."""
    longest = streak = 0
    for now in there:
        streak = streak + 1 if now else 0
        longest = max(longest, streak)
    return longest
