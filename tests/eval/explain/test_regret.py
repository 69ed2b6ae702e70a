"""Offline regret: it tells a bad model from a bad metric, and counts as it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from imagoal import cli, files
from imagoal.envs import Floats, Frames, GoalEnv, Rng, Task
from imagoal.envs.store import Collecting, FrameCache, collect
from imagoal.errors import DataError, UsageError
from imagoal.eval.explain._regret import (
    CHANCE,
    LEARNED,
    TRUE,
    Score,
    check_sequences,
    imagine_ends,
    rate_choice,
    score_sources,
    sentence,
    true_latents,
)
from imagoal.eval.explain._sequences import GUIDED, Design, Sequences, load_sequences, make_sequences
from imagoal.world_model import Predictor
from imagoal.world_model.models import LatentFolder
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.readouts import Gallery, Metric, Probe

STRIDE = 0.01
SMALL = Design(problems=12, sequences=40, horizon=5, action_block=2, history=2)


class Dot(GoalEnv):
    """State: x and y. A frame is those numbers."""

    max_episode_steps = 10
    tolerance = 0.02

    def __init__(self) -> None:
        super().__init__()
        picture = spaces.Box(0, 255, (1, 2, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": picture, "goal": picture})  # type: ignore[assignment]
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def sample_task(self, rng: Rng) -> Task:
        start, goal = rng.uniform(0.3, 0.7, (2, 2))
        return Task(start, goal, self.render_states(goal[None])[0], float(self.task_distance(start, goal)))

    def advance(self, states: Floats, actions: Floats) -> Floats:
        return states + STRIDE * actions

    def simulate(self, states: Floats, actions: Floats) -> Floats:
        return np.asarray(states[:, None] + STRIDE * np.cumsum(actions, 1))

    def render_states(self, states: Floats) -> Frames:
        coarse = np.round(states * 65535).astype(np.uint16).view(np.uint8)
        return np.pad(coarse.reshape(-1, 4), ((0, 0), (0, 2))).reshape(-1, 1, 2, 3)

    def task_distance(self, states: Floats, goals: Floats) -> Floats:
        return np.asarray(np.linalg.norm(states - goals, axis=-1))

    def visible(self, states: Floats) -> Floats:
        return states

    def expert(self, states: Floats, goals: Floats) -> Floats:
        return np.clip((goals - states) / STRIDE, -1, 1)


class Reader:
    """The numbers that a Dot's frame holds: a perfect encoder."""

    label, hash = "random", "0123456789abcdef"

    def encode(self, frames: Tensor) -> Tensor:
        numbers = frames.movedim(1, -1).flatten(1)[:, :4].float()
        return ((numbers[:, ::2] + 256 * numbers[:, 1::2]) / 65535)[:, None]


class Mover(Predictor):
    """Moves as Dot does, after blocks of two actions times a gain."""

    def __init__(self, gain: float = 1.0, history: int = 2) -> None:
        super().__init__()
        self.gain, self.history = torch.nn.Parameter(torch.tensor(float(gain))), history

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        return latents + self.gain * STRIDE * actions.unflatten(-1, (2, 2)).sum(2)[:, :, None]


def folder(predictor: Predictor, matrix: Tensor | None = None) -> LatentFolder:
    """A world model of Dot."""
    model = Latent(Reader(), predictor, action_size=4, action_block=2)  # type: ignore[arg-type]
    matrix = torch.eye(2) if matrix is None else matrix
    metrics = {"slowness": Metric(matrix, matrix[:, :0])}
    gallery = Gallery(np.zeros((1, 1, 2, 3), np.uint8), torch.zeros(1, 1, 2))
    return LatentFolder(model, Reader(), metrics, Probe(torch.eye(2), torch.zeros(2)), gallery, {})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cache() -> FrameCache:
    """20 episodes of Dot, random actions."""
    env, rng, steps = Dot(), np.random.default_rng(0), 10
    starts, actions = np.stack([env.sample_task(rng).start for _ in range(20)]), rng.uniform(-1, 1, (20, steps, 2))
    states = np.concatenate([starts[:, None], env.simulate(starts, actions)], 1).reshape(-1, 2)
    padded = np.pad(actions, ((0, 0), (0, 1), (0, 0))).reshape(-1, 2).astype(np.float32)
    return FrameCache(env.render_states(states), padded, states, np.arange(20) * (steps + 1), np.full(20, steps), Path())


@pytest.fixture(scope="module")
def bench(cache: FrameCache) -> Sequences:
    return make_sequences(Dot(), cache, SMALL, seed=0)


def scored(bench: Sequences, made: LatentFolder, path: Path) -> dict[tuple[str, str], Score]:
    sources = {LEARNED: imagine_ends(Dot(), bench, made).ends, TRUE: true_latents(bench, made.encoder, path)}
    scores = score_sources(Dot(), bench, made, sources, ("latent", "probe"))
    return {(line.imagined, line.cost): line for line in scores if line.goals == "all"}


@pytest.fixture
def saved(bench: Sequences, tmp_path: Path) -> Path:
    bench.save(tmp_path / "dots.npz")
    return tmp_path / "dots.npz"


@pytest.mark.parametrize("at", ["latent", "probe"])
def test_a_perfect_model_and_metric_have_no_regret(bench: Sequences, saved: Path, at: str) -> None:
    scores = scored(bench, folder(Mover()), saved)
    for source, exact in ((LEARNED, 0.999), (TRUE, 0.99)):  # latents that are kept are rounded to f16
        line = scores[source, at]
        assert line.regret < 0.05
        assert (line.reached, line.problems) == (100, 12)
        assert line.correlation is not None
        assert line.correlation > exact
    assert scores[LEARNED, at].overlap == 100
    assert scores[CHANCE, ""].regret > 1


@pytest.mark.parametrize("at", ["latent", "probe"])
def test_a_model_that_moves_the_wrong_way_has_regret_and_true_frames_have_none(bench: Sequences, saved: Path, at: str) -> None:
    scores = scored(bench, folder(Mover(gain=-1)), saved)
    assert scores[LEARNED, at].regret > 1
    assert scores[LEARNED, at].regret > 20 * scores[TRUE, at].regret
    said = sentence(list(scores.values()), at)
    assert f"the model adds {scores[LEARNED, at].regret - scores[TRUE, at].regret:+.2f}" in said


def test_a_metric_that_sees_half_of_the_place_has_regret_with_true_frames_too(bench: Sequences, tmp_path: Path) -> None:
    noise = slice(SMALL.sequences // GUIDED, None)  # the expert is right in both halves
    cut = replace(bench, actions=bench.actions[:, noise], states=bench.states[:, noise], frames=bench.frames[:, noise])
    cut.save(tmp_path / "cut.npz")
    scores = scored(cut, folder(Mover(), torch.tensor([[1.0], [0.0]])), tmp_path / "cut.npz")
    assert scores[TRUE, "latent"].regret > 0.5
    assert scores[LEARNED, "latent"].regret > 0.5
    assert scores[TRUE, "probe"].regret < 0.05


def test_the_objects_error_grows_as_the_model_errs(bench: Sequences) -> None:
    np.testing.assert_allclose(imagine_ends(Dot(), bench, folder(Mover())).off, 0, atol=2e-5)
    off = imagine_ends(Dot(), bench, folder(Mover(gain=0))).off
    moves = np.linalg.norm(bench.states - bench.starts[:, None, None], axis=-1).mean((0, 1))
    np.testing.assert_allclose(off, moves, rtol=1e-3)


def test_the_future_is_that_of_the_actions(bench: Sequences, cache: FrameCache) -> None:
    steps = bench.actions.reshape(12, 40, 10, 2).astype(np.float64)
    wanted = bench.starts[:, None, None] + STRIDE * np.cumsum(steps, 2)[:, :, 1::2]
    np.testing.assert_allclose(bench.states, wanted, atol=1e-6)
    shown = Dot().render_states(bench.states[:, :, -1].reshape(-1, 2).astype(np.float64)).reshape(bench.frames.shape)
    assert (shown != bench.frames).mean() < 0.05  # the states are kept in f32
    np.testing.assert_array_equal(Dot().render_states(bench.starts), bench.past_frames[:, -1])
    assert set(map(tuple, bench.starts)) <= set(map(tuple, cache.states[19 * 11 :]))  # of the held-out episode


def test_half_of_the_goals_can_be_reached_and_the_expert_is_among_the_sequences(bench: Sequences) -> None:
    assert bench.sampled.sum() == 6
    left = Dot().task_distance(bench.states[:, :, -1].astype(np.float64), bench.goals[:, None])
    away = Dot().task_distance(bench.starts, bench.goals)
    assert (left.min(1)[~bench.sampled] < 0.01).all()
    assert (away[~bench.sampled] > 0.03).all()
    assert (bench.actions[:, 0] == 0).all()
    assert (left[:, 1] < left[:, 0]).all()
    assert len({sequence.tobytes() for sequence in bench.actions[0]}) == 40


def test_counting() -> None:
    metres = np.tile(np.arange(20) / 100, (3, 1))
    best, second, worst = metres, np.roll(metres, 1, axis=1), -metres
    assert rate_choice(best, metres, 0.005) == Score("", "", "all", 3, 0, 0, 100, pytest.approx(1), 100)
    line = rate_choice(np.stack([best[0], second[0], worst[0]]), metres, 0.005)
    assert line.regret == pytest.approx((0 + 1 + 19) / 3)
    assert line.p90 == pytest.approx(np.quantile([0, 1, 19], 0.9))
    assert line.reached == pytest.approx(100 / 3)
    assert line.overlap == pytest.approx(100 * (1 + 0.5 + 0) / 3)
    assert rate_choice(best, metres + 1, 0.005).reached is None


def test_nothing_that_moves_ties_with_the_best() -> None:
    line = rate_choice(np.random.default_rng(0).random((2, 10)), np.ones((2, 10)), 0.1)
    assert (line.regret, line.overlap, line.correlation) == (0, 100, None)


def test_starts_at_the_goal_are_left_out(bench: Sequences, saved: Path) -> None:
    goals = bench.goals.copy()
    goals[0] = bench.starts[0]
    assert scored(replace(bench, goals=goals), folder(Mover()), saved)[TRUE, "probe"].problems == 11


def test_true_latents_are_kept_for_these_sequences_alone(bench: Sequences, saved: Path) -> None:
    first = true_latents(bench, Reader(), saved)  # type: ignore[arg-type]
    spoiled = replace(bench, frames=np.zeros_like(bench.frames))
    assert torch.equal(true_latents(spoiled, Reader(), saved), first)  # type: ignore[arg-type]  # read, not encoded
    spoiled.save(saved)
    assert not true_latents(spoiled, Reader(), saved).any()  # type: ignore[arg-type]


def test_a_file_gives_back_what_was_made_and_a_seed_makes_the_same(bench: Sequences, saved: Path, cache: FrameCache) -> None:
    for other in (load_sequences(saved), make_sequences(Dot(), cache, SMALL, seed=0)):
        for name, value in vars(bench).items():
            np.testing.assert_array_equal(getattr(other, name), value)


def test_damaged_and_missing_files_are_refused(saved: Path) -> None:
    with pytest.raises(DataError, match="regret make"):
        load_sequences(saved.with_name("other.npz"))
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(DataError, match="holds no sequences"):
        load_sequences(saved)


def test_models_of_other_blocks_and_longer_memories_are_refused(bench: Sequences) -> None:
    check_sequences(bench, folder(Mover()), "dot")
    with pytest.raises(UsageError, match=r"design\.action-block 2"):
        check_sequences(replace(bench, block=1), folder(Mover()), "dot")
    with pytest.raises(UsageError, match=r"design\.history 3"):
        check_sequences(bench, folder(Mover(history=3)), "dot")


@pytest.mark.parametrize("wrong", [{"problems": 1}, {"sequences": 4}, {"horizon": 0}, {"noise": 0.0}, {"correlation": 1.0}])
def test_designs_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}.*expected"):
        Design(**wrong)  # type: ignore[arg-type]


def test_the_command_scores_the_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collect("ball", tmp_path / "store", 4, setting=Collecting(steps=10))
    file, out = str(tmp_path / "s.npz"), tmp_path / "t.json"
    small = ["--design.problems", "4", "--design.sequences", "16", "--design.horizon", "3"]
    assert cli.main(["regret", "make", "--data", str(tmp_path / "store"), "--file", file, *small]) == 0
    assert cli.main(["regret", "score", "--world-model", "Ball-latent", "--file", file, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "learned model" in said
    assert "the model adds" in said
    table = files.read_json(out)
    assert table["columns"][0] == "imagined"
    assert table["provenance"]["config"]["distance"] == "slowness", "the model's own, by name"
    assert {row[0] for row in table["rows"]} == {"learned model", "true frames", "chance"}
    assert cli.main(["regret", "score", "--file", file]) == 2
