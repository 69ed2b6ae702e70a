"""Planners side by side on Ball: the same world model, cost and tasks; then whether one is better than another."""

from pathlib import Path

import imagoal

PLANNERS = ("cem", "icem", "mppi")


def rows(folder: Path, count: int = 20) -> list[Path]:
    """Results of all planners on the first dev tasks, in folders named after them; what is there is not run again."""
    env = imagoal.make("ball")
    for name in PLANNERS:
        agent = imagoal.make_agent("mpc", env, planner=name)
        imagoal.evaluate(agent, env, tasks="dev", count=count, run=folder / name)
    return [folder / name / "result.json" for name in PLANNERS]


if __name__ == "__main__":
    first, *others = rows(Path("runs/planners"))
    for other in others:
        print(imagoal.compare(first, other))
