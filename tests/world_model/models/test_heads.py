"""What a trunk's output stands for: denoising is exact where the best denoiser is known; training asks for the right thing."""

import math

import pytest
import torch
from torch import Tensor

from imagoal.envs.store import FrameCache
from imagoal.errors import UsageError
from imagoal.world_model._frames import as_float
from imagoal.world_model.models._grid_training import imagining_loss
from imagoal.world_model.models._heads import Diffusion, Lesson, Mean, denoised
from imagoal.world_model.models._unet import Trunk, TrunkNet
from imagoal.world_model.training import Windows, split_episodes

COUNT = 2000


class Best(TrunkNet):
    """Knows that the change is normal, of this mean and deviation, and says what denoises that best (Tweedie's formula)."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__(Trunk(history=1, patch=1, width=8, inner=8, blocks=1), 1, 2)
        self.mean, self.deviation = mean, deviation

    def forward(self, maps: Tensor, actions: Tensor, noisy: Tensor, log_sigma: Tensor) -> Tensor:
        sigma = log_sigma.exp()[:, None, None, None]
        seen = noisy * (1 + sigma**2).sqrt()
        trust = self.deviation**2 / (self.deviation**2 + sigma**2)
        best = self.mean + trust * (seen - self.mean)
        return (best - seen / (1 + sigma**2)) * (1 + sigma**2).sqrt() / sigma


def sampled(head: Diffusion, net: Best) -> Tensor:
    noise = torch.randn(COUNT, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    return head.follow(net, torch.zeros(COUNT, 1, 1, 2, 2), torch.zeros(COUNT, 1, 2), noise)


def test_many_steps_draw_from_what_may_come_next() -> None:
    drawn = sampled(Diffusion(steps=100, sigma_min=0.002), Best(3.0, 0.7))
    assert drawn.mean() == pytest.approx(3, abs=0.03)
    assert drawn.std() == pytest.approx(0.7, rel=0.05)


def test_one_step_imagines_the_mean() -> None:
    drawn = sampled(Diffusion(steps=1), Best(3.0, 0.7))
    assert (drawn - 3).abs().max() < 0.02


def test_more_steps_tell_futures_better_apart() -> None:
    spread = [float(sampled(Diffusion(steps=steps, sigma_min=0.5), Best(0, 1)).std()) for steps in (1, 2, 5, 40)]
    assert spread == sorted(spread)
    assert spread[0] < 0.01
    assert spread[-1] > 0.85


def test_noise_falls_to_nothing() -> None:
    sigmas = Diffusion(steps=4).sigmas()
    assert sigmas == sorted(sigmas, reverse=True)
    assert sigmas[0] == pytest.approx(300)
    assert sigmas[-2:] == [pytest.approx(3), 0]
    assert Diffusion(steps=1).sigmas() == [pytest.approx(300), 0]


def test_sigmas_and_steps_are_those_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers", reason="only checked where diffusers is installed")
    theirs = diffusers.EDMEulerScheduler(sigma_min=0.5, sigma_max=300.0, sigma_data=1.0, rho=7.0)
    theirs.set_timesteps(5)
    head, net = Diffusion(steps=5, sigma_min=0.5), Best(3.0, 0.7)
    torch.testing.assert_close(torch.tensor(head.sigmas()), theirs.sigmas, atol=1e-3, rtol=1e-4)
    noise = torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    change = noise * theirs.sigmas[0]
    for step, time in enumerate(theirs.timesteps):
        scaled = theirs.scale_model_input(change, time)
        learned = net(change, noise, scaled, theirs.sigmas[step].log().expand(8))
        change = theirs.step(learned, time, change).prev_sample
    torch.testing.assert_close(head.follow(net, torch.zeros(8, 1, 1, 2, 2), torch.zeros(8, 1, 2), noise), change)


def test_a_change_without_noise_is_left_as_it_is() -> None:
    net, change = Trunk(history=1, width=8, inner=8, blocks=1).build(1, 2), torch.randn(3, 1, 8, 8)
    left = denoised(net, torch.zeros(3, 1, 1, 8, 8), torch.zeros(3, 1, 2), change, torch.full((3,), 1e-4))
    torch.testing.assert_close(left, change, atol=1e-3, rtol=0)


def test_diffusion_begins_as_the_regression() -> None:
    """In its first part it learns the mean; then what it sees of the noise counts for nothing until it learns to look."""
    net = Trunk(history=1, width=8, inner=8, blocks=1).build(1, 2)
    torch.nn.init.normal_(net.leave[-1].weight)
    given = torch.randn(6, 1, 1, 8, 8), torch.randn(6, 1, 2)
    head, change, generator = Diffusion(at_max=1), torch.randn(6, 1, 8, 8), torch.Generator().manual_seed(0)
    warm, later = (head.guess(net, *given, change, Lesson(progress), generator) for progress in (0.0, 0.9))
    torch.testing.assert_close(later, warm, atol=0.05, rtol=0.01)
    assert warm.abs().mean() > 0.1


def test_training_on_several_steps_goes_on_from_what_would_be_imagined() -> None:
    net, given = Best(3.0, 0.7), (torch.zeros(8, 1, 1, 2, 2), torch.zeros(8, 1, 2))
    guess = torch.full((8, 1, 2, 2), 9.0)
    assert torch.equal(Mean().feed(net, *given, guess, torch.Generator()), guess)
    assert torch.equal(Diffusion(steps=1).feed(net, *given, guess, torch.Generator()), guess)
    alone = Diffusion(steps=1).guess(net, *given, guess, Lesson(0.9, several=True), torch.Generator().manual_seed(0))
    assert (alone - 3).abs().max() < 0.02, "from noise alone, as it will be imagined"
    several = Diffusion(steps=60, sigma_min=0.01).feed(net, *given, guess, torch.Generator().manual_seed(0))
    assert several.std() == pytest.approx(0.7, rel=0.3)
    assert not several.requires_grad


@pytest.mark.parametrize("head", [Mean(), Diffusion(warm=0)])
def test_noise_is_on_what_is_seen_and_not_on_what_is_wanted(head: Mean | Diffusion, ball_cache: FrameCache) -> None:
    windows = Windows(ball_cache, ball_cache.window_index(3, 1, 1, split_episodes(ball_cache)[0]), 0)
    still = Trunk(width=8, inner=16, blocks=1).build(3, 2)  # imagines the last frame, noise and all
    shown, given = windows.frames(0, 64)
    losses = [
        imagining_loss(still, head, as_float(shown), given, noise, 0.5, windows.generator(0)).item() for noise in (0.0, 0.3)
    ]
    if isinstance(head, Mean):
        assert losses[1] - losses[0] == pytest.approx(0.3**2 / 3, rel=0.1)  # of uniform strengths
    assert losses[1] > losses[0]


def test_what_is_imagined_in_training_is_what_the_next_map_is_imagined_from(ball_cache: FrameCache) -> None:
    """Twice a loss of one step would be less than the loss of two."""
    windows = Windows(ball_cache, ball_cache.window_index(3, 2, 1, split_episodes(ball_cache)[0]), 0)
    still = Trunk(width=8, inner=16, blocks=1).build(3, 2)
    shown, given = windows.frames(0, 64)
    maps = as_float(shown)
    two = imagining_loss(still, Mean(), maps, given, 0.0, 0.9, windows.generator(0))
    copied = [(maps[:, 3 + step] - maps[:, 2]).square().mean() for step in range(2)]
    torch.testing.assert_close(two, torch.stack(copied).mean())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "0 denoising steps; expected 1 or more"),
        ({"sigma_min": 400.0}, "expected 0 < sigma_min < sigma_max"),
        ({"sigma_max": math.inf}, "expected 0 < sigma_min < sigma_max"),
        ({"deviation": 0.0}, "expected finite numbers, the second above 0"),
        ({"at_max": 1.5}, "at_max = 1.5; expected from 0 to 1"),
        ({"warm": -1.0}, "warm = -1.0; expected from 0 to 1"),
    ],
)
def test_a_diffusion_that_cannot_be_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Diffusion(**wrong)  # type: ignore[arg-type]
