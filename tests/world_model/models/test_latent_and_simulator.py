"""World models: what is imagined does not depend on how it was observed, chunked or batched."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imagoal import find
from imagoal.envs import make
from imagoal.errors import UsageError
from imagoal.world_model._types import Past, State
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.models.simulator import Simulator
from imagoal.world_model.readouts import build_encoder

BATCH, STEPS = 3, 9
PREDICTORS = sorted(find.entries("predictor"))
by_predictor = pytest.mark.parametrize("name", PREDICTORS)


def model(name: str, block: int = 1, **options: Any) -> Latent:
    """Random weights, large enough that everything matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        predictor = find.find("predictor", name)(**options).build(1, 8, 2 * block)
        for parameter in predictor.parameters():
            nn.init.normal_(parameter, std=0.1)
    return Latent(build_encoder(PatchConv(size=8, width=4)), predictor, 2 * block, block)


def frames(batch: int = BATCH, steps: int = STEPS) -> Tensor:
    return torch.randint(0, 256, (batch, steps, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def actions(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def past(last: int, count: int, new: int | None = None) -> Past:
    """The `count` frames up to frame `last` of a fixed episode."""
    first = max(0, last + 1 - count)
    return Past(frames()[:, first : last + 1], actions(BATCH, STEPS, 2)[:, first:last], new=new)


def same(first: State, second: State) -> None:
    """Equal but for rounding: encoders sum in another order where there are more frames."""
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, atol=3e-6, rtol=1e-6)


def alike(first: Tensor, second: Tensor) -> None:
    """Equal but for rounding, relative to the latents' size; not bitwise: the order of a matmul's sums follows its size."""
    torch.testing.assert_close(first, second, atol=3e-6 * float(second.abs().max()), rtol=0)


class Counting:
    """An encoder that counts the frames it is given."""

    label, hash = "random", "counting"

    def __init__(self, inner: Any) -> None:
        self.inner, self.counts = inner, []

    def encode(self, pictures: Tensor) -> Tensor:
        self.counts.append(len(pictures))
        latents: Tensor = self.inner.encode(pictures)
        return latents


@by_predictor
@pytest.mark.parametrize("new", [1, 2, 3, 4])
@pytest.mark.parametrize("history", [1, 2, 3])
def test_observing_what_is_new_equals_observing_anew(name: str, history: int, new: int) -> None:
    """As the mpc agent calls it: with as many frames as the model looks at, or as are new."""
    world, count = model(name, history=history), max(history, new)
    seeds = [0] * BATCH
    state = world.observe(past(0, count), seeds)
    for last in range(new, STEPS, new):
        state = world.observe(past(last, count, new), seeds, state)
        same(state, world.observe(past(last, history), seeds))
        same(state, world.observe(past(last, STEPS), seeds))


@by_predictor
def test_only_new_frames_are_encoded(name: str) -> None:
    world = model(name, history=3)
    encoder = Counting(world.encoder)
    world = replace(world, encoder=encoder)
    state = world.observe(past(2, 3), [0] * BATCH)
    assert sum(encoder.counts) == 3 * BATCH
    world.observe(past(3, 3, new=1), [0] * BATCH, state)
    assert sum(encoder.counts) == (3 + 1) * BATCH
    world.observe(past(4, 3, new=2), [0] * BATCH, state)
    assert sum(encoder.counts) == (3 + 1 + 2) * BATCH


@by_predictor
def test_an_episode_s_start_is_as_if_nothing_had_happened_before(name: str) -> None:
    world = model(name, history=3)
    short = world.observe(past(0, 1), [0] * BATCH)
    first = past(0, 1).frames
    still = Past(first.expand(-1, 3, -1, -1, -1), torch.zeros(BATCH, 2, 2))
    same(short, world.observe(still, [0] * BATCH))
    moving = Past(still.frames, torch.ones(BATCH, 2, 2))
    plan = actions(BATCH, 1, 4, 2)
    imagined = [world.rollout(world.observe(p, [0] * BATCH), plan) for p in (still, moving)]
    assert not torch.allclose(*imagined, atol=1e-3), "actions before now do matter"


@by_predictor
def test_a_rollout_is_the_same_whatever_it_is_batched_with(name: str) -> None:
    world = model(name)
    state = world.observe(past(4, 3), [0] * BATCH)
    plans = actions(BATCH, 5, 4, 2)
    together = world.rollout(state, plans)
    assert together.shape == (BATCH, 5, 4, 1, 8)
    for b in range(BATCH):
        alone = world.observe(Past(past(4, 3).frames[b : b + 1], past(4, 3).actions[b : b + 1]), [0])  # encoded alone too
        alike(world.rollout(alone, plans[b : b + 1]), together[b : b + 1])
        for k in range(5):
            single = world.rollout(alone, plans[b : b + 1, k : k + 1])
            alike(single[0, 0], together[b, k])
    assert not torch.allclose(together[0], together[1], atol=1e-2)
    assert not torch.allclose(together[:, 0], together[:, 1], atol=1e-2)


@by_predictor
def test_a_rollout_is_pure_causal_and_differentiable(name: str) -> None:
    world = model(name)
    state = world.observe(past(4, 3), [0] * BATCH)
    before = [tensor.clone() for tensor in state]
    plans = actions(BATCH, 2, 4, 2)
    imagined = world.rollout(state, plans)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))
    assert torch.equal(world.rollout(state, plans), imagined)
    changed = plans.clone()
    changed[:, :, 2] = -changed[:, :, 2]
    other = world.rollout(state, changed)
    torch.testing.assert_close(other[:, :, :2], imagined[:, :, :2], atol=1e-6, rtol=1e-6)
    assert (other[:, :, 2:] - imagined[:, :, 2:]).abs().amax((2, 3, 4)).min() > 1e-4
    plans.requires_grad_()
    world.rollout(state, plans)[:, :, -1].sum().backward()
    assert plans.grad is not None
    assert (plans.grad.abs().sum(-1) > 0).all()


def test_weights_are_frozen_and_observing_leaves_no_graph() -> None:
    world = model("mlp")
    assert not any(weight.requires_grad for weight in world.predictor.parameters())
    assert not world.predictor.training
    assert not any(tensor.requires_grad for tensor in world.observe(past(2, 3), [0] * BATCH))
    assert (world.place, world.history, world.encoder_hash) == ("latent", 3, world.encoder.hash)


@pytest.mark.parametrize("env_name", ["ball", "ball_gravity", "ball_gust"])
@pytest.mark.parametrize("block", [1, 2])
def test_the_simulator_imagines_exactly_what_the_env_simulates(env_name: str, block: int) -> None:
    env = make(env_name)
    env.reset(seed=0)
    states = np.stack([env.sample_task(np.random.default_rng(seed)).start for seed in range(BATCH)])
    world = Simulator(env, block)
    assert world.action_size == 2 * block
    plans = actions(BATCH, 4, 6, 2 * block)
    live = env.state()
    state = world.observe(Past(frames(), plans[:, 0], torch.from_numpy(states)), [0] * BATCH)
    imagined = world.rollout(state, plans)
    assert imagined.shape == (BATCH, 4, 6, 4)
    assert imagined.dtype == torch.float64
    for b in range(BATCH):
        for k in range(4):
            pushes = plans[b, k].double().numpy().reshape(1, 6 * block, 2)
            path = env.simulate(states[b : b + 1], pushes)[0]
            assert np.array_equal(imagined[b, k].numpy(), path[block - 1 :: block])
    assert np.array_equal(env.state(), live), "the live episode is not disturbed"


def test_the_simulator_foresees_what_happens() -> None:
    env = make("ball")
    env.reset(seed=3)
    plan = actions(1, 1, 10, 2)
    state = Simulator(env).observe(Past(frames(1, 1), plan[:, 0, :0], torch.from_numpy(env.state()[None])), [0])
    imagined = Simulator(env).rollout(state, plan)[0, 0]
    for step in range(10):
        env.step(plan[0, 0, step].numpy())
        assert np.array_equal(env.state(), imagined[step].numpy())


def test_the_simulator_needs_the_state() -> None:
    with pytest.raises(UsageError, match="needs the true state"):
        Simulator(make("ball")).observe(past(2, 3), [0] * BATCH)
