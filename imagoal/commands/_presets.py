"""What an env is planned with unless flags say otherwise: chosen on its dev tasks."""

import itertools
from collections.abc import Sequence

ARM = (
    "--planner.horizon 7 --planner.init-std 1 --planner.correlation 0.85 "
    "--over.mean 0.1 --over.min 1 --action-block 2 --replan-every 2"
)
"""Of the arm's envs: two actions per step of the model, correlated noise that reaches around a puck, a plan of 14 actions."""

BALL = "--planner.num-samples 32 --planner.num-elites 4 --planner.iterations 2 --planner.init-std 2 --planner.correlation 0.5"
"""A push may have to be as hard as it can be: with wide noise few samples do."""

REACH = "--planner.num-samples 32 --planner.num-elites 4 --planner.iterations 1"
PUSH_EASY = "--planner.num-samples 64 --planner.num-elites 8 --planner.iterations 3"
PUSH = "--planner.num-samples 128 --planner.num-elites 16 --planner.iterations 2"
"""The smallest searches that are not worse than 300 x 30 on the dev tasks (`experiments/results/speed/budgets.table.json`)."""

PRESETS = {
    "ball": f"--world-model Ball-latent {BALL}",
    "ballgravity": f"--world-model BallGravity-latent {BALL}",
    "ballgust": f"--world-model BallGust-latent {BALL}",
    "reach": f"--world-model Reach-latent {REACH} {ARM}",
    "pusheasy": f"--world-model PushEasy-latent --agent-weight 0.25 {PUSH_EASY} {ARM}",
    "push": f"--world-model Push-latent --agent-weight 0.25 {PUSH} {ARM}",
}
"""Flags by env, without namespace, version and underscores."""

ENCODED = "--cost latent --readouts Push-latent"
"""Imagined frames compared by an encoder: an arm is larger than a puck, so that blurred frames serve less well (19 of 20 dev
tasks and 14, `experiments/results/pixels/push-regression-*-dev.json`)."""

IMAGINED = {"Push-pixel_diffusion": ENCODED, "Push-pixel_regression": ENCODED}
"""More flags by shipped world model."""


def preset(args: Sequence[str]) -> list[str]:
    """Flags that stand before those of the user, whose flags win; none for agents that do not plan."""
    given = _given(args)
    if given.get("--agent", "mpc") != "mpc":
        return []
    env = given.get("--env", "ball").rpartition("/")[2].partition("-v")[0].replace("_", "").lower()
    flags = f"{PRESETS.get(env, '')} {IMAGINED.get(given.get('--world-model', ''), '')}".split()
    pairs = zip(flags[::2], flags[1::2], strict=True)
    other_planner = given.get("--planner", "cem") != "cem"
    return [word for flag, value in pairs if not (other_planner and flag.startswith("--planner.")) for word in (flag, value)]


def _given(args: Sequence[str]) -> dict[str, str]:
    """Values by flag, whether written `--flag VALUE` or `--flag=VALUE`."""
    joined = dict(arg.split("=", 1) for arg in args if arg.startswith("--") and "=" in arg)
    return joined | {flag: value for flag, value in itertools.pairwise(args) if flag.startswith("--")}
