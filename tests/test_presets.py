"""An env's preset is a value: help shows it, every planner keeps what it has of it, no spelling of the env loses it."""

from typing import Any

import pytest
import torch

from imagoal import find, flags
from imagoal.commands.eval import Eval
from imagoal.envs import make
from imagoal.eval.episodes import AgentChoice, build, make_agent
from imagoal.eval.tasks import frozen_tasks
from imagoal.world_model import Observation, to_tensor

BALL = "--planner.num-samples 32 --planner.num-elites 4 --planner.iterations 2 --planner.init-std 2 --planner.correlation 0.5"
ARM = "--planner.horizon 7 --planner.init-std 1 --planner.correlation 0.85 --over.mean 0.1 --over.min 1 --replan-every 2"
REACH = f"{ARM} --planner.num-samples 32 --planner.num-elites 4 --planner.iterations 1"
PUSH_EASY = f"{ARM} --planner.num-samples 64 --planner.num-elites 8 --planner.iterations 3 --agent-weight 0.25"
PUSH = f"{ARM} --planner.num-samples 128 --planner.num-elites 16 --planner.iterations 2 --agent-weight 0.25"
TYPED_IN = {
    "ball": f"--world-model Ball-latent {BALL}",
    "ball_gravity": f"--world-model BallGravity-latent {BALL}",
    "ball_gust": f"--world-model BallGust-latent {BALL}",
    "reach": f"--world-model Reach-latent --action-block 2 {REACH}",
    "push_easy": f"--world-model PushEasy-latent --action-block 2 {PUSH_EASY}",
    "push": f"--world-model Push-latent --action-block 2 {PUSH}",
}
"""The numbers that the docs name, by env."""


def choice(*words: str) -> AgentChoice:
    return flags.parse(Eval, words, "imagoal eval").choice()


def of_planner(planner: str, words: str) -> list[str]:
    """The typed-in flags, without those of fields that this planner does not have."""
    known = {f"--planner.{name.replace('_', '-')}" for name in vars(find.find("planner", planner)())}
    pairs = zip(words.split()[::2], words.split()[1::2], strict=True)
    return [word for pair in pairs if pair[0] in known or not pair[0].startswith("--planner.") for word in pair]


def first_actions(asked: AgentChoice, env_name: str) -> torch.Tensor:
    """What an agent does first in the first dev task."""
    env = make(env_name)
    tasks, agent = frozen_tasks(env, "dev"), build(asked, env)
    agent.reset(Observation(to_tensor(tasks.goal_images[:1])), [int(tasks.seeds[0])])
    return agent.act(Observation(to_tensor(env.render_states(tasks.starts[:1])))).actions


@pytest.mark.parametrize("planner", find.entries("planner"))
@pytest.mark.parametrize("env", TYPED_IN)
def test_every_planner_runs_by_the_preset_as_with_the_same_numbers_typed_in(env: str, planner: str) -> None:
    preset, typed = choice("--env", env, "--planner", planner), of_planner(planner, TYPED_IN[env])
    assert preset == choice("--env", f"imagoal.envs.{env}:Nothing", "--planner", planner, *typed), "no preset is of that name"
    assert torch.equal(first_actions(preset, env), first_actions(choice("--env", env, "--planner", planner, *typed), env))


def test_every_env_has_one() -> None:
    assert set(TYPED_IN) == set(find.entries("env"))


@pytest.mark.parametrize("name", ["push_easy", "Push-Easy", "imagoal/PushEasy-v0", "imagoal.envs.push_easy:PushEasy"])
def test_no_spelling_of_an_env_loses_its_preset(name: str) -> None:
    assert choice("--env", name) == choice("--env", "push_easy")
    assert choice("--env", name).model.world_model == "PushEasy-latent"


@pytest.mark.parametrize("name", ["somebody.ball:Ball", "ball2", "other/Ball-v0"])
def test_an_env_of_somebody_else_has_none(name: str) -> None:
    assert choice("--env", name) == AgentChoice()


def test_help_shows_the_defaults_that_will_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        choice("--env", "push", "--help")
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in (
        "or copy_last. (default: Push-latent)",
        "(default: 0.25)",
        "in each iteration, proposals included. (default: 128)",
    ):
        assert words in said


def test_a_line_says_which_preset_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    flags.parse(Eval, ["--env", "reach"], "imagoal eval").built(make("reach"))
    assert capsys.readouterr().err == (
        "using the Reach preset: --planner cem --world-model Reach-latent --action-block 2 --planner.horizon 7 "
        "--planner.num-samples 32 --planner.num-elites 4 --planner.iterations 1 --planner.init-std 1.0 "
        "--planner.correlation 0.85 --over.mean 0.1 --over.min 1.0 --replan-every 2; your flags override it\n"
    )
    flags.parse(Eval, ["--env", "reach", "--agent", "no_op"], "imagoal eval").built(make("reach"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("env", TYPED_IN)
def test_the_library_plans_by_the_same_preset(env: str) -> None:
    world = make(env)
    by_flags: Any = build(choice("--env", env), world).planning
    by_name: Any = make_agent("mpc", world).planning
    assert (by_name.planner, by_name.over, by_name.pace) == (by_flags.planner, by_flags.over, by_flags.pace)
    mppi: Any = make_agent("mpc", world, planner="mppi").planning
    assert mppi.planner.num_samples == by_name.planner.num_samples
