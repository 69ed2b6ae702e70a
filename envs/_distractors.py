"""Distractors: what moves in the picture and tells nothing about the task. A latent model may ignore it, pixels must show it.

They are part of the state: phases, one number in [0, 1) each, after the env's own numbers. A phase advances by the same
amount at each step, whatever is done; start and goal of a task draw theirs independently, after all else that is drawn.
Distractors lie below everything that belongs to the task: they cover what stands still, and nothing that moves.
"""

from abc import abstractmethod
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from imagoal.envs._types import Bools, Floats, Frames, GoalEnv, Rng, Task
from imagoal.errors import UsageError

Kinds = Literal["none", "noise", "mover", "noise+mover"]

GRAIN = 4  # px, side of a square of noise: encoders do not average it away, and pictures still compress
COLOUR = (66, 150, 70)  # of the mover: a green that nothing of the tasks has
SIDE = 10 / 64  # of the mover, in pictures: too large for a ball or a puck to cover
FINEST = 2.0**30  # phases are multiples of 1 / FINEST, so that adding them is exact
NOISE_RATE, MOVER_RATES = 1 / FINEST, tuple(np.floor(np.array([0.021, 0.0137]) * FINEST) / FINEST)


class Distractors:
    """Which there are, how their phases advance, and how they are painted."""

    def __init__(self, kinds: Kinds = "none") -> None:
        """Choose.

        Raises:
            UsageError: there is no such choice.
        """
        if kinds not in get_args(Kinds):
            raise UsageError(f"distractors {kinds!r}; expected one of {', '.join(get_args(Kinds))}")
        self.kinds = kinds
        self._noise, self._mover = "noise" in kinds, "mover" in kinds
        self._rates = np.array([*[NOISE_RATE] * self._noise, *MOVER_RATES * self._mover])

    def __len__(self) -> int:
        """How many phases D the state holds for them."""
        return len(self._rates)

    def draw(self, rng: Rng) -> Floats:
        """Phases (D,)."""
        return np.asarray(np.floor(rng.random(len(self)) * FINEST) / FINEST)

    def advance(self, phases: Floats) -> Floats:
        """Phases (M, D) one step later."""
        return np.asarray((phases + self._rates) % 1.0)

    def paint(self, frames: Frames, phases: Floats, empty: Frames) -> None:
        """Lay distractors with phases (M, D) into frames (M, h, w, 3), wherever they are as the `empty` picture (h, w, 3)."""
        bare = np.logical_and.reduce([frames[..., colour] == empty[..., colour] for colour in range(3)])
        if self._noise:
            grey = _grey(phases[:, 0], bare.shape[1], bare.shape[2])
            np.copyto(frames, frames // 2 + grey[..., None] // 2, where=bare[..., None])
        if self._mover:
            _paint_mover(frames, phases[:, -2:], bare)


def _grey(phases: Floats, height: int, width: int) -> Frames:
    """Squares of random grey u8 (M, h, w), others for each phase (M,)."""
    rows, columns = -(-height // GRAIN), -(-width // GRAIN)
    square = np.arange(rows * columns, dtype=np.uint64)
    number = (phases * FINEST).astype(np.uint64)[:, None] * np.uint64(1 << 32) + square
    grey = (_mixed(number) >> np.uint64(56)).astype(np.uint8).reshape(-1, rows, columns)
    return grey.repeat(GRAIN, 1).repeat(GRAIN, 2)[:, :height, :width]


def _mixed(number: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Numbers without any pattern out of consecutive ones: SplitMix64 (Steele et al. 2014), the same on all machines."""
    number = (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


def _paint_mover(frames: Frames, phases: Floats, bare: Bools) -> None:
    """A green square, anti-aliased, that goes straight and turns at the picture's borders."""
    height, width = bare.shape[1:]
    half = SIDE * min(height, width) / 2
    back_and_forth = np.abs(2 * phases - 1)
    across, down = (
        _covered(half + (length - 2 * half) * back_and_forth[:, axis], half, length)
        for axis, length in ((0, width), (1, height))
    )
    touched = (down > 0)[:, :, None] & (across > 0)[:, None] & bare
    state, row, column = np.nonzero(touched)
    share, below = (down[state, row] * across[state, column])[:, None], frames[touched]
    frames[touched] = np.floor(below + share * (np.array(COLOUR) - below) + 0.5).astype(np.uint8)


def _covered(centre: Floats, half: float, length: int) -> Floats:
    """The share of each pixel (M, length) between centre (M,) - half and centre + half."""
    distance = np.abs(np.arange(length) + 0.5 - centre[:, None])
    return np.asarray(np.clip(half + 0.5 - distance, 0, 1))


class DistractedEnv(GoalEnv):
    """A `GoalEnv` that can have distractors; a subclass says how its own numbers move, and how they look.

    A subclass's methods that take whole states, (..., S), read its own `own_size` numbers and leave the phases after them.

    Args:
        render_mode: None or "rgb_array".
        distractors: which, of `Kinds`.
    """

    own_size: ClassVar[int]
    """How many numbers of a state are the env's own."""

    def __init__(self, render_mode: str | None = None, distractors: Kinds = "none") -> None:
        super().__init__(render_mode)
        self._distractors = Distractors(distractors)

    @property
    def options(self) -> dict[str, str]:
        """The constructor's options that are not at their default."""
        return {"distractors": self._distractors.kinds} if self._distractors else {}

    @property
    def variant(self) -> str:
        """The distractors, if there are any."""
        return self._distractors.kinds if self._distractors else ""

    @abstractmethod
    def _moved(self, states: Floats, actions: Floats) -> Floats:
        """Own states (M, own_size) one step after actions (M, A), without random kicks."""

    @abstractmethod
    def _drawn(self, states: Floats) -> Frames:
        """Pictures u8 (M, h, w, 3) of own states (M, own_size)."""

    @abstractmethod
    def _empty(self) -> Frames:
        """The picture u8 (h, w, 3) of all that stands still."""

    def advance(self, states: Floats, actions: Floats) -> Floats:
        """The states (M, S) one env step after actions (M, A)."""
        own, phases = self._split(states)
        return np.concatenate([self._moved(own, actions), self._distractors.advance(phases)], -1)

    def simulate(self, states: Floats, actions: Floats) -> Floats:
        """States (M, L, S) after each of the actions (M, L, A) from states (M, S)."""
        path = np.empty((*actions.shape[:2], states.shape[1]))
        own, phases = self._split(states)
        for step in range(actions.shape[1]):
            own, phases = self._moved(own, actions[:, step]), self._distractors.advance(phases)
            path[:, step, : self.own_size], path[:, step, self.own_size :] = own, phases
        return path

    def render_states(self, states: Floats) -> Frames:
        """Pictures u8 (M, h, w, 3) of states (M, S)."""
        own, phases = self._split(states)
        frames = self._drawn(own)
        if self._distractors:
            self._distractors.paint(frames, phases, self._empty())
        return frames

    def _split(self, states: Floats) -> tuple[Floats, Floats]:
        """The env's own numbers (M, own_size) of states (M, S), and the distractors' phases (M, D)."""
        if states.shape[-1] != self.own_size + len(self._distractors):
            raise UsageError(
                f"state of {states.shape[-1]} numbers; expected {self.own_size}, and {len(self._distractors)} of distractors "
                f"{self._distractors.kinds!r}; take tasks and data of the same env options"
            )
        return states[..., : self.own_size], states[..., self.own_size :]

    def _posed(self, start: Floats, goal: Floats, rng: Rng) -> Task:
        """The task from one own state (own_size,) to another, with distractors that are drawn for each."""
        start, goal = (np.concatenate([own, self._distractors.draw(rng)]) for own in (start, goal))
        return Task(start, goal, self.render_states(goal[None])[0], float(self.task_distance(start, goal)))
