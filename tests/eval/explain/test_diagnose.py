"""Encoder diagnostics: each figure sees the fault that it is for, and the verdict names it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from imagoal import cli, files
from imagoal.envs import Floats, Frames, GoalEnv, Rng, Task
from imagoal.envs.store import Collecting, FrameCache, collect
from imagoal.errors import UsageError
from imagoal.eval.explain._diagnose import Figure, diagnose, verdict
from imagoal.eval.explain._edited import moved_states, placed_states, ways_from
from imagoal.eval.explain._geometry import BASIN, CORRELATION, FALLING, basin, sensitivity, spearman

STRIDE = 0.05
BODY_ANGLES = 3.0  # rad per metre: the body is placed by a crooked link, as an arm is


class Tray(GoalEnv):
    """State: two angles of the body, the object's x and y, something hidden. A frame is those numbers but the last."""

    max_episode_steps = 20
    tolerance = 0.05

    def __init__(self) -> None:
        super().__init__()
        picture = spaces.Box(0, 255, (2, 4, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": picture, "goal": picture})  # type: ignore[assignment]
        self.action_space = spaces.Box(-1, 1, (4,), np.float32)

    def sample_task(self, rng: Rng) -> Task:
        start, goal = rng.uniform(0.1, 0.9, (2, 5))
        return Task(start, goal, self.render_states(goal[None])[0], float(self.task_distance(start, goal)))

    def advance(self, states: Floats, actions: Floats) -> Floats:
        return np.concatenate([np.clip(states[:, :4] + STRIDE * actions, 0, 1), states[:, 4:]], 1)

    def simulate(self, states: Floats, actions: Floats) -> Floats:
        path = []
        for step in range(actions.shape[1]):
            states = self.advance(states, actions[:, step])
            path.append(states)
        return np.stack(path, 1)

    def render_states(self, states: Floats) -> Frames:
        coarse = np.round(np.clip(states[:, :4], 0, 1) * 65535).astype(np.uint16)
        return np.pad(coarse.view(np.uint8).reshape(-1, 8), ((0, 0), (0, 16))).reshape(-1, 2, 4, 3)

    def task_distance(self, states: Floats, goals: Floats) -> Floats:
        return np.asarray(np.linalg.norm(states[..., 2:4] - goals[..., 2:4], axis=-1))

    def visible(self, states: Floats) -> Floats:
        return np.concatenate([states[..., 2:4], np.sin(BODY_ANGLES * states[..., :2]) / BODY_ANGLES], -1)

    def expert(self, states: Floats, goals: Floats) -> Floats:
        return np.clip((goals[..., :4] - states[..., :4]) / STRIDE, -1, 1)


class Coded:
    """Reads the numbers that a Tray's frame holds, exactly, and codes object and body as it was told."""

    label, hash = "random", "coded"

    def __init__(self, code: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._code = code

    def encode(self, frames: Tensor) -> Tensor:
        numbers = frames.movedim(1, -1).flatten(1)[:, :8].double()
        values = (numbers[:, ::2] + 256 * numbers[:, 1::2]) / 65535
        return self._code(values[:, 2:4], torch.sin(BODY_ANGLES * values[:, :2]) / BODY_ANGLES)[:, None].float()


PERFECT = Coded(lambda thing, body: torch.cat([4 * thing, body], 1))
SWAMPED = Coded(lambda thing, body: torch.cat([thing, 20 * body], 1))
FOLDED = Coded(lambda thing, body: torch.cat([(thing - 0.5).abs(), body], 1))
NONSENSE = Coded(lambda thing, body: torch.frac(torch.sin(1e5 * torch.cat([thing, body], 1)) * 1e4))


@pytest.fixture(scope="module")
def cache() -> FrameCache:
    """40 episodes of Tray, random actions."""
    env, rng, steps = Tray(), np.random.default_rng(0), 30
    starts = np.stack([env.sample_task(rng).start for _ in range(40)])
    actions = rng.uniform(-1, 1, (40, steps, 4))
    states = np.concatenate([starts[:, None], env.simulate(starts, actions)], 1).reshape(-1, 5)
    padded = np.pad(actions, ((0, 0), (0, 1), (0, 0))).reshape(-1, 4).astype(np.float32)
    lengths = np.full(40, steps)
    return FrameCache(env.render_states(states), padded, states, np.arange(40) * (steps + 1), lengths, Path())


def found(cache: FrameCache, encoder: Coded) -> dict[tuple[str, str], float]:
    return {(figure.name, figure.of): figure.value or 0.0 for figure in diagnose(Tray(), cache, encoder)}


def judged(cache: FrameCache, encoder: Coded) -> tuple[bool, str]:
    return verdict(diagnose(Tray(), cache, encoder), Tray.tolerance)


def test_a_perfect_linear_encoder_is_kept(cache: FrameCache) -> None:
    figures = found(cache, PERFECT)
    assert figures["probe error, mean", "object"] < 0.05
    assert figures["probe error, mean", "body"] < 0.1  # of some 10: the ridge shrinks it a little
    assert figures[CORRELATION, "probe"] > 0.999
    assert figures[CORRELATION, "euclid"] > 0.95
    assert figures[FALLING, "euclid"] == pytest.approx(100)
    assert figures[BASIN, "euclid"] == pytest.approx(800 * Tray.tolerance)
    assert figures["aliases", "euclid"] == 0
    assert figures["object's change over body's", "euclid"] == pytest.approx(4, rel=0.02)
    good, sentence = judged(cache, PERFECT)
    assert good
    assert sentence.startswith("keep")


def test_only_what_a_picture_shows_and_visible_does_not_say_is_probed_beside_it(cache: FrameCache) -> None:
    probed = {name for label, name in found(cache, PERFECT) if label == "probe error, mean"}
    assert probed == {"object", "body", *(f"visible[{i}]" for i in range(4)), "state[0]", "state[1]"}


def test_an_encoder_that_tells_nothing_is_rejected_for_its_probe(cache: FrameCache) -> None:
    good, sentence = judged(cache, NONSENSE)
    assert not good
    assert sentence.startswith("reject: object off by")


def test_a_body_that_swamps_the_object_shows_in_the_ratio_and_the_correlation(cache: FrameCache) -> None:
    figures = found(cache, SWAMPED)
    assert figures["object's change over body's", "euclid"] == pytest.approx(1 / 20, rel=0.02)
    assert figures[CORRELATION, "euclid"] < 0.3
    assert figures[CORRELATION, "probe"] > 0.99


def test_places_that_look_alike_are_aliases_and_bound_the_basin(cache: FrameCache) -> None:
    figures = found(cache, FOLDED)
    assert figures["aliases", "euclid"] > 1
    assert figures[BASIN, "euclid"] < 10
    assert not judged(cache, FOLDED)[0]


def test_figures_follow_from_the_seed(cache: FrameCache) -> None:
    assert diagnose(Tray(), cache, PERFECT, seed=1) == diagnose(Tray(), cache, PERFECT, seed=1)
    assert diagnose(Tray(), cache, PERFECT, seed=1) != diagnose(Tray(), cache, PERFECT, seed=2)


def test_latents_too_large_for_a_metric_are_refused(cache: FrameCache) -> None:
    with pytest.raises(UsageError, match="--reduce"):
        diagnose(Tray(), cache, Coded(lambda thing, body: thing.repeat(1, 2049)))


@pytest.mark.parametrize("body", [False, True])
def test_a_part_moves_by_the_length_and_nothing_else_does(body: bool) -> None:
    env, rng = Tray(), np.random.default_rng(0)
    states = np.random.default_rng(1).uniform(0.1, 0.4, (50, 5))
    changed, held = moved_states(env, states, 0.03, body, rng)
    shift = np.linalg.norm((env.visible(changed) - env.visible(states)).reshape(-1, 2, 2), axis=-1)
    assert held.mean() > 0.9
    np.testing.assert_allclose(shift[held, int(body)], 0.03, atol=1e-6)
    np.testing.assert_allclose(shift[held, 1 - int(body)], 0, atol=1e-6)
    np.testing.assert_array_equal(changed[:, 4], states[:, 4])


def test_a_place_that_cannot_be_reached_is_said_to_be_missed() -> None:
    env, states = Tray(), np.full((1, 5), 0.2)
    _, held = placed_states(env, states, np.array([[0.5, 0.5, 2.0, 0.0]]))  # the body's crooked link ends at 1/3 m
    assert not held.any()


def test_ways_that_leave_the_data_do_not_come_back() -> None:
    env, rng = Tray(), np.random.default_rng(0)
    seen = np.array([[0.3, 0.3, 0, 0], [0.6, 0.6, 0, 0]])
    ways = ways_from(env, np.full((1, 5), 0.5), 20, 0.05 * np.arange(9), seen, rng)
    outside = ~ways.inside
    assert ways.inside[:, 0].all()
    assert outside[:, -1].all()
    assert (np.diff(outside.astype(int), axis=1) >= 0).all()


def test_the_basin_ends_where_distances_no_longer_rise() -> None:
    radii = 0.01 * np.arange(9)
    rising = np.arange(9.0)
    dented = rising.copy()
    dented[5] = 0.5  # falls at 5 cm, and is nearer than the place at a tolerance, 2 cm
    short = np.where(radii < 0.035, rising, np.nan)  # leaves the data after 3 cm: says nothing of what follows
    assert basin(np.stack([rising, short]), radii)[BASIN] == (pytest.approx(8), "cm")
    found = basin(np.stack([rising, dented]), radii)
    assert found[BASIN] == (pytest.approx(4), "cm")
    assert found["aliases"] == (pytest.approx(10), "%")  # one of 2 x 5 places from 4 cm on


def test_what_cannot_be_measured_is_none() -> None:
    none = np.zeros(0)
    assert sensitivity({"object": np.ones(3), "body": none})["object's change over body's"][0] is None
    assert spearman(np.ones((2, 5)), np.ones((2, 5))) is None


@pytest.mark.parametrize(("label", "worst"), [(FALLING, 80.0), (BASIN, 9.0), (CORRELATION, 0.4)])
def test_the_verdict_names_what_the_best_distance_lacks(label: str, worst: float) -> None:
    fine = {FALLING: 95.0, BASIN: 12.0, CORRELATION: 0.9}
    figures = [Figure("probe error, mean", "object", 0.5, "cm")]
    figures += [Figure(name, of, 0.0, "") for name in fine for of in ("euclid", "resting")]
    assert verdict([*figures, *(Figure(name, "slowness", value, "") for name, value in fine.items())], 0.05)[0]
    figures += [Figure(name, "slowness", value, "") for name, value in (fine | {label: worst}).items()]
    good, sentence = verdict(figures, 0.05)
    assert not good
    assert sentence.startswith(f"reject: {label} {worst:.2f}")


def test_the_command_rejects_an_untrained_encoder_and_writes_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect("ball", tmp_path / "store", 20, setting=Collecting(steps=20))
    flags = ["--env", "ball", "--data", str(tmp_path / "store"), "--encoder", "patch_conv", "--out", str(tmp_path / "t.json")]
    assert cli.main(["diagnose", *flags]) == 1
    assert "(random): reject" in capsys.readouterr().out
    table = files.read_json(tmp_path / "t.json")
    assert (table["schema"], table["columns"]) == ("imagoal.table/1", ["figure", "of", "value", "unit"])
    assert cli.main(["diagnose", *flags[2:], "--env", "ball_gravity"]) == 3
    assert "name its own store" in capsys.readouterr().err
