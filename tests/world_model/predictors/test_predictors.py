"""Claims about every predictor that can be named: what an output sees, and that all ways of imagining agree."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imagoal import find
from imagoal.errors import UsageError
from imagoal.world_model._types import Memory, Predictor, pad_start
from imagoal.world_model.predictors._scaled import Scaled, Windowed

NAMES = sorted(find.entries("predictor"))
PREFIX = {"prefix"}
"""Imagines each step from the start and all actions since, not from the step before."""
BATCH, STEPS, SIZE, ACTIONS = 3, 6, 5, 2

pytestmark = pytest.mark.parametrize("name", NAMES)
tokens_one_and_four = pytest.mark.parametrize("tokens", [1, 4])


def build(name: str, tokens: int = 1, **options: Any) -> Predictor:
    """A predictor in which everything matters: a new one says that nothing moves, so its weights are shaken."""
    torch.manual_seed(0)
    predictor = find.find("predictor", name)(**options).build(tokens, SIZE, ACTIONS)
    assert isinstance(predictor, Predictor)
    for parameter in predictor.parameters():
        nn.init.normal_(parameter, std=0.1)
    return predictor.requires_grad_(False)


def data(tokens: int = 1, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(BATCH, steps, tokens, SIZE, generator=generator)
    return latents, torch.rand(BATCH, steps, ACTIONS, generator=generator) * 2 - 1


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def alike(first: Memory, second: Memory) -> None:
    for ours, theirs in zip(first, second, strict=True):
        close(ours, theirs)


@tokens_one_and_four
def test_shapes(name: str, tokens: int) -> None:
    predictor = build(name, tokens)
    for steps in (1, 2, STEPS):
        latents, actions = data(tokens, steps)
        assert predictor(latents, actions).shape == latents.shape
        memory = predictor.start(latents, actions[:, 1:])
        imagined, after = predictor.unroll(memory, actions)
        assert imagined.shape == latents.shape
        assert [part.shape for part in after] == [part.shape for part in memory]


@pytest.mark.parametrize("history", [1, 3])
@tokens_one_and_four
def test_an_output_sees_exactly_the_last_entries(name: str, tokens: int, history: int) -> None:
    predictor = build(name, tokens, history=history)
    latents, actions = data(tokens)
    before = predictor(latents, actions)
    for changed in range(STEPS):
        seen = torch.zeros(STEPS, dtype=torch.bool)
        seen[changed : changed + history] = True
        for latent_change, action_change in ((1.0, 0.0), (0.0, 1.0)):
            other_latents, other_actions = latents.clone(), actions.clone()
            other_latents[:, changed] += latent_change
            other_actions[:, changed] += action_change
            if changed == 0 and latent_change:
                continue  # the first latent is also the padding; tested below
            moved = (predictor(other_latents, other_actions) - before).abs().amax((0, 2, 3))
            assert torch.equal(moved > 1e-4, seen), f"entry {changed} is seen by the wrong outputs"


@tokens_one_and_four
def test_before_the_start_the_first_latent_is_repeated_with_zero_actions(name: str, tokens: int) -> None:
    predictor = build(name, tokens)
    latents, actions = data(tokens)
    close(predictor(*pad_start(latents, actions, 4))[:, 4:], predictor(latents, actions))
    first = predictor.start(latents[:, :1], actions[:, :0])
    close(predictor.unroll(first, actions[:, :1])[0], predictor(latents[:, :1], actions[:, :1]))


@tokens_one_and_four
def test_imagining_is_the_same_in_any_portions(name: str, tokens: int) -> None:
    predictor = build(name, tokens)
    latents, actions = data(tokens)
    memory = predictor.start(latents[:, :2], actions[:, :1])
    imagined, after = predictor.unroll(memory, actions[:, 1:])
    for portions in ([1, 1, 1, 1, 1], [2, 3], [4, 1]):
        parts, then = [], memory
        for portion in actions[:, 1:].split(portions, 1):
            part, then = predictor.unroll(then, portion)
            parts.append(part)
        close(imagined, torch.cat(parts, 1))
        alike(after, then)


@tokens_one_and_four
def test_all_ways_of_imagining_agree(name: str, tokens: int) -> None:
    if name in PREFIX:
        pytest.skip("imagines each step from the start, so what it imagined is no start of its own")
    predictor = build(name, tokens)
    latents, actions = data(tokens)
    known, ahead = latents[:, :2], actions[:, 1:]
    memory = predictor.start(known, actions[:, :1])
    imagined, after = predictor.unroll(memory, ahead)
    so_far = torch.cat([known, imagined[:, :-1]], 1)
    close(imagined, predictor(so_far, actions)[:, 1:])
    close(imagined, predictor.along(memory, imagined, ahead))
    alike(after, predictor.extend(memory, imagined, ahead))
    if isinstance(predictor, Windowed):
        by_base, after_by_base = Predictor.unroll(predictor, memory, ahead)
        close(imagined, by_base)
        alike(after, after_by_base)


@tokens_one_and_four
def test_along_a_path_each_step_is_one_step_ahead_of_it(name: str, tokens: int) -> None:
    predictor = build(name, tokens)
    latents, actions = data(tokens)
    memory = predictor.start(latents[:, :2], actions[:, :1])
    ahead = predictor.along(memory, latents[:, 2:], actions[:, 1:-1])
    close(ahead, predictor(latents, actions)[:, 1:-1])


@tokens_one_and_four
def test_what_was_imagined_can_be_gone_on_from(name: str, tokens: int) -> None:
    """As if it had been seen: a memory after imagining is no dead end."""
    predictor = build(name, tokens)
    latents, actions = data(tokens)
    memory = predictor.start(latents[:, :2], actions[:, :1])
    imagined, after = predictor.unroll(memory, actions[:, 1:3])
    gone_on = predictor.extend(after, latents[:, 4:], actions[:, 3:5])
    anew = predictor.start(torch.cat([latents[:, :2], imagined, latents[:, 4:]], 1), actions[:, :5])
    alike(gone_on, anew)


@tokens_one_and_four
def test_streaming_equals_starting_anew(name: str, tokens: int) -> None:
    predictor = build(name, tokens)
    latents, actions = data(tokens)
    between = actions[:, 1:]
    for known in range(1, STEPS):
        memory = predictor.start(latents[:, :known], between[:, : known - 1])
        streamed = predictor.extend(memory, latents[:, known:], between[:, known - 1 :])
        alike(streamed, predictor.start(latents, between))


def test_unroll_changes_nothing_that_it_was_given(name: str) -> None:
    predictor = build(name)
    latents, actions = data()
    memory = predictor.start(latents, actions[:, 1:])
    copies = [part.clone() for part in memory]
    predictor.unroll(memory, actions)
    assert all(torch.equal(part, copy) for part, copy in zip(memory, copies, strict=True))


@tokens_one_and_four
def test_a_problem_does_not_depend_on_its_batch(name: str, tokens: int) -> None:
    predictor = build(name, tokens)
    latents, actions = data(tokens)
    alone = [predictor(latents[row : row + 1], actions[row : row + 1]) for row in range(BATCH)]
    close(predictor(latents, actions), torch.cat(alone))
    memory = predictor.start(latents, actions[:, 1:])
    whole, _ = predictor.unroll(memory, actions)
    for row in range(BATCH):
        one, _ = predictor.unroll(tuple(part[row : row + 1] for part in memory), actions[row : row + 1])
        close(whole[row : row + 1], one)


def test_gradients_flow_to_every_action(name: str) -> None:
    predictor = build(name)
    latents, actions = data()
    actions.requires_grad_()
    imagined, _ = predictor.unroll(predictor.start(latents[:, :1], actions[:, :0]), actions)
    imagined[:, -1].square().sum().backward()
    assert actions.grad is not None
    assert bool((actions.grad.abs().amax((0, 2)) > 0).all())


def test_a_new_predictor_says_that_nothing_moves(name: str) -> None:
    predictor = find.find("predictor", name)().build(2, SIZE, ACTIONS)
    latents, actions = data(2)
    assert torch.equal(predictor(latents, actions), latents)


def test_scales_are_those_of_the_data_and_survive_saving(name: str) -> None:
    predictor, other = build(name, tokens=2), build(name, tokens=2)
    assert isinstance(predictor, Scaled)
    generator = torch.Generator().manual_seed(2)
    scale = torch.tensor([1.0, 10.0, 0.1, 3.0, 0.0])
    latents = 7 + scale * torch.randn(4000, 2, SIZE, generator=generator)
    predictor.fit_scale(latents, 0.1 * (latents - 7))
    torch.testing.assert_close(predictor.latent_mean, torch.full((SIZE,), 7.0), atol=0.5, rtol=0)
    torch.testing.assert_close(predictor.latent_std[:4], scale[:4], atol=0, rtol=0.05)
    torch.testing.assert_close(predictor.delta_std[:4], 0.1 * scale[:4], atol=0, rtol=0.05)
    assert predictor.latent_std[4] > 0
    assert predictor.delta_std[4] > 0
    other.load_state_dict(predictor.state_dict())
    inputs = data(2)
    assert torch.equal(other(*inputs), predictor(*inputs))


def test_scales_make_it_blind_to_units(name: str) -> None:
    """Latents in other units, with scales refitted, give the same prediction in those units."""
    predictor = build(name)
    assert isinstance(predictor, Scaled)
    latents, actions = data()
    predictor.fit_scale(latents.flatten(0, 1), latents.diff(dim=1).flatten(0, 1))
    before = predictor(latents, actions)
    units = torch.tensor([1.0, 10.0, 0.1, 3.0, 1.0])
    predictor.fit_scale((5 + units * latents).flatten(0, 1), (units * latents).diff(dim=1).flatten(0, 1))
    torch.testing.assert_close((predictor(5 + units * latents, actions) - 5) / units, before, atol=5e-3, rtol=1e-3)


def test_learns_a_linear_system(name: str) -> None:
    torch.manual_seed(3)
    a = torch.linalg.qr(torch.randn(SIZE, SIZE))[0] * 0.95
    b = torch.randn(ACTIONS, SIZE) * 0.5
    latents, actions = [torch.randn(512, SIZE)], torch.rand(512, 3, ACTIONS) * 2 - 1
    for step in range(3):
        latents.append(latents[-1] @ a + actions[:, step] @ b)
    path = torch.stack(latents, 1)[:, :, None]
    predictor = find.find("predictor", name)(history=2, width=64, depth=2).build(1, SIZE, ACTIONS)
    predictor.fit_scale(path.flatten(0, 1), path.diff(dim=1).flatten(0, 1))

    def loss(rows: slice) -> Tensor:
        error: Tensor = predictor(path[rows, :-1], actions[rows]) - path[rows, 1:]
        return (error / predictor.delta_std).square().mean()

    held_out = slice(448, 512)
    before = loss(held_out).item()
    optimiser = torch.optim.Adam(predictor.parameters(), lr=3e-3)
    for step in range(210):
        optimiser.zero_grad()
        first = 64 * (step % 7)
        loss(slice(first, first + 64)).backward()
        optimiser.step()
    assert loss(held_out).item() < before / 10


def test_wrong_fields_are_named(name: str) -> None:
    config = find.find("predictor", name)
    for field in ("history", "width", "depth"):
        with pytest.raises(UsageError, match=f"{config.__name__}.{field} is 0; expected"):
            config(**{field: 0})
