"""Frozen lists of tasks: `dev` chooses settings, `test` reports."""

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from imagoal import files, find
from imagoal.envs import Bools, Floats, Frames, GoalEnv, Task, env_id, make, short_name
from imagoal.errors import DataError, UsageError

Split = Literal["dev", "test"]
SEEDS: dict[Split, int] = {"dev": 10_000, "test": 20_000}
"""Task i of a split is drawn from, and its episode runs with, the seed SEEDS[split] + i; a redrawn task skips a seed."""


@dataclass(frozen=True)
class Origin:
    """Where tasks come from.

    Attributes:
        source: `sampler`, the env's own tasks; or `dataset`, starts and goals out of recorded episodes.
        offset: env steps from start to goal in the episode; 0 with the sampler.
        excluded: tasks that were drawn from the dataset and left out, since their start is at the goal already.
        data_hash: of the store.
        whole: whether all of the store's episodes were drawn from, not only those that are never trained on.
    """

    source: str = "sampler"
    offset: int = 0
    excluded: int = 0
    data_hash: str = ""
    whole: bool = False

    def __post_init__(self) -> None:
        recorded = self.source == "dataset" and self.offset >= 1 and self.excluded >= 0
        if not recorded and astuple(self) != ("sampler", 0, 0, "", False):
            raise UsageError(f"{self}; expected sampler alone, or dataset with an offset of 1 or more")


SAMPLER = Origin()


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
        origin: where they come from; no part of the hash, since it decides nothing that the tasks do not.
    """

    env: str
    split: Split
    seeds: npt.NDArray[np.int64]
    starts: Floats
    goals: Floats
    goal_images: Frames
    difficulties: Floats
    origin: Origin = SAMPLER

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
        cut = {name: array[:count] for name, array in self._arrays().items()}
        return TaskList(env=self.env, split=self.split, origin=self.origin, **cut)

    @property
    def hash(self) -> str:
        """SHA-256 of the tasks."""
        return files.hash_arrays(self._arrays())

    def save(self, path: Path) -> None:
        """Write the list as one `.npz`."""
        labels = {"env": self.env, "split": self.split} | ({} if self.origin == SAMPLER else asdict(self.origin))
        files.write_npz(path, self._arrays() | {name: np.array(label) for name, label in labels.items()})

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: getattr(self, name) for name in ("seeds", "starts", "goals", "goal_images", "difficulties")}


def draw_tasks(env: GoalEnv, split: Split, count: int) -> TaskList:
    """Draw tasks that are not solved at their start."""
    seeds: list[int] = []
    tasks: list[Task] = []
    seed = SEEDS[split]
    while len(tasks) < count:
        task = env.sample_task(np.random.default_rng(seed))
        if not is_trivial(env, task):
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


def is_trivial(env: GoalEnv, task: Task) -> Bools:
    """Whether the start is already at the goal."""
    return env.at_goal(task.start, task.goal)


def frozen_tasks(env: GoalEnv, split: Split) -> TaskList:
    """The frozen list that ships with the package.

    Raises:
        UsageError: there is none for this environment.
    """
    path = _path(env, split)
    if not path.exists():
        raise UsageError(f"no frozen {split} tasks for {env_id(env)} ({path.name}); pass --tasks FILE.npz, a list of your own")
    return load_tasks(path)


def _path(env: GoalEnv, split: Split) -> Path:
    """Where the frozen list of an environment with its options is."""
    return find.folder("eval") / "tasks" / "-".join(filter(None, (short_name(env_id(env)), env.variant, f"{split}.npz")))


def load_tasks(path: Path) -> TaskList:
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
        env, split, origin = str(arrays.pop("env")), _split(str(arrays.pop("split"))), _origin(arrays)
        tasks = TaskList(env=env, split=split, origin=origin, **arrays)
        _check(tasks)
    except Exception as error:  # whatever a damaged or hostile file makes the parsers raise
        raise DataError(f"{path} is no list of tasks ({type(error).__name__}: {error}); restore it, or name another") from error
    return tasks


def _origin(arrays: dict[str, npt.NDArray[Any]]) -> Origin:
    """Take what says where the tasks come from; nothing in lists from the sampler."""
    if "source" not in arrays:
        return SAMPLER
    source, offset, excluded, data_hash, whole = (arrays.pop(field.name).item() for field in fields(Origin))
    return Origin(str(source), int(offset), int(excluded), str(data_hash), bool(whole))


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


def choose_tasks(env: GoalEnv, wanted: str | TaskList) -> TaskList:
    """Tasks by name, `dev`, `test` or a file, or a list that is there already.

    Raises:
        UsageError: there is no such name.
        DataError: the file is missing, damaged or foreign, or the tasks are of another env.
    """
    if isinstance(wanted, str) and wanted in SEEDS:
        return frozen_tasks(env, "dev" if wanted == "dev" else "test")
    if isinstance(wanted, str) and not wanted.endswith(".npz"):
        raise UsageError(f"tasks {wanted!r}; expected dev, test, or the path of an .npz file")
    tasks = load_tasks(Path(wanted)) if isinstance(wanted, str) else wanted
    if tasks.env != env_id(env):
        name = wanted if isinstance(wanted, str) else "the list"
        raise DataError(f"{name} holds tasks of {tasks.env}; expected {env_id(env)}; name another list, or another env")
    return tasks


def freeze_tasks(name: str, count: int = 200, options: Mapping[str, str] | None = None) -> None:
    """Draw and write both lists of an environment with its options into the package."""
    env = make(name, options)
    for split in SEEDS:
        draw_tasks(env, split, count).save(_path(env, split))
