"""How a list of tasks is run and scored."""

from dataclasses import asdict, dataclass

from imagoal import files
from imagoal.envs import GoalEnv
from imagoal.eval.tasks._lists import TaskList


@dataclass(frozen=True)
class Protocol:
    """How tasks are run and scored; never the planner's budget.

    Attributes:
        name: of the protocol.
        tasks_hash: SHA-256 of the task list.
        split: `dev` or `test`.
        steps: env steps of every episode.
        tolerance: metres.
        hold_steps: steps in a row at the goal that count as *hold*.
        headline: which success the tables head.
        source: where goals come from.
    """

    name: str
    tasks_hash: str
    split: str
    steps: int
    tolerance: float
    hold_steps: int
    headline: str
    source: str = "sampler"

    @property
    def hash(self) -> str:
        """SHA-256 of all of it."""
        return files.hash_of(asdict(self))


HOLD_STEPS = 5


def house_protocol(env: GoalEnv, tasks: TaskList) -> Protocol:
    """The protocol of the house: the env's own budget, tolerance and headline; its name tells goals from data apart."""
    source = tasks.origin.source
    name = "house" if source == "sampler" else f"house, goals {tasks.origin.offset} steps later"
    steps, tolerance, headline = env.max_episode_steps, env.tolerance, env.headline
    return Protocol(name, tasks.hash, tasks.split, steps, tolerance, HOLD_STEPS, headline, source)
