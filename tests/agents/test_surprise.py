"""Surprise: a plan is kept while the world is as it imagined, and all that follows a kept plan is still right."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from imagoal import flags
from imagoal.agents import Pace
from imagoal.agents import mpc as mpc_module
from imagoal.agents._types import Decision, Planning
from imagoal.agents.mpc import MPC
from imagoal.commands.eval import Eval
from imagoal.envs import Floats, make
from imagoal.envs.ball import Ball
from imagoal.errors import UsageError
from imagoal.eval.episodes import AgentChoice, EpisodeResult, build, evaluate, load_result, replay, run_tasks
from imagoal.eval.tasks import frozen_tasks
from imagoal.planning import CEM, CostFunction, Distance, Over, Plan, Planner, euclid
from imagoal.world_model import Label, Past, Place, State
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.models.simulator import Simulator
from imagoal.world_model.predictors.mlp import MLP
from imagoal.world_model.readouts import Chain
from tests.choices import choice

ENV = make("ball")
TASKS = frozen_tasks(ENV, "dev")
SMALL = CEM(horizon=4, num_samples=16, num_elites=4, iterations=2)
HARDLY = 1e-9
"""A surprise that nothing but the world as it was imagined passes."""


def task_distance(states: Tensor, goals: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(ENV.task_distance(states.numpy(), goals.numpy()))).float()


class Eye:
    """An encoder: a fixed projection of the coarse picture."""

    label: Label = "random"
    hash = "eye"

    def __init__(self) -> None:
        self.basis = torch.randn(3 * 8 * 8, 8, generator=Generator().manual_seed(0)) / 8

    def encode(self, frames: Tensor) -> Tensor:
        coarse = F.avg_pool2d(frames.float() / 255, 8).flatten(1)
        return (coarse @ self.basis)[:, None]


def latent(block: int = 1) -> Latent:
    """A latent world model with a history of three that was never trained."""
    predictor = MLP(history=3, width=16, depth=1).build(1, 8, 2 * block)
    source = Generator().manual_seed(1)
    for weight in predictor.parameters():
        nn.init.normal_(weight, 0, 0.3, generator=source)
    return Latent(Eye(), predictor, 2 * block, block)


@dataclass
class Oracle:
    """A distance that finds the world astray, or not, as it is told, look by look, and the goal 1 away."""

    astray: list[float]
    asked: int = 0

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        look, to_goal = divmod(self.asked, 2)
        self.asked += 1
        return torch.full((len(first),), 1.0 if to_goal else self.astray[look])


@dataclass(frozen=True)
class Scribe:
    """A planner that asks for no costs and writes down its proposals; its n-th plan (from 0) is n / 10 + step / 100."""

    needs: ClassVar[str] = "values"
    horizon: int = 6
    proposals: list[Tensor] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        number = len(self.proposals)
        self.proposals.append(candidates)
        self.seeds.append(generators[0].initial_seed())
        actions = (number / 10 + torch.arange(self.horizon) / 100)[None, :, None].expand(1, -1, candidates.shape[-1])
        return Plan(actions, torch.zeros(1), actions[:, None], torch.zeros(1, 1), 1, 1, True, 0.0)


@dataclass(frozen=True)
class Stream:
    """A world model whose state is all that it was ever told: frames, and the actions between them."""

    place: ClassVar[Place] = "latent"
    privileged: ClassVar[bool] = False
    differentiable: ClassVar[bool] = False
    encoder_hash: ClassVar[str] = "eye"
    dtype: ClassVar[torch.dtype] = torch.float32
    device: ClassVar[torch.device] = torch.device("cpu")
    history: ClassVar[int] = 3

    action_block: int = 1
    action_size: int = 2
    encoder: Eye = field(default_factory=Eye)
    rollouts: list[tuple[int, ...]] = field(default_factory=list)

    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        if previous is None:
            return past.frames, past.actions
        assert past.new is not None
        first = past.actions.shape[1] - past.new
        return torch.cat([previous[0], past.frames[:, first + 1 :]], 1), torch.cat([previous[1], past.actions[:, first:]], 1)

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        self.rollouts.append(tuple(actions.shape))
        return torch.zeros(*actions.shape[:3], 1, 8)


def mpc(model: Any, planner: Any = SMALL, distance: Distance | None = None, **settings: Any) -> MPC:
    """An agent that measures the cost where its model imagines."""
    at: Place = model.place
    distance = distance or (task_distance if at == "state" else euclid)
    chain = Chain(encoder=getattr(model, "encoder", None))
    return MPC(ENV, Planning(model, chain, cast(Planner, planner), at, distance, Over(), Pace(**settings)))


def told(astray: Sequence[float], model: Any = None, planner: Any = None, **settings: Any) -> MPC:
    """An agent that finds the world so far astray, look by look, with a surprise of 0.5."""
    return mpc(model or Stream(), planner or Scribe(), Oracle(list(astray)), surprise=0.5, **settings)


def decisions_of(agent: MPC, steps: int, env: Any = None, task: int = 0) -> list[Decision]:
    made: list[Decision] = []
    run_tasks(lambda: env or make("ball"), agent, TASKS, [task], steps, lambda _, moment: made.append(moment.decision))
    return made


def planned_at(decisions: Sequence[Decision]) -> list[int]:
    """The steps at which plans were made."""
    return [step for step, decision in enumerate(decisions) if decision.plan is not None]


class Pushed(Ball):
    """A ball that something pushes aside in its fourth step."""

    steps = 0

    def advance(self, states: Floats, actions: Floats) -> Floats:
        self.steps += 1
        found = super().advance(states, actions)
        return found + (0.01 * np.eye(1, found.shape[1]) if self.steps == 4 else 0.0)


@pytest.mark.parametrize(
    ("horizon", "block", "replan_every", "plans"),
    [(4, 1, 1, [0, 4, 8]), (5, 1, 2, [0, 4, 8]), (8, 1, 4, [0, 8]), (3, 2, 2, [0, 6]), (4, 2, 4, [0, 8])],
)
def test_where_all_is_as_imagined_a_plan_is_used_up(horizon: int, block: int, replan_every: int, plans: list[int]) -> None:
    planner = CEM(horizon=horizon, num_samples=16, num_elites=4, iterations=2)
    agent = mpc(Simulator(ENV, block), planner, replan_every=replan_every, surprise=HARDLY)
    decisions = decisions_of(agent, 12)
    assert planned_at(decisions) == plans
    for first, last in itertools.pairwise([*plans, 12]):
        plan = decisions[first].plan
        assert plan is not None
        whole = plan.actions.reshape(horizon * block, 2)
        torch.testing.assert_close(torch.cat([decision.actions for decision in decisions[first:last]]), whole[: last - first])


@pytest.mark.parametrize("replan_every", [1, 2, 4])
def test_a_push_out_of_the_blue_is_seen_the_next_time(replan_every: int) -> None:
    def plans(surprise: float, env: Any = None) -> list[int]:
        planner = CEM(horizon=8, num_samples=16, num_elites=4, iterations=2)
        agent = mpc(Simulator(ENV), planner, replan_every=replan_every, surprise=surprise)
        return planned_at(decisions_of(agent, 13, env))

    assert plans(0.01) == [0, 8]
    assert plans(0.01, Pushed()) == [0, 4, 12]
    assert plans(1.0, Pushed()) == [0, 8], "no great surprise"


def test_without_surprise_every_time_is_one_for_a_new_plan() -> None:
    plain, never = mpc(latent(), surprise=0.0), mpc(latent(), surprise=HARDLY)
    assert planned_at(decisions_of(plain, 6)) == planned_at(decisions_of(never, 6)) == [0, 1, 2, 3, 4, 5]
    assert torch.equal(torch.cat(plain.actions), torch.cat(never.actions)), "to look changes nothing"
    assert all("check" not in decision.milliseconds for decision in decisions_of(plain, 3))


def test_how_far_astray_is_measured_against_what_is_left_to_the_goal() -> None:
    assert planned_at(decisions_of(told([0.5, 0.49, 0.51, 0.0, float("nan")]), 6)) == [0, 3, 5]


def test_what_is_compared_is_the_plan_s_own_moment_the_world_now_and_the_goal() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def distance(first: Tensor, second: Tensor) -> Tensor:
        seen.append((first, second))
        return torch.zeros(len(first))

    agent = mpc(Simulator(ENV), Scribe(), distance, surprise=0.5)
    states: list[Tensor] = []
    env = make("ball")
    run_tasks(lambda: env, agent, TASKS, [0], 4, lambda *_: states.append(torch.from_numpy(env.state())[None]))
    path = agent.imagine()
    for step in (1, 2, 3):
        (imagined, now), (here, goal) = seen[2 * step - 2 : 2 * step]
        torch.testing.assert_close(imagined, path[:, step - 1])
        torch.testing.assert_close(now, states[step])
        assert torch.equal(here, now)
        assert torch.equal(goal, torch.from_numpy(TASKS.goals[:1]))


def test_the_place_of_the_comparison_is_that_of_the_cost() -> None:
    shapes: list[tuple[int, ...]] = []

    def distance(first: Tensor, second: Tensor) -> Tensor:
        shapes.extend([tuple(first.shape), tuple(second.shape)])
        return torch.zeros(len(first))

    def render(states: Tensor) -> Tensor:
        return torch.from_numpy(ENV.render_states(states.numpy())).movedim(-1, 1)

    chain = Chain(render, Eye())
    planning = Planning(Simulator(ENV), chain, cast(Planner, Scribe()), "latent", distance, Over(), Pace(surprise=0.5))
    assert planned_at(decisions_of(MPC(ENV, planning), 5)) == [0]
    assert shapes == [(1, 1, 8)] * 16


def test_what_a_plan_leads_to_is_imagined_once_and_for_it_alone() -> None:
    model = Stream()
    decisions_of(told([0, 0, 9, 0, 0], model), 6)
    assert model.rollouts == [(1, 1, 6, 2)] * 2


def test_a_plan_is_proposed_again_without_all_that_was_executed() -> None:
    planner = Scribe()
    decisions_of(told([0, 0, 9, 9], planner=planner), 5)
    assert len(planner.proposals) == 3
    later, last = (proposals[0, 0, :, 0] for proposals in planner.proposals[1:])
    torch.testing.assert_close(later, torch.tensor([0.03, 0.04, 0.05, 0.0, 0.0, 0.0]))
    torch.testing.assert_close(last, torch.tensor([0.11, 0.12, 0.13, 0.14, 0.15, 0.0]))


def test_a_plan_that_was_used_up_leaves_nothing_to_propose() -> None:
    planner = Scribe()
    decisions_of(told([0, 0], Stream(2, 4), planner, replan_every=4, warm_start=True), 13)
    assert len(planner.proposals) == 2
    assert planner.proposals[1].shape == (1, 2, 6, 4)
    assert not planner.proposals[1].any()


def test_the_randomness_of_a_plan_follows_from_its_step_and_not_from_those_that_were_kept() -> None:
    kept, anew = Scribe(), Scribe()
    decisions_of(told([0, 9, 0, 9], planner=kept), 5)
    decisions_of(told([9] * 4, planner=anew), 5)
    assert kept.seeds == [anew.seeds[step] for step in (0, 2, 4)]


ASTRAY = [0.0, 0.0, 9.0, 0.0, 9.0, 9.0, 0.0, 0.0]


@pytest.mark.parametrize(("block", "replan_every"), [(1, 1), (1, 2), (2, 2), (2, 4)])
def test_a_model_that_remembers_all_is_told_each_frame_and_action_once(block: int, replan_every: int) -> None:
    planner = Scribe(horizon=8)
    agent = told(ASTRAY, Stream(block, 2 * block), planner, replan_every=replan_every)
    decisions = decisions_of(agent, 7 * replan_every)
    assert 1 < len(planned_at(decisions)) < 7, "some plans were kept"
    assert agent.belief is not None
    frames, actions = agent.belief
    known = agent.planned_at // block
    assert torch.equal(frames, torch.stack(agent.frames[: known + 1], 1))
    assert torch.equal(actions, torch.stack(agent.actions[: known * block], 1).reshape(1, known, 2 * block))


@pytest.mark.parametrize(("block", "replan_every"), [(1, 1), (1, 2), (2, 2)])
def test_what_is_remembered_is_what_encoding_anew_would_give(block: int, replan_every: int) -> None:
    model = latent(block)
    agent = told(ASTRAY, model, Scribe(), replan_every=replan_every)
    decisions_of(agent, 6 * replan_every + 1)
    assert agent.belief is not None
    known = agent.planned_at // block
    actions = torch.stack(agent.actions[: known * block], 1).reshape(1, known, 2 * block)
    anew = model.observe(Past(torch.stack(agent.frames[: known + 1], 1), actions), [0])
    for kept, fresh in zip(agent.belief, anew, strict=True):
        torch.testing.assert_close(kept, fresh, atol=1e-5, rtol=0)


def test_a_kept_plan_s_future_stays_what_it_was() -> None:
    agent = mpc(latent(), surprise=1e9)
    (first,) = decisions_of(agent, 1)
    assert first.imagine is not None
    imagined = first.imagine()
    assert planned_at(decisions_of(agent, 3)) == [0]
    assert torch.equal(agent.imagine(), imagined)
    assert not imagined.requires_grad


class Clock:
    """Stands in for `time`: it goes on when told."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def takes(self, milliseconds: float, function: Any) -> Any:
        """The function, which takes so long."""

        def slow(*args: Any, **named: Any) -> Any:
            self.now += milliseconds / 1000
            return function(*args, **named)

        return slow


def clocked(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> MPC:
    """An agent to which a check takes 2 ms, encoding 5 and planning 30, that keeps its plan for three steps of four."""
    clock = Clock()
    monkeypatch.setattr(mpc_module, "time", clock)
    monkeypatch.setattr(Stream, "observe", clock.takes(5, Stream.observe))
    monkeypatch.setattr(Scribe, "plan", clock.takes(30, Scribe.plan))
    agent = told([0, 0, 0, 9] * 3, **settings)
    monkeypatch.setattr(agent, "_is_as_imagined", clock.takes(2, agent._is_as_imagined))
    return agent


def test_a_check_takes_its_time_whether_the_plan_is_kept_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    decisions = decisions_of(clocked(monkeypatch), 5)
    first, *kept, anew = (dict(decision.milliseconds) for decision in decisions)
    assert first == pytest.approx({"plan": 35, "encode": 5, "rollout": 0, "refit": 30})
    assert kept == [pytest.approx({"check": 2})] * 3
    assert anew == pytest.approx({"plan": 37, "encode": 5, "rollout": 0, "refit": 30, "check": 2})
    assert [decision.imagine is None for decision in decisions] == [False, True, True, True, False]


def test_a_check_counts_for_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[float | None] = []

    @dataclass(frozen=True)
    class Hurried(Scribe):
        """A planner that writes down how long it may take."""

        def plan(
            self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], ms: float | None = None
        ) -> Plan:
            left.append(ms)
            return super().plan(cost, candidates, generators)

    decisions = decisions_of(clocked(monkeypatch, planner=Hurried(), deadline_ms=50.0), 5)
    assert left == pytest.approx([45, 43])
    assert decisions[1].milliseconds == pytest.approx({"check": 2})
    assert decisions[4].milliseconds["deadline"] == 50


def test_an_episode_remembers_how_often_its_plans_were_kept_and_what_that_took(monkeypatch: pytest.MonkeyPatch) -> None:
    (episode,) = run_tasks(lambda: make("ball"), clocked(monkeypatch), TASKS, [0], 7)
    assert isinstance(episode, EpisodeResult)
    assert episode.iterations == [1, 1]
    assert [(plan.get("kept"), plan.get("checks"), plan["plan"]) for plan in episode.plans] == [(3, 6.0, 35.0), (2, 4.0, 37.0)]
    (plain,) = run_tasks(lambda: make("ball"), mpc(latent()), TASKS, [0], 3)
    assert [set(plan) for plan in plain.plans] == [{"plan", "encode", "rollout", "refit", "evaluations"}] * 3


def test_each_episode_keeps_its_own_plan_so_there_is_one_at_a_time() -> None:
    words = r"surprise = 0.5 for 2 episodes side by side; expected one at a time: use --batch 1"
    with pytest.raises(UsageError, match=words):
        run_tasks(lambda: make("ball"), told([]), TASKS, [0, 1], 1)


@pytest.mark.parametrize("surprise", [-0.1, float("nan"), float("inf")])
def test_a_surprise_that_is_none_is_refused(surprise: float) -> None:
    with pytest.raises(UsageError, match=rf"surprise = {surprise}; expected a finite number, 0 or more"):
        mpc(Stream(), Scribe(), surprise=surprise)


def test_a_plan_of_which_nothing_is_left_cannot_be_kept() -> None:
    with pytest.raises(
        UsageError, match=r"surprise = 0.5 with replan_every = 4; expected at most half of horizon x block \(6\)"
    ):
        told([], replan_every=4)
    told([], replan_every=3)


def request(surprise: float, deadline_ms: float | None = None) -> AgentChoice:
    planner = CEM(horizon=4, num_samples=8, num_elites=2, iterations=4)
    return choice(planner=planner, replan_every=2, deadline_ms=deadline_ms, surprise=surprise)


@pytest.mark.parametrize("deadline_ms", [None, 4.0])
def test_a_row_is_replayed_with_its_kept_plans(tmp_path: Path, deadline_ms: float | None) -> None:
    asked = request(0.3, deadline_ms)
    result = evaluate(build(asked, ENV), ENV, "dev", 2, tmp_path)
    assert all(len(line["iterations"]) < ENV.max_episode_steps / 2 for line in result["episodes"])
    assert replay(build(asked, ENV), ENV, "dev", tmp_path / "result.json") == []
    assert result["agent"]["planner"]["surprise"] == 0.3
    load_result(tmp_path / "result.json")


def test_only_a_surprise_is_described() -> None:
    assert "surprise" not in build(request(0.0), ENV).description["planner"]


def test_the_flag_reaches_the_agent() -> None:
    assert flags.parse(Eval, ["--surprise", "0.3"], "imagoal eval").choice().pace.surprise == 0.3
    assert flags.parse(Eval, [], "imagoal eval").choice().pace.surprise == 0
