"""On a GPU nothing is left behind on the CPU, and a plan is waited for once, at its end.

Where there is no GPU, the device `meta` stands in: its tensors have no values, refuse operations with those of the CPU, and
raise as soon as somebody asks for a value, which on a GPU would mean to wait.
"""

import traceback
from typing import Any

import pytest
import torch

from imagoal import find
from imagoal.agents import Planning
from imagoal.agents.mpc import MPC
from imagoal.commands.eval import Eval
from imagoal.envs import make
from imagoal.errors import UsageError
from imagoal.eval.episodes import build
from imagoal.flags import parse
from imagoal.planning import CEM, MPPI, Over, RandomShooting
from imagoal.planning._blur import blur
from imagoal.planning.icem import ICEM
from imagoal.world_model import Observation
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.models import Diffusion, Mean, Trunk, load
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.readouts import Chain, FrozenEncoder, Metric
from tests.choices import choice

THERE = torch.device("meta")
PLANNERS = [CEM(horizon=3), MPPI(horizon=3), ICEM(horizon=3), RandomShooting(horizon=3), CEM(horizon=3, correlation=0.5)]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def planning(planner: Any, predictor: str) -> Planning:
    """As on a GPU: networks and metric there, frames and random numbers on the CPU."""
    config = PatchConv(size=8)
    encoder = FrozenEncoder(config, config.layers(), "random")
    assert encoder.hash  # as of a loaded one, known before it is moved
    encoder.to(THERE)
    network = find.find("predictor", predictor)(history=2).build(1, 8, 2).to(THERE)
    matrix = torch.empty(8, 8, device=THERE)
    return Planning(
        Latent(encoder, network, 2),
        Chain(encoder=encoder),
        planner,
        "latent",
        Metric(matrix, matrix[:, :0]),
        Over(),
    )


def frames() -> Observation:
    return Observation(frame=torch.zeros(2, 3, 64, 64, dtype=torch.uint8), state=None)


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda planner: type(planner).__name__)
@pytest.mark.parametrize("predictor", sorted(find.entries("predictor")))
def test_a_plan_is_waited_for_at_its_end_only(planner: Any, predictor: str) -> None:
    agent = MPC(make("ball"), planning(planner, predictor))
    agent.reset(frames(), [0, 1])
    with pytest.raises((RuntimeError, NotImplementedError), match="meta tensor") as waited:
        agent.act(frames())
    assert "result" in [frame.name for frame in traceback.extract_tb(waited.tb)], waited.getrepr()


@pytest.mark.parametrize("kind", ["pixel_regression", "pixel_diffusion"])
def test_so_is_a_plan_among_imagined_frames(kind: str) -> None:
    net = Trunk(width=8, inner=8, blocks=1).build(3, 2).to(THERE)
    head = Mean() if kind == "pixel_regression" else Diffusion(steps=2)
    model = find.find("world-model", kind)(net, head, 2, (64, 64))
    agent = MPC(make("ball"), Planning(model, Chain(), CEM(horizon=3), "frame", blur, Over()))
    agent.reset(frames(), [0, 1])
    with pytest.raises((RuntimeError, NotImplementedError), match="meta tensor") as waited:
        agent.act(frames())
    assert "result" in [frame.name for frame in traceback.extract_tb(waited.tb)], waited.getrepr()


@needs_gpu
@pytest.mark.parametrize("compiled", [False, True], ids=["", "compiled"])
def test_a_gpu_plans_as_the_cpu_does(compiled: bool) -> None:
    found = []
    for device in ("cpu", "cuda"):
        words = ["--env", "ball", "--device", device, *(["--compile"] if compiled and device == "cuda" else [])]
        env = make("ball")
        agent: Any = build(parse(Eval, words, "imagoal eval").choice(), env).agent
        goal = Observation(frame=torch.full((1, 3, 64, 64), 99, dtype=torch.uint8), state=None)
        agent.reset(goal, [0])
        found.append([agent.act(goal).actions for _ in range(3)])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, atol=1e-3, rtol=0)


@needs_gpu
def test_a_folder_is_moved_whole() -> None:
    folder = load("Ball-latent").to(torch.device("cuda"))
    latents = folder.encoder.encode(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert latents.device.type == folder.probe(latents).device.type == "cuda"
    assert folder.encoder.hash == load("Ball-latent").encoder.hash


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_said_so() -> None:
    with pytest.raises(UsageError, match="device 'cuda': this PyTorch sees 0 GPUs; use cpu"):
        parse(Eval, ["--device", "cuda"], "imagoal eval").choice()


@pytest.mark.parametrize("device", ["tpu", "cpu:0", "cuda:x"])
def test_another_device_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match=f"device '{device}'; expected cpu, cuda"):
        choice("mpc", "Ball-latent", device=device)
