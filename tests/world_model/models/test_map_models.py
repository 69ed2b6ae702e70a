"""Pixel and token models: what they imagine does not depend on chunks, their folder holds all of it, and they learn."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imagoal import files, find
from imagoal.cli import main
from imagoal.commands.train import Train
from imagoal.envs.store import Store
from imagoal.errors import DataError, UsageError
from imagoal.flags import parse
from imagoal.world_model._types import Past, WorldModel
from imagoal.world_model.disk import Run
from imagoal.world_model.encoders.effnet_lite0 import EffnetLite0
from imagoal.world_model.models import _grid as _map_model
from imagoal.world_model.models._grid import MapModel, as_maps, as_tokens
from imagoal.world_model.models._heads import Diffusion, Mean
from imagoal.world_model.models._latent_folder import SCHEMA, load_latent
from imagoal.world_model.models._load import load
from imagoal.world_model.models._map_folder import MAP_KINDS, MapFolder, save_maps
from imagoal.world_model.models._precision import bf16_units, is_rough
from imagoal.world_model.models._unet import Trunk, TrunkNet
from imagoal.world_model.readouts import FrozenEncoder, Gallery, Probe
from imagoal.world_model.training import Windows

BATCH, STEPS = 2, 6
SMALL = "--trunk.width 8 --trunk.inner 16 --trunk.blocks 1"
TRAIN = f"--schedule.steps 20 --schedule.batch 4 --schedule.save-every 5 --future 2 {SMALL}"
CLOSE: dict[str, float] = {"atol": 2e-4, "rtol": 1e-5}


def network(patch: int = 4, channels: int = 3) -> TrunkNet:
    """Random weights, large enough that everything matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Trunk(patch=patch, width=8, inner=16, blocks=1).build(channels, 2)
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.2)
    return net


def encoder() -> FrozenEncoder:
    """8 x 8 tokens of 40 numbers from 32 x 32 pixels, random."""
    config = EffnetLite0(tap=8, upsample=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FrozenEncoder(config, config.layers(), "random")


def model(kind: str = "pixel_regression", **more: Any) -> MapModel:
    head = Diffusion(steps=2, sigma_max=20) if kind.endswith("diffusion") else Mean()
    made = (network(1, 40), encoder()) if kind.startswith("token") else (network(), None)
    world: MapModel = find.find("world-model", kind)(made[0], head, 2, (32, 32), 1, made[1], **more)
    return world


def frames(steps: int = STEPS) -> Tensor:
    shape = (BATCH, steps, 3, 32, 32)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def actions(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def past(steps: int = STEPS) -> Past:
    """The last frames of a fixed episode."""
    return Past(frames()[:, -steps:], actions(BATCH, STEPS - 1, 2)[:, STEPS - steps :])


def train(store: Store, run: Path, *more: str, kind: str = "pixel_regression") -> int:
    return main(["train", "--data", str(store.path), "--run", str(run), "--kind", kind, *TRAIN.split(), *more])


@pytest.mark.parametrize("kind", MAP_KINDS)
def test_a_rollout_is_the_same_whatever_it_is_chunked_or_batched_with(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world: WorldModel = model(kind)
    plans = actions(BATCH, 5, 3, 2)
    together = world.rollout(world.observe(past(), [3, 4]), plans)
    assert together.shape == (BATCH, 5, 3, *((64, 40) if world.place == "latent" else (3, 32, 32)))
    assert together.isfinite().all()
    monkeypatch.setattr(_map_model, "CHUNK", 3)
    torch.testing.assert_close(world.rollout(world.observe(past(), [3, 4]), plans), together, **CLOSE)
    for b in range(BATCH):
        alone = world.observe(Past(past().frames[b : b + 1], past().actions[b : b + 1]), [3 + b])
        torch.testing.assert_close(world.rollout(alone, plans[b : b + 1])[0], together[b], **CLOSE)
    assert not torch.allclose(together[:, 0], together[:, 1], atol=1e-2)


@pytest.mark.parametrize("kind", MAP_KINDS)
def test_imagining_is_pure_causal_and_differentiable(kind: str) -> None:
    world = model(kind)
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
    first, actions_past, seeds = world.observe(past(), [0, 0])
    plans = actions(BATCH, 1, 4, 2)
    whole = world.rollout((first, actions_past, seeds), plans)
    one = whole[:, 0, :1]
    later = torch.cat([first[:, 1:], one], 1), torch.cat([actions_past[:, 1:], plans[:, 0, :1]], 1), seeds
    torch.testing.assert_close(world.rollout(later, plans[:, :, 1:]), whole[:, :, 1:])


@pytest.mark.parametrize("kind", ["pixel_diffusion", "token_diffusion"])
def test_sequences_of_a_problem_share_their_noise_and_judges_see_another(kind: str) -> None:
    """Else a search would choose the luckiest noise, and nobody would notice."""
    world = model(kind)
    same = actions(1, 1, 3, 2).expand(BATCH, 4, -1, -1)
    now = Past(frames()[:1].expand(BATCH, -1, -1, -1, -1), actions(1, STEPS - 1, 2).expand(BATCH, -1, -1))

    def imagined(judge: MapModel, seeds: list[int]) -> Tensor:
        return judge.rollout(judge.observe(now, seeds), same)

    searched = imagined(world, [7, 8])
    torch.testing.assert_close(searched[:, :1].expand_as(searched), searched, **CLOSE)
    assert not torch.allclose(searched[0], searched[1], atol=1e-2)
    torch.testing.assert_close(imagined(world, [8, 7]), searched.flip(0), **CLOSE)
    assert not torch.allclose(imagined(world.exact, [7, 8]), searched, atol=1e-2)
    assert is_rough(world)
    assert not is_rough(model("pixel_regression"))


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
    net = Trunk(width=8, inner=16, blocks=1).build(3, 2)
    world = find.find("world-model", "pixel_regression")(net, Mean(), 2, (32, 32))
    imagined = world.rollout(world.observe(past(), [0, 0]), actions(BATCH, 2, 3, 2))
    assert torch.equal(imagined, (frames()[:, -1] / 255)[:, None, None].expand(imagined.shape))


def test_token_models_imagine_what_their_encoder_says() -> None:
    world = model("token_regression")
    tokens = encoder().encode(frames()[:, -1])
    assert torch.equal(as_tokens(as_maps(tokens)), tokens)
    maps, *_ = world.observe(past(), [0, 0])
    torch.testing.assert_close(as_tokens(maps[:, -1]), tokens)
    assert world.encoder_hash == encoder().hash
    with pytest.raises(UsageError, match="12 tokens per frame; expected a square grid"):
        as_maps(torch.zeros(1, 12, 4))


@pytest.mark.skipif(not bf16_units(), reason="this processor has no unit for bf16")
@pytest.mark.parametrize("kind", ["pixel_regression", "pixel_diffusion"])
def test_bf16_imagines_nearly_the_same(kind: str) -> None:
    exact, rough = model(kind), model(kind, precision="bf16")
    plans = actions(BATCH, 3, 3, 2)
    wanted, found = (world.rollout(world.observe(past(), [0, 0]), plans) for world in (exact, rough))
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).abs().max() < 0.05 * (wanted - frames()[:, -1][:, None, None] / 255).abs().max()


@pytest.mark.slow
def test_compiled_imagines_the_same_for_any_number_of_sequences() -> None:
    plain, fast = model(), model(compiled=True)
    for count in (1, 5, 70):
        plans = actions(BATCH, count, 2, 2)
        wanted, found = (world.rollout(world.observe(past(), [0, 0]), plans) for world in (plain, fast))
        torch.testing.assert_close(found, wanted, **CLOSE)


@pytest.mark.slow
def test_compiled_training_learns_the_same(ball_store: Store, tmp_path: Path) -> None:
    kept = []
    for flag in ("--practice.no-compile", "--practice.compile"):
        assert train(ball_store, tmp_path / flag, flag, "--schedule.steps", "6", kind="pixel_diffusion") == 0
        kept.append(load(tmp_path / flag).config["errors"]["imagined"])
    assert kept[0] == pytest.approx(kept[1], rel=1e-3)


@pytest.mark.parametrize(("height", "width"), [(30, 32), (32, 28)])
def test_maps_that_cannot_be_cut_into_patches_are_refused(height: int, width: int) -> None:
    with pytest.raises(UsageError, match=rf"maps of {height} x {width} cells; expected multiples of 8"):
        network().check(height, width)


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(UsageError, match=r"frames of shape \(3, 64, 64\); the world model was trained on \(3, 32, 32\)"):
        model().observe(Past(torch.zeros(1, 3, 3, 64, 64, dtype=torch.uint8), torch.zeros(1, 2, 2)), [0])


def test_only_diffusion_denoises_in_as_many_steps_as_asked() -> None:
    head = model("pixel_diffusion").denoising(7).head
    assert isinstance(head, Diffusion)
    assert head.steps == 7
    with pytest.raises(UsageError, match="0 denoising steps; expected 1 or more"):
        model("pixel_diffusion").denoising(0)
    with pytest.raises(UsageError, match="3 denoising steps with a PixelRegression; only diffusion denoises"):
        model().denoising(3)


def test_behind_an_open_mask_nothing_of_the_last_map_is_left() -> None:
    net = Trunk(cover=True, width=8, inner=16, blocks=1).build(3, 2)
    net.unit.fill_(0.1)
    made = torch.zeros(2, 7, 32, 32)
    made[:, 3:6], made[:, 6] = 0.25, 50.0
    last = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(last + net.covered(made, last) * net.unit, torch.full_like(last, 0.25))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"history": 0}, "Trunk.history is 0; expected 1 or more"),
        ({"width": 12}, "Trunk.width is 12; expected a multiple of 8"),
    ],
)
def test_a_trunk_that_cannot_be_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Trunk(**wrong)


@pytest.mark.parametrize("kind", MAP_KINDS)
def test_a_model_folder_is_the_model_as_float16_holds_it(kind: str, tmp_path: Path) -> None:
    made = model(kind)
    for tensor in made.net.state_dict().values():
        tensor.copy_(tensor.half())
    readouts = (
        Probe(torch.ones(64 * 40, 2), torch.zeros(2)),
        Gallery(frames()[0].movedim(1, -1).numpy(), torch.zeros(6, 64, 40)),
    )
    folder = MapFolder(made, {"env": "imagoal/Ball-v0"}, made.encoder, *(readouts if made.encoder else ()))
    save_maps(tmp_path / "model", folder)
    loaded = load(tmp_path)
    assert isinstance(loaded, MapFolder)
    plans = actions(BATCH, 2, 3, 2)
    imagined = [world.rollout(world.observe(past(), [0, 0]), plans) for world in (made, loaded.model)]
    assert torch.equal(*imagined)
    assert (type(loaded.model), loaded.model.frame_size) == (type(made), (32, 32))
    assert (loaded.config["env"], loaded.model.head) == ("imagoal/Ball-v0", made.head)
    with pytest.raises(DataError, match=f"of kind '{kind}'; expected 'latent'"):
        load_latent(tmp_path)
    files.write_json(tmp_path / "model/config.json", {"schema": SCHEMA, "kind": kind})
    with pytest.raises(DataError, match="damaged"):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["pixel_regression", "pixel_diffusion"])
def test_training_learns_more_than_to_copy(kind: str, ball_store: Store, tmp_path: Path) -> None:
    more = "--schedule.steps 150 --schedule.batch 8 --trunk.width 16 --trunk.inner 32 --schedule.lr 4e-3 --practice.average 0.9"
    assert train(ball_store, tmp_path, *more.split(), kind=kind) == 0
    errors = load(tmp_path).config["errors"]
    metrics = Run(tmp_path).metrics()
    assert metrics[0]["held_out_first"] == pytest.approx(errors["copied"][0], rel=0.2), "it began by copying"
    assert errors["imagined"][0] < 0.92 * errors["copied"][0]
    assert errors["imagined"][1] < 0.92 * errors["copied"][1]


def test_what_is_aligned_learns_to_tell_what_an_encoder_sees(ball_store: Store, tmp_path: Path) -> None:
    """And what was learned for it alone is thrown away."""
    encoder().save(tmp_path / "encoder")
    runs = []
    for weight in ("1e-9", "3"):
        align = f"--align.to {tmp_path / 'encoder'} --align.weight {weight} --schedule.lr 4e-3 --practice.one-step 0.5"
        assert train(ball_store, tmp_path / weight, *align.split(), kind="pixel_diffusion") == 0
        runs.append(load(tmp_path / weight).model)
    first, second = (run.net.state_dict() for run in runs if isinstance(run, MapModel))
    assert first.keys() == second.keys() == network().state_dict().keys()
    assert not torch.equal(first["middle.0.conv_in.weight"], second["middle.0.conv_in.weight"])
    assert Run(tmp_path / "3").metrics()[-1]["loss"] < Run(tmp_path / "1e-9").metrics()[-1]["loss"] - 1, "cosines count"


def test_a_token_model_brings_what_reads_its_tokens(ball_store: Store, tmp_path: Path) -> None:
    encoder().save(tmp_path / "encoder")
    assert train(ball_store, tmp_path / "run", "--encoder", str(tmp_path / "encoder"), kind="token_regression") == 0
    folder = load(tmp_path / "run")
    assert isinstance(folder, MapFolder)
    assert folder.encoder is not None
    assert folder.probe is not None
    assert folder.gallery is not None
    assert folder.encoder.hash == encoder().hash
    tokens = folder.encoder.encode(torch.zeros(2, 3, 64, 64))
    assert folder.probe(tokens).shape == (2, 2)
    assert folder.gallery.nearest(tokens).shape == (2, 64, 64, 3)


def test_a_stopped_training_ends_as_if_nothing_had_happened(
    ball_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Averaged weights and noise too."""
    assert train(ball_store, tmp_path / "whole", kind="pixel_diffusion") == 0
    real, left = Windows._ids, [18]

    def stopping(windows: Windows, step: int, batch: int) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(windows, step, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Windows, "_ids", stopping)
        assert train(ball_store, tmp_path / "stopped", kind="pixel_diffusion") == 130
    assert train(ball_store, tmp_path / "stopped", kind="pixel_diffusion") == 0
    whole, stopped = (files.read_json(tmp_path / name / "model/MANIFEST.json") for name in ("whole", "stopped"))
    assert whole == stopped


def test_what_is_kept_is_the_mean_of_the_weights(ball_store: Store, tmp_path: Path) -> None:
    def norm(average: str) -> Tensor:
        assert train(ball_store, tmp_path / average, "--practice.average", average) == 0
        kept = load(tmp_path / average).model
        assert isinstance(kept, MapModel)
        return kept.net.leave[-1].weight.norm()

    assert norm("0") > 1.05 * norm("0.9"), "they began as zeros, and a mean lags behind"


def test_flags_of_another_kind_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, message in (
        ("--kind pixel_regression --reduce 4", "--reduce is of kind latent, not of pixel_regression"),
        ("--kind pixel_regression --diffusion.steps 2", "--diffusion is of kind pixel_diffusion, token_diffusion, not of"),
        ("--kind pixel_diffusion --predictor transformer", "--predictor is of kind latent, not of pixel_diffusion"),
        ("--trunk.blocks 1", "--trunk is of kind pixel_regression, pixel_diffusion, "),
    ):
        assert main(["train", *flags.split()]) == 2
        assert message in capsys.readouterr().err


def test_maps_learn_from_small_batches_unless_flags_say_otherwise() -> None:
    for flags in (["--kind", "pixel_regression"], ["--kind=token_diffusion"]):
        asked = parse(Train, [*flags, "--schedule.steps", "7"], "train")
        assert (asked.schedule.batch, asked.schedule.steps) == (16, 7)
    assert parse(Train, [], "train").schedule.batch == 256
