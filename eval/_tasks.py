"""Frozen lists of tasks: `dev` chooses settings, `test` reports."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from imagoal import files, find
from imagoal.envs import GoalEnv, Task, env_id, make, short_name
from imagoal.envs._types import Bools, Floats, Frames
from imagoal.errors import DataError, UsageError

Split = Literal["dev", "test"]
SEEDS: dict[Split, int] = {"dev": 10_000, "test": 20_000}
"""Task i of a split is drawn from, and its episode runs with, the seed SEEDS[split] + i; a redrawn task skips a seed."""


@dataclass(frozen=True)
class TaskList:
    """Tasks (n) of one environment, whose seeds also drive everything random in their episodes.

    Attributes:
        env: id of the environment.
        split: `dev` or `test`.
        seeds: i64 (n,).
        starts: f64 (n, S).
        goals: f64 (n, S).
        goal_images: u8 (n, h, w, 3).
        difficulties: f64 (n,), task distance from start to goal, metres.
    """

    env: str
    split: Split
    seeds: npt.NDArray[np.int64]
    starts: Floats
    goals: Floats
    goal_images: Frames
    difficulties: Floats

    def __len__(self) -> int:
        return len(self.seeds)

    def task(self, index: int) -> Task:
        """One task."""
        return Task(self.starts[index], self.goals[index], self.goal_images[index], float(self.difficulties[index]))

    def first(self, count: int) -> "TaskList":
        """The first `count` tasks.

        Raises:
            UsageError: there are fewer.
        """
        if not 1 <= count <= len(self):
            raise UsageError(f"{count} tasks asked of {self.env} {self.split}; expected from 1 to {len(self)}")
        return TaskList(
            self.env,
            self.split,
            self.seeds[:count],
            self.starts[:count],
            self.goals[:count],
            self.goal_images[:count],
            self.difficulties[:count],
        )

    @property
    def hash(self) -> str:
        """SHA-256 of the tasks."""
        return files.hash_arrays(self._arrays())

    def save(self, path: Path) -> None:
        """Write the list as one `.npz`."""
        files.write_npz(path, self._arrays() | {"env": np.array(self.env), "split": np.array(self.split)})

    def _arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        names = ("seeds", "starts", "goals", "goal_images", "difficulties")
        return {name: getattr(self, name) for name in names}


def draw(env: GoalEnv, split: Split, count: int) -> TaskList:
    """Draw tasks that are not solved at their start."""
    seeds: list[int] = []
    tasks: list[Task] = []
    seed = SEEDS[split]
    while len(tasks) < count:
        task = env.sample_task(np.random.default_rng(seed))
        if not trivial(env, task):
            seeds.append(seed)
            tasks.append(task)
        seed += 1
    return TaskList(
        env_id(env),
        split,
        np.array(seeds, np.int64),
        np.stack([task.start for task in tasks]),
        np.stack([task.goal for task in tasks]),
        np.stack([task.goal_image for task in tasks]),
        np.array([task.difficulty for task in tasks]),
    )


def trivial(env: GoalEnv, task: Task) -> Bools:
    """Whether the start is already at the goal."""
    return env.at_goal(task.start, task.goal)


def frozen(env: GoalEnv, split: Split) -> TaskList:
    """The frozen list that ships with the package.

    Raises:
        UsageError: there is none for this environment.
    """
    path = find.folder("eval") / "tasks" / f"{short_name(env_id(env))}-{split}.npz"
    if not path.exists():
        raise UsageError(f"no frozen {split} tasks for {env_id(env)} ({path.name}); pass --tasks FILE.npz, a list of your own")
    return load(path)


def load(path: Path) -> TaskList:
    """A list of tasks from its file.

    Raises:
        DataError: the file is missing, damaged or foreign.
    """
    if not path.is_file():
        raise DataError(f"no file {path}; expected a list of tasks; name another, or dev or test")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is no list of tasks: no .npz file, or cut short; restore it, or name another")
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        tasks = TaskList(env=str(arrays.pop("env")), split=_split(str(arrays.pop("split"))), **arrays)
        _check(tasks)
    except Exception as error:  # whatever a damaged or hostile file makes the parsers raise
        raise DataError(f"{path} is no list of tasks ({type(error).__name__}: {error}); restore it, or name another") from error
    return tasks


def _split(name: str) -> Split:
    if name not in SEEDS:
        raise ValueError(f"split {name!r}, expected dev or test")
    return "dev" if name == "dev" else "test"


def _check(tasks: TaskList) -> None:
    """Refuse arrays that do not describe one task or more."""
    count, size = tasks.starts.shape
    height, width = tasks.goal_images.shape[1:3]
    wanted = {
        "seeds": ("<i8", (count,)),
        "starts": ("<f8", (count, size)),
        "goals": ("<f8", (count, size)),
        "goal_images": ("|u1", (count, height, width, 3)),
        "difficulties": ("<f8", (count,)),
    }
    for name, (kind, shape) in wanted.items():
        array = getattr(tasks, name)
        if (array.dtype.str, array.shape) != (kind, shape) or not count or not np.all(np.isfinite(array)):
            raise ValueError(f"{name} is {array.dtype} {array.shape}, expected finite {np.dtype(kind)} {shape}, 1 task or more")


def choose(env: GoalEnv, name: str) -> TaskList:
    """Tasks by name: `dev`, `test`, or a file."""
    if name in SEEDS:
        return frozen(env, "dev" if name == "dev" else "test")
    if not name.endswith(".npz"):
        raise UsageError(f"tasks {name!r}; expected dev, test, or the path of an .npz file")
    tasks = load(Path(name))
    if tasks.env != env_id(env):
        raise DataError(f"{name} holds tasks of {tasks.env}; expected {env_id(env)}; name another list, or another env")
    return tasks


def freeze(name: str, count: int = 200) -> None:
    """Draw and write both lists of an environment into the package."""
    env = make(name)
    for split in SEEDS:
        draw(env, split, count).save(find.folder("eval") / "tasks" / f"{short_name(env_id(env))}-{split}.npz")
