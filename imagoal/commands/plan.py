"""`imagoal plan`."""

from dataclasses import dataclass
from pathlib import Path

from imagoal.commands._agent_flags import AgentFlags
from imagoal.commands._common import Folder
from imagoal.errors import UsageError


@dataclass(frozen=True)
class Plan(AgentFlags):
    """Run one task and show it as a moving picture: what the agent sees, what it imagines, the goal."""

    tasks: str = "dev"
    """dev, test, or an .npz file."""
    task: int = 0
    """Which task of the list, from 0."""
    run_dir: Folder = Path("runs/plan")
    """Run folder; `plan.webp` and `episode.npz` are written there, over those of an earlier run."""
    out: Path | None = None
    """Another place for the moving picture: a .webp (lossless) or .gif file."""
    scale: int = 0
    """Screen pixels per pixel of the env; 0 for a panel that is some 256 wide."""

    def __post_init__(self) -> None:
        if self.out is not None and self.out.suffix not in {".webp", ".gif"}:
            raise UsageError(f"out = {self.out}; expected a name that ends in .webp or .gif")
        if not 0 <= self.scale <= 32:
            raise UsageError(f"scale = {self.scale}; expected from 0 to 32")

    def run(self) -> int:
        """Run the task, write picture and episode, and say how it went."""
        self.prepare()
        from imagoal.eval.show import draw_film, record_film, save_film
        from imagoal.eval.tasks import choose_tasks

        env = self.make_env()
        tasks = choose_tasks(env, self.tasks)
        film = record_film(env, self.built(env), tasks, self.task)
        picture = self.out or self.run_dir / "plan.webp"
        film.save(self.run_dir / "episode.npz")
        save_film(picture, draw_film(film, self.scale))
        print(film.summary())
        print(f"wrote {picture} and {self.run_dir / 'episode.npz'}")
        return 0
