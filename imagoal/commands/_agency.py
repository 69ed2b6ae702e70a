"""Flags that say who acts, and where: shared by the verbs that run an agent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from imagoal.commands._common import Common, env_options
from imagoal.commands._presets import preset
from imagoal.flags import Named
from imagoal.planning import Over

if TYPE_CHECKING:
    from imagoal.eval.episodes import Request


@dataclass(frozen=True)
class Agency(Common):
    """An env, and an agent with all that it plans with."""

    env: str = "ball"
    """Entry, id, or package.module:Class."""
    env_options: tuple[str, ...] = ()
    """Options of the env's constructor as NAME=VALUE, e.g. goal_finger=anywhere."""
    agent: str = "mpc"
    """What acts."""
    world_model: str = ""
    """Folder of a trained world model, name of a shipped one, simulator, or copy_last; by default what ships for the env."""
    readouts: str = ""
    """World model whose encoder and probe are borrowed by a model without its own."""
    planner: Annotated[Any, Named("planner", "cem")] = None
    """What searches."""
    cost: Literal["state", "frame", "latent", "probe"] | None = None
    """Place where the cost is measured; the model's own place if not said."""
    distance: Literal["task", "visible", "blur", "slowness", "resting", "euclid"] | None = None
    """Distance there: task (state), visible (state, probe), blur (frame), slowness, resting (latent), euclid (any); or the
    place's own."""
    agent_weight: float = 0.0
    """Weight of the agent's own body in the distance, beside 1 for the object, where the distance tells them apart."""
    over: Over = field(default_factory=Over)
    """How the distances along the horizon become one cost."""
    action_block: int = 1
    """Env steps per model step of the simulator; a trained world model has its own."""
    replan_every: int = 1
    """Env steps between plans."""
    warm_start: bool = True
    """Whether the last plan, shifted, is proposed again."""
    deadline_ms: float | None = None
    """Milliseconds within which each plan is to be ready, encoding included; one iteration is done in any case."""
    surprise: float = 0.0
    """Keep a plan while the world is no further from what it imagined than this share of what is left to the goal; 0 plans
    anew every time."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the matrix products in a search; with bf16, for processors with a unit for it, fp32 judges the best that was found."""
    compile: bool = False
    """Compile what imagines: the first plan takes seconds to minutes, all others less time than before."""
    denoising_steps: int | None = None
    """Euler steps for each map that a diffusion model imagines; if not said, as many as it was trained with. One that learned
    from what it had imagined is at its best with those."""
    device: str = "cpu"
    """Where a trained world model computes, and the search with it: cpu, cuda, or cuda:1 for the second GPU."""
    trust: bool = False
    """Import what a file names outside this package."""

    @staticmethod
    def preset(args: Sequence[str]) -> list[str]:
        """Flags that the env is planned with unless these say otherwise."""
        return preset(args)

    def request(self) -> "Request":
        """The agent that these flags ask for."""
        from imagoal.eval.episodes import Request

        return Request(
            self.agent,
            self.world_model,
            self.readouts,
            self.planner,
            self.cost,
            self.distance,
            self.over,
            self.replan_every,
            self.warm_start,
            self.trust,
            self.agent_weight,
            self.action_block,
            self.deadline_ms,
            self.surprise,
            self.precision,
            self.compile,
            self.device,
            self.denoising_steps,
        )

    def options(self) -> dict[str, str]:
        """The options of the env."""
        return env_options(self.env_options)
