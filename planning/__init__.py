"""Planners, one per file, and the cost that they minimise.

Usable by itself: a planner takes any cost function of action sequences (`CostFunction`), proposals and generators, and knows of
no environment and no world model; `examples/` shows how. Only `GoalCost` knows one.
"""

from imagoal.planning._blur import blur
from imagoal.planning._checks import check_needs
from imagoal.planning._goal_cost import BoundCost, Distance, GoalCost, Over, euclid
from imagoal.planning._noise import correlated
from imagoal.planning._proposals import no_op, propose
from imagoal.planning._rescoring import FINALISTS, Finalists, Rescoring
from imagoal.planning._search import Search
from imagoal.planning._types import CostFunction, Needs, PathCost, Plan, Planner, Wrapped
from imagoal.planning.cem import CEM
from imagoal.planning.collocation import Collocation
from imagoal.planning.gradient import Gradient
from imagoal.planning.icem import ICEM
from imagoal.planning.icem_adam import ICEMAdam
from imagoal.planning.mppi import MPPI
from imagoal.planning.random_shooting import RandomShooting

__all__ = [
    "CEM", "FINALISTS", "ICEM", "MPPI", "BoundCost", "Collocation", "CostFunction", "Distance", "Finalists", "GoalCost",
    "Gradient", "ICEMAdam", "Needs", "Over", "PathCost", "Plan", "Planner", "RandomShooting", "Rescoring", "Search",
    "Wrapped", "blur", "check_needs", "correlated", "euclid", "no_op", "propose",
]  # fmt: skip
