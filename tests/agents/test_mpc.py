"""MPC: what it observes, proposes, executes, and that a result does not depend on what it was batched with."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from imagoal.agents import Pace
from imagoal.agents._types import Decision, Planning
from imagoal.agents.mpc import MPC
from imagoal.envs import make
from imagoal.errors import UsageError
from imagoal.eval.episodes import EpisodeResult, run_tasks
from imagoal.eval.tasks import frozen_tasks
from imagoal.planning import CEM, CostFunction, Over, Plan, Planner, euclid
from imagoal.world_model import Label, Observation, Past, Place, State
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.models.simulator import Simulator
from imagoal.world_model.predictors.mlp import MLP
from imagoal.world_model.readouts import Chain

ENV = make("ball")
TASKS = frozen_tasks(ENV, "dev")
SMALL = CEM(horizon=4, num_samples=16, num_elites=4, iterations=2)


class Eye:
    """An encoder: a fixed projection of the coarse picture; it counts what it is asked to encode."""

    label: Label = "random"
    hash = "eye"

    def __init__(self) -> None:
        self.basis = torch.randn(3 * 8 * 8, 8, generator=Generator().manual_seed(0)) / 8
        self.calls: list[int] = []

    def encode(self, frames: Tensor) -> Tensor:
        self.calls.append(len(frames))
        coarse = F.avg_pool2d(frames.float() / 255, 8).flatten(1)
        return (coarse @ self.basis)[:, None]


def latent(block: int = 1, history: int = 3) -> Latent:
    """A latent world model that was never trained, but does depend on its actions."""
    predictor = MLP(history=history, width=16, depth=1).build(1, 8, 2 * block)
    source = Generator().manual_seed(1)
    for weight in predictor.parameters():
        nn.init.normal_(weight, 0, 0.3, generator=source)
    return Latent(Eye(), predictor, 2 * block, block)


def task_distance(states: Tensor, goals: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(ENV.task_distance(states.numpy(), goals.numpy()))).float()


def mpc(model: Any, planner: Any = SMALL, **settings: Any) -> MPC:
    """An agent that measures the cost where its model imagines."""
    at: Place = model.place
    distance = task_distance if at == "state" else euclid
    chain = Chain(encoder=getattr(model, "encoder", None))
    return MPC(ENV, Planning(model, chain, cast(Planner, planner), at, distance, Over(), Pace(**settings)))


def run(agent: MPC, ids: Sequence[int], steps: int) -> list[EpisodeResult]:
    return run_tasks(lambda: make("ball"), agent, TASKS, list(ids), steps)


def actions_of(agent: MPC, ids: Sequence[int], steps: int) -> Tensor:
    """What the agent did, (B, steps, A)."""
    run(agent, ids, steps)
    return torch.stack(agent.actions, 1)


@dataclass(frozen=True)
class Scribe:
    """A planner that writes down its proposals, and whose n-th plan (from 0) is n / 10 + step / 100 all over."""

    needs: ClassVar[str] = "values"
    horizon: int = 6
    proposals: list[Tensor] = field(default_factory=list)
    seeds: list[list[int]] = field(default_factory=list)

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        number = len(self.proposals)
        self.proposals.append(candidates)
        self.seeds.append([generator.initial_seed() for generator in generators])
        size = len(candidates), self.horizon, candidates.shape[-1]
        actions = (number / 10 + torch.arange(self.horizon) / 100)[None, :, None].expand(size)
        return Plan(actions, cost(candidates)[:, 0], actions[:, None], torch.zeros(len(candidates), 1), 1, 1, True, 0.0)


@dataclass(frozen=True)
class Blank:
    """A world model in which nothing ever happens; it keeps every past that it is shown."""

    place: ClassVar[Place] = "latent"
    privileged: ClassVar[bool] = False
    differentiable: ClassVar[bool] = False
    encoder_hash: ClassVar[str] = "eye"
    dtype: ClassVar[torch.dtype] = torch.float32
    device: ClassVar[torch.device] = torch.device("cpu")

    history: int = 3
    action_block: int = 1
    action_size: int = 2
    encoder: Eye = field(default_factory=Eye)
    pasts: list[Past] = field(default_factory=list)
    previous: list[State | None] = field(default_factory=list)

    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        self.pasts.append(past)
        self.previous.append(previous)
        return (torch.full((len(past.frames), 1), len(self.pasts)),)

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        return torch.zeros(*actions.shape[:3], 1, 8)


def test_the_oracle_holds_the_ball_at_the_goal_on_the_first_ten_tasks() -> None:
    episodes = run(mpc(Simulator(ENV), CEM()), range(10), ENV.max_episode_steps)
    assert [episode.id for episode in episodes if not episode.hold] == []
    assert not any(episode.trivial for episode in episodes)


def test_an_oracle_that_thinks_in_blocks_of_two_steps_solves_them_too() -> None:
    planner = CEM(horizon=4, num_samples=64)
    episodes = run(mpc(Simulator(ENV, action_block=2), planner, replan_every=2), range(5), ENV.max_episode_steps)
    assert all(episode.hold for episode in episodes)


@pytest.mark.parametrize("settings", [{}, {"replan_every": 4}, {"warm_start": False}])
def test_the_oracle_does_the_same_alone_and_in_a_batch_to_the_bit(settings: dict[str, Any]) -> None:
    together = [episode.actions_sha256 for episode in run(mpc(Simulator(ENV), **settings), range(5), 12)]
    alone = [run(mpc(Simulator(ENV), **settings), [i], 12)[0].actions_sha256 for i in range(5)]
    assert together == alone
    assert len(set(alone)) == 5


@pytest.mark.parametrize("block", [1, 2])
def test_a_latent_model_does_the_same_alone_and_in_a_batch(block: int) -> None:
    """Not to the bit: how a matmul sums depends on its size."""
    settings = {"replan_every": block}
    together = actions_of(mpc(latent(block), **settings), range(5), 8)
    alone = torch.cat([actions_of(mpc(latent(block), **settings), [i], 8) for i in range(5)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    apart = torch.cdist(together.flatten(1), together.flatten(1)) + torch.eye(5)
    assert apart.min() > 0.01, "five tasks, five different plans"


def test_an_agent_that_is_used_again_forgets_the_last_episode() -> None:
    agent = mpc(latent())
    first = actions_of(agent, [0], 6)
    actions_of(agent, [1], 6)
    assert torch.equal(actions_of(agent, [0], 6), first)


@pytest.mark.parametrize("replan_every", [1, 4, 6])
def test_the_first_steps_of_each_plan_are_executed_and_no_others(replan_every: int) -> None:
    actions = actions_of(mpc(Blank(), Scribe(), replan_every=replan_every), [0, 1], 9)
    expected = [(step // replan_every) / 10 + (step % replan_every) / 100 for step in range(9)]
    torch.testing.assert_close(actions, torch.tensor(expected)[None, :, None].expand(2, 9, 2))


def test_a_block_of_a_plan_is_executed_over_as_many_steps() -> None:
    @dataclass(frozen=True)
    class Counter(Scribe):
        """Plans in which every number is another one."""

        def plan(self, cost: CostFunction, candidates: Tensor, *rest: Any) -> Plan:
            plan = super().plan(cost, candidates, *rest)
            numbers = len(self.proposals) + torch.arange(plan.actions.numel()).reshape(plan.actions.shape) / 100
            return Plan(numbers, plan.cost, numbers[:, None], plan.trace, 1, 1, True, 0.0)

    actions = actions_of(mpc(Blank(action_block=2, action_size=4), Counter(horizon=3), replan_every=4), [0], 6)[0]
    expected = [[1.00, 1.01], [1.02, 1.03], [1.04, 1.05], [1.06, 1.07], [2.00, 2.01], [2.02, 2.03]]
    torch.testing.assert_close(actions, torch.tensor(expected))


def test_the_shifted_plan_is_proposed_first_and_doing_nothing_always() -> None:
    planner = Scribe()
    actions_of(mpc(Blank(), planner, replan_every=2), [0, 1], 5)
    first, second, third = planner.proposals
    assert first.shape == (2, 1, 6, 2)
    assert not first.any(), "nothing to shift yet"
    for number, proposals in enumerate([second, third]):
        assert proposals.shape == (2, 2, 6, 2)
        shifted = torch.tensor([number / 10 + step / 100 for step in range(2, 6)] + [0.0, 0.0])
        torch.testing.assert_close(proposals[:, 0], shifted[None, :, None].expand(2, 6, 2))
        assert not proposals[:, 1].any()


def test_without_warm_start_only_doing_nothing_is_proposed() -> None:
    planner = Scribe()
    actions_of(mpc(Blank(), planner, warm_start=False), [0], 3)
    assert [tuple(proposals.shape) for proposals in planner.proposals] == [(1, 1, 6, 2)] * 3
    assert not torch.cat(planner.proposals).any()


def test_a_plan_is_shifted_by_blocks() -> None:
    planner = Scribe()
    actions_of(mpc(Blank(action_block=2, action_size=4), planner, replan_every=4), [0], 5)
    shifted = planner.proposals[1][0, 0, :, 0]
    torch.testing.assert_close(shifted, torch.tensor([0.02, 0.03, 0.04, 0.05, 0.0, 0.0]))


def test_the_randomness_of_a_plan_follows_from_episode_and_number_alone() -> None:
    batch, single = Scribe(), Scribe()
    actions_of(mpc(Blank(), batch, replan_every=2), [3, 4, 5], 6)
    actions_of(mpc(Blank(), single, replan_every=2), [4], 6)
    assert [seeds[1] for seeds in batch.seeds] == [seeds[0] for seeds in single.seeds]
    assert len({seed for seeds in batch.seeds for seed in seeds}) == 9


def frames_per_step(model: Latent, agent: MPC, ids: Sequence[int], steps: int) -> list[int]:
    """Frames that are encoded at each step; at the first one, the goal's too."""
    encoder = cast(Eye, model.encoder)
    totals = [0]
    run_tasks(lambda: ENV, agent, TASKS, ids, steps, lambda *_: totals.append(sum(encoder.calls)))
    return [after - before for before, after in itertools.pairwise(totals)]


def test_the_goal_is_encoded_once_per_episode_and_each_frame_once() -> None:
    model = latent()
    assert frames_per_step(model, mpc(model), [0], 6) == [1 + 1, 1, 1, 1, 1, 1]


def test_frames_between_two_plans_are_encoded_with_the_next_plan() -> None:
    model = latent()
    assert frames_per_step(model, mpc(model, replan_every=3), [0], 7) == [1 + 1, 0, 0, 3, 0, 0, 3]


@pytest.mark.parametrize(("block", "replan_every"), [(1, 1), (1, 2), (1, 4), (2, 2), (2, 4)])
def test_what_is_remembered_is_what_encoding_anew_would_give(block: int, replan_every: int) -> None:
    model = latent(block)
    agent = mpc(model, replan_every=replan_every)
    actions_of(agent, [0, 1], 2 * replan_every + 1)
    frames, actions = torch.stack(agent.frames, 1), torch.stack(agent.actions[:-1], 1)
    anew = model.observe(Past(frames, actions.reshape(2, -1, 2 * block)), [0, 0])
    assert agent.belief is not None
    for kept, fresh in zip(agent.belief, anew, strict=True):
        torch.testing.assert_close(kept, fresh, atol=1e-5, rtol=0)


def test_a_past_holds_the_new_frames_and_the_actions_that_led_to_them() -> None:
    model = Blank(history=1, action_block=2, action_size=4)
    agent = mpc(model, Scribe(), replan_every=4)
    run(agent, [0], 9)
    first, second, third = model.pasts
    assert (first.frames.shape[1], first.actions.shape[1], first.new) == (1, 0, None)
    for past, begin in [(second, 0), (third, 4)]:
        assert past.new == 2
        assert torch.equal(past.frames[:, -1], agent.frames[begin // 2 + 2])
        assert past.frames.shape[1] == 3, "the two new ones, and the one that the first of them follows"
        expected = torch.stack(agent.actions[begin : begin + 4], 1).reshape(1, 2, 4)
        torch.testing.assert_close(past.actions, expected)
    assert [previous and int(previous[0]) for previous in model.previous] == [None, 1, 2]


def test_a_past_reaches_back_as_far_as_the_model_looks() -> None:
    model = Blank(history=3)
    run(mpc(model, Scribe()), [0], 6)
    assert [past.frames.shape[1] for past in model.pasts] == [1, 2, 3, 3, 3, 3]
    assert [past.new for past in model.pasts] == [None, 1, 1, 1, 1, 1]


def test_a_decision_has_a_plan_only_where_one_was_made() -> None:
    decisions: list[Decision] = []
    agent = mpc(latent(), replan_every=2)
    run_tasks(lambda: ENV, agent, TASKS, [0], 4, lambda _, moment: decisions.append(moment.decision))
    assert [decision.plan is not None for decision in decisions] == [True, False, True, False]
    assert set(decisions[0].milliseconds) == {"plan", "encode", "rollout", "refit"}
    whole = decisions[0].milliseconds
    assert whole["plan"] == pytest.approx(whole["encode"] + whole["rollout"] + whole["refit"])
    assert not decisions[1].milliseconds


@dataclass(frozen=True)
class Hurried(Scribe):
    """A planner that writes down how long it may take."""

    deadlines: list[float | None] = field(default_factory=list)

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        self.deadlines.append(deadline_ms)
        return super().plan(cost, candidates, generators)


@dataclass(frozen=True)
class Blink(Blank):
    """A world model to which encoding a frame takes as long as it takes."""

    milliseconds: float = 0.0

    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        time.sleep(self.milliseconds / 1000)
        return super().observe(past, seeds, previous)


def test_a_planner_is_left_the_time_that_encoding_does_not_take() -> None:
    free, hurried, late = Hurried(), Hurried(), Hurried()
    decisions: list[Decision] = []
    run(mpc(Blank(), free), [0], 2)
    agent = mpc(Blink(milliseconds=5), hurried, deadline_ms=60_000.0)
    run_tasks(lambda: ENV, agent, TASKS, [0], 2, lambda _, moment: decisions.append(moment.decision))
    run(mpc(Blink(milliseconds=5), late, deadline_ms=1.0), [0], 2)
    assert free.deadlines == [None, None]
    assert all(left is not None and 0 < left < 60_000 - 5 for left in hurried.deadlines)
    assert late.deadlines == [0.0, 0.0], "no less than none, and a planner does one iteration in any case"
    assert [decision.milliseconds["deadline"] for decision in decisions] == [60_000, 60_000]


def test_a_deadline_that_is_missed_at_once_costs_iterations_and_no_plan() -> None:
    iterations = [plan for episode in run(mpc(latent(), deadline_ms=1e-6), [0], 3) for plan in episode.iterations or ()]
    assert iterations == [1, 1, 1]
    assert [plan for episode in run(mpc(latent(), deadline_ms=1e9), [0], 3) for plan in episode.iterations or ()] == [2, 2, 2]


def test_a_deadline_that_nothing_misses_changes_nothing() -> None:
    assert torch.equal(actions_of(mpc(latent(), deadline_ms=1e9), [0], 4), actions_of(mpc(latent()), [0], 4))


@pytest.mark.parametrize("deadline_ms", [0.0, -1.0, float("nan"), float("inf")])
def test_a_deadline_that_is_none_is_refused(deadline_ms: float) -> None:
    with pytest.raises(UsageError, match=rf"deadline_ms = {deadline_ms}; expected a finite number above 0"):
        mpc(Blank(), Scribe(), deadline_ms=deadline_ms)


def test_a_deadline_is_for_one_episode_at_a_time() -> None:
    with pytest.raises(UsageError, match="a deadline for 2 episodes side by side; expected one at a time: use --batch 1"):
        run(mpc(latent(), deadline_ms=5.0), [0, 1], 1)


def test_the_imagined_future_is_that_of_the_plan() -> None:
    agent = mpc(Simulator(ENV))
    run(agent, [0], 1)
    assert agent.plan is not None
    imagined = agent.imagine()
    start = TASKS.starts[:1]
    assert torch.equal(imagined, torch.from_numpy(ENV.simulate(start, agent.plan.actions.double().numpy())))


def test_only_an_agent_with_a_privileged_model_is_privileged() -> None:
    assert mpc(Simulator(ENV)).privileged
    assert not mpc(latent()).privileged


def test_an_agent_without_a_model_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a world model; name one with --world-model"):
        MPC(ENV, None)


def test_a_planner_that_follows_gradients_is_refused_where_there_are_none() -> None:
    @dataclass(frozen=True)
    class Adam(Scribe):
        needs: ClassVar[str] = "gradient"

    with pytest.raises(UsageError, match="Adam follows gradients and this cost has none"):
        mpc(Simulator(ENV), Adam())
    mpc(latent(), Adam())


@pytest.mark.parametrize(("block", "replan_every"), [(1, 0), (1, -1), (1, 7), (2, 3), (2, 14)])
def test_replanning_at_a_wrong_pace_is_refused(block: int, replan_every: int) -> None:
    model = Blank(action_block=block, action_size=2 * block)
    with pytest.raises(
        UsageError, match=rf"replan_every = {replan_every}; expected a multiple .* \({block}\) .* \({6 * block}\)"
    ):
        mpc(model, Scribe(), replan_every=replan_every)


def test_a_cost_left_of_where_it_is_imagined_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing leads from latent back to frame"):
        Planning(Blank(), Chain(), cast(Planner, SMALL), "frame", euclid, Over())


def test_nothing_is_imagined_before_something_is_planned() -> None:
    agent = mpc(latent())
    agent.reset(Observation(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)), [0])
    with pytest.raises(UsageError, match="nothing is planned yet"):
        agent.imagine()


def test_gradients_are_not_kept() -> None:
    agent = mpc(latent())
    assert not actions_of(agent, [0], 2).requires_grad
    assert agent.plan is not None
    assert not agent.plan.cost.requires_grad
