"""Collecting gives the same store however it is spread, stopped or killed, and keeps nothing that breaks the contract."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from imagoal import files
from imagoal.cli import main
from imagoal.envs import GoalEnv, make
from imagoal.envs._types import Floats, Rng
from imagoal.envs.ball import Ball
from imagoal.envs.store import Collecting
from imagoal.envs.store._collect import Actor, Shown, collect
from imagoal.envs.store._store import Store
from imagoal.errors import DataError, DivergedError, EnvError, ResourceError, UsageError

EPISODES, STEPS = 60, 6
COMMAND = ["collect", "--env", "ball", "--episodes", str(EPISODES), "--steps", str(STEPS)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that was collected in one go by one worker."""
    return collect("ball", tmp_path_factory.mktemp("whole") / "store", EPISODES, setting=Collecting(steps=STEPS))


def start(path: Path, *flags: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "imagoal", *COMMAND, "--data", str(path), *flags]
    return subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heed_interrupts)


def heed_interrupts() -> None:
    """A shell's background job ignores SIGINT, and so would all that it starts: the tests may run in one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def committed(path: Path) -> int:
    log = path / "episodes.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def wait_for(done: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.002)


def test_an_episode_is_what_the_env_does(whole: Store) -> None:
    env = make("ball")
    assert len(whole) == EPISODES
    for number in (0, 17):
        episode = whole.read(number)
        env.reset(seed=episode.seed)
        np.testing.assert_array_equal(env.state(), episode.states[0])
        for step, action in enumerate(episode.actions):
            observation = env.step(action)[0]
            np.testing.assert_array_equal(observation["image"], episode.frames[step + 1])
            np.testing.assert_array_equal(env.state(), episode.states[step + 1])
    assert whole.spec.env == "imagoal/Ball-v0"
    assert {record.behaviour for record in whole.records} == set(env.behaviour_mix)
    assert len({record.seed for record in whole.records}) == EPISODES


def test_two_workers_make_the_same_store(whole: Store, tmp_path: Path) -> None:
    assert main([*COMMAND, "--data", str(tmp_path / "store"), "--workers", "2"]) == 0
    assert Store.open(tmp_path / "store").hash == whole.hash


def test_a_store_grown_in_steps_is_the_same_store(whole: Store, tmp_path: Path) -> None:
    for episodes in (1, 15, EPISODES):
        store = collect("ball", tmp_path / "store", episodes, setting=Collecting(steps=STEPS))
        assert len(store) == episodes
    assert store.hash == whole.hash


def test_other_seeds_make_other_stores(whole: Store, tmp_path: Path) -> None:
    other = collect("ball", tmp_path / "store", 3, setting=Collecting(seed=1, steps=STEPS))
    assert not {record.content for record in other.records} & {record.content for record in whole.records}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_loses_at_most_the_running_episode(whole: Store, tmp_path: Path, workers: int) -> None:
    rng, path = np.random.default_rng(workers), tmp_path / "store"
    for kill_at in (4, 15):
        process = start(path, "--workers", str(workers))
        wait_for(lambda mark=kill_at: committed(path) >= mark)  # type: ignore[misc]
        acknowledged = committed(path)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.communicate()
        store = Store.open(path)
        assert acknowledged <= len(store) < EPISODES
        assert store.verify() == []
    assert main([*COMMAND, "--data", str(path)]) == 0
    finished = Store.open(path)
    assert finished.hash == whole.hash
    assert finished.verify() == []
    assert not list(path.rglob("*.part"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_so_and_continues(whole: Store, tmp_path: Path, number: int, code: int) -> None:
    path = tmp_path / "store"
    process = start(path, "--workers", "2")
    wait_for(lambda: committed(path) >= 3)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=10)
    assert process.returncode == code
    assert b"continues" in complaint
    assert b"Traceback" not in complaint
    assert not (path / "LOCK").exists()
    assert collect("ball", path, EPISODES, setting=Collecting(steps=STEPS)).hash == whole.hash


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_leave_with_a_killed_parent(tmp_path: Path) -> None:
    process = start(tmp_path / "store", "--workers", "2", "--episodes", "4000")
    wait_for(lambda: committed(tmp_path / "store") >= 2)
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate()
    assert len(listed) >= 2
    wait_for(lambda: not any(running(child) for child in listed), seconds=5)


def running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_complete_store_is_left_as_it_is(whole: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.path.rglob("*")}
    assert main([*COMMAND, "--data", str(whole.path)]) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in whole.path.rglob("*") if path != whole.path} == {
        path: changed for path, changed in before.items() if path != whole.path
    }


def test_other_settings_are_refused_with_the_differences(whole: Store, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--seed", "3", "--behaviour", "noise", "--steps", "7"]
    assert main([*COMMAND, "--data", str(whole.path), *flags]) == 3
    complaint = capsys.readouterr().err
    assert "seed 0 -> 3, behaviour mixed -> noise, steps 6 -> 7" in complaint
    assert complaint.count("\n") == 1
    with pytest.raises(DataError, match=r"env imagoal/Ball-v0 -> imagoal/BallGravity-v0"):
        collect("ball_gravity", whole.path, EPISODES, setting=Collecting(steps=STEPS))
    assert Store.open(whole.path).hash == whole.hash


@pytest.mark.parametrize(
    "wrong",
    [
        {"env": "boll"},
        {"env": "imagoal/Boll-v0"},
        {"episodes": 0},
        {"behaviour": "nose"},
        {"workers": 0},
        {"seed": -1},
        {"steps": 0},
    ],
)
def test_wrong_arguments_write_nothing(tmp_path: Path, wrong: dict[str, Any]) -> None:
    how = {name: wrong[name] for name in wrong if name in {"workers", "seed", "steps"}}
    given = {"env": "ball", "episodes": 2} | {name: wrong[name] for name in wrong if name not in how}
    with pytest.raises(UsageError):
        collect(data=tmp_path / "store", **given, setting=Collecting(**how))
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_use_and_a_path_that_is_a_file_are_refused(whole: Store, tmp_path: Path) -> None:
    with files.lock(tmp_path), pytest.raises(ResourceError, match="in use by process"):
        collect("ball", tmp_path, 2)
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        collect("ball", tmp_path / "file", 2)


def push_right(env: GoalEnv, first: Shown, rng: Rng) -> Actor:
    """As an agent from above: it is shown what the env shows."""

    def act(shown: Shown, state: Floats) -> Floats:
        np.testing.assert_array_equal(shown["image"], env.render())
        np.testing.assert_array_equal(shown["goal"], first["goal"])
        np.testing.assert_array_equal(state, env.state())
        return np.array([3.0, 0.0])

    return act


def test_a_function_may_choose_the_actions(tmp_path: Path) -> None:
    store = collect("ball", tmp_path / "store", 2, push_right, Collecting(steps=3))
    assert {record.behaviour for record in store.records} == {"push_right"} == {store.spec.behaviour}
    np.testing.assert_array_equal(store.read(1).actions, [[1, 0]] * 3)
    with pytest.raises(UsageError, match="workers 2; expected 1"):
        collect("ball", tmp_path / "store", 4, push_right, Collecting(workers=2, steps=3))


class Reused(Ball):
    """Gives the same buffer again and again."""

    buffer: ClassVar[dict[str, Any]] = {}

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        self.buffer.setdefault("image", np.zeros_like(observation["image"]))[:] = observation["image"]
        return {"image": self.buffer["image"], "goal": observation["goal"]}, *rest


def test_a_reused_buffer_is_copied(whole: Store, tmp_path: Path) -> None:
    store = collect(f"{__name__}:Reused", tmp_path / "store", 2, setting=Collecting(steps=STEPS))
    np.testing.assert_array_equal(store.read(1).frames, whole.read(1).frames)


class Broken(Ball):
    """From the 3rd step of its 3rd episode on, shows or does something wrong."""

    fault: ClassVar[str] = ""
    episodes: ClassVar[int] = 0

    def reset(self, **options: Any) -> Any:
        type(self).episodes, self.steps = self.episodes + 1, 0
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        observation, *rest = super().step(action)
        self.steps += 1
        if self.episodes == 4 and self.steps == 3:  # the first reset only asks for the shapes
            if self.fault == "crash":
                raise RuntimeError("lost a wheel")
            if self.fault == "state":
                self._state = self._state * np.nan
            frame = observation["image"]
            wrong = {"dtype": frame.astype(np.float32), "shape": frame[:-1], "kind": frame.tolist()}
            observation["image"] = wrong.get(self.fault, frame)
        return observation, *rest


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("dtype", "frame is float32 (64, 64, 3), expected uint8 (64, 64, 3)"),
        ("shape", "frame is uint8 (63, 64, 3), expected uint8 (64, 64, 3)"),
        ("kind", "frame is list (64, 64, 3)"),
        ("state", "state [nan, nan, nan, nan], expected 4 finite numbers"),
        ("crash", "RuntimeError: lost a wheel"),
    ],
)
def test_a_broken_env_is_named_with_episode_and_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    monkeypatch.setattr(Broken, "fault", fault)
    monkeypatch.setattr(Broken, "episodes", 0)
    with pytest.raises(EnvError) as caught:
        collect(f"{__name__}:Broken", tmp_path, 5, "noise", Collecting(steps=STEPS))
    assert "episode 2 (seed " in str(caught.value)
    assert "failed at step 3: " in str(caught.value)
    assert words in str(caught.value)
    store = Store.open(tmp_path)
    assert len(store) == 2
    assert store.verify() == []
    assert [path.name for path in (tmp_path / "episodes").iterdir()].count("000002.npz") == 0


def not_a_number(env: GoalEnv, first: Shown, rng: Rng) -> Actor:
    left = iter([0.0, 0.5, np.nan])

    def act(shown: Shown, state: Floats) -> Floats:
        return np.array([0.0, next(left)])

    return act


def test_an_action_that_is_not_finite_is_named_and_not_taken(tmp_path: Path) -> None:
    with pytest.raises(EnvError, match=r"episode 0 \(seed \d+\) failed at step 2: action \[0.0, nan\], expected 2 finite"):
        collect("ball", tmp_path, 1, not_a_number)
    assert len(Store.open(tmp_path)) == 0


class Runaway(Ball):
    """Its physics diverges after so many steps of an episode, unless that is over before."""

    def reset(self, *, seed: int | None = None, **options: Any) -> Any:
        self.left = self.steps(seed or 0)
        return super().reset(seed=seed, **options)

    def steps(self, seed: int) -> int:
        return 1 + seed % (STEPS + 2)

    def step(self, action: Any) -> Any:
        if self.left == 0:
            raise DivergedError("the physics diverged; reset the env")
        self.left -= 1
        return super().step(action)


class RunawayAtOnce(Runaway):
    """Diverges before there is anything to keep."""

    def steps(self, seed: int) -> int:
        return 0


RUNAWAY = f"{__name__}:Runaway"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_episode_ends_before_the_step_that_diverged(
    whole: Store, tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """What comes before is kept as it would have been; stderr has one line for each such episode."""
    store = collect(RUNAWAY, tmp_path, 12, setting=Collecting(workers=workers, steps=STEPS))
    said = sorted(line for line in capfd.readouterr().err.splitlines() if "diverged" in line)
    expected = []
    for number in range(12):
        found, plain = store.read(number), whole.read(number)
        length = min(1 + plain.seed % (STEPS + 2), STEPS)
        for name, count in (("frames", length + 1), ("actions", length), ("states", length + 1)):
            np.testing.assert_array_equal(getattr(found, name), getattr(plain, name)[:count])
        if length < STEPS:
            label = f"episode {number} (seed {plain.seed}) ends after {length} steps; step {length + 1} is dropped"
            expected.append(f"{label}, since the physics diverged; reset the env")
    assert said == sorted(expected)
    assert 0 < len(said) < 12
    assert store.verify() == []


def test_where_the_first_step_diverges_there_is_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(EnvError, match=r"episode 0 \(seed \d+\) failed at step 1: the physics diverged"):
        collect(f"{RUNAWAY}AtOnce", tmp_path, 2, setting=Collecting(steps=STEPS))
    assert len(Store.open(tmp_path)) == 0


def test_a_store_is_of_an_env_with_its_options(whole: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*COMMAND, "--data", str(tmp_path / "store"), "--env-options", "distractors=noise+mover"]
    assert main([*flags, "--episodes", "6"]) == 0
    store = Store.open(tmp_path / "store")
    assert (store.spec.options, store.spec.state_size) == ({"distractors": "noise+mover"}, 7)
    env, episode = make("ball", store.spec.options), store.read(5)
    np.testing.assert_array_equal(env.render_states(episode.states), episode.frames)
    assert main([*flags, "--episodes", "6", "--workers", "2", "--data", str(tmp_path / "two")]) == 0
    assert Store.open(tmp_path / "two").hash == store.hash
    assert main([*COMMAND, "--data", str(store.path)]) == 3
    assert "options distractors=noise+mover -> none" in capsys.readouterr().err
    assert main([*COMMAND, "--data", str(whole.path), "--env-options", "distractors=mover"]) == 3
    assert "options none -> distractors=mover" in capsys.readouterr().err
    assert main(["data", "info", "--data", str(store.path)]) == 0
    told = capsys.readouterr().out
    assert "distractors=noise+mover" in told
    assert "of 8 x 8 cells" in told


def test_an_option_at_its_default_is_none(whole: Store, tmp_path: Path) -> None:
    store = collect(make("ball", {"distractors": "none"}), tmp_path / "store", EPISODES, setting=Collecting(steps=STEPS))
    assert store.spec.options == {}
    assert store.hash == whole.hash


class Secretive(Ball):
    """Does not tell of its option."""

    def __init__(self, render_mode: str | None = None, grip: str = "soft") -> None:
        super().__init__(render_mode)


def test_options_that_an_env_does_not_tell_of_are_kept_as_given(tmp_path: Path) -> None:
    for grip, options in (("soft", {}), ("firm", {"grip": "firm"})):
        store = collect(make(f"{__name__}:Secretive", {"grip": grip}), tmp_path / grip, 1, setting=Collecting(steps=STEPS))
        assert store.spec.options == options


def test_wrong_options_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, words in (("distractors", "expected NAME=VALUE"), ("colour=red", "colour"), ("distractors=bees", "'bees'")):
        assert main([*COMMAND, "--data", str(tmp_path / "store"), "--env-options", option]) == 2
        assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_info_says_so_where_options_lead_to_no_env(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = collect(make("ball", {"distractors": "mover"}), tmp_path, 1, setting=Collecting(steps=STEPS))
    manifest = files.read_json(store.path / "manifest.json")
    files.write_json(store.path / "manifest.json", manifest | {"options": {"id": "os:system"}})
    assert main(["data", "info", "--data", str(tmp_path)]) == 0
    assert "coverage     not known: env 'imagoal/Ball-v0' with options" in capsys.readouterr().out


def test_info_and_verify_speak_of_the_store(whole: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", "--data", str(whole.path)]) == 0
    told = capsys.readouterr().out
    for words in ("imagoal/Ball-v0", f"{EPISODES * STEPS} ", "noise ", whole.hash, "of 8 x 8 cells", "% of transitions"):
        assert words.strip() in told
    assert main(["data", "verify", "--data", str(whole.path)]) == 0
    copy = collect("ball", tmp_path / "copy", 2, setting=Collecting(steps=STEPS))
    copy.file(1).write_bytes(b"")
    assert main(["data", "verify", "--data", str(copy.path)]) == 3
    seen = capsys.readouterr()
    assert "episode 1: " in seen.out
    assert "problems: 1, listed above" in seen.err


def test_info_follows_no_foreign_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect(f"{__name__}:Reused", tmp_path, 1, setting=Collecting(steps=STEPS))
    assert main(["data", "info", "--data", str(tmp_path)]) == 0
    assert "not followed" in capsys.readouterr().out
