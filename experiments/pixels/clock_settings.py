"""The settings that a model may plan with, and which of them are worth a trial (for clock.py)."""

from collections import Counter
from itertools import pairwise

from experiments.pixels.first_plans import COSTS, tried
from imagoal.envs import GoalEnv
from imagoal.eval.tasks import TaskList
from imagoal.world_model.models import bf16_units

ELITES = {4: 2, 8: 2, 16: 3, 32: 4, 64: 8, 128: 16, 300: 30}
LADDERS = {
    "latent": [(8, 1), (16, 1), (32, 1), (32, 2), (64, 3), (128, 3), (300, 5), (300, 15), (300, 50), (300, 150), (300, 500)],
    "pixel": [
        (4, 1),
        (8, 1),
        (16, 1),
        (16, 2),
        (32, 1),
        (32, 2),
        (64, 2),
        (64, 3),
        (128, 2),
        (128, 3),
        (300, 2),
        (300, 3),
        (300, 5),
        (300, 7),
        (300, 15),
    ],
}
"""Samples and iterations."""
SMALLEST = [(4, 1), (8, 1)]
"""Samples and iterations of pixel models in fp32, whose plans are short as well: half of the least horizon, and all of it."""
HORIZONS = {"Ball": {"latent": (8,), "pixel": (4, 6, 8)}, "Push": {"latent": (7,), "pixel": (5, 7)}}
"""Steps of the model that a plan has: for the latent model those it ships with."""


def settings(env: str, model: str, folder: str) -> dict[str, int]:
    """Flags of every setting of a model, and of how many denoised frames or predicted latents its plans are made."""
    kind = "latent" if "latent" in model else "pixel"
    fast = "" if kind == "latent" else COSTS[env] + " --compile"
    half = " --precision bf16" if fast and bf16_units() else ""
    shapes = [(*size, horizon, half) for horizon in HORIZONS[env][kind] for size in LADDERS[kind]]
    if half:
        least = min(HORIZONS[env][kind])
        shapes += [(*size, horizon, "") for horizon in (least // 2, least) for size in SMALLEST]
    return {
        f"--world-model {folder} --planner.num-samples {samples} --planner.num-elites {ELITES[samples]} "
        f"--planner.iterations {iterations} --planner.horizon {horizon}{fast}{precision}"
        + (f" --denoising-steps {steps}" if "diffusion" in model else ""): samples * iterations * horizon * steps
        for samples, iterations, horizon, precision in shapes
        for steps in ((1, 3) if "diffusion" in model else (1,))
    }


def timed(env: GoalEnv, tasks: TaskList, ladder: dict[str, int], budget: int) -> dict[str, float]:
    """Milliseconds of a plan of every setting that can fit a budget, as the largest before it foretells."""
    found: dict[str, float] = {}
    pace = 0.0
    for words, work in sorted(ladder.items(), key=lambda each: each[1]):
        if pace * work <= budget:
            found[words] = tried(env, tasks, words).median
            pace = 0.8 * found[words] / work  # with room for one that is less slow
    return found


def varied(fitting: list[str]) -> list[str]:
    """Settings from small to large, anew: the largest of each horizon and number of denoising steps, then the next of each."""
    seen: Counter[tuple[str, ...]] = Counter()
    ranked = []
    for place, words in enumerate(reversed(fitting)):
        ranked.append((seen[group(words)], place, words))
        seen[group(words)] += 1
    return [words for *_, words in sorted(ranked)]


def group(words: str) -> tuple[str, ...]:
    """Horizon and denoising steps."""
    value = dict(pairwise(words.split()))
    return value["--planner.horizon"], value.get("--denoising-steps", "")
