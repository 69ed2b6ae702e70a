"""How a ball moves in a box, and how it looks: numpy, over any number of balls at once.

State: x, y in metres (y up), vx, vy in metres per second. The box is 1 m wide.
"""

import numpy as np

from imagoal.envs._types import Floats, Frames

RADIUS = 0.06  # m
STEP = 0.1  # s between actions
SUBSTEPS = 10
DRAG = 0.3  # 1/s
RESTITUTION = 0.9
MAX_SPEED = 2.0  # m/s
PUSH = 0.2  # m/s added by a full push

SIZE = 64  # px
WALL = 2  # px
SCALE = SIZE - 2 * WALL  # px/m
BALL_COLOUR, FLOOR_COLOUR, WALL_COLOUR = (214, 73, 51), (238, 236, 229), (58, 64, 76)

EMPTY = np.full((SIZE, SIZE, 3), WALL_COLOUR, np.uint8)
EMPTY[WALL:-WALL, WALL:-WALL] = FLOOR_COLOUR
_BLEND = np.linspace(FLOOR_COLOUR, BALL_COLOUR, 256).round().astype(np.uint8)  # (256, 3), by coverage
_PATCH = np.arange(2 * int(np.ceil(RADIUS * SCALE)) + 2)  # px offsets that a ball can touch


def push(states: Floats, actions: Floats) -> Floats:
    """States (M, 4) right after pushes (M, 2), of which at most the unit disc counts."""
    length = np.linalg.norm(actions, axis=1, keepdims=True)
    pushed = states.copy()
    pushed[:, 2:] += PUSH * actions / np.maximum(length, 1)
    return pushed


def coast(states: Floats, gravity: float) -> Floats:
    """States (M, 4) one step later, without pushes, under `gravity` in m/s^2: drag, walls that return 90 % of the speed."""
    position, velocity = states[:, :2].copy(), states[:, 2:].copy()
    seconds = STEP / SUBSTEPS
    decay = np.exp(-DRAG * seconds)
    for _ in range(SUBSTEPS):
        velocity[:, 1] -= gravity * seconds
        velocity *= decay
        speed = np.sqrt(np.einsum("ij,ij->i", velocity, velocity))
        velocity *= (MAX_SPEED / np.maximum(speed, MAX_SPEED))[:, None]
        position += velocity * seconds
        inside = np.clip(position, RADIUS, 1 - RADIUS)
        hit = position != inside
        position = 2 * inside - position  # mirrored at the wall that was crossed
        velocity[hit] *= -RESTITUTION
    return np.concatenate([position, velocity], 1)


def draw(states: Floats) -> Frames:
    """Anti-aliased pictures u8 (M, 64, 64, 3): each pixel shows the share of it that the disc covers."""
    count = len(states)
    frames = np.empty((count, SIZE, SIZE, 3), np.uint8)
    frames[:] = EMPTY
    centre = np.clip(states[:, :2], RADIUS, 1 - RADIUS) * SCALE + WALL
    centre[:, 1] = SIZE - centre[:, 1]  # rows run downwards
    corner = np.floor(centre - RADIUS * SCALE - 0.5).astype(np.int64)
    columns, rows = (corner[:, axis, None] + _PATCH for axis in (0, 1))
    across, down = columns + 0.5 - centre[:, :1], rows + 0.5 - centre[:, 1:]
    distance = np.sqrt(across[:, None] ** 2 + down[:, :, None] ** 2)
    coverage = np.clip(RADIUS * SCALE + 0.5 - distance, 0, 1)
    pixel = (np.arange(count)[:, None] * SIZE + rows)[:, :, None] * SIZE + columns[:, None]
    touched = coverage > 0
    frames.reshape(-1, 3)[pixel[touched]] = _BLEND[(coverage[touched] * 255).astype(np.int64)]
    return frames
