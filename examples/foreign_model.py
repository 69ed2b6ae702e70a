"""Plan with a model that somebody else wrote: MuJoCo's rollouts of Gymnasium's cart and pole, swung up from hanging.

    python examples/foreign_model.py

What somebody's model takes and gives is carried to a cost function in one small class. This one has no gradients, so planners
that follow them refuse it by name.
"""

from pathlib import Path

import gymnasium.envs.mujoco
import mujoco
import mujoco.rollout
import numpy as np
import torch
from torch import Tensor

from imagoal.planning import CEM, Planner, no_op, propose

REPEAT = 5
"""Physics steps per action."""


def model() -> mujoco.MjModel:
    """Gymnasium's inverted pendulum, free to hang, with a cart that pushes harder."""
    path = Path(gymnasium.envs.mujoco.__file__).parent / "assets/inverted_pendulum.xml"
    spec = mujoco.MjSpec.from_file(str(path))
    for joint in spec.joints:
        if joint.name == "hinge":
            joint.limited = mujoco.mjtLimited.mjLIMITED_FALSE
    return spec.compile()


class SwingUp:
    """Costs of pushing the cart: how far the pole is from standing, along the way."""

    differentiable = False

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self.model, self.scratch = model, mujoco.MjData(model)
        self.state = np.empty(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS))
        mujoco.mj_getState(model, data, self.state, mujoco.mjtState.mjSTATE_FULLPHYSICS)

    def __call__(self, actions: Tensor) -> Tensor:
        """Costs (1, K) of actions (1, K, H, 1); time, place of the cart, angle, speeds are in the states of a rollout."""
        controls = 3 * actions[0].double().repeat_interleave(REPEAT, 1).numpy()
        starts = np.repeat(self.state[None], len(controls), 0)
        states, _ = mujoco.rollout.rollout(self.model, self.scratch, starts, controls)
        place, angle = torch.from_numpy(states[..., 1]), torch.from_numpy(states[..., 2])
        return ((1 - angle.cos()) + 0.2 * place.square()).mean(1)[None].float()


def swing(planner: Planner, steps: int = 40) -> float:
    """Plan anew at every step; how near to upright the pole came, radians."""
    world = model()
    data = mujoco.MjData(world)
    data.qpos[1] = np.pi
    generators, idle, plan, nearest = [torch.Generator().manual_seed(0)], no_op(1, planner.horizon, 1), None, np.pi
    for _ in range(steps):
        plan = planner.plan(SwingUp(world, data), propose(plan, 1, idle), generators)
        data.ctrl[0] = 3 * float(plan.actions[0, 0, 0])
        for _ in range(REPEAT):
            mujoco.mj_step(world, data)
        nearest = min(nearest, abs((float(data.qpos[1]) + np.pi) % (2 * np.pi) - np.pi))
    return nearest


if __name__ == "__main__":
    print(f"the pole came within {swing(CEM(horizon=15, num_samples=32)):.3f} rad of upright")
