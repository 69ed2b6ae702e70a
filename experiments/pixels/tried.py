"""How far imagination strays on what a planner tries, and not on what was recorded: its first samples on dev tasks.

    python -m experiments.pixels.tried runs/pixels/push-regression Push-latent           (a minute or two)

Where imagined frames show object and agent is read by the encoder and the probe of the model that is named last; where they
truly are, the simulator says. A sample counts as `inside` up to a step if its agent was never seen beyond 20 cm from the
picture's centre, in x or in y, and as `beyond` from then on: recorded behaviours may hardly ever have been there. `read` is the
reader's own error, in true frames. Writes `experiments/results/rows/ENV/tried-MODEL.table.json`, in centimetres.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from experiments import publish
from imagoal.envs import GoalEnv, env_id, make, short_name
from imagoal.eval.tasks import TaskList, choose_tasks
from imagoal.planning import correlated
from imagoal.world_model import Past, to_tensor
from imagoal.world_model.models import WorldModelFolder, load

TASKS, SAMPLES, HORIZON = 12, 64, 7
STD, CORRELATION = 1.0, 0.85
"""Of the noise with which the planner of Push begins."""
EDGE = 0.2
"""Metres from the picture's centre."""


def main(name: str, readouts: str) -> None:
    torch.set_num_threads(1)
    folder, lent = load(name), load(readouts)
    env = make(str(folder.config["env"]))
    tasks = choose_tasks(env, "dev").first(TASKS)
    found = [errors(env, tasks, index, folder, lent) for index in range(TASKS)]
    away, beyond = (torch.cat(part) for part in zip(*found, strict=True))
    rows: list[list[object]] = []
    for step in range(HORIZON):
        for where, some in (("inside", ~beyond[:, step]), ("beyond", beyond[:, step])):
            rows.append([step + 1, where, int(some.sum()), *(100 * away[some, step].mean(0)).tolist()])
    settings = {"model": name, "readouts": readouts, "tasks": TASKS, "samples": SAMPLES, "std": STD, "correlation": CORRELATION}
    columns = ["step", "agent", "n", "object cm", "agent cm", "object read cm", "agent read cm"]
    publish(f"rows/{short_name(env_id(env))}/tried-{Path(name).name}", columns, rows, settings)


def errors(
    env: GoalEnv, tasks: TaskList, index: int, folder: WorldModelFolder, lent: WorldModelFolder
) -> tuple[Tensor, Tensor]:
    """How far object and agent are misplaced (K, H, 4), in metres, and whether the agent was beyond the edge by then (K, H).

    First in what is imagined, then in true frames.
    """
    assert lent.encoder, "name a model with an encoder and a probe last"
    model, task = folder.model, tasks.task(index)
    actions = samples(model.action_size, model.action_block, int(tasks.seeds[index]))
    states = env.simulate(np.repeat(task.start[None], SAMPLES, 0), env_actions(actions, model.action_block))
    states = states[:, model.action_block - 1 :: model.action_block]
    true = torch.from_numpy(env.visible(states)).float()
    shown = to_tensor(env.render_states(states.reshape(-1, states.shape[-1])))
    frame = to_tensor(env.render_states(task.start[None]))
    state = model.observe(Past(frame[None], actions[None, 0, :0]), [index])
    imagined = model.rollout(state, actions[None])[0]
    latents = lent.encoder.encode(imagined.flatten(0, 1)) if model.place == "frame" else imagined.flatten(0, 1)
    away = [read(each, lent, true, env.object_size) for each in (latents, lent.encoder.encode(shown))]
    outside = true[..., env.object_size :].abs().amax(-1) > EDGE
    return torch.cat(away, -1), outside.int().cummax(1).values.bool()


def read(latents: Tensor, lent: WorldModelFolder, true: Tensor, size: int) -> Tensor:
    """How far object and agent seem to be (K, H, 2) from where they are (K, H, V), in latents (K x H, N, D)."""
    assert lent.probe, "name a model with a probe last"
    away = lent.probe(latents).unflatten(0, true.shape[:2]) - true
    return torch.stack([away[..., :size].norm(dim=-1), away[..., size:].norm(dim=-1)], -1)


def samples(size: int, block: int, seed: int) -> Tensor:
    """A planner's first actions (K, H, A'), in [-1, 1]."""
    like = torch.zeros(1, 1, HORIZON, size)
    noise = correlated([Generator().manual_seed(seed)], SAMPLES, like, CORRELATION, block)
    return (STD * noise[0]).clamp(-1, 1)


def env_actions(actions: Tensor, block: int) -> np.ndarray:
    """Those of the env, (K, H x block, A)."""
    return actions.reshape(len(actions), HORIZON * block, -1).double().numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
