"""Is a distance between latents a guide to the goal? Euclid's and slowness, on a grid of the ball's places.

    python -m experiments.ball.metric          (seconds; the shipped world models)

900 places of the ball, each the goal of all others. Spearman's correlation with the distance in metres; local minima per goal
among the 8 neighbours (1 is perfect); share of places from which steepest descent ends at the goal. Writes
`experiments/results/rows/Ball/metric.table.json`.
"""

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from experiments import publish
from imagoal.envs import make
from imagoal.envs.ball import RADIUS
from imagoal.world_model import to_tensor
from imagoal.world_model.models import load

SIDE = 30
PLACES = SIDE * SIDE


def main() -> None:
    line = np.linspace(RADIUS, 1 - RADIUS, SIDE)
    states = np.zeros((PLACES, 4))
    states[:, :2] = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    frames = to_tensor(make("ball").render_states(states))
    metres = torch.cdist(torch.from_numpy(states[:, :2]), torch.from_numpy(states[:, :2]))
    rows = []
    for name in ("Ball-latent", "BallGravity-latent", "BallGust-latent"):
        folder = load(name)
        latents = folder.encoder.encode(frames).flatten(1)
        for metric, points in (("euclid", latents), ("slowness", latents @ folder.metrics["slowness"].matrix)):
            distances = torch.cdist(points.double(), points.double())
            correlation = float(spearmanr(distances.flatten()[::37], metres.flatten()[::37])[0])
            rows.append([name, metric, correlation, *landscape(distances)])
    columns = ["world model", "distance", "Spearman", "local minima per goal", "share of places that descend to the goal"]
    publish("rows/Ball/metric", columns, rows, {"side": SIDE})


def landscape(distances: Tensor) -> tuple[float, float]:
    """Local minima per goal, and the share of places that descend to it, of distances (goals, places)."""
    maps = F.pad(distances.reshape(PLACES, SIDE, SIDE), (1, 1, 1, 1), value=torch.inf)
    numbers = F.pad(torch.arange(PLACES).reshape(SIDE, SIDE), (1, 1, 1, 1), value=-1)
    shifts = [(row, column) for row in range(3) for column in range(3)]
    around = torch.stack([maps[:, r : r + SIDE, c : c + SIDE] for r, c in shifts])
    names = torch.stack([numbers[r : r + SIDE, c : c + SIDE] for r, c in shifts])
    lowest = around.argmin(0)
    following = names[:, None].expand(-1, PLACES, -1, -1).gather(0, lowest[None])[0].flatten(1)
    places = torch.arange(PLACES).expand(PLACES, -1)
    minima = float((following == places).sum(1).double().mean())
    for _ in range(2 * SIDE):
        places = following.gather(1, places)
    return minima, float((places == torch.arange(PLACES)[:, None]).double().mean())


if __name__ == "__main__":
    main()
