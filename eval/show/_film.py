"""One task on film: what was seen and done, and what was imagined on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from imagoal import files
from imagoal.agents import Planning
from imagoal.envs import Bools, Floats, Frames, GoalEnv, env_id
from imagoal.errors import UsageError
from imagoal.eval.episodes import BuiltAgent, EpisodeResult, Moment, latency, run_tasks
from imagoal.eval.tasks import TaskList, house_protocol
from imagoal.world_model import to_array
from imagoal.world_model.readouts import Gallery


@dataclass(frozen=True)
class Film:
    """An episode of T steps, with H imagined steps at each.

    Attributes:
        env: id of the environment.
        frames: u8 (T + 1, h, w, 3).
        actions: f32 (T, A).
        states: f64 (T + 1, S).
        goal_image: u8 (h, w, 3).
        scene: u8 (h, w, 3), what the goal images of all tasks have in common: walls and floor, without what moves.
        there: (T + 1,), whether each state is at the goal.
        imagined: u8 (T, H, h, w, 3), the future of the plan that is followed at each step; None if the agent has no plans.
            Nothing decodes latents: for those, it holds the real frames with the nearest latents.
        planning: what the agent plans with, if it does.
        result: how it went.
    """

    env: str
    frames: Frames
    actions: npt.NDArray[np.float32]
    states: Floats
    goal_image: Frames
    scene: Frames
    there: Bools
    imagined: Frames | None
    planning: Planning | None
    result: EpisodeResult

    def save(self, path: Path) -> None:
        """Write the episode as one `.npz`."""
        arrays: dict[str, npt.NDArray[Any]] = {"frames": self.frames, "actions": self.actions, "states": self.states}
        arrays |= {"goal_image": self.goal_image, "env": np.array(self.env), "seed": np.array(self.result.seed)}
        if self.imagined is not None:
            arrays["imagined"] = self.imagined
        files.write_npz(path, arrays)

    def summary(self) -> str:
        """One line: success, and milliseconds per action."""
        result, times = self.result, latency([self.result], 1, self.planning.pace.replan_every if self.planning else 1)
        words = [f"{kind} {'yes' if getattr(result, kind) else 'no'}" for kind in ("ever", "hold", "final")]
        when = "" if result.steps_to_goal is None else f" (at the goal after {result.steps_to_goal} steps)"
        end = f"; ended early: {result.early_end}" if result.early_end else ""
        pace = "" if times is None else f"; {times['per_action']['p50']:.1f} ms per action, median of {times['n']} plans"
        return f"{self.env} task {result.id}: {', '.join(words)}{when}{pace}{end}"


def record_film(env: GoalEnv, built: BuiltAgent, tasks: TaskList, index: int) -> Film:
    """Run one task over the env's whole budget and film it.

    Raises:
        UsageError: there is no such task.
    """
    if not 0 <= index < len(tasks):
        raise UsageError(f"task = {index}; expected from 0 to {len(tasks) - 1}, the {tasks.split} tasks of {tasks.env}")
    camera = _Camera(env, _developer(env, built.planning, built.gallery) if built.planning else None)
    steps = house_protocol(env, tasks).steps
    (result,) = run_tasks(lambda: env, built.agent, tasks, [index], steps, camera)
    states = np.stack([*camera.states, env.state()])
    return Film(
        env_id(env),
        np.stack([*camera.frames, env.render_states(states[-1:])[0]]),
        np.stack(camera.actions),
        states,
        tasks.goal_images[index],
        np.median(tasks.goal_images, axis=0).astype(np.uint8),
        env.at_goal(states, tasks.goals[index]),
        np.stack(camera.imagined) if camera.imagined else None,
        built.planning,
        result,
    )


class _Camera:
    """Keeps what `run_tasks` shows before each step of one episode."""

    def __init__(self, env: GoalEnv, develop: Callable[[Tensor], Frames] | None) -> None:
        self.env, self.develop = env, develop
        self.frames: list[Frames] = []
        self.states: list[Floats] = []
        self.actions: list[npt.NDArray[np.float32]] = []
        self.imagined: list[Frames] = []

    def __call__(self, _: int, moment: Moment) -> None:
        self.frames.append(moment.frame)
        self.states.append(self.env.state())
        self.actions.append(moment.decision.actions[moment.row].cpu().numpy().astype(np.float32))
        if self.develop and moment.decision.imagine:
            self.imagined.append(self.develop(moment.decision.imagine()[moment.row]))
        elif self.imagined:  # the same plan is followed
            self.imagined.append(self.imagined[-1])


def _developer(env: GoalEnv, planning: Planning, gallery: Gallery | None) -> Callable[[Tensor], Frames]:
    """What turns something imagined (H, *place) into pictures (H, h, w, 3)."""
    place = planning.model.place
    if place == "state":
        return lambda states: env.render_states(states.cpu().numpy())
    if place == "frame":
        return to_array
    if gallery is None:
        raise UsageError(f"what is imagined at {place} cannot be shown without frames of known latents; pass --readouts DIR")
    return lambda latents: gallery.nearest(latents.cpu())
