"""Planners around other planners."""

from imagoal.planning._types import Needs, Planner


class Wrapped:
    """What a planner around another one says of itself: the same as that one.

    Attributes:
        planner: the one inside.
    """

    planner: Planner

    @property
    def horizon(self) -> int:
        """Length H of a plan, in model steps."""
        return self.planner.horizon

    @property
    def needs(self) -> Needs:
        """What the cost function must offer."""
        return self.planner.needs
