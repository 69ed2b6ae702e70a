"""What collocation claims: known optima, long horizons, and honesty about the path that it believed in."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.optimize import lsq_linear
from torch import Generator, Tensor, nn
from torch.func import jacrev, vmap

from imagoal import find
from imagoal.agents import Planning
from imagoal.agents.mpc import MPC
from imagoal.envs import make
from imagoal.errors import UsageError
from imagoal.planning import Collocation, GoalCost, Gradient, Over, PathCost
from imagoal.planning._goal_cost import euclid
from imagoal.planning.collocation import respond
from imagoal.world_model import Observation, Past
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.models.simulator import Simulator
from imagoal.world_model.readouts import Chain, build_encoder

B, H = 6, 30
Step = Callable[[Tensor, Tensor], Tensor]


class World:
    """Dynamics written by hand, from states (..., S) and actions (..., A'), a cost of the path; it keeps what it was asked."""

    differentiable = True

    def __init__(self, step: Step, start: Tensor, measure: Callable[[Tensor], Tensor]) -> None:
        self.step, self.start, self.measure = step, start, measure
        self.rolled_out: list[Tensor] = []
        self.linearised: list[tuple[Tensor, Tensor]] = []

    def __call__(self, actions: Tensor) -> Tensor:
        return self.measure(self.imagine(actions))

    def imagine(self, actions: Tensor) -> Tensor:
        self.rolled_out.append(actions)
        state, path = self.start[:, None].expand(-1, actions.shape[1], -1), []
        for action in actions.unbind(2):
            state = self.step(state, action)
            path.append(state)
        return torch.stack(path, 2)

    def before(self, path: Tensor) -> Tensor:
        return torch.cat([self.start[:, None, None].expand(-1, path.shape[1], 1, -1), path[:, :, :-1]], 2)

    def defects(self, path: Tensor, actions: Tensor) -> Tensor:
        return (path - self.step(self.before(path), actions)).square().mean(3)

    def linearise(self, path: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.linearised.append((path, actions))
        before = self.before(path)
        slopes = vmap(jacrev(self.step, (0, 1)))(before.flatten(0, 2), actions.flatten(0, 2))
        by_points, by_actions = (each.reshape(*actions.shape[:3], *each.shape[1:]) for each in slopes)
        return self.step(before, actions), by_points, by_actions


def cart(state: Tensor, action: Tensor) -> Tensor:
    """A double integrator: place and speed."""
    speed = state[..., 1:] + 0.2 * action
    return torch.cat([state[..., :1] + 0.2 * speed, speed], -1)


def pendulum(state: Tensor, action: Tensor) -> Tensor:
    """Angle from upright and its speed; too weak a motor to lift it at once."""
    speed = state[..., 1:] + 0.1 * (9.8 * torch.sin(state[..., :1]) + 3 * action)
    return torch.cat([state[..., :1] + 0.1 * speed, speed], -1)


def logistic(state: Tensor, action: Tensor) -> Tensor:
    """Chaos, hardly to be steered."""
    return (3.9 * state * (1 - state) + 0.05 * action).clamp(0, 1)


def origin(path: Tensor) -> Tensor:
    return path.square().mean((2, 3))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def generators(count: int = B, first: int = 0) -> list[Generator]:
    return [torch.Generator().manual_seed(first + seed) for seed in range(count)]


def idle(problems: int = B, horizon: int = H) -> Tensor:
    return torch.zeros(problems, 1, horizon, 1, dtype=torch.float64)


def carts() -> World:
    return World(cart, random(B, 2) * torch.tensor([2.0, 0.5], dtype=torch.float64), origin)


def pendulums() -> World:
    return World(pendulum, random(B, 2) * 0.5 + torch.tensor([math.pi, 0]), lambda path: (1 - path[..., 0].cos()).mean(2))


def chaos() -> World:
    return World(logistic, random(B, 1) * 0.4 + 0.5, lambda path: (path - 0.6).square().mean((2, 3)))


def optimum(world: World) -> Tensor:
    """The lowest cost (B,) of a linear world with a quadratic cost, by bounded least squares."""
    base = world.imagine(idle())[:, 0].flatten(1)
    units = torch.eye(H, dtype=torch.float64)[None, ..., None].expand(B, -1, -1, -1)
    answers = (world.imagine(units).flatten(2) - base[:, None]).transpose(1, 2)
    solved = [lsq_linear(a.numpy(), -b.numpy(), (-1, 1), tol=1e-12) for a, b in zip(answers, base, strict=True)]
    return torch.tensor([2 * each.cost / base.shape[1] for each in solved], dtype=torch.float64)


def test_the_optimum_of_a_linear_world_with_bounds() -> None:
    world = carts()
    plan = Collocation(horizon=H, iterations=20).plan(world, idle(), generators())
    best, nothing = optimum(world), world(idle())[:, 0]
    assert ((plan.cost - best) / (nothing - best)).max() < 0.002
    assert plan.actions.abs().max() == 1, "the bounds matter"
    assert all(asked.abs().max() <= 1 for asked in world.rolled_out)


@pytest.mark.parametrize(("world", "share"), [("carts", 0.5), ("pendulums", 0.8), ("chaos", 0.95)])
def test_over_long_horizons_ahead_of_shooting_with_as_many_gradients_through_the_model(world: str, share: float) -> None:
    cost = {"carts": carts, "pendulums": pendulums, "chaos": chaos}[world]()
    collocation = Collocation(horizon=60, iterations=6, num_samples=4, num_refined=4)
    shooting = Gradient(horizon=60, iterations=6, num_samples=4)
    costs = [planner.plan(cost, idle(horizon=60), generators()).cost.mean() for planner in (collocation, shooting)]
    assert costs[0] < share * costs[1]


def test_the_cost_is_that_of_the_rollout_and_the_claim_is_told_beside_it() -> None:
    world = pendulums()
    plan = Collocation(horizon=H).plan(world, idle(), generators())
    assert torch.equal(world(plan.actions[:, None])[:, 0], plan.cost)
    assert plan.claimed is not None
    assert plan.claimed.shape == plan.cost.shape
    assert not torch.isclose(plan.claimed, plan.cost).all()
    assert (plan.claimed - plan.cost).abs().max() < 0.2


def test_in_a_linear_world_the_claim_is_true() -> None:
    plan = Collocation(horizon=H).plan(carts(), idle(), generators())
    assert plan.claimed is not None
    torch.testing.assert_close(plan.claimed, plan.cost)


def test_a_plan_that_was_proposed_claims_what_it_costs() -> None:
    candidates = torch.full((B, 1, H, 1), 0.5, dtype=torch.float64)
    world = World(cart, torch.zeros(B, 2, dtype=torch.float64), lambda path: path.sum((2, 3)).abs())
    world.measure = lambda path: (path[:, :, :, 1] - 0.1 * torch.arange(1, H + 1)).abs().sum(2)  # the speed that 0.5 gives
    plan = Collocation(horizon=H).plan(world, candidates, generators())
    assert torch.equal(plan.actions, candidates[:, 0])
    assert plan.claimed is not None
    assert torch.equal(plan.claimed, plan.cost)


def test_the_trace_is_of_rollouts() -> None:
    world = pendulums()
    plan = Collocation(horizon=H, iterations=5, num_refined=3).plan(world, idle(), generators())
    best = torch.stack([world.measure(world.imagine(asked)).amin(1) for asked in list(world.rolled_out)]).cummin(0).values
    assert torch.equal(plan.trace, best[1:].T)
    assert plan.evaluations == 32 + 5 * 3


@pytest.mark.parametrize(("weight", "relaxed"), [(0.0, False), (1e9, True)])
def test_how_far_a_path_may_leave_the_rollout_is_a_matter_of_the_goal_s_weight(weight: float, relaxed: bool) -> None:
    world = pendulums()
    Collocation(horizon=H, goal_weight=weight).plan(world, idle(), generators())
    energies = [world.defects(*pair).mean() for pair in world.linearised]
    assert energies[0] < 1e-20
    assert (max(energies) > 1e-6) == relaxed


def test_the_path_of_lower_total_energy_goes_on() -> None:
    """With one problem and one sequence: either the claimed path, whose energy was lower, or the rollout itself."""
    world = pendulums()
    world.start = world.start[:1]
    Collocation(horizon=H, num_samples=1, iterations=12).plan(world, idle(1), generators(1))
    kept = 0
    for (path, actions), asked in zip(world.linearised[1:], world.rolled_out[1:], strict=False):
        assert torch.equal(actions, asked)
        rollout = world.imagine(actions)
        own = world.defects(path, actions).mean(2) + world.measure(path) / world(idle(1))
        assert own <= world.measure(rollout) / world(idle(1))
        kept += not torch.allclose(path, rollout)
    assert kept > 0


def test_closing_the_gaps_of_any_path_in_a_linear_world_is_rolling_out() -> None:
    world, path, actions = carts(), random(B, 2, H, 2, seed=1), random(B, 2, H, 1, seed=2)
    ahead, *slopes = (each.flatten(0, 1) for each in world.linearise(path, actions))
    answers, closing = respond(ahead - path.flatten(0, 1), *slopes)
    torch.testing.assert_close(path.flatten(0, 1).flatten(1) + closing, world.imagine(actions).flatten(0, 1).flatten(1))
    other = random(B, 2, H, 1, seed=3)
    change = (answers @ (other - actions).flatten(0, 1).flatten(1)[..., None])[..., 0]
    torch.testing.assert_close(
        world.imagine(other).flatten(0, 1).flatten(1), world.imagine(actions).flatten(0, 1).flatten(1) + change
    )


def latent(history: int, block: int) -> Latent:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        predictor = find.find("predictor", "mlp")(history=history, width=16).build(1, 8, 2 * block)
        for parameter in predictor.parameters():
            nn.init.normal_(parameter, std=0.3)
    predictor.delta_std.copy_(torch.linspace(0.2, 2, 8))
    return Latent(build_encoder(PatchConv(size=8, width=4)), predictor.double(), 2 * block, block)


def seen(model: Any, batch: int = 2) -> tuple[Tensor, ...]:
    frames = torch.randint(0, 256, (batch, 4, 3, 64, 64), dtype=torch.uint8, generator=generators(1)[0])
    state = model.observe(Past(frames, random(batch, 3, model.action_size)), [0] * batch)
    return tuple(tensor.double() for tensor in state)


@pytest.mark.parametrize("history", [1, 3])
@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_the_answers_are_the_derivatives_of_a_rollout(history: int, block: int, horizon: int) -> None:
    model = latent(history, block)
    state, actions = seen(model, 1), random(1, 1, horizon, 2 * block)
    path = model.rollout(state, actions)
    _, *slopes = (each.flatten(0, 1) for each in model.linearise(state, path, actions))
    answers, closing = respond(torch.zeros(1, horizon, 8, dtype=torch.float64), *slopes)
    exact = torch.autograd.functional.jacobian(lambda given: model.rollout(state, given).flatten(), actions)
    torch.testing.assert_close(answers[0], exact.flatten(1))
    assert not closing.any()


def aimed(model: Latent, over: Over | None = None) -> GoalCost:
    goal = Observation(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=generators(1, 9)[0]))
    return GoalCost.aim(model, goal, "latent", Chain(encoder=model.encoder), over=over)


@pytest.mark.parametrize("history", [1, 3])
@pytest.mark.parametrize("block", [1, 2])
def test_defects_are_mean_squares_in_usual_changes_and_none_in_a_rollout(history: int, block: int) -> None:
    model = latent(history, block)
    cost = aimed(model).bind(seen(model))
    actions = random(2, 3, 5, 2 * block).float()
    path = model.rollout(seen(model), actions.double())
    assert cost.defects(path, actions.double()).abs().max() < 1e-20
    off = path.clone()
    off[:, :, -1] += 3 * model.predictor.unit  # the last point, which nothing follows, by three usual changes
    expected = torch.tensor([0.0, 0, 0, 0, 9], dtype=torch.float64).expand(2, 3, -1)
    torch.testing.assert_close(cost.defects(off, actions.double()), expected)


@pytest.mark.parametrize("over", [Over(), Over(last=1, mean=0), Over(mean=0.1, min=1)])
def test_it_plans_in_the_latents_of_a_world_model(over: Over) -> None:
    model = latent(3, 2)
    cost = aimed(model, over).bind(seen(model))
    assert isinstance(cost, PathCost)
    candidates = torch.zeros(2, 1, 6, 4, dtype=torch.float64)
    plan = Collocation(horizon=6, num_samples=1, block=2).plan(cost, candidates, generators(2))
    assert (plan.cost < cost(candidates)[:, 0]).all()
    torch.testing.assert_close(cost(plan.actions[:, None])[:, 0], plan.cost)


def test_problems_side_by_side_are_the_problems_alone() -> None:
    planner, world = Collocation(horizon=H, num_refined=2), pendulums()
    together = planner.plan(world, idle(), generators())
    assert together.claimed is not None
    for b in range(B):
        one = World(pendulum, world.start[b : b + 1], world.measure)
        alone = planner.plan(one, idle(1), generators(1, b))
        assert alone.claimed is not None
        for mine, ours in ((alone.actions, together.actions), (alone.trace, together.trace), (alone.claimed, together.claimed)):
            torch.testing.assert_close(mine[0], ours[b], atol=1e-6, rtol=0)


def test_the_same_again() -> None:
    first, second = (Collocation(horizon=H).plan(pendulums(), idle(), generators()) for _ in range(2))
    assert torch.equal(first.actions, second.actions)


@pytest.mark.parametrize("broken", ["linearise", "measure", "imagine"])
def test_a_sequence_that_breaks_the_model_does_not_spoil_the_others(broken: str) -> None:
    """The second of three: whatever is not finite about it, the others are moved as ever."""
    candidates = torch.stack([torch.full((B, H, 1), value, dtype=torch.float64) for value in (0.2, -0.2, 0.4)], 1)
    planner = Collocation(horizon=H, num_samples=3, num_refined=3)

    class Broken(World):
        def imagine(self, actions: Tensor) -> Tensor:
            return self.spoilt(super().imagine(actions), "imagine")

        def linearise(self, path: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            ahead, by_points, by_actions = super().linearise(path, actions)
            return ahead, self.spoilt(by_points, "linearise"), by_actions

        def spoilt(self, values: Tensor, where: str) -> Tensor:
            bad = torch.tensor([False, True, False]).reshape(1, 3, *[1] * (values.ndim - 2))
            return torch.where(bad & (where == broken), torch.nan, values)

    world = carts()
    costs = lambda path: torch.cat([origin(path)[:, :1], origin(path)[:, 1:2] * math.nan, origin(path)[:, 2:]], 1)  # noqa: E731
    spoilt = Broken(cart, world.start, costs if broken == "measure" else origin)
    plan = planner.plan(spoilt, candidates, generators())
    sound = Collocation(horizon=H, num_samples=2, num_refined=2).plan(world, candidates[:, ::2], generators())
    assert torch.isfinite(plan.cost).all()
    assert (plan.cost <= sound.cost + 0.05).all()


def test_a_path_that_explodes_is_survived() -> None:
    world = World(lambda state, action: 1e30 * state * state + action, random(B, 1), origin)
    candidates = idle()
    with pytest.raises(Exception, match="not finite"):
        Collocation(horizon=H).plan(world, candidates, generators())
    world.start = torch.zeros(B, 1, dtype=torch.float64)
    assert Collocation(horizon=H).plan(world, candidates, generators()).cost.max() == 0


def test_what_shows_no_path_is_refused() -> None:
    class Plain:
        differentiable = True

        def __call__(self, actions: Tensor) -> Tensor:
            raise AssertionError("asked")

    with pytest.raises(UsageError, match="Collocation searches over paths, and this cost does not say where a path's steps"):
        Collocation(horizon=H).plan(Plain(), idle(), generators())


def test_a_path_whose_cost_has_no_gradient_is_refused() -> None:
    world = carts()
    world.measure = lambda path: origin(path.detach())
    with pytest.raises(UsageError, match="does not follow from the path by torch operations alone"):
        Collocation(horizon=H).plan(world, idle(), generators())
    world.differentiable = False
    with pytest.raises(UsageError, match="follows gradients and this cost has none"):
        Collocation(horizon=H).plan(world, idle(), generators())


def test_a_model_that_shows_no_path_is_refused_before_the_episode() -> None:
    env = make("ball")
    planning = Planning(Simulator(env), Chain(), Collocation(), "state", euclid, Over())
    with pytest.raises(UsageError, match="choose a world model that does, such as latent, or another planner"):
        MPC(env, planning)
    cost = GoalCost.aim(planning.model, Observation(torch.zeros(1, 3, 64, 64), torch.zeros(1, 4)), "state", Chain()).bind(())
    with pytest.raises(UsageError, match="a Simulator does not say where a path's steps would lead"):
        cost.defects(torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 3, 2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_refined": 33}, "Collocation.num_refined is 33; expected from 1 to num_samples, 32"),
        ({"num_refined": 0}, "Collocation.num_refined is 0; expected a whole number 1 or more"),
        ({"steps": 0}, "Collocation.steps is 0; expected a whole number 1 or more"),
        ({"lr": 0.0}, "Collocation.lr is 0.0; expected 1e-09 or more"),
        ({"radius": -1.0}, "Collocation.radius is -1.0; expected 1e-09 or more"),
        ({"goal_weight": math.nan}, "Collocation.goal_weight is nan; expected 0.0 or more"),
        ({"init_std": -0.5}, "Collocation.init_std is -0.5; expected 0.0 or more"),
        ({"correlation": 1.0}, "Collocation.correlation is 1.0; expected from 0.0 to 0.999"),
        ({"block": 0}, "Collocation.block is 0; expected a whole number 1 or more"),
    ],
)
def test_wrong_fields_are_refused_by_name_value_and_range(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        Collocation(**fields)
    assert str(refused.value) == message
