"""BallGust: Ball in gusty air."""

from typing import ClassVar

from imagoal.envs._types import Floats
from imagoal.envs._vector import GoalVectorEnv
from imagoal.envs.ball import Ball


class BallGust(Ball):
    """A ball that gusts kick at random: its future is truly uncertain.

    ## Description
    Ball, but at each step, with probability 0.1, a gust adds a normally distributed velocity (0.25 m/s in each direction).
    Kicks come from the env's own generator; they are no part of the state, nobody can foresee them, and `simulate` imagines
    none. So a model of this world must be uncertain or blurred, and an oracle without foresight is the ceiling.

    Action and observation spaces, info, rewards, starting state, episode end, arguments and all other physics are those of
    `Ball`. Deterministic from the seed.

    ## Version History
    * v0: first version.
    """

    max_episode_steps: ClassVar[int] = 40
    version: ClassVar[int] = 0
    vector_class: ClassVar[str] = "BallGustVectorEnv"
    gust_probability: ClassVar[float] = 0.1
    gust_speed: ClassVar[float] = 0.25
    """Standard deviation of a kick in each direction, m/s."""

    def advance(self, states: Floats, actions: Floats) -> Floats:
        """The states (M, S) one step of 0.1 s after pushes (M, 2) and gusts, if any."""
        gust = self.np_random.random((len(states), 1)) < self.gust_probability
        kick = self.np_random.normal(0, self.gust_speed, (len(states), 2))
        kicked = states.copy()
        kicked[:, 2:4] += gust * kick
        return super().advance(kicked, actions)


class BallGustVectorEnv(GoalVectorEnv):
    """Many gusty balls side by side, advanced and drawn together."""

    single_class = BallGust
