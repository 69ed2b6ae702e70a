"""Push: an arm's finger pushes a puck to the place that the goal image shows."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from imagoal.envs._distractors import Kinds
from imagoal.envs._types import Floats, Rng, Task
from imagoal.envs._variation import Factor
from imagoal.envs.arm import INSIDE, PUSH_FACTORS, ArmEnv, Renderer
from imagoal.envs.arm import physics as world
from imagoal.errors import UsageError

GoalFinger = Literal["behind", "anywhere", "hidden"]
CLEARANCE = 0.02  # m between finger and puck where the expert goes around it


class Push(ArmEnv):
    """An arm seen from above, whose finger shall push a puck to the place that the goal image shows.

    ## Description
    Two links turn in the plane above a table; the finger at their end pushes a puck. The task is to bring the puck to where
    the goal image shows it; where the finger ends does not count. A lip keeps the puck, and the finger passes above it, so that
    it can get behind the puck everywhere. All rests at the end of each step, so that one picture shows the whole state.

    ## Action Space
    `Box(-1, 1, (2,), float32)`: the finger's displacement.

    | Num | Action | Min | Max | Unit |
    |-----|--------|-----|-----|------|
    | 0 | finger to the right | -1 | 1 | 5 cm |
    | 1 | finger upwards (in the picture) | -1 | 1 | 5 cm |

    The finger stays within 23.5 cm of the picture's centre, in x and in y.

    ## Observation Space
    `Dict(image, goal)`, each `Box(0, 255, (64, 64, 3), uint8)`: the table now, and the puck at the goal. RGB, anti-aliased,
    52 cm wide (8.1 mm a pixel). Where the goal image shows the finger is an argument, since it tells much: `goal_finger`.

    ## Info
    Privileged, not for headline agents: `state` and `goal_state` (angles of shoulder and elbow, the puck's x, y, z in metres
    and yaw, then the rates of all six, then the distractors' phases, if any; float64), `is_success` (whether the puck's centre
    is within 3 cm of the goal's *now*), `variation` (what was drawn anew, by factor).

    ## Rewards
    0 at the goal, -1 elsewhere, at every step.

    ## Physics
    MuJoCo, 0.2 s between actions, in 30 substeps. Links of 34 cm; a finger of radius 1.6 cm; a puck of radius 3.8 cm and 200 g
    that slides with a friction coefficient of 1 and stops with the finger. Position servos follow a smooth path that ends after
    80 % of the step. Deterministic.

    ## Starting State
    The puck is uniform within 14 cm of the centre in x and y, its goal likewise, 8 to 25 cm away. The finger is uniform within
    20 cm of the centre, off the puck.

    ## Episode End
    Never terminated, also not at the goal; truncated after 30 steps.

    ## Arguments
    `goal_finger`: where the goal image shows the finger. "behind" the puck, as if it had just pushed it there straight from its
    start; "anywhere" off the puck; "hidden", the arm out of the picture. `distractors`: "none", or "noise" (squares of
    random grey over all that stands still, others at each step), "mover" (a green square that goes its own way, below puck and
    arm), "noise+mover"; they are part of the state, and the goal image shows a draw of its own. `renderer`: "rays" or "gl".
    `render_mode`: None or "rgb_array". `reset(options={"task": Task})` starts a given task.

    ## Variation
    `reset(options={"variation": [...]})` draws the named factors anew, uniformly, for this episode and its goal image; `all`
    stands for every one. Nothing varies by default. `Push.variations` holds this table.

    | Name | What it changes | Range |
    |------|-----------------|-------|
    | colour | hue of the puck and of the arm; brightness of the table | -60 to 60 and 180 to 270 degrees; 0.7 to 0.95 |
    | size | radius of puck, finger and links | 3.2 to 4.4 cm; 1.3 to 2 cm; 0.8 to 1.4 cm |
    | friction | of puck and table, sliding | 0.5 to 1.5 |
    | mass | of the puck | 100 to 400 g |
    | camera | turn; place to the right and up; width of the view | -8 to 8 degrees; -1 to 1 cm; 55 to 62 cm |
    | light | slope of the sun's rays; brightness of sun and sky | -0.6 to 0.6; 0.5 to 0.75 and 0.2 to 0.4 |

    Actions and states stay as they are: a turned camera turns the picture alone. Of a given task, start and goal stay too, and
    its goal is drawn anew.

    ## Version History
    * v0: first version.
    """

    max_episode_steps: ClassVar[int] = 30
    tolerance: ClassVar[float] = 0.03
    version: ClassVar[int] = 0
    behaviour_mix: ClassVar[dict[str, float]] = {"through": 0.4, "expert": 0.2, "waypoints": 0.2, "wander": 0.2}
    variations: ClassVar[Mapping[str, Factor]] = PUSH_FACTORS
    puck: ClassVar[bool] = True
    own_size: ClassVar[int] = 12
    goal_distances: ClassVar[tuple[float, float]] = (0.08, 0.25)

    def __init__(
        self,
        render_mode: str | None = None,
        renderer: Renderer = "rays",
        goal_finger: GoalFinger = "behind",
        distractors: Kinds = "none",
    ) -> None:
        super().__init__(render_mode, renderer, distractors)
        if goal_finger not in {"behind", "anywhere", "hidden"}:
            raise UsageError(f"goal_finger {goal_finger!r}; expected 'behind', 'anywhere' or 'hidden'")
        self.goal_finger = goal_finger

    @property
    def options(self) -> dict[str, str]:
        """The constructor's options that are not at their default."""
        return super().options | ({} if self.goal_finger == "behind" else {"goal_finger": self.goal_finger})

    @property
    def variant(self) -> str:
        """The goal finger, if it is not behind the puck, and the distractors, if there are any."""
        return "-".join(filter(None, ["" if self.goal_finger == "behind" else self.goal_finger, super().variant]))

    def sample_task(self, rng: Rng) -> Task:
        """Start and goal at rest; the puck can be pushed from everywhere to everywhere."""
        start, goal, finger = self._draw(rng)
        begin, end = self._lay(finger, start), self._lay(self._goal_finger(start, goal, rng), goal)
        if self.goal_finger == "hidden":
            end[:2] = world.PARKED
        return self._posed(begin, end, rng)

    def task_distance(self, states: Floats, goals: Floats) -> Floats:
        """Metres (...) between the pucks' centres."""
        return np.asarray(np.linalg.norm(states[..., 2:4] - goals[..., 2:4], axis=-1))

    def visible(self, states: Floats) -> Floats:
        """The puck's centre and the finger's place, (..., 4) in metres."""
        return np.concatenate([states[..., 2:4], world.tip(states)], -1)

    def expert(self, states: Floats, goals: Floats) -> Floats:
        """Displacements (..., 2): around the puck until the finger is behind it, then push."""
        puck, goal, finger, contact = states[..., 2:4], goals[..., 2:4], world.tip(states), self._scene.contact
        way = goal - puck
        left = np.linalg.norm(way, axis=-1, keepdims=True)
        ahead = way / np.maximum(left, 1e-9)
        to_finger = finger - puck
        along = (to_finger * ahead).sum(-1, keepdims=True)
        across = np.linalg.norm(to_finger - along * ahead, axis=-1, keepdims=True)
        behind = (along < 0) & (across < 0.3 * contact)
        around = (contact + CLEARANCE) * _circled(to_finger, -ahead)
        target = np.where(behind, goal - contact * ahead, puck + around)
        return np.where(left < 0.2 * self.tolerance, 0.0, self.approach(states, target))

    def _draw(self, rng: Rng) -> tuple[Floats, Floats, Floats]:
        """Start and goal of the puck, and the finger's start, (2,) each."""
        low, high = self.goal_distances
        start = goal = np.zeros(2)
        while not low <= np.linalg.norm(goal - start) <= high:
            start, goal = rng.uniform(-0.14, 0.14, (2, 2))
        return start, goal, self._off(start, rng)

    def _goal_finger(self, start: Floats, goal: Floats, rng: Rng) -> Floats:
        """Where the goal image shows the finger, (2,)."""
        if self.goal_finger == "anywhere":
            return self._off(goal, rng)
        ahead = (goal - start) / np.linalg.norm(goal - start)
        return np.clip(goal - (self._scene.contact + 0.001) * ahead, -world.REACH, world.REACH)

    def _off(self, puck: Floats, rng: Rng) -> Floats:
        """A place (2,) of the finger where it does not touch a puck at (2,)."""
        finger = puck
        while np.linalg.norm(finger - puck) < self._scene.contact + 0.005:
            finger = rng.uniform(-INSIDE, INSIDE, 2)
        return finger

    def _lay(self, finger: Floats, puck: Floats) -> Floats:
        """The own state (12,) at rest with finger and puck at (2,) each."""
        state = self._place(finger)
        state[2:4] = puck
        return state


def _circled(to_finger: Floats, wanted: Floats) -> Floats:
    """The next direction (..., 2), seen from the puck, on the finger's way around it to the direction `wanted` (..., 2)."""
    angle = np.arctan2(to_finger[..., 1], to_finger[..., 0])
    turn = np.arctan2(wanted[..., 1], wanted[..., 0]) - angle
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    angle = angle + np.clip(turn, -0.8, 0.8)
    return np.stack([np.cos(angle), np.sin(angle)], -1)
