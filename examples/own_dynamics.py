"""Plan with dynamics that you write down: a cart that is pushed to a place, and stands still there.

    python examples/own_dynamics.py

A cost function is anything that maps actions (B, K, H, A) in [-1, 1] to costs (B, K), and says whether gradients flow. No
environment, no world model, no file: any planner of `imagoal.planning` takes it.
"""

import torch
from torch import Tensor

from imagoal.planning import CEM, Gradient, Planner, no_op, propose

STEP = 0.1
"""Seconds."""


class Cart:
    """Double integrators, one per problem: how far they are from their goals along the way, and how fast at the end."""

    differentiable = True

    def __init__(self, places: Tensor, speeds: Tensor, goals: Tensor) -> None:
        self.places, self.speeds, self.goals = places, speeds, goals

    def __call__(self, actions: Tensor) -> Tensor:
        """Costs (B, K) of accelerations (B, K, H, 1)."""
        speeds = self.speeds[:, None, None] + STEP * actions[..., 0].cumsum(2)
        places = self.places[:, None, None] + STEP * speeds.cumsum(2)
        return (places - self.goals[:, None, None]).square().mean(2) + speeds[:, :, -1].square()


def drive(planner: Planner, steps: int = 60) -> Tensor:
    """Plan anew at every step, from the last plan; how far from the goals (B,) the carts end."""
    places, speeds, goals = torch.zeros(3), torch.zeros(3), torch.tensor([0.5, -1.0, 2.0])
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(goals))]
    idle, plan = no_op(len(goals), planner.horizon, 1), None
    for _ in range(steps):
        plan = planner.plan(Cart(places, speeds, goals), propose(plan, 1, idle), generators)
        speeds = speeds + STEP * plan.actions[:, 0, 0]
        places = places + STEP * speeds
    return (places - goals).abs()


if __name__ == "__main__":
    for planner in (CEM(horizon=25), Gradient(horizon=25)):
        print(f"{type(planner).__name__:<9} ends {drive(planner).tolist()} m from the goals")
