"""Ball: push a ball to the place that the goal image shows."""

from typing import ClassVar

import numpy as np
from gymnasium import spaces

from imagoal.envs._ball_world import EMPTY, PUSH, RADIUS, SIZE, STEP, coast, draw, push
from imagoal.envs._distractors import DistractedEnv, Kinds
from imagoal.envs._types import Floats, Frames, Rng, Task
from imagoal.envs._vector import GoalVectorEnv


class Ball(DistractedEnv):
    """A ball in a closed box, pushed to the place that a goal image shows.

    ## Description
    A ball rolls in a box seen from above and bounces off its walls. Each action pushes it. The task is to bring it to the
    place that the goal image shows, and to keep it there: touching the place in passing happens by chance, so evaluation's
    headline is *hold* (5 steps in a row). One picture does not show how fast the ball moves: whoever acts must remember.

    ## Action Space
    `Box(-1, 1, (2,), float32)`: the push.

    | Num | Action | Min | Max | Unit |
    |-----|--------|-----|-----|------|
    | 0 | push to the right | -1 | 1 | 0.2 m/s |
    | 1 | push upwards | -1 | 1 | 0.2 m/s |

    A push adds at most 0.2 m/s to the velocity, whatever its direction: longer vectors are shortened to length 1.

    ## Observation Space
    `Dict(image, goal)`, each `Box(0, 255, (64, 64, 3), uint8)`: the box now, and the ball at rest at the goal. RGB,
    anti-aliased, 60 pixels a metre, a wall of 2 pixels around the box.

    ## Info
    Privileged, not for headline agents: `state` and `goal_state` (x, y in metres from the lower left corner, vx, vy in
    metres per second, then the distractors' phases, if any; float64), `is_success` (whether the ball's centre is within 0.06 m
    of the goal's *now*).

    ## Rewards
    0 at the goal, -1 elsewhere, at every step.

    ## Physics
    0.1 s between actions, in 10 substeps; box 1 m wide; radius 0.06 m; drag 0.3 per second; a wall returns 90 % of the
    speed; at most 2 m/s. Deterministic.

    ## Starting State
    The ball's place is uniform in the box, its velocity uniform in direction and in speed from 0 to 0.3 m/s. The goal is
    uniform in the box, at least 0.35 m away.

    ## Episode End
    Never terminated, also not at the goal; truncated after 40 steps.

    ## Arguments
    `render_mode`: None or "rgb_array". `distractors`: "none", or "noise" (squares of random grey over all that stands still,
    others at each step), "mover" (a green square that goes its own way, below the ball), "noise+mover"; they are part of the
    state, and the goal image shows a draw of its own. `reset(options={"task": Task})` starts a given task.

    ## Version History
    * v0: first version.
    """

    max_episode_steps: ClassVar[int] = 40
    tolerance: ClassVar[float] = 0.06
    headline: ClassVar[str] = "hold"
    version: ClassVar[int] = 0
    vector_class: ClassVar[str] = "BallVectorEnv"
    behaviour_mix: ClassVar[dict[str, float]] = {"noise": 0.5, "waypoints": 0.5}
    own_size: ClassVar[int] = 4
    gravity: ClassVar[float] = 0.0
    """m/s^2, downwards."""

    max_start_speed: ClassVar[float] = 0.3
    min_goal_distance: ClassVar[float] = 0.35

    def __init__(self, render_mode: str | None = None, distractors: Kinds = "none") -> None:
        super().__init__(render_mode, distractors)
        picture = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": picture, "goal": picture})  # type: ignore[assignment]
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def sample_task(self, rng: Rng) -> Task:
        """A start in motion, and a goal at rest at least `min_goal_distance` away; every place can be reached."""
        start, goal = np.zeros(4), np.zeros(4)
        while np.linalg.norm(goal[:2] - start[:2]) < self.min_goal_distance:
            start[:2], goal[:2] = rng.uniform(RADIUS, 1 - RADIUS, (2, 2))
        angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, self.max_start_speed)
        start[2:] = speed * np.cos(angle), speed * np.sin(angle)
        return self._posed(start, goal, rng)

    def _moved(self, states: Floats, actions: Floats) -> Floats:
        """Own states (M, 4) one step of 0.1 s after pushes (M, 2)."""
        return coast(push(states, actions), self.gravity)

    def _drawn(self, states: Floats) -> Frames:
        """Pictures u8 (M, 64, 64, 3) of own states (M, 4)."""
        return draw(states)

    def _empty(self) -> Frames:
        """The picture u8 (64, 64, 3) of floor and walls."""
        return EMPTY

    def task_distance(self, states: Floats, goals: Floats) -> Floats:
        """Metres (...) between the balls' centres."""
        return np.asarray(np.linalg.norm(states[..., :2] - goals[..., :2], axis=-1))

    def visible(self, states: Floats) -> Floats:
        """The ball's centre, (..., 2) in metres."""
        return states[..., :2]

    def expert(self, states: Floats, goals: Floats) -> Floats:
        """Pushes (..., 2) of a proportional-derivative controller that also carries the ball's weight."""
        wanted = 3.0 * (goals[..., :2] - states[..., :2])  # m/s
        wanted[..., 1] += self.gravity * STEP
        actions = (wanted - states[..., 2:4]) / PUSH
        return np.asarray(np.clip(actions, -1, 1))


class BallVectorEnv(GoalVectorEnv):
    """Many balls side by side, advanced and drawn together."""

    single_class = Ball
