"""Pixel regression: what it imagines does not depend on chunks, its folder holds all of it, and it learns."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imagoal import files
from imagoal.cli import main
from imagoal.commands.train import Train
from imagoal.envs._cache import FrameCache
from imagoal.envs._store import Store
from imagoal.errors import DataError, UsageError
from imagoal.flags import parse
from imagoal.world_model import _model, _pixel_model, _pixel_train, pixel_regression
from imagoal.world_model._pixel_net import PixelNet, Trunk
from imagoal.world_model._run import Run
from imagoal.world_model._types import Past, WorldModel
from imagoal.world_model._windows import Windows, split
from imagoal.world_model.pixel_regression import PixelRegression

BATCH, STEPS = 2, 6
SMALL = "--trunk.width 8 --trunk.inner 16 --trunk.blocks 1"
TRAIN = f"--kind pixel_regression --schedule.steps 20 --schedule.batch 4 --schedule.save-every 5 --future 2 {SMALL}"


def network(**options: Any) -> PixelNet:
    """Random weights, large enough that everything matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Trunk(**{"width": 8, "inner": 16, "blocks": 1} | options).build(2)
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.2)
    return net


def model(**options: Any) -> PixelRegression:
    return PixelRegression(network(**options), 2, (32, 32))


def frames(steps: int = STEPS) -> Tensor:
    shape = (BATCH, steps, 3, 32, 32)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def actions(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def past(steps: int = STEPS) -> Past:
    """The last frames of a fixed episode."""
    return Past(frames()[:, -steps:], actions(BATCH, STEPS - 1, 2)[:, STEPS - steps :])


def train(store: Store, run: Path, *more: str) -> int:
    return main(["train", "--data", str(store.path), "--run", str(run), *TRAIN.split(), *more])


@pytest.mark.parametrize("colours", ["rgb", "grey"])
def test_a_rollout_is_the_same_whatever_it_is_chunked_or_batched_with(colours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world: WorldModel = model(colours=colours)
    plans = actions(BATCH, 5, 3, 2)
    together = world.rollout(world.observe(past(), [0, 0]), plans)
    assert together.shape == (BATCH, 5, 3, 3, 32, 32)
    assert together.isfinite().all()
    monkeypatch.setattr(pixel_regression, "CHUNK", 3)
    torch.testing.assert_close(world.rollout(world.observe(past(), [0, 0]), plans), together, atol=1e-4, rtol=1e-5)
    for b in range(BATCH):
        alone = world.observe(Past(past().frames[b : b + 1], past().actions[b : b + 1]), [0])
        torch.testing.assert_close(world.rollout(alone, plans[b : b + 1])[0], together[b], atol=1e-4, rtol=1e-5)
    assert not torch.allclose(together[:, 0], together[:, 1], atol=1e-2)


def test_imagining_is_pure_causal_and_differentiable() -> None:
    world = model()
    state = world.observe(past(), [0, 0])
    before = [tensor.clone() for tensor in state]
    plans = actions(BATCH, 2, 4, 2)
    imagined = world.rollout(state, plans)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))
    changed = plans.clone()
    changed[:, :, 2] *= -1
    other = world.rollout(state, changed)
    assert torch.equal(other[:, :, :2], imagined[:, :, :2])
    assert (other[:, :, 2:] - imagined[:, :, 2:]).abs().flatten(3).amax(3).min() > 1e-4
    plans.requires_grad_()
    world.rollout(state, plans)[:, :, -1].sum().backward()
    assert plans.grad is not None
    assert (plans.grad.abs().sum(-1) > 0).all()


def test_imagining_on_equals_imagining_from_what_was_imagined() -> None:
    """The state after a step is the window that the step leaves behind."""
    world = model()
    first, actions_past = world.observe(past(), [0, 0])
    plans = actions(BATCH, 1, 4, 2)
    whole = world.rollout((first, actions_past), plans)
    one = whole[:, 0, :1]
    later = torch.cat([first[:, 1:], one], 1), torch.cat([actions_past[:, 1:], plans[:, 0, :1]], 1)
    torch.testing.assert_close(world.rollout(later, plans[:, :, 1:]), whole[:, :, 1:])


def test_an_episode_s_start_is_as_if_nothing_had_happened_before() -> None:
    world = model()
    first = frames()[:, :1]
    still = Past(first.expand(-1, 3, -1, -1, -1), torch.zeros(BATCH, 2, 2))
    short = Past(first, torch.zeros(BATCH, 0, 2))
    for a, b in zip(world.observe(short, [0, 0]), world.observe(still, [0, 0]), strict=True):
        assert torch.equal(a, b)


def test_only_as_much_of_the_past_counts_as_the_network_sees() -> None:
    for a, b in zip(model().observe(past(), [0, 0]), model().observe(past(3), [0, 0]), strict=True):
        assert torch.equal(a, b)


def test_before_training_nothing_moves() -> None:
    world = PixelRegression(Trunk(width=8, inner=16, blocks=1).build(2), 2, (32, 32))
    imagined = world.rollout(world.observe(past(), [0, 0]), actions(BATCH, 2, 3, 2))
    assert torch.equal(imagined, (frames()[:, -1] / 255)[:, None, None].expand(imagined.shape))


def test_a_grey_model_gives_back_three_equal_channels_that_are_as_far_from_a_goal_as_colour_allows() -> None:
    """What colour adds to the squared distance from a goal is the same for all that is imagined."""
    world = model(colours="grey")
    imagined = world.rollout(world.observe(past(), [0, 0]), actions(BATCH, 4, 2, 2))
    assert torch.equal(imagined[:, :, :, 0], imagined[:, :, :, 2])
    goal = frames()[0, 0] / 255
    grey = goal.mean(0, keepdim=True)
    added = ((imagined - goal).square() - (imagined - grey).square()).mean((3, 4, 5))
    torch.testing.assert_close(added, added[:1, :1, :1].expand(added.shape), atol=1e-4, rtol=1e-4)


def test_the_network_is_told_of_noise_and_of_a_noisy_frame() -> None:
    """As a diffusion will need it."""
    net = network()
    seen, given = net.seen(frames(3)), actions(BATCH, 3, 2)
    nothing, zeros = torch.zeros(BATCH, 3, 32, 32), torch.zeros(BATCH)
    plain = net(seen, given, nothing, zeros)
    assert not torch.allclose(net(seen, given, nothing + 0.5, zeros), plain, atol=1e-2)
    assert not torch.allclose(net(seen, given, nothing, zeros + 1), plain, atol=1e-2)


@pytest.mark.parametrize("shape", [(3, 30, 32), (1, 32, 32)])
def test_frames_that_cannot_be_cut_into_patches_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"expected \(3, h, w\), h and w multiples of 8"):
        network().seen(torch.zeros(1, *shape))


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(UsageError, match=r"frames of shape \(3, 64, 64\); the world model was trained on \(3, 32, 32\)"):
        model().observe(Past(torch.zeros(1, 3, 3, 64, 64, dtype=torch.uint8), torch.zeros(1, 2, 2)), [0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"history": 0}, "Trunk.history is 0; expected 1 or more"),
        ({"width": 12}, "Trunk.width is 12; expected a multiple of 8"),
    ],
)
def test_a_trunk_that_cannot_be_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Trunk(**wrong)  # type: ignore[arg-type]


def test_a_model_folder_is_the_model_to_the_last_bit(tmp_path: Path) -> None:
    made = model(colours="grey")
    _pixel_model.save(tmp_path / "model", _pixel_model.PixelFolder(made, {"env": "imagoal/Ball-v0"}))
    loaded = _pixel_model.load(tmp_path)
    plans = actions(BATCH, 2, 3, 2)
    imagined = [world.rollout(world.observe(past(), [0, 0]), plans) for world in (made, loaded.model)]
    assert torch.equal(*imagined)
    assert (loaded.model.frame_size, loaded.config["env"]) == ((32, 32), "imagoal/Ball-v0")
    with pytest.raises(DataError, match="of kind 'pixel_regression'; expected 'latent'"):
        _model.load(tmp_path)
    files.write_json(tmp_path / "model/config.json", {"schema": _model.SCHEMA, "kind": "pixel_regression"})
    with pytest.raises(DataError, match="damaged"):
        _pixel_model.load(tmp_path)


def test_training_learns_more_than_to_copy(ball_store: Store, tmp_path: Path) -> None:
    more = "--schedule.steps 150 --schedule.batch 8 --trunk.width 16 --trunk.inner 32 --trunk.colours grey --schedule.lr 4e-3"
    assert train(ball_store, tmp_path, *more.split(), "--pixel-loss.average", "0.9") == 0
    errors = _pixel_model.load(tmp_path).config["frame_errors"]
    assert Run(tmp_path).metrics()[0]["held_out_first"] == pytest.approx(errors["copied"][0], rel=0.2), "it began by copying"
    assert errors["imagined"][0] < 0.92 * errors["copied"][0]
    assert errors["imagined"][1] < 0.92 * errors["copied"][1]


def test_a_stopped_training_ends_as_if_nothing_had_happened(
    ball_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Averaged weights and noise too."""
    assert train(ball_store, tmp_path / "whole") == 0
    real, left = Windows._ids, [18]

    def stopping(windows: Windows, step: int, batch: int) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(windows, step, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Windows, "_ids", stopping)
        assert train(ball_store, tmp_path / "stopped") == 130
    assert train(ball_store, tmp_path / "stopped") == 0
    whole, stopped = (files.read_json(tmp_path / name / "model/MANIFEST.json") for name in ("whole", "stopped"))
    assert whole == stopped


def test_what_is_kept_is_the_mean_of_the_weights(ball_store: Store, tmp_path: Path) -> None:
    kept = []
    for average in ("0", "0.9"):
        assert train(ball_store, tmp_path / average, "--pixel-loss.average", average) == 0
        kept.append(_pixel_model.load(tmp_path / average).model.net.leave[-1].weight)
    assert kept[0].norm() > 1.05 * kept[1].norm(), "they began as zeros, and a mean lags behind"


def test_noise_is_on_what_is_seen_and_not_on_what_is_wanted(ball_cache: FrameCache) -> None:
    windows = Windows(ball_cache, ball_cache.window_index(3, 1, 1, split(ball_cache)[0]), 0)
    still = Trunk(width=8, inner=16, blocks=1).build(2)  # imagines the last frame, noise and all
    shown, given = windows.frames(0, 64)
    clean = _pixel_train.imagining_loss(still, shown, given)
    noisy = _pixel_train.imagining_loss(still, shown, given, (0.3, windows.generator(0)))
    torch.testing.assert_close(noisy - clean, torch.tensor(0.3**2 / 3), atol=0.006, rtol=0)  # of uniform strengths


def test_flags_of_another_kind_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TRAIN.split(), "--reduce", "4"]) == 2
    assert "--reduce is of kind latent, not of pixel_regression" in capsys.readouterr().err
    assert main(["train", "--trunk.blocks", "1"]) == 2
    assert "--trunk is of kind pixel_regression, not of latent" in capsys.readouterr().err


def test_pixels_learn_from_small_batches_unless_flags_say_otherwise() -> None:
    asked = parse(Train, ["--kind", "pixel_regression", "--schedule.steps", "7"], "train")
    assert (asked.schedule.batch, asked.schedule.steps) == (16, 7)
    assert parse(Train, [], "train").schedule.batch == 256
