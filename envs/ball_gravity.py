"""BallGravity: Ball in a box that stands upright."""

from typing import ClassVar

from imagoal.envs._vector import GoalVectorEnv
from imagoal.envs.ball import Ball


class BallGravity(Ball):
    """A ball that falls: it must be pushed upwards all the time to stay at the goal.

    ## Description
    Ball in an upright box: gravity of 1 m/s^2 takes 0.1 m/s of upward speed at every step, and a full push gives 0.2 m/s, so
    that every place can be reached and held, at half of the pushing strength.

    Action and observation spaces, info, rewards, starting state, episode end, arguments and all other physics are those of
    `Ball`.

    ## Version History
    * v0: first version.
    """

    max_episode_steps: ClassVar[int] = 40
    version: ClassVar[int] = 0
    vector_class: ClassVar[str] = "BallGravityVectorEnv"
    gravity: ClassVar[float] = 1.0


class BallGravityVectorEnv(GoalVectorEnv):
    """Many falling balls side by side, advanced and drawn together."""

    single_class = BallGravity
