"""An agent collects as it is evaluated: it sees what is stored, remembers what it did, and continues as if never stopped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from imagoal import flags
from imagoal.cli import main
from imagoal.commands.collect import Collect
from imagoal.commands.eval import Eval
from imagoal.envs import GoalEnv, Task, make
from imagoal.envs.ball import Ball
from imagoal.envs.store import ActorFactory, Collecting, Store, collect
from imagoal.errors import UsageError
from imagoal.eval.episodes._build import build
from imagoal.eval.episodes._choices import AgentChoice
from imagoal.eval.episodes._on_policy import Exploring, on_policy
from imagoal.eval.episodes._run import run_tasks
from imagoal.eval.tasks import SAMPLER, TaskList
from imagoal.planning import CEM, CostFunction, Over, Plan
from imagoal.world_model import Past
from imagoal.world_model.models.latent import Latent
from tests.choices import choice

ENV = make("ball")
SMALL = CEM(horizon=4, num_samples=8, num_elites=3, iterations=2)


def request(agent: str = "mpc", model: str = "simulator", **settings: Any) -> AgentChoice:
    return choice(agent, model, **{"planner": SMALL, "replan_every": 2} | settings)


def acting(asked: AgentChoice, env: GoalEnv = ENV, noise: float = 0.0) -> ActorFactory:
    return on_policy(build(asked, env), env, noise)


def collected(
    path: Path, asked: AgentChoice, episodes: int = 2, noise: float = 0.0, steps: int = 6, env: str = "ball"
) -> Store:
    """By an agent that is built anew."""
    return collect(env, path, episodes, acting(asked, ENV, noise), Collecting(seed=3, steps=steps))


@pytest.mark.parametrize("agent", ["mpc", "scripted", "random_actions"])
def test_an_agent_collects_as_it_is_evaluated(tmp_path: Path, agent: str) -> None:
    """With the start and goal of an episode as a task, and the agent's seed, evaluation takes the same actions."""
    asked = request(agent, model="Ball-latent" if agent == "mpc" else "")
    episode = collected(tmp_path, asked, 2, steps=8).read(1)
    ENV.reset(seed=episode.seed)
    task: Task = ENV._task
    seed = np.random.default_rng([episode.seed, 1]).integers(2**31)
    batch = (np.array([seed]), task.start[None], task.goal[None], task.goal_image[None], np.array([task.difficulty]))
    taken: list[Tensor] = []
    run_tasks(
        lambda: make("ball"),
        build(asked, ENV).agent,
        TaskList("imagoal/Ball-v0", "dev", *batch, SAMPLER),
        [0],
        8,
        lambda _, moment: taken.append(moment.decision.actions[0].clone()),
    )
    np.testing.assert_array_equal(torch.stack(taken).numpy().astype(np.float32), episode.actions)


def test_the_oracle_s_episodes_end_at_their_goals(tmp_path: Path) -> None:
    store = collected(tmp_path, request(planner=CEM(num_samples=32), replan_every=1), 2, steps=30)
    for number in range(2):
        episode = store.read(number)
        ENV.reset(seed=episode.seed)
        assert ENV.at_goal(episode.states[-1], ENV.goal_state())


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_stopped_and_continued_is_the_same_store(tmp_path: Path, noise: float) -> None:
    whole = collected(tmp_path / "whole", request(), 3, noise)
    for episodes in (1, 3):
        parts = collected(tmp_path / "parts", request(), episodes, noise)
    assert parts.hash == whole.hash
    assert len({record.seed for record in whole.records}) == 3


class Reused(Ball):
    """Shows its pictures in the same buffer again and again."""

    buffer: ClassVar[dict[str, Any]] = {}

    def _observation(self) -> Any:
        for name, picture in super()._observation().items():
            self.buffer.setdefault(name, np.zeros_like(picture))[:] = picture
        return self.buffer


def test_what_the_agent_saw_stays_what_it_was(tmp_path: Path) -> None:
    """A model with a history looks at older frames too."""
    asked = request(model="Ball-latent", replan_every=1)
    plain = collected(tmp_path / "plain", asked, 1)
    reused = collected(tmp_path / "reused", asked, 1, env=f"{__name__}:Reused")
    np.testing.assert_array_equal(reused.read(0).actions, plain.read(0).actions)


@pytest.mark.parametrize("replan_every", [1, 2])
def test_the_model_is_told_what_was_really_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replan_every: int) -> None:
    """With noise too: the past that a model of some history looks at is that of the store."""
    pasts: list[Past] = []
    observe = Latent.observe

    def overheard(model: Latent, past: Past, seeds: Sequence[int], previous: Any = None) -> Any:
        pasts.append(past)
        return observe(model, past, seeds, previous)

    monkeypatch.setattr(Latent, "observe", overheard)
    asked = request(model="Ball-latent", replan_every=replan_every)
    episode = collected(tmp_path, asked, 1, noise=0.5, steps=8).read(0)
    assert len(pasts) == 8 / replan_every
    for number, past in enumerate(pasts):
        now, count = number * replan_every, past.actions.shape[1]
        assert count == min(now, 2), "Ball's history is 3 frames"
        np.testing.assert_array_equal(past.actions[0].numpy(), episode.actions[now - count : now])
        np.testing.assert_array_equal(past.frames[0].movedim(1, -1).numpy(), episode.frames[now - count : now + 1])


class Fixed:
    """A planner whose plan is the same all over, with `keep` as a planner has it."""

    needs: ClassVar[str] = "gradient"
    horizon: ClassVar[int] = 500

    def plan(self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: Any = None) -> Plan:
        actions = torch.full((len(candidates), self.horizon, 4), 0.6)
        return Plan(actions, torch.zeros(len(candidates)), actions[:, None], torch.zeros(len(candidates), 1), 1, 1, True, 0.0)


def explored(problems: int, seeds: Sequence[int]) -> Plan:
    planner = Exploring(Fixed(), 0.25, 400)  # type: ignore[arg-type]
    assert (planner.horizon, planner.needs) == (500, "gradient")
    generators = [Generator().manual_seed(seed) for seed in seeds]
    return planner.plan(lambda actions: actions, torch.zeros(problems, 1, 500, 4), generators)  # type: ignore[arg-type]


def test_noise_is_on_what_is_executed_and_nowhere_else() -> None:
    plan = explored(2, [5, 6])
    executed, rest = plan.actions[:, :400], plan.actions[:, 400:]
    assert torch.equal(rest, torch.full_like(rest, 0.6))
    assert torch.equal(plan.keep, torch.full_like(plan.keep, 0.6)), "the next plan starts from what was planned"
    assert executed.max() == 1, "clipped"
    below = executed[executed < 0.6] - 0.6
    assert below.square().mean().sqrt().item() == pytest.approx(0.25, rel=0.05)
    assert torch.equal(executed[1:], explored(1, [6]).actions[:, :400]), "the same whatever it is batched with"
    assert not torch.equal(executed[0], executed[1])


def test_noise_moves_the_actions_of_a_store(tmp_path: Path) -> None:
    plain, noisy = (collected(tmp_path / str(noise), request(), 2, noise) for noise in (0.0, 0.3))
    np.testing.assert_array_equal(plain.read(1).frames[0], noisy.read(1).frames[0])
    first = noisy.read(1).actions[:2] - plain.read(1).actions[:2]
    assert np.all(np.abs(first) > 0)
    assert np.abs(first).max() < 1.2


def test_a_store_is_named_after_all_that_its_plans_follow_from() -> None:
    names = [
        acting(*asked).__name__
        for asked in (
            (request(), ENV),
            (request(), ENV, 0.1),
            (request(replan_every=1), ENV),
            (request(planner=CEM(horizon=5)), ENV),
            (request(model="Ball-latent"), ENV),
            (request(model="copy_last"), ENV),
            (request(over=Over(1, 0, 0)), ENV),
            (request(surprise=0.3), ENV),
            (request("scripted", model=""), ENV),
        )
    ]
    assert len(set(names)) == len(names)
    assert names[0].startswith("mpc-")
    assert names[-1].startswith("scripted-")
    assert acting(request(), make("ball")).__name__ == names[0]


def test_another_training_of_a_model_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on the same encoder, as in the rounds of on-policy learning."""
    before = acting(request(model="Ball-latent"), ENV).__name__
    assert acting(request(model="Ball-latent"), ENV).__name__ == before
    monkeypatch.setattr("imagoal.eval.episodes._build.weights_hash", lambda path: "other weights")
    assert acting(request(model="Ball-latent"), ENV).__name__ != before


@pytest.mark.parametrize(
    ("asked", "noise", "words"),
    [
        (request("scripted", model=""), 0.1, "noise = 0.1 with agent 'scripted'"),
        (request("scripted"), 0.1, "noise = 0.1 with agent 'scripted'"),
        (request(), -0.1, "noise = -0.1; expected"),
        (request(), float("nan"), "noise = nan; expected"),
        (request(model=""), 0.0, "needs a world model"),
        (request(deadline_ms=20.0), 0.0, "deadline_ms = 20.0; expected none"),
        (request(surprise=0.3), 0.1, "noise = 0.1 with surprise = 0.3; expected one of them to be 0"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: AgentChoice, noise: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        acting(asked, ENV, noise)


AGENT = ["collect", "--env", "ball", "--agent", "mpc", "--steps", "4", "--planner.horizon", "4", "--planner.iterations", "1"]


def test_the_command_plans_with_what_ships_for_the_env_and_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*AGENT, "--data", str(tmp_path / "store"), "--episodes", "2"]
    assert main(command) == 0
    store = Store.open(tmp_path / "store")
    assert {record.behaviour for record in store.records} == {store.spec.behaviour}
    assert store.spec.behaviour.startswith("mpc-")
    for other in (
        ["--noise", "0.2"],
        ["--world-model", "copy_last"],
        ["--planner.horizon", "5"],
        ["--replan-every", "2"],
    ):
        assert main([*command, *other]) == 3
        assert f"behaviour {store.spec.behaviour} -> mpc-" in capsys.readouterr().err
    assert main([*command, "--episodes", "3"]) == 0
    assert "continuing at episode 2 of 3" in capsys.readouterr().err
    assert main(["data", "info", "--data", str(tmp_path / "store")]) == 0
    assert f"{store.spec.behaviour} 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--agent", "mpc", "--workers", "2"], "workers 2; expected 1"),
        (["--agent", "mpc", "--behaviour", "noise"], "behaviour 'noise' with agent 'mpc'"),
        (["--agent", "mpc", "--world-model", "BallGravity-none"], "BallGravity-none"),
        (["--agent", "nobody"], "no agent 'nobody'"),
        (["--world-model", "Ball-latent"], "--world-model Ball-latent without an agent"),
        (["--planner.horizon", "5"], "--planner.horizon 5 without an agent"),
        (["--over.last", "1"], "--over.last 1.0 without an agent"),
        (["--noise", "0.1"], "--noise 0.1 without an agent"),
    ],
)
def test_wrong_flags_write_nothing(tmp_path: Path, args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", "--data", str(tmp_path / "store"), *args]) in {2, 3}
    assert words in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_behaviours_plan_with_nothing_and_load_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagoal.eval.episodes._build.load", None)
    assert main(["collect", "--env", "push", "--data", str(tmp_path), "--episodes", "1", "--steps", "2"]) == 0


@pytest.mark.parametrize("env", ["ball", "imagoal/Push-v0", "reach"])
def test_an_agent_has_the_presets_of_eval(env: str) -> None:
    args = ["--env", env, "--agent", "mpc", "--replan-every", "4"]
    asked = flags.parse(Collect, [*args, "--data", "new"], "imagoal collect").choice()
    assert asked == flags.parse(Eval, args, "imagoal eval").choice()
    assert asked.model.world_model.endswith("-latent")
    assert flags.parse(Collect, ["--env", env, "--data", "new"], "imagoal collect").model.world_model == ""
