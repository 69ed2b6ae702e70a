"""PushEasy: Push, where the finger starts on the right side of the puck."""

from typing import ClassVar

import numpy as np

from imagoal.envs._types import Floats, Rng
from imagoal.envs.push import Push


class PushEasy(Push):
    """Push with the finger near the puck and the goal roughly ahead: it needs to aim, but not to go around.

    ## Description
    Push, but the finger starts within 14 cm of the puck's centre, and the goal lies within 60 degrees of the direction from the
    finger to the puck. 20 steps.

    Action and observation spaces, info, rewards, episode end, arguments, variation and physics are those of `Push`.

    ## Version History
    * v0: first version.
    """

    max_episode_steps: ClassVar[int] = 20
    version: ClassVar[int] = 0
    near: ClassVar[float] = 0.14
    """Largest distance between finger and puck at the start, metres."""
    ahead: ClassVar[float] = 60.0
    """Largest angle between the directions finger to puck and puck to goal, degrees."""

    def _draw(self, rng: Rng) -> tuple[Floats, Floats, Floats]:
        """Start and goal of the puck, and the finger's start, (2,) each."""
        while True:
            start, goal, finger = super()._draw(rng)
            push, way = start - finger, goal - start
            cosine = push @ way / np.linalg.norm(push) / np.linalg.norm(way)
            if np.linalg.norm(push) <= self.near and cosine >= np.cos(np.radians(self.ahead)):
                return start, goal, finger
