"""Pixel and token models behind the planner: built by name, measured anywhere along the chain, described and refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from imagoal import find
from imagoal.cli import main
from imagoal.envs import make
from imagoal.errors import NumericalError, UsageError
from imagoal.eval.episodes import AgentChoice, BuiltAgent, build, run_tasks
from imagoal.eval.tasks import frozen_tasks
from imagoal.planning import GoalCost
from imagoal.planning.cem import CEM
from imagoal.world_model import Observation, Past, Place, State
from imagoal.world_model.models import Diffusion, MapFolder, Mean, Trunk, save_maps
from imagoal.world_model.models.copy_last import CopyLast
from imagoal.world_model.readouts import Chain
from tests.choices import choice

ENV = make("ball")
TASKS = frozen_tasks(ENV, "dev")
CHEAP = CEM(horizon=2, num_samples=4, num_elites=2, iterations=1)


@pytest.fixture(scope="module", params=["pixel_regression", "pixel_diffusion"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that has learned nothing."""
    path: Path = tmp_path_factory.mktemp(request.param) / "model"
    head = Mean() if request.param == "pixel_regression" else Diffusion(steps=2)
    net = Trunk(width=8, inner=8, blocks=1).build(3, 2)
    model = find.find("world-model", request.param)(net, head, 2, (64, 64))
    save_maps(path, MapFolder(model, {"env": "imagoal/Ball-v0", "data_hash": "1", "training_seed": 5}))
    return path


def request(world_model: Path | str, **more: Any) -> AgentChoice:
    return choice("mpc", str(world_model), planner=CHEAP, **more)


def played(built: BuiltAgent, steps: int = 2) -> Any:
    (result,) = run_tasks(lambda: make("ball"), built.agent, TASKS, [0], steps)
    return result


@pytest.mark.parametrize("at", ["frame", "latent", "probe"])
def test_what_is_imagined_is_compared_anywhere_to_the_right(folder: Path, at: Place) -> None:
    built = build(request(folder, at=at, readouts="" if at == "frame" else "Ball-latent"), make("ball"))
    assert not built.agent.privileged
    assert len(played(built).plans) == 2
    kind = folder.parent.name.rstrip("0")
    assert built.description["world_model"] == kind
    assert built.description["cost"]["at"] == at
    assert built.description["training_seed"] == 5
    assert built.description["parameters"] == sum(p.numel() for p in Trunk(width=8, inner=8, blocks=1).build(3, 2).parameters())
    assert (built.description["encoder"] is None) == (at == "frame")
    assert built.description["planner"].get("denoising_steps") == (2 if kind == "pixel_diffusion" else None)
    assert built.hashes["data_hash"] == "1"


def test_a_place_that_needs_an_encoder_asks_for_one(folder: Path) -> None:
    with pytest.raises(
        UsageError, match="the way from frame to latent needs an encoder and there is none; pass --readouts DIR"
    ):
        build(request(folder, at="latent"), ENV)


def test_a_model_of_another_env_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="was trained on imagoal/Ball-v0, the env is imagoal/Reach-v0; name a world model"):
        build(request(folder), make("reach"))


@pytest.mark.parametrize(
    ("world_model", "steps", "message"),
    [
        ("", 0, "0 denoising steps; expected 1 or more"),
        ("simulator", 2, "denoising_steps with world model 'simulator'; only diffusion denoises; leave them out"),
        ("Ball-latent", 2, "denoising_steps with world model Ball-latent, which does not denoise; leave them out"),
    ],
)
def test_denoising_that_cannot_be_is_refused(folder: Path, world_model: str, steps: int, message: str) -> None:
    if not world_model and folder.parent.name.startswith("pixel_regression"):
        message = "0 denoising steps with a PixelRegression"
    with pytest.raises(UsageError, match=message):
        build(request(world_model or folder, denoising_steps=steps), ENV)


def test_one_command_evaluates_it(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planner = "--planner.num-samples 4 --planner.num-elites 2 --planner.iterations 1 --planner.horizon 2"
    arguments = f"eval --env ball --world-model {folder} {planner} --count 1 --run {tmp_path / 'run'}"
    assert main(arguments.split()) == 0
    assert folder.parent.name.rstrip("0") in capsys.readouterr().out


def test_copying_the_last_frame_tells_no_action_from_another() -> None:
    built = build(request("copy_last"), make("ball"))
    assert built.description["world_model"] == "copy_last"
    assert not played(built).ever
    model = CopyLast(2)
    past = Past(torch.full((1, 1, 3, 8, 8), 51, dtype=torch.uint8), torch.zeros(1, 0, 2))
    imagined = model.rollout(model.observe(past, [0]), torch.rand(1, 4, 3, 2))
    torch.testing.assert_close(imagined, torch.full((1, 4, 3, 3, 8, 8), 0.2))


class Blind:
    """An encoder that makes the same of all frames, finite or not."""

    label, hash = "random", "blind"

    def encode(self, frames: Tensor) -> Tensor:
        return torch.zeros(len(frames), 1, 1)


class Bursting(CopyLast):
    """Imagines frames that are not finite where the first action is above 0."""

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        frames = super().rollout(state, actions).clone()
        frames[actions[:, :, 0, 0] > 0, -1, 0, 0, 0] = torch.nan
        return frames


def test_imagined_frames_that_are_not_finite_never_win() -> None:
    model, frame = Bursting(2), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    cost = GoalCost.aim(model, Observation(frame), "latent", Chain(encoder=Blind()))  # type: ignore[arg-type]
    bound = cost.bind(model.observe(Past(frame[:, None], torch.zeros(1, 0, 2)), [0]))
    candidates, generators = torch.full((1, 1, 2, 2), -0.5), [torch.Generator().manual_seed(0)]
    plan = replace(CHEAP, num_samples=64).plan(bound, candidates, generators)
    assert plan.actions[0, 0, 0] <= 0
    assert plan.cost.isfinite().all()
    with pytest.raises(NumericalError):
        CHEAP.plan(lambda actions: bound(actions.abs() + 0.1), candidates, generators)  # type: ignore[arg-type]
