"""A rough search proposes, an exact cost decides: which plan is executed, what it says of the search, and when."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from imagoal.agents import Pace
from imagoal.agents._types import Decision, Planning
from imagoal.agents.mpc import MPC
from imagoal.envs import make
from imagoal.errors import NumericalError, UsageError
from imagoal.eval.episodes import run_tasks
from imagoal.eval.tasks import frozen_tasks
from imagoal.planning import (
    CEM,
    FINALISTS,
    ICEM,
    CostFunction,
    Finalists,
    Gradient,
    ICEMAdam,
    Over,
    Plan,
    Planner,
    Rescoring,
    euclid,
)
from imagoal.world_model import Label, Past, Place, State
from imagoal.world_model.models import Precision, is_rough
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.models.simulator import Simulator
from imagoal.world_model.predictors.mlp import MLP
from imagoal.world_model.readouts import Chain

ENV = make("ball")
TASKS = frozen_tasks(ENV, "dev")
HORIZON, COUNT = 3, 12
EXACT = torch.tensor([9.0, 4.0, 5.0, 3.0, 8.0, 7.0, 6.0, 2.0, 8.0, 8.0, 8.0, 1.0])
"""What each sequence of the population below costs."""
ROUGH = torch.tensor([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 11.0, 12.0])
"""What it costs roughly: 1 looks best, 7 is the best of the eight that look best, 11 the best of all and looks worst."""


def population(problems: int) -> Tensor:
    """Sequences (B, COUNT, H, 2) that say their number: number / 100 all over."""
    numbers = torch.arange(COUNT) / 100
    return numbers[None, :, None, None].expand(problems, COUNT, HORIZON, 2)


@dataclass(frozen=True)
class Enumerating:
    """A planner that looks at the population above; it writes down what it was proposed, and how long it may take."""

    needs: ClassVar[str] = "values"
    horizon: int = HORIZON
    proposals: list[Tensor] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)

    def plan(
        self, cost: CostFunction, candidates: Tensor, generators: Sequence[Generator], deadline_ms: float | None = None
    ) -> Plan:
        self.proposals.append(candidates)
        self.deadlines.append(deadline_ms)
        sequences = population(len(candidates))
        costs, index = cost(sequences).sort(1)
        keep = sequences[torch.arange(len(index))[:, None], index][:, :3]
        return Plan(keep[:, 0], costs[:, 0], keep, costs[:, :1], 1, COUNT, True, 20.0)


class Eye:
    """An encoder: a fixed projection of the coarse picture."""

    label: Label = "random"
    hash = "eye"

    def __init__(self) -> None:
        self.basis = torch.randn(3 * 8 * 8, 8, generator=Generator().manual_seed(0)) / 8

    def encode(self, frames: Tensor) -> Tensor:
        return (F.avg_pool2d(frames.float() / 255, 8).flatten(1) @ self.basis)[:, None]


@dataclass(frozen=True)
class Table:
    """A world model whose latents are costs, in an exact and a rough version; it writes down what it is asked to imagine."""

    place: ClassVar[Place] = "latent"
    history: ClassVar[int] = 1
    action_block: ClassVar[int] = 1
    action_size: ClassVar[int] = 2
    privileged: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True
    encoder_hash: ClassVar[str] = "eye"
    dtype: ClassVar[torch.dtype] = torch.float32
    device: ClassVar[torch.device] = torch.device("cpu")

    costs: Tensor = field(default_factory=lambda: EXACT[None])
    precision: str = "bf16"
    asked: list[tuple[str, int]] = field(default_factory=list)

    @property
    def rough(self) -> bool:
        return self.precision != "fp32"

    @property
    def exact(self) -> "Table":
        return replace(self, precision="fp32")

    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        self.asked.append((f"{self.precision} observes", len(past.frames)))
        return (torch.zeros(len(past.frames), 1),)

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        self.asked.append((self.precision, actions.shape[1]))
        costs = self.costs if self.precision == "fp32" else ROUGH[None]
        found = costs.expand(len(actions), -1).gather(1, (100 * actions[:, :, 0, 0]).round().long())
        return found[:, :, None, None, None].expand(*actions.shape[:3], 1, 8)


def mpc(model: Any, planner: Any = None, **settings: Any) -> MPC:
    """An agent whose cost is what the model's latents say."""
    distance = euclid if isinstance(model, Latent) else lambda latents, goals: latents[:, 0, 0]
    chain = Chain(encoder=getattr(model, "encoder", Eye()))
    return MPC(
        ENV, Planning(model, chain, cast(Planner, planner or Enumerating()), "latent", distance, Over(), Pace(**settings))
    )


def decisions_of(agent: MPC, steps: int, ids: Sequence[int] = (0,)) -> list[Decision]:
    made: list[Decision] = []
    run_tasks(lambda: make("ball"), agent, TASKS, ids, steps, lambda i, m: made.append(m.decision) if i == ids[0] else None)
    return made


def test_the_plan_is_the_best_of_the_finalists_exactly_and_the_regret_is_known() -> None:
    (decision,) = decisions_of(mpc(Table()), 1)
    plan = decision.plan
    assert plan is not None
    assert decision.cost is plan.cost
    torch.testing.assert_close(decision.actions, torch.full((1, 2), 0.07))
    torch.testing.assert_close(plan.actions, torch.full((1, HORIZON, 2), 0.07))
    assert plan.cost.tolist() == [2.0]
    assert decision.regret is not None
    assert decision.regret.tolist() == [4.0 - 2.0], "sequence 1 looked best"
    torch.testing.assert_close(plan.keep[0, :, 0, 0], torch.tensor([0.07, 0.02, 0.03]))
    assert plan.evaluations == COUNT + FINALISTS


def test_each_problem_has_its_own_winner() -> None:
    costs = torch.stack([EXACT, ROUGH])
    (decision,) = decisions_of(mpc(Table(costs)), 1, [3, 4])
    torch.testing.assert_close(decision.actions[:, 0], torch.tensor([0.07, 0.01]))
    assert decision.regret is not None
    assert decision.regret.tolist() == [2.0, 0.0]


def test_only_the_finalists_are_imagined_exactly_and_the_world_is_observed_once() -> None:
    model = Table()
    decisions_of(mpc(model), 1)
    assert model.asked == [("bf16 observes", 1), ("bf16", COUNT), ("fp32", FINALISTS)]


def test_the_future_of_the_plan_is_imagined_exactly() -> None:
    model = Table()
    agent = mpc(model)
    decisions_of(agent, 1)
    assert agent.imagine()[0, 0, 0, 0] == 2.0, "which would be 7 roughly"


def test_the_winner_is_what_is_proposed_next() -> None:
    planner = Enumerating()
    decisions_of(mpc(Table(), planner), 2)
    torch.testing.assert_close(planner.proposals[1][0, :, 0, 0], torch.tensor([0.07, 0.02, 0.03, 0.0]))


def test_a_model_of_full_precision_has_no_finals() -> None:
    model = Table(precision="fp32")
    (decision,) = decisions_of(mpc(model), 1)
    torch.testing.assert_close(decision.actions, torch.full((1, 2), 0.11))
    assert decision.regret is None
    assert model.asked == [("fp32 observes", 1), ("fp32", COUNT)]
    assert decision.plan is not None
    assert decision.plan.evaluations == COUNT


def test_an_episode_remembers_the_regret_as_a_share_of_the_plan_s_cost() -> None:
    costs = torch.stack([EXACT, ROUGH, EXACT.clone()])
    costs[2, 1] = torch.inf
    rough = run_tasks(lambda: make("ball"), mpc(Table(costs)), TASKS, [0, 1, 2], 2)
    assert [[plan["regret"] for plan in episode.plans] for episode in rough] == [[1.0, 1.0], [0.0, 0.0], [1e6, 1e6]]
    (exact,) = run_tasks(lambda: make("ball"), mpc(Table(precision="fp32")), TASKS, [0], 1)
    assert [set(plan) for plan in exact.plans] == [{"plan", "encode", "rollout", "refit", "evaluations"}]


def test_no_finalist_of_finite_cost_is_no_plan() -> None:
    with pytest.raises(NumericalError, match="none of the best 8 sequences of a problem has a finite cost"):
        decisions_of(mpc(Table(torch.full((1, COUNT), torch.nan))), 1)


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


@pytest.fixture
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Observing takes 5 ms, searching 30, judging 4."""
    clock = Clock()
    for module in ("agents.mpc", "planning._rescoring"):
        monkeypatch.setattr(f"imagoal.{module}.time", clock)
    monkeypatch.setattr(Table, "observe", clock.takes(5, Table.observe))
    monkeypatch.setattr(Enumerating, "plan", clock.takes(30, Enumerating.plan))
    monkeypatch.setattr(Finalists, "settle", clock.takes(4, Finalists.settle))


@pytest.mark.usefixtures("_clock")
def test_judging_is_part_of_the_plan_s_time() -> None:
    (decision,) = decisions_of(mpc(Table()), 1)
    assert decision.milliseconds == pytest.approx({"plan": 39, "encode": 5, "rollout": 24, "refit": 10})


@pytest.mark.usefixtures("_clock")
def test_a_search_leaves_the_time_that_the_last_finals_took() -> None:
    planner = Enumerating()
    decisions = decisions_of(mpc(Table(), planner, deadline_ms=50.0), 2)
    assert planner.deadlines == pytest.approx([45, 41])
    assert [decision.milliseconds["plan"] for decision in decisions] == pytest.approx([39, 39])
    late = Enumerating()
    decisions_of(mpc(Table(), late, deadline_ms=6.0), 2)
    assert late.deadlines == pytest.approx([1, 0])


@pytest.mark.usefixtures("_clock")
@pytest.mark.parametrize(("deadline_ms", "on_time"), [(None, True), (34.0, True), (33.0, False)])
def test_finals_that_end_too_late_are_not_on_time(deadline_ms: float | None, on_time: bool) -> None:
    model = Table()
    agent = mpc(model)
    decisions_of(agent, 1)
    exact, rough = agent.goal_cost.bind(()), replace(agent.goal_cost, model=model).bind(())
    plan, _ = Rescoring(cast(Planner, Enumerating())).plan(rough, exact, population(1)[:, :1], [Generator()], deadline_ms)
    assert plan.on_time == on_time


def test_a_planner_over_paths_is_refused() -> None:
    @dataclass(frozen=True)
    class Walking(Enumerating):
        needs: ClassVar[str] = "path"

    class Shown(Table):
        along = linearise = None

    with pytest.raises(UsageError, match=r"Walking with precision bf16; expected fp32, or another planner"):
        mpc(Shown(), Walking())
    mpc(Shown(precision="fp32"), Walking())


def latent(precision: Precision) -> Latent:
    """A latent world model that was never trained, but does depend on its actions."""
    with torch.random.fork_rng(devices=[]):
        predictor = MLP(width=16, depth=1).build(1, 8, 2)
    source = Generator().manual_seed(1)
    for weight in predictor.parameters():
        nn.init.normal_(weight, 0, 0.3, generator=source)
    return Latent(Eye(), predictor, 2, precision=precision)


PLANNERS = [
    CEM(horizon=4, num_samples=16, num_elites=4, iterations=2),
    ICEM(horizon=4, num_samples=16, num_elites=4, iterations=2),
    Gradient(horizon=4, num_samples=4, iterations=3),
    ICEMAdam(horizon=4, num_samples=16, iterations=2),
]


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda planner: type(planner).__name__)
def test_a_latent_model_in_bf16_plans_nearly_as_well_as_in_fp32(monkeypatch: pytest.MonkeyPatch, planner: Any) -> None:
    monkeypatch.setattr("imagoal.world_model.models._precision.bf16_units", lambda: ("amx_bf16",))
    (rough,), (exact,) = (decisions_of(mpc(latent(precision), planner), 1) for precision in ("bf16", "fp32"))
    assert rough.plan is not None
    assert exact.plan is not None
    assert rough.cost is not None
    torch.testing.assert_close(rough.cost, exact.plan.cost, rtol=0.05, atol=0)
    assert rough.regret is not None
    assert (rough.regret >= 0).all()
    assert rough.plan.keep.shape == exact.plan.keep.shape
    assert torch.equal(rough.plan.keep[:, 0], rough.plan.actions)
    assert not rough.plan.actions.requires_grad


def test_what_has_no_precision_is_not_rough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagoal.world_model.models._precision.bf16_units", lambda: ("amx_bf16",))
    assert [is_rough(model) for model in (Simulator(ENV), latent("fp32"), latent("bf16"))] == [False, False, True]
