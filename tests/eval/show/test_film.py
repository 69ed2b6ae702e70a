"""A film shows what was seen, done and imagined, and nothing else."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imagoal.agents import Decision, Planning
from imagoal.agents.mpc import MPC
from imagoal.agents.random_actions import RandomActions
from imagoal.commands.plan import Plan
from imagoal.envs import GoalEnv, make
from imagoal.errors import UsageError
from imagoal.eval.episodes import BuiltAgent, ModelChoice, build
from imagoal.eval.show._film import Film, record_film
from imagoal.eval.show._picture import corners, draw_film, save_film, trail
from imagoal.eval.tasks import TaskList, draw_tasks
from imagoal.planning import Over, euclid
from imagoal.planning.cem import CEM
from imagoal.world_model import Observation
from imagoal.world_model.models.simulator import Simulator
from imagoal.world_model.readouts import Chain, Gallery
from tests.choices import choice

CHEAP = CEM(horizon=3, num_samples=8, num_elites=2, iterations=1)


@pytest.fixture(scope="module")
def env() -> GoalEnv:
    return make("ball_gust")


@pytest.fixture(scope="module")
def tasks(env: GoalEnv) -> TaskList:
    return draw_tasks(env, "dev", 12)


def film_of(env: GoalEnv, tasks: TaskList, agent: str = "mpc", replan_every: int = 1) -> Film:
    model = "simulator" if agent == "mpc" else ""
    return record_film(env, build(choice(agent, model, planner=CHEAP, replan_every=replan_every), env), tasks, 3)


@pytest.fixture(scope="module")
def film(env: GoalEnv, tasks: TaskList) -> Film:
    return film_of(env, tasks)


def test_it_holds_the_whole_episode(film: Film, env: GoalEnv) -> None:
    steps = env.max_episode_steps
    assert film.imagined is not None
    assert (len(film.frames), len(film.states), len(film.actions)) == (steps + 1, steps + 1, steps)
    assert film.imagined.shape == (steps, CHEAP.horizon, *film.goal_image.shape)
    assert bool(film.there[-1]) == film.result.final
    assert np.array_equal(film.frames, env.render_states(film.states))


def test_saved_episode_replays_to_the_same_states(film: Film, env: GoalEnv, tasks: TaskList, tmp_path: Path) -> None:
    film.save(tmp_path / "episode.npz")
    with np.load(tmp_path / "episode.npz") as episode:
        assert np.array_equal(episode["goal_image"], tasks.goal_images[3])
        env.reset(seed=int(episode["seed"]), options={"task": tasks.task(3)})
        for action, state in zip(episode["actions"], episode["states"][1:], strict=True):
            env.step(action)
            assert np.array_equal(env.state(), state)


def test_the_simulator_imagines_what_then_happens() -> None:
    still = make("ball")  # without random kicks
    film = film_of(still, draw_tasks(still, "dev", 12))
    assert film.imagined is not None
    assert np.array_equal(film.imagined[:, 0], film.frames[1:])


def test_between_plans_the_followed_one_stays_on_show(env: GoalEnv, tasks: TaskList) -> None:
    imagined = film_of(env, tasks, replan_every=2).imagined
    assert imagined is not None
    assert np.array_equal(imagined[0::2], imagined[1::2])
    assert not np.array_equal(imagined[0], imagined[2])


@pytest.mark.parametrize("scale", [1, 4])
def test_panels_show_every_pixel_as_it_was(film: Film, scale: int, tmp_path: Path) -> None:
    path = tmp_path / "plan.webp"
    save_film(path, draw_film(film, scale))
    assert film.imagined is not None
    future = np.concatenate([film.imagined, film.imagined[-1:]])
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) == len(film.frames)
        for step, frame in enumerate(film.frames):
            picture.seek(step)
            page = np.asarray(picture.convert("RGB"))
            shown = [frame, trail(future[step], film.scene), film.goal_image]
            for (left, top), expected in zip(corners(film, scale), shown, strict=True):
                size = len(expected) * scale
                panel = page[top : top + size, left : left + size]
                assert np.array_equal(panel, expected.repeat(scale, 0).repeat(scale, 1))


def test_a_gif_has_all_frames_too(film: Film, tmp_path: Path) -> None:
    save_film(tmp_path / "plan.gif", draw_film(film, 1))
    with Image.open(tmp_path / "plan.gif") as picture:
        assert getattr(picture, "n_frames", 1) == len(film.frames)


def test_an_agent_without_plans_has_no_imagined_panel(env: GoalEnv, tasks: TaskList) -> None:
    film = film_of(env, tasks, "random_actions")
    assert film.imagined is None
    assert len(corners(film, 4)) == 2
    assert "ms per action" not in film.summary()


def test_a_trail_keeps_the_last_frame_and_fades_into_the_past() -> None:
    scene = np.full((4, 4, 3), 200, np.uint8)
    frames = np.stack([scene] * 3)
    for step in range(3):
        frames[step, step, :] = (100, 0, 250)
    shown = trail(frames, scene)
    assert np.array_equal(shown[2], frames[2, 2])  # the last step, in full
    assert np.array_equal(shown[3], scene[3])  # where nothing ever was
    strength = np.abs(shown.astype(int) - scene).sum((1, 2))
    assert 0 < strength[0] < strength[1] < strength[2]
    assert np.array_equal(trail(frames[:1], scene), frames[0])


class _Dreamer:
    """An agent that imagines latents near those of two frames of a gallery."""

    privileged = False

    def __init__(self, latents: torch.Tensor) -> None:
        self.latents = latents

    def reset(self, goal: Observation, seeds: Sequence[int]) -> None:
        pass

    def act(self, now: Observation) -> Decision:
        return Decision(torch.zeros(1, 2), {}, imagine=lambda: self.latents[None])


class _LatentModel(Simulator):
    place = "latent"  # type: ignore[assignment]


def test_latents_are_shown_as_the_frames_nearest_to_them(env: GoalEnv, tasks: TaskList) -> None:
    gallery = Gallery(tasks.goal_images, torch.arange(12.0).reshape(12, 1, 1))
    planning = Planning(_LatentModel(env), Chain(), CHEAP, "latent", euclid, Over())
    film = record_film(env, BuiltAgent(_Dreamer(gallery.latents[[7, 2]] + 0.3), {}, gallery, {}, planning), tasks, 0)
    assert film.imagined is not None
    assert np.array_equal(film.imagined[5], tasks.goal_images[[7, 2]])
    with pytest.raises(UsageError, match="readouts"):
        record_film(env, BuiltAgent(RandomActions(env), {}, None, {}, planning), tasks, 0)


def test_nothing_is_imagined_before_the_first_plan(env: GoalEnv) -> None:
    agent = build(choice(planner=CHEAP), env).agent
    assert isinstance(agent, MPC)
    agent.reset(Observation(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.zeros(1, 4)), [0])
    with pytest.raises(UsageError, match="call act first"):
        agent.imagine()


def test_the_command_writes_picture_and_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "elsewhere" / "small.gif"
    command = Plan(model=ModelChoice("simulator"), planner=CHEAP, run_dir=tmp_path / "run", out=out, scale=1, task=5)
    assert command.run() == 0
    assert out.stat().st_size > 0
    assert (tmp_path / "run" / "episode.npz").exists()
    said = capsys.readouterr().out
    assert "imagoal/Ball-v0 task 5: ever " in said
    assert "ms per action" in said


@pytest.mark.parametrize(
    ("wrong", "words"), [({"out": Path("x.mp4")}, "x.mp4.*webp"), ({"scale": 99}, "99"), ({"scale": -1}, "-1")]
)
def test_wrong_flags_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Plan(**wrong)  # type: ignore[arg-type]


def test_a_task_that_is_not_there_is_refused(env: GoalEnv, tasks: TaskList) -> None:
    with pytest.raises(UsageError, match=r"task = 12; expected from 0 to 11"):
        record_film(env, BuiltAgent(RandomActions(env), {}, None, {}, None), tasks, 12)
