"""One step ahead of each point of any path, and how each step answers to small changes: what collocation searches with."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imagoal import find
from imagoal.world_model import Past, Predictor
from imagoal.world_model._types import State, shows_paths
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.models.simulator import Simulator
from imagoal.world_model.readouts import build_encoder

BATCH, CANDIDATES, HORIZON, SIZE = 2, 3, 6, 5
predictors = pytest.mark.parametrize("name", sorted(find.entries("predictor")))
histories = pytest.mark.parametrize("history", [1, 3])
blocks = pytest.mark.parametrize("block", [1, 2])


def predictor(name: str, history: int, block: int = 1) -> Predictor:
    """Random weights, large enough that everything matters, in f64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built: Predictor = find.find("predictor", name)(history=history).build(1, SIZE, 2 * block)
        for parameter in built.parameters():
            nn.init.normal_(parameter, std=0.15)
    built.fit_scale(numbers(9, 1, SIZE), numbers(9, 1, SIZE, seed=1))
    return built.double().eval().requires_grad_(False)


def latent(name: str, history: int, block: int) -> Latent:
    return Latent(build_encoder(PatchConv(size=SIZE, width=4)), predictor(name, history, block).float(), 2 * block, block)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def past(world: Latent, batch: int = BATCH) -> State:
    frames = torch.randint(0, 256, (batch, 4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return world.observe(Past(frames, numbers(batch, 3, world.action_size, seed=3)), [0] * batch)


@pytest.mark.parametrize("name", sorted({*find.entries("predictor")} - {"prefix"}))  # which does not imagine step by step
@histories
@blocks
def test_ahead_of_a_rollout_is_the_rollout(name: str, history: int, block: int) -> None:
    world = latent(name, history, block)
    state, actions = past(world), numbers(BATCH, CANDIDATES, HORIZON, 2 * block)
    rollout = world.rollout(state, actions)
    torch.testing.assert_close(world.along(state, rollout, actions), rollout, atol=1e-5, rtol=1e-5)


@predictors
@histories
@blocks
def test_each_step_is_seen_from_the_path_and_not_from_what_was_imagined(name: str, history: int, block: int) -> None:
    """By the definition: real steps up to a point of the path, and one imagined step from there."""
    world = latent(name, history, block)
    state, actions = past(world), numbers(BATCH, CANDIDATES, HORIZON, 2 * block)
    path = numbers(BATCH, CANDIDATES, HORIZON, 1, SIZE, seed=2)
    ahead = world.along(state, path, actions)
    memory = tuple(tensor.repeat_interleave(CANDIDATES, 0) for tensor in state)
    points, taken = path.flatten(0, 1), actions.flatten(0, 1)
    for step in range(HORIZON):
        following, _ = world.predictor.unroll(memory, taken[:, step : step + 1])
        torch.testing.assert_close(ahead[:, :, step].flatten(0, 1), following[:, 0], atol=1e-5, rtol=1e-5)
        memory = world.predictor.extend(memory, points[:, step : step + 1], taken[:, step : step + 1])


@pytest.mark.parametrize("name", ["mlp", "transformer"])
@histories
def test_ahead_of_a_path_is_the_teacher_forced_forward(name: str, history: int) -> None:
    model = predictor(name, history)
    latents, actions = numbers(2, history + HORIZON, 1, SIZE).double(), numbers(2, history + HORIZON - 1, 2).double()
    memory = model.start(latents[:, :history], actions[:, : history - 1])
    ahead = model.along(memory, latents[:, history:], actions[:, history - 1 :])
    torch.testing.assert_close(ahead, model(latents[:, :-1], actions)[:, history - 1 :], atol=1e-12, rtol=1e-12)


@predictors
@histories
@blocks
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_derivatives_are_those_of_looking_ahead(name: str, history: int, block: int, steps: int) -> None:
    model = predictor(name, history, block)
    memory = model.start(numbers(2, 4, 1, SIZE).double(), numbers(2, 3, 2 * block).double())
    path, actions = numbers(2, steps, 1, SIZE, seed=5).double(), numbers(2, steps, 2 * block, seed=6).double()
    exact = torch.autograd.functional.jacobian(lambda *inputs: model.along(memory, *inputs), (path, actions))
    for linearise in (model.linearise, lambda *inputs: Predictor.linearise(model, *inputs)):
        ahead, by_latents, by_actions = linearise(memory, path, actions)
        torch.testing.assert_close(ahead, model.along(memory, path, actions), atol=1e-12, rtol=1e-12)
        for each in range(2):
            banded(by_latents[each], exact[0][each, :, 0, :, each].flatten(3), history, history)
            banded(by_actions[each], exact[1][each, :, 0, :, each], history, history - 1)


def banded(found: Tensor, exact: Tensor, history: int, before: int) -> None:
    """Derivatives (H, n, history x m) by windows hold all that there is in (H, n, H, m)."""
    steps, size = exact.shape[:2]
    windows = found.reshape(steps, size, history, -1)
    for step in range(steps):
        outside = exact[step].clone()
        for entry in range(history):
            source = step - before + entry
            if source >= 0:
                torch.testing.assert_close(windows[step, :, entry], exact[step, :, source], atol=1e-9, rtol=1e-9)
                outside[:, source] = 0
        assert not outside.any()


@predictors
def test_looking_ahead_is_differentiable_by_path_and_actions(name: str) -> None:
    world = latent(name, 3, 1)
    path = numbers(BATCH, CANDIDATES, HORIZON, 1, SIZE).requires_grad_()
    actions = numbers(BATCH, CANDIDATES, HORIZON, 2).requires_grad_()
    world.along(past(world), path, actions)[:, :, -1].sum().backward()
    assert path.grad is not None
    assert actions.grad is not None
    assert path.grad[:, :, -2].abs().amin() > 0
    assert not path.grad[:, :, -1].any(), "the last point leads nowhere"
    assert actions.grad[:, :, -1].abs().amin() > 0


@predictors
def test_a_path_is_seen_alike_alone_and_in_a_batch(name: str) -> None:
    world = latent(name, 3, 1)
    state, actions = past(world), numbers(BATCH, CANDIDATES, HORIZON, 2)
    path = numbers(BATCH, CANDIDATES, HORIZON, 1, SIZE, seed=2)
    together: list[Tensor] = [world.along(state, path, actions), *world.linearise(state, path, actions)]
    for b in range(BATCH):
        mine = tuple(tensor[b : b + 1] for tensor in state)
        inputs: Any = (mine, path[b : b + 1, 1:2], actions[b : b + 1, 1:2])
        for one, all_of_them in zip([world.along(*inputs), *world.linearise(*inputs)], together, strict=True):
            torch.testing.assert_close(one[0, 0], all_of_them[b, 1], atol=1e-5, rtol=1e-5)


def test_latent_models_judge_paths_and_the_simulator_does_not() -> None:
    assert shows_paths(latent("mlp", 1, 1))
    assert not shows_paths(Simulator.__new__(Simulator))
