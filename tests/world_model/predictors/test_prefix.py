"""Claims about the action-prefix predictor: the start is read once, what was imagined never."""

import pytest
import torch
from torch import Tensor, nn

from imagoal.errors import UsageError
from imagoal.world_model.models import Loss
from imagoal.world_model.predictors.prefix import ActionPrefix, Prefix

SIZE, ACTIONS, STEPS = 5, 2, 6


def build() -> ActionPrefix:
    torch.manual_seed(0)
    predictor = Prefix(width=16, start_width=16).build(1, SIZE, ACTIONS)
    for parameter in predictor.parameters():
        nn.init.normal_(parameter, std=0.2)
    return predictor.requires_grad_(False)


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 3, 1, SIZE, generator=generator), torch.rand(3, 2 + STEPS, ACTIONS, generator=generator) * 2 - 1


def test_the_start_is_read_once_and_what_is_imagined_never() -> None:
    predictor = build()
    latents, actions = data()
    reads = []
    predictor.read.register_forward_hook(lambda *_: reads.append(1))
    memory = predictor.start(latents, actions[:, :2])
    _, after = predictor.unroll(memory, actions[:, 2:])
    assert len(reads) == 1
    for parameter in predictor.write.parameters():
        nn.init.normal_(parameter)
    other, after_other = predictor.unroll(memory, actions[:, 2:])
    assert torch.equal(after[2], after_other[2]), "the state does not depend on what is read from it"
    assert torch.equal(other[:, -1:], after_other[0][:, -1:])


def test_a_step_follows_from_the_start_and_the_actions_up_to_it() -> None:
    predictor = build()
    latents, actions = data()
    memory = predictor.start(latents, actions[:, :2])
    ahead = actions[:, 2:]
    imagined, _ = predictor.unroll(memory, ahead)
    for changed in range(STEPS):
        other = ahead.clone()
        other[:, changed] += 1
        moved = (predictor.unroll(memory, other)[0] - imagined).abs().amax((0, 2, 3))
        assert (moved[:changed] == 0).all()
        assert (moved[changed:] > 1e-4).all(), "and it remembers all of them"


def test_the_loss_teaches_whole_prefixes() -> None:
    """On a ball between two walls, whose velocity only the window shows."""
    torch.manual_seed(3)
    position, velocity = torch.rand(512) * 2 - 1, torch.zeros(512)
    actions = torch.rand(512, 7, 1) * 2 - 1
    path = [position]
    for step in range(7):
        velocity = 0.9 * velocity + 0.3 * actions[:, step, 0]
        moved = path[-1] + velocity
        path.append(moved.clamp(-1, 1))
        velocity = torch.where(moved.abs() > 1, -velocity, velocity)
    latents = torch.stack(path, 1)[:, :, None, None]
    predictor = Prefix(history=3, width=32, start_width=32).build(1, 1, 1)
    predictor.fit_scale(latents.flatten(0, 1), latents.diff(dim=1).flatten(0, 1))

    def losses(rows: slice) -> Tensor:
        return torch.stack(Loss().windows(predictor, latents[rows], actions[rows], None))

    held_out = slice(448, 512)
    before = losses(held_out).detach()
    optimiser = torch.optim.Adam(predictor.parameters(), lr=1e-2)
    for step in range(210):
        rows = slice(64 * (step % 7), 64 * (step % 7) + 64)
        optimiser.zero_grad()
        losses(rows).sum().backward()
        optimiser.step()
    forced, rolled = losses(held_out).detach() / before
    assert forced < 1 / 3
    assert rolled < 1 / 3


def test_the_size_of_the_start_is_checked() -> None:
    with pytest.raises(UsageError, match=r"Prefix\.start_width is 0; expected 1 or more"):
        Prefix(start_width=0)
