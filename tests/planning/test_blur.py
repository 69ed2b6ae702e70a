"""The blurred distance between pictures, here of a ball: a slope towards the goal from everywhere."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from imagoal.envs.ball import Ball
from imagoal.planning._blur import MODES, WIDTHS, blur
from imagoal.planning._goal_cost import euclid
from imagoal.world_model import to_tensor

BALL, RADIUS = Ball(), 0.06  # m
APART = np.array([[0.2, 0.2, 0, 0], [0.5, 0.5, 0, 0], [0.8, 0.8, 0, 0]])
EMPTY = to_tensor(np.median(BALL.render_states(APART), 0)[None].astype(np.uint8)) / 255
LOW, HIGH = RADIUS, 1 - RADIUS
CORNERS = [(x, y) for x in (LOW, HIGH) for y in (LOW, HIGH)]
PIXEL = 1 / 60  # m


def drawn(places: Tensor) -> Tensor:
    """Frames (M, 3, 64, 64) of balls at places (M, 2) in metres."""
    return to_tensor(BALL.render_states(torch.cat([places, torch.zeros_like(places)], 1).double().numpy())) / 255


def faint(places: Tensor) -> Tensor:
    return EMPTY + 0.4 * (drawn(places) - EMPTY)


def smeared(places: Tensor) -> Tensor:
    """As a regression paints what it is not sure of: the mean of balls up to 0.1 m to the left and right."""
    shifts = [torch.tensor([shift, 0]) for shift in torch.linspace(-0.1, 0.1, 9)]
    return torch.stack([drawn((places + shift).clip(LOW, HIGH)) for shift in shifts]).mean(0)


def to_goal(frames: Tensor, goal: Tensor) -> Tensor:
    """Distances (M,) of frames (M, 3, 64, 64) from that of a ball at `goal` (2,)."""
    return blur(frames, drawn(goal[None]).expand_as(frames))


@pytest.mark.parametrize("paint", [drawn, faint, smeared])
@pytest.mark.parametrize("goal", [(LOW, LOW), (LOW, 0.5), (0.3, 0.5), (0.9, 0.4)])
def test_it_rises_with_the_gap_over_the_whole_box(paint: Callable[[Tensor], Tensor], goal: tuple[float, float]) -> None:
    start = torch.tensor(goal)
    for end in (torch.tensor(corner) for corner in CORNERS if corner != goal):
        gaps = torch.arange(0, float((end - start).norm()), 2 * PIXEL)
        found = to_goal(paint(start + gaps[:, None] * (end - start) / (end - start).norm()), start)
        assert (found.diff() > 0).all(), f"towards {end.tolist()}"


def test_it_tells_a_tenth_of_a_pixel_from_none() -> None:
    goal = torch.tensor([0.4, 0.6])
    gaps = torch.tensor([0, 0.1, 0.25, 0.5, 1]) * PIXEL
    found = to_goal(drawn(goal + gaps[:, None] * torch.tensor([0.6, 0.8])), goal)
    assert found[0] < 1e-6
    assert (found.diff() > 0).all()


def test_pixels_without_a_blur_have_no_slope_between_balls_that_do_not_overlap() -> None:
    near, far, goal = drawn(torch.tensor([[0.3, 0.5], [0.8, 0.5], [0.1, 0.5]])).split(1)
    assert euclid(far, goal) < 1.01 * euclid(near, goal)
    assert blur(far, goal) > 1.5 * blur(near, goal)


def test_a_shade_all_over_does_not_count() -> None:
    goal = torch.tensor([0.4, 0.6])
    frames = drawn(torch.tensor([[0.2, 0.2], [0.5, 0.6]]))
    shades = torch.tensor([-0.05, 0.1])[:, None, None, None]
    torch.testing.assert_close(to_goal(frames + shades, goal), to_goal(frames, goal), rtol=1e-4, atol=0)


def test_it_is_the_distance_of_pictures_blurred_between_mirrors() -> None:
    first, second = drawn(torch.tensor([[LOW, 0.5], [0.3, HIGH]])).split(1)
    difference = first - second
    blurred = [width / WIDTHS[0] * mirrored_blur(difference - difference.mean((2, 3), keepdim=True), width) for width in WIDTHS]
    expected = torch.stack([each.square().mean().sqrt() for each in blurred]).mean()
    torch.testing.assert_close(blur(first, second)[0], expected, rtol=1e-3, atol=0)


def mirrored_blur(frames: Tensor, width: float) -> Tensor:
    """The blur as a plain sum of Gaussians at each pixel and at all its mirror images."""
    places = (torch.arange(64) + 0.5) / 64
    images = torch.cat([2 * turn + side * places for turn in range(-3, 4) for side in (1, -1)])
    weights = torch.exp(-(((places[:, None] - images) / width) ** 2) / 2).unflatten(1, (-1, 64)).sum(1)
    weights /= weights.sum(1, keepdim=True)
    return weights @ frames @ weights.T


def test_gradients_lead_to_the_goal_and_end_there() -> None:
    goal, start = drawn(torch.tensor([[0.8, 0.5], [0.2, 0.5]])).split(1)
    seen = start.clone().requires_grad_()
    blur(seen, goal).sum().backward()
    assert seen.grad is not None
    ahead, behind = drawn(torch.tensor([[0.21, 0.5], [0.19, 0.5]])).split(1)
    assert (seen.grad * (ahead - start)).sum() < 0 < (seen.grad * (behind - start)).sum()
    there = goal.clone().requires_grad_()
    blur(there, goal).sum().backward()
    assert there.grad is not None
    assert not there.grad.any()


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 32, 48), (3, 2, 2)])
def test_frames_may_have_any_size(shape: tuple[int, ...]) -> None:
    first, second = torch.rand(2, 5, *shape, generator=torch.Generator().manual_seed(0))
    found = blur(first, second)
    assert found.shape == (5,)
    assert (found > 0).all()
    torch.testing.assert_close(found, blur(second, first))


def test_what_is_not_finite_stays_so() -> None:
    frames = torch.zeros(2, 3, 64, 64)
    frames[1, 0, 5, 5] = torch.nan
    assert blur(frames, torch.zeros_like(frames)).isfinite().tolist() == [True, False]


def test_the_finest_blur_hardly_leaves_what_is_not_kept() -> None:
    assert torch.exp(torch.tensor(-0.5 * (torch.pi * MODES * WIDTHS[0]) ** 2)) < 0.01
