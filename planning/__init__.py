"""Planners, one per file, and the cost that they minimise."""

from imagoal.planning._goal_cost import GoalCost, Over
from imagoal.planning._types import Plan
from imagoal.planning.cem import CEM
from imagoal.planning.gradient import Gradient
from imagoal.planning.icem import ICEM
from imagoal.planning.icem_adam import ICEMAdam
from imagoal.planning.mppi import MPPI
from imagoal.planning.random_shooting import RandomShooting

__all__ = ["CEM", "ICEM", "MPPI", "GoalCost", "Gradient", "ICEMAdam", "Over", "Plan", "RandomShooting"]
