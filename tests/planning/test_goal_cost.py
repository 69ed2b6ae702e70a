"""The cost of an imagined future, with a world model whose state is the sum of its actions."""

from collections.abc import Sequence
from typing import cast

import pytest
import torch
from torch import Tensor

from imagoal.errors import UsageError
from imagoal.planning import CEM, GoalCost, Over
from imagoal.planning._goal_cost import euclid
from imagoal.planning._proposals import no_op
from imagoal.world_model import Label, Observation, Past, Place, State
from imagoal.world_model.readouts import Chain

B, K, H, A = 3, 5, 4, 2


class Sum:
    """A world model: the state is where it was plus the actions so far, at any place."""

    history = action_block = 1
    action_size = A
    privileged = differentiable = True
    device = torch.device("cpu")

    def __init__(self, place: Place = "state", encoder_hash: str | None = None) -> None:
        self.place: Place = place
        self.encoder_hash = encoder_hash
        self.dtype = torch.float64 if place == "state" else torch.float32

    def observe(self, past: Past, seeds: Sequence[int], previous: State | None = None) -> State:
        return (cast(Tensor, past.state),)

    def rollout(self, state: State, actions: Tensor) -> Tensor:
        path = state[0][:, None, None] + actions.cumsum(2)
        return path[..., None, :] if self.place == "latent" else path


class Encoder:
    """One token of the red and green of the first pixel; it counts frames."""

    label: Label = "random"

    def __init__(self, name: str = "mine") -> None:
        self.hash = name
        self.frames = 0

    def encode(self, frames: Tensor) -> Tensor:
        self.frames += len(frames)
        pixel = frames[:, None, :2, 0, 0].float()
        return pixel / 255 if frames.dtype == torch.uint8 else pixel


def render(states: Tensor) -> Tensor:
    """Frames u8 (M, 3, 2, 2): the two numbers of the state, from [-5, 5], as red and green."""
    colours = torch.cat([(states + 5) / 10, torch.zeros_like(states[:, :1])], 1)
    return (colours * 255).round().clamp(0, 255).to(torch.uint8)[:, :, None, None].expand(-1, -1, 2, 2)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


STATE = torch.rand(B, A, generator=seeded(0), dtype=torch.float64)
GOAL_STATE = torch.rand(B, A, generator=seeded(1), dtype=torch.float64) * 4 - 2
GOAL = Observation(render(GOAL_STATE), GOAL_STATE)
ACTIONS = torch.rand(B, K, H, A, generator=seeded(2), dtype=torch.float64) * 2 - 1
PATH = STATE[:, None, None] + ACTIONS.cumsum(2)
DISTANCES = (PATH - GOAL_STATE[:, None, None]).square().mean(-1).sqrt()


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        (Over(last=1, mean=0), DISTANCES[..., -1]),
        (Over(mean=1), DISTANCES.mean(-1)),
        (Over(mean=0, min=1), DISTANCES.amin(-1)),
        (Over(last=0.5, mean=0.1, min=2), 0.5 * DISTANCES[..., -1] + 0.1 * DISTANCES.mean(-1) + 2 * DISTANCES.amin(-1)),
    ],
)
def test_costs_are_the_distances_of_the_imagined_steps(over: Over, expected: Tensor) -> None:
    cost = GoalCost.aim(Sum(), GOAL, "state", Chain(), over=over).bind((STATE,))
    assert torch.allclose(cost(ACTIONS), expected)


def test_the_cost_is_the_measure_of_its_imagined_path() -> None:
    cost = GoalCost.aim(Sum(), GOAL, "state", Chain()).bind((STATE,))
    assert torch.allclose(cost.imagine(ACTIONS), PATH)
    assert torch.equal(cost.measure(cost.imagine(ACTIONS)), cost(ACTIONS))


def test_the_distance_is_injected() -> None:
    aimed = GoalCost.aim(Sum(), GOAL, "state", Chain(), distance=lambda a, b: (a - b).abs().sum(1), over=Over())
    expected = (PATH - GOAL_STATE[:, None, None]).abs().sum(-1).mean(-1)
    assert torch.allclose(aimed.bind((STATE,))(ACTIONS), expected)


@pytest.mark.parametrize("place", ["frame", "latent", "probe"])
def test_elsewhere_than_at_state_the_goal_is_its_picture(place: Place) -> None:
    chain = Chain(render, Encoder(), lambda latents: latents.flatten(1))
    wrong = Observation(GOAL.frame, GOAL_STATE + 100)  # a state that nobody should look at
    cost = GoalCost.aim(Sum(), wrong, place, chain).bind((STATE,))(ACTIONS)
    scale = (2 / 3) ** 0.5 if place == "frame" else 1  # blue never differs
    assert torch.allclose(cost.double(), scale * DISTANCES.mean(-1) / 10, atol=4e-3)


@pytest.mark.parametrize(("over", "steps"), [(Over(last=1, mean=0), 1), (Over(mean=1), H), (Over(last=1, mean=0, min=0.1), H)])
def test_only_the_steps_that_count_are_carried(over: Over, steps: int) -> None:
    encoder = Encoder()
    aimed = GoalCost.aim(Sum(), GOAL, "latent", Chain(render, encoder), over=over)
    assert encoder.frames == B  # the goals, once
    aimed.bind((STATE,))(ACTIONS)
    assert encoder.frames == B + B * K * steps


def test_rows_are_the_slice() -> None:
    aimed = GoalCost.aim(Sum(), GOAL, "latent", Chain(render, Encoder()))
    rows = [2, 0]
    some = aimed.rows(rows).bind((STATE[rows],))(ACTIONS[rows])
    assert torch.equal(some, aimed.bind((STATE,))(ACTIONS)[rows])
    with pytest.raises(UsageError, match=r"path is of 2 problems, the goal of 3; use rows\(\)"):
        aimed.bind((STATE[rows],))(ACTIONS[rows])


def test_permuting_candidates_permutes_costs() -> None:
    cost = GoalCost.aim(Sum(), GOAL, "latent", Chain(render, Encoder(), chunk=7)).bind((STATE,))
    order = [3, 0, 4, 1, 2]
    assert torch.equal(cost(ACTIONS[:, order]), cost(ACTIONS)[:, order])


def test_costs_do_not_depend_on_chunks_or_on_what_they_were_batched_with() -> None:
    costs = [
        GoalCost.aim(Sum(), GOAL, "latent", Chain(render, Encoder(), chunk=chunk)).bind((STATE,))(ACTIONS) for chunk in (512, 7)
    ]
    assert torch.equal(costs[0], costs[1])
    cost = GoalCost.aim(Sum(), GOAL, "latent", Chain(render, Encoder())).bind((STATE,))
    assert torch.equal(cost(ACTIONS[:, 1:3]), costs[0][:, 1:3])


def test_gradients_flow_where_the_cost_says_so() -> None:
    actions = ACTIONS.clone().requires_grad_()
    cost = GoalCost.aim(Sum(), GOAL, "state", Chain()).bind((STATE,))
    assert cost.differentiable
    cost(actions).sum().backward()
    assert actions.grad is not None
    assert torch.isfinite(actions.grad).all()
    assert actions.grad.any()
    assert not GoalCost.aim(Sum(), GOAL, "latent", Chain(render, Encoder())).bind((STATE,)).differentiable


def test_the_gradient_at_the_goal_is_zero_not_nan() -> None:
    there = torch.zeros(2, 3, requires_grad=True)
    euclid(there, torch.zeros(2, 3)).sum().backward()
    assert there.grad is not None
    assert there.grad.tolist() == torch.zeros(2, 3).tolist()


def test_actions_are_given_in_the_models_dtype() -> None:
    cost = GoalCost.aim(Sum(), GOAL, "state", Chain()).bind((STATE,))
    assert cost(ACTIONS.float()).dtype == torch.float64


def test_a_planner_reaches_the_goal_in_imagination() -> None:
    cost = GoalCost.aim(Sum(), GOAL, "state", Chain(), over=Over(last=1, mean=0)).bind((STATE,))
    plan = CEM(horizon=H, iterations=6).plan(cost, no_op(B, H, A), [seeded(seed) for seed in range(B)])
    assert (plan.cost < 0.05 * DISTANCES[..., -1].amin(1)).all()


def test_a_cost_cannot_be_measured_left_of_where_it_is_imagined() -> None:
    with pytest.raises(UsageError, match=r"nothing leads from latent back to state; measure .*: latent, probe"):
        GoalCost.aim(Sum("latent"), GOAL, "state", Chain(render, Encoder()))


def test_a_cost_at_state_needs_the_goals_state() -> None:
    with pytest.raises(UsageError, match="the goal's state is not known"):
        GoalCost.aim(Sum(), Observation(GOAL.frame), "state", Chain())


def test_the_encoder_must_be_the_one_that_the_model_imagines() -> None:
    GoalCost.aim(Sum("latent", "mine"), GOAL, "latent", Chain(encoder=Encoder("mine")))
    with pytest.raises(UsageError, match="encoder foreign is not the one whose latents the world model imagines, mine"):
        GoalCost.aim(Sum("latent", "mine"), GOAL, "latent", Chain(encoder=Encoder("foreign")))


@pytest.mark.parametrize("weights", [{"mean": -1.0}, {"last": float("nan")}, {"min": float("inf")}])
def test_wrong_weights_are_refused(weights: dict[str, float]) -> None:
    (field, value), *_ = weights.items()
    with pytest.raises(UsageError, match=f"Over.{field} is {value}; expected a finite number, 0 or more"):
        Over(**weights)


def test_no_weight_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="all 0"):
        Over(mean=0.0)


def test_a_term_without_weight_does_not_matter_even_if_infinite() -> None:
    distances = torch.tensor([[torch.inf, 2.0, 1.0]])
    assert Over(last=1, mean=0).reduce(distances).tolist() == [1]
    assert Over(last=1, mean=0, min=1).reduce(distances).tolist() == [2]
