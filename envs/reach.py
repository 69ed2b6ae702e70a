"""Reach: bring an arm's finger to the place that the goal image shows."""

from typing import ClassVar

import numpy as np

from imagoal.envs import _arm_world as world
from imagoal.envs._arm import INSIDE, ArmEnv
from imagoal.envs._types import Floats, Rng, Task


class Reach(ArmEnv):
    """An arm seen from above, whose finger shall go to the place that the goal image shows.

    ## Description
    Two links turn in the plane above a table; at their end, a finger. Each action moves the finger. The task is to bring it to
    where the goal image shows it. The arm rests at the end of each step, so that one picture shows the whole state.

    ## Action Space
    `Box(-1, 1, (2,), float32)`: the finger's displacement.

    | Num | Action | Min | Max | Unit |
    |-----|--------|-----|-----|------|
    | 0 | finger to the right | -1 | 1 | 5 cm |
    | 1 | finger upwards (in the picture) | -1 | 1 | 5 cm |

    The finger stays within 23.5 cm of the picture's centre, in x and in y.

    ## Observation Space
    `Dict(image, goal)`, each `Box(0, 255, (64, 64, 3), uint8)`: the table now, and the arm with its finger at the goal. RGB,
    anti-aliased, 52 cm wide (8.1 mm a pixel).

    ## Info
    Privileged, not for headline agents: `state` and `goal_state` (angles of shoulder and elbow in radians, and their rates;
    float64), `is_success` (whether the finger is within 2.5 cm of the goal *now*).

    ## Rewards
    0 at the goal, -1 elsewhere, at every step.

    ## Physics
    MuJoCo, 0.2 s between actions, in 30 substeps. Links of 34 cm; the elbow bends to one side only, so finger and picture tell
    the same. Position servos follow a smooth path that ends after 80 % of the step. Deterministic.

    ## Starting State
    The finger is uniform within 20 cm of the centre in x and y; the goal likewise, at least 10 cm away.

    ## Episode End
    Never terminated, also not at the goal; truncated after 30 steps.

    ## Arguments
    `render_mode`: None or "rgb_array". `renderer`: "rays" or "gl". `reset(options={"task": Task})` starts a given task.

    ## Version History
    * v0: first version.
    """

    max_episode_steps: ClassVar[int] = 30
    tolerance: ClassVar[float] = 0.025
    version: ClassVar[int] = 0
    behaviour_mix: ClassVar[dict[str, float]] = {"noise": 0.5, "waypoints": 0.5}
    puck: ClassVar[bool] = False
    min_goal_distance: ClassVar[float] = 0.1

    def sample_task(self, rng: Rng) -> Task:
        """Start and goal at rest, at least `min_goal_distance` apart; every place can be reached."""
        start = goal = np.zeros(2)
        while np.linalg.norm(goal - start) < self.min_goal_distance:
            start, goal = rng.uniform(-INSIDE, INSIDE, (2, 2))
        begin, end = self._place(start), self._place(goal)
        return Task(begin, end, self.render_states(end[None])[0], float(self.task_distance(begin, end)))

    def task_distance(self, states: Floats, goals: Floats) -> Floats:
        """Metres (...) between the fingers."""
        return np.asarray(np.linalg.norm(world.tip(states) - world.tip(goals), axis=-1))

    def visible(self, states: Floats) -> Floats:
        """The finger's place, (..., 2) in metres; it is object and body at once."""
        return world.tip(states)

    def expert(self, states: Floats, goals: Floats) -> Floats:
        """Displacements (..., 2) straight to the goal."""
        return self.approach(states, world.tip(goals))
