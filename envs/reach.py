"""Reach: bring an arm's finger to the place that the goal image shows."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from imagoal.envs._types import Floats, Rng, Task
from imagoal.envs._variation import Factor
from imagoal.envs.arm import INSIDE, REACH_FACTORS, ArmEnv
from imagoal.envs.arm import physics as world


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
    Privileged, not for headline agents: `state` and `goal_state` (angles of shoulder and elbow in radians, their rates, then
    the distractors' phases, if any; float64), `is_success` (whether the finger is within 2.5 cm of the goal *now*),
    `variation` (what was drawn anew, by factor).

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
    `render_mode`: None or "rgb_array". `renderer`: "rays" or "gl". `distractors`: "none", or "noise" (squares of random grey
    over all that stands still, others at each step), "mover" (a green square that goes its own way, below the arm),
    "noise+mover"; they are part of the state, and the goal image shows a draw of its own. `reset(options={"task": Task})`
    starts a given task.

    ## Variation
    `reset(options={"variation": [...]})` draws the named factors anew, uniformly, for this episode and its goal image; `all`
    stands for every one. Nothing varies by default. `Reach.variations` holds this table.

    | Name | What it changes | Range |
    |------|-----------------|-------|
    | colour | hue of the arm; brightness of the table | 180 to 270 degrees; 0.7 to 0.95 |
    | size | radius of finger and links | 1.3 to 2 cm; 0.8 to 1.4 cm |
    | camera | turn; place to the right and up; width of the view | -8 to 8 degrees; -1 to 1 cm; 55 to 62 cm |
    | light | slope of the sun's rays; brightness of sun and sky | -0.6 to 0.6; 0.5 to 0.75 and 0.2 to 0.4 |

    Actions and states stay as they are: a turned camera turns the picture alone.

    ## Version History
    * v0: first version.
    """

    max_episode_steps: ClassVar[int] = 30
    tolerance: ClassVar[float] = 0.025
    version: ClassVar[int] = 0
    behaviour_mix: ClassVar[dict[str, float]] = {"noise": 0.5, "waypoints": 0.5}
    variations: ClassVar[Mapping[str, Factor]] = REACH_FACTORS
    puck: ClassVar[bool] = False
    own_size: ClassVar[int] = 4
    min_goal_distance: ClassVar[float] = 0.1

    def sample_task(self, rng: Rng) -> Task:
        """Start and goal at rest, at least `min_goal_distance` apart; every place can be reached."""
        start = goal = np.zeros(2)
        while np.linalg.norm(goal - start) < self.min_goal_distance:
            start, goal = rng.uniform(-INSIDE, INSIDE, (2, 2))
        return self._posed(self._place(start), self._place(goal), rng)

    def task_distance(self, states: Floats, goals: Floats) -> Floats:
        """Metres (...) between the fingers."""
        return np.asarray(np.linalg.norm(world.tip(states) - world.tip(goals), axis=-1))

    def visible(self, states: Floats) -> Floats:
        """The finger's place, (..., 2) in metres; it is object and body at once."""
        return world.tip(states)

    def expert(self, states: Floats, goals: Floats) -> Floats:
        """Displacements (..., 2) straight to the goal."""
        return self.approach(states, world.tip(goals))
