"""Push: an arm's finger pushes a puck to the place that the goal image shows."""

from typing import ClassVar, Literal

import numpy as np

from imagoal.envs import _arm_world as world
from imagoal.envs._arm import INSIDE, ArmEnv, Renderer
from imagoal.envs._types import Floats, Rng, Task
from imagoal.errors import UsageError

GoalFinger = Literal["behind", "anywhere", "hidden"]
PARKED = np.array([-np.pi / 2 - 0.2, 0.4])  # rad: the arm is folded away, out of the picture
AROUND = world.CONTACT + 0.02  # m: how far from the puck's centre the expert's finger goes around it


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
    and yaw, then the rates of all six; float64), `is_success` (whether the puck's centre is within 3 cm of the goal's *now*).

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
    start; "anywhere" off the puck; "hidden", the arm out of the picture. `renderer`: "rays" or "gl". `render_mode`: None or
    "rgb_array". `reset(options={"task": Task})` starts a given task.

    ## Version History
    * v0: first version.
    """

    max_episode_steps: ClassVar[int] = 30
    tolerance: ClassVar[float] = 0.03
    version: ClassVar[int] = 0
    behaviour_mix: ClassVar[dict[str, float]] = {"through": 0.4, "expert": 0.2, "waypoints": 0.2, "wander": 0.2}
    puck: ClassVar[bool] = True
    goal_distances: ClassVar[tuple[float, float]] = (0.08, 0.25)

    def __init__(self, render_mode: str | None = None, renderer: Renderer = "rays", goal_finger: GoalFinger = "behind") -> None:
        super().__init__(render_mode, renderer)
        if goal_finger not in {"behind", "anywhere", "hidden"}:
            raise UsageError(f"goal_finger {goal_finger!r}; expected 'behind', 'anywhere' or 'hidden'")
        self.goal_finger = goal_finger

    @property
    def options(self) -> dict[str, str]:
        """The constructor's options that are not at their default."""
        return super().options | ({"goal_finger": self.variant} if self.variant else {})

    @property
    def variant(self) -> str:
        """The goal finger, if it is not behind the puck."""
        return "" if self.goal_finger == "behind" else self.goal_finger

    def sample_task(self, rng: Rng) -> Task:
        """Start and goal at rest; the puck can be pushed from everywhere to everywhere."""
        start, goal, finger = self._draw(rng)
        begin, end = self._lay(finger, start), self._lay(self._goal_finger(start, goal, rng), goal)
        if self.goal_finger == "hidden":
            end[:2] = PARKED
        return Task(begin, end, self.render_states(end[None])[0], float(self.task_distance(begin, end)))

    def task_distance(self, states: Floats, goals: Floats) -> Floats:
        """Metres (...) between the pucks' centres."""
        return np.asarray(np.linalg.norm(states[..., 2:4] - goals[..., 2:4], axis=-1))

    def visible(self, states: Floats) -> Floats:
        """The puck's centre and the finger's place, (..., 4) in metres."""
        return np.concatenate([states[..., 2:4], world.tip(states)], -1)

    def expert(self, states: Floats, goals: Floats) -> Floats:
        """Displacements (..., 2): around the puck until the finger is behind it, then push."""
        puck, goal, finger = states[..., 2:4], goals[..., 2:4], world.tip(states)
        way = goal - puck
        left = np.linalg.norm(way, axis=-1, keepdims=True)
        ahead = way / np.maximum(left, 1e-9)
        to_finger = finger - puck
        along = (to_finger * ahead).sum(-1, keepdims=True)
        across = np.linalg.norm(to_finger - along * ahead, axis=-1, keepdims=True)
        behind = (along < 0) & (across < 0.3 * world.CONTACT)
        target = np.where(behind, goal - world.CONTACT * ahead, puck + _circled(to_finger, -ahead))
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
        return np.clip(goal - (world.CONTACT + 0.001) * ahead, -world.REACH, world.REACH)

    def _off(self, puck: Floats, rng: Rng) -> Floats:
        """A place (2,) of the finger where it does not touch a puck at (2,)."""
        finger = puck
        while np.linalg.norm(finger - puck) < world.CONTACT + 0.005:
            finger = rng.uniform(-INSIDE, INSIDE, 2)
        return finger

    def _lay(self, finger: Floats, puck: Floats) -> Floats:
        """The state (12,) at rest with finger and puck at (2,) each."""
        state = self._place(finger)
        state[2:4] = puck
        return state


def _circled(to_finger: Floats, wanted: Floats) -> Floats:
    """The next point (..., 2), seen from the puck, on the finger's way around it to the direction `wanted` (..., 2)."""
    angle = np.arctan2(to_finger[..., 1], to_finger[..., 0])
    turn = np.arctan2(wanted[..., 1], wanted[..., 0]) - angle
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    angle = angle + np.clip(turn, -0.8, 0.8)
    return AROUND * np.stack([np.cos(angle), np.sin(angle)], -1)
