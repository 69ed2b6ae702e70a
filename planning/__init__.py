"""Planners, one per file, and the cost that they minimise.

Usable by itself: a planner takes any cost function of action sequences (`CostFunction`), proposals and generators, and knows of
no environment and no world model; `examples/` shows how. Only `GoalCost` knows one.
"""

from imagoal.planning._candidates import no_op, propose
from imagoal.planning._goal_cost import GoalCost, Over
from imagoal.planning._types import CostFunction, PathCost, Plan, Planner
from imagoal.planning.cem import CEM
from imagoal.planning.collocation import Collocation
from imagoal.planning.gradient import Gradient
from imagoal.planning.icem import ICEM
from imagoal.planning.icem_adam import ICEMAdam
from imagoal.planning.mppi import MPPI
from imagoal.planning.random_shooting import RandomShooting

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "Collocation",
    "CostFunction",
    "GoalCost",
    "Gradient",
    "ICEMAdam",
    "Over",
    "PathCost",
    "Plan",
    "Planner",
    "RandomShooting",
    "no_op",
    "propose",
]
