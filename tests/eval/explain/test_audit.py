"""An audit names what is spoilt: world models and searches with one fault each, in a world simple enough to be exact.

The world: an action moves an object by 0.1 m, and the agent's body by as much the other way. The picture shows both, a
linear encoder reads both exactly, and the predictor knows the physics; so that nothing is lost but what a test takes away.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from imagoal import files
from imagoal.cli import main
from imagoal.envs import Floats, Frames, GoalEnv, Rng, Task, make
from imagoal.errors import DataError, UsageError
from imagoal.eval.episodes import RowSetting, build, evaluate
from imagoal.eval.explain import _audit
from imagoal.eval.explain._audit import audit, conclude
from imagoal.eval.explain._audit_gaps import STEPS, Findings, find_gaps
from imagoal.eval.explain._audit_rows import ROWS, AuditSetting, choices
from imagoal.eval.show import read_results
from imagoal.eval.tasks import draw_tasks
from imagoal.planning import CEM
from imagoal.world_model import Label, Predictor, to_tensor
from imagoal.world_model.models import LatentFolder, save_latent
from imagoal.world_model.models.latent import Latent
from imagoal.world_model.readouts import Gallery, build_encoder, fit_probe, slowness

COUNT, BLOCK = 24, 2
PLANNER = CEM(horizon=2, num_samples=24, num_elites=4, iterations=3)


class See(GoalEnv):
    """An object, and a body that goes the other way: state and picture hold the place of both."""

    max_episode_steps: ClassVar[int] = 10
    tolerance: ClassVar[float] = 0.05

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        picture = spaces.Box(0, 255, (1, 4, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": picture, "goal": picture})  # type: ignore[assignment]
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def sample_task(self, rng: Rng) -> Task:
        start, way = rng.uniform(0.3, 0.7, 4), rng.choice([-0.2, 0.2], 2)
        goal = start + np.concatenate([way, self.body_way(way, rng)])
        return Task(start, goal, self.render_states(goal[None])[0], float(self.task_distance(start, goal)))

    def body_way(self, way: Floats, rng: Rng) -> Floats:
        """Where the body goes while the object goes its way to the goal."""
        return -way

    def advance(self, states: Floats, actions: Floats) -> Floats:
        return np.clip(states + 0.1 * np.concatenate([actions, -actions], -1), 0, 1)

    def simulate(self, states: Floats, actions: Floats) -> Floats:
        path = []
        for action in np.moveaxis(actions, 1, 0):
            states = self.advance(states, action)
            path.append(states)
        return np.stack(path, 1)

    def render_states(self, states: Floats) -> Frames:
        return np.repeat(np.round(255 * states)[:, None, :, None], 3, -1).astype(np.uint8)

    def task_distance(self, states: Floats, goals: Floats) -> Floats:
        return np.asarray(np.linalg.norm((states - goals)[..., :2], axis=-1))

    def visible(self, states: Floats) -> Floats:
        return states

    def expert(self, states: Floats, goals: Floats) -> Floats:
        raise NotImplementedError


class Odd(See):
    """Its goal pictures show the body where it cannot be while the object is at the goal, which is all that the task asks."""

    def body_way(self, way: Floats, rng: Rng) -> Floats:
        return rng.choice([-0.2, 0.2], 2)


def place_to_latent(places: Tensor, fault: str) -> Tensor:
    """Latents (..., 4 or 8) of places (..., 4): the places themselves, but for the faults of an encoder."""
    if fault == "blurred":
        return (4 * places).round() / 4
    if fault == "wrapping":  # most of the latent goes round and round; its linear part is small, but exact
        return torch.cat([0.1 * places, torch.sin(40 * places)], -1)
    return places


class Reader(nn.Module):
    """The encoder's network."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault, self.scale = fault, nn.Parameter(torch.ones(()))

    def forward(self, frames: Tensor) -> Tensor:
        return place_to_latent(self.scale * frames[:, 0], self.fault)


@dataclass(frozen=True)
class Read:
    """The encoder."""

    label: ClassVar[Label] = "generic"
    fault: str = ""

    def build(self) -> nn.Module:
        return Reader(self.fault)

    layers = build


class Mover(Predictor):
    """Knows the physics; with `shuffled` actions it takes them for others."""

    history = 1

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault, self.step = fault, nn.Parameter(torch.tensor(0.1))

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        places = latents[..., :4] / (0.1 if self.fault == "wrapping" else 1)
        for action in actions[:, :, None].split(2, -1):
            moved = action.roll(1, -1) * torch.tensor([-1, 1]) if self.fault == "shuffled" else action
            places = (places + self.step * torch.cat([moved, -moved], -1)).clamp(0, 1)
        return place_to_latent(places, self.fault)


@dataclass(frozen=True)
class Move:
    """The predictor."""

    history: ClassVar[int] = 1
    fault: str = ""

    def build(self, tokens: int, token_size: int, action_size: int) -> Predictor:
        return Mover(self.fault)


SEE, ODD = f"{__name__}:See", f"{__name__}:Odd"


@pytest.fixture(scope="module", autouse=True)
def _hasty() -> Iterator[None]:
    """Nothing is forced to disk: that would take three times as long as the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """World-model folders by fault, with probe and metric fitted as in training; task lists by env."""
    folder = tmp_path_factory.mktemp("audit")
    for name, env in ((SEE, See()), (ODD, Odd())):
        draw_tasks(env, "dev", COUNT).save(folder / f"{name}.npz")
    made = {fault: _world_model(folder / (fault or "sound"), fault) for fault in ("", "blurred", "wrapping", "shuffled")}
    return made | {name: folder / f"{name}.npz" for name in (SEE, ODD)}


def _world_model(path: Path, fault: str) -> Path:
    rng, env = np.random.default_rng(0), See()
    states = rng.uniform(0, 1, (600, 4))
    following = env.advance(states, rng.uniform(-1, 1, (600, 2)))
    encoder = build_encoder(Read(fault))
    frames = env.render_states(states)
    latents, after = encoder.encode(to_tensor(frames)), encoder.encode(to_tensor(env.render_states(following)))
    probe = fit_probe(latents, torch.from_numpy(states).float())
    model = Latent(encoder, Move(fault).build(1, 4, 2 * BLOCK), 2 * BLOCK, BLOCK)
    gallery = Gallery(frames[:5], latents[:5])
    parts = LatentFolder(model, encoder, {"slowness": slowness(after - latents)}, probe, gallery, {"training_seed": 0})
    save_latent(path, parts, Move(fault))
    return path


SETTING = AuditSetting(PLANNER, trust=True, batch=COUNT)
WORLD = make(SEE)


def asked(model: Path, setting: AuditSetting = SETTING) -> dict[int, Any]:
    return choices(str(model), setting)


def rows(models: Mapping[str, Path], folder: Path, *, fault: str = "", env: str = SEE, **settings: Any) -> dict[int, Any]:
    """Rows of the audit of a world model, under changed settings."""
    found = audit(make(env), str(models[fault]), str(models[env]), COUNT, folder, replace(SETTING, **settings))
    return dict(found.rows)


@pytest.fixture(scope="module")
def sound(models: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """The audit of a world model without a fault."""
    return rows(models, tmp_path_factory.mktemp("sound"))


WEAK = CEM(horizon=1, num_samples=2, num_elites=1, iterations=1)


@pytest.mark.parametrize(
    ("name", "spoilt"),
    [
        ("planner", {"planner": WEAK}),
        ("specification", {"env": ODD, "agent_weight": 3.0}),
        ("information", {"fault": "blurred"}),
        ("metric", {"fault": "wrapping"}),
        ("model", {"fault": "shuffled"}),
    ],
)
def test_what_is_spoilt_is_named(models: Mapping[str, Path], tmp_path: Path, name: str, spoilt: dict[str, Any]) -> None:
    findings = find_gaps(rows(models, tmp_path, **spoilt))
    sizes = {gap.step.name: gap.size.rate for gap in findings.gaps}
    assert findings.sentence.startswith(f"The largest gap is {name}, "), findings.sentence
    assert sizes.pop(name) > 0.5
    assert max(sizes.values()) < 0.2, "and the others are small"


def test_where_nothing_is_spoilt_no_gap_is_named(sound: Mapping[int, Any]) -> None:
    findings = find_gaps(sound)
    assert findings.sentence.startswith(f"No gap is resolved at n = {COUNT} (final): the largest is ")
    assert min(rate.rate for rate in findings.rows.values()) > 0.9
    assert findings.beside.size.rate < 0.1


def test_the_rows_differ_in_nothing_but_what_they_are_about(models: Mapping[str, Path], tmp_path: Path) -> None:
    found = rows(models, tmp_path, agent_weight=0.25)
    agents = [found[number]["agent"] for number in sorted(ROWS)]
    shared = {files.hash_of([agent["planner"], *(agent["cost"][key] for key in ("last", "mean", "min"))]) for agent in agents}
    assert len(shared) == 1
    assert agents[0]["planner"]["action_block"] == agents[0]["planner"]["replan_every"] == BLOCK, "the learned model's"
    assert [agent["cost"]["last"] for agent in agents] == [1] * 6
    weights = [(agent["cost"]["distance"], agent["cost"]["agent_weight"]) for agent in agents]
    assert weights == [("task", None), *[("visible", 0.25)] * 2, ("slowness", None), ("visible", 0.25), ("slowness", None)]
    assert [agent["world_model"] for agent in agents] == ["simulator"] * 4 + ["latent"] * 2
    assert [agent["cost"]["at"] for agent in agents] == ["state", "state", "probe", "latent", "probe", "latent"]
    assert {found[number]["role"] for number in ROWS} == {"gap"}
    assert len({found[number]["protocol"]["hash"] for number in ROWS}) == 1


def test_rows_run_one_by_one_in_any_order_and_none_twice(
    models: Mapping[str, Path], tmp_path: Path, sound: Mapping[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(rows(models, tmp_path, rows=(5, 1))) == [1, 5]
    run: list[str] = []

    def noted(*args: Any) -> dict[str, Any]:
        run.extend([args[4].name] if not (args[4] / "result.json").exists() else [])
        return evaluate(*args)

    monkeypatch.setattr(_audit, "evaluate", noted)
    found = rows(models, tmp_path)
    assert run == ["2-simulator-visible", "3-simulator-probe", "4-simulator-latent", "6-learned-latent"]
    assert {number: found[number]["replay_hash"] for number in ROWS} == {n: sound[n]["replay_hash"] for n in ROWS}


def test_a_row_that_was_interrupted_is_continued(
    models: Mapping[str, Path], tmp_path: Path, sound: Mapping[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    appended = files.append_line

    def append(path: Path, record: Any) -> None:
        if path.parent.name.startswith("2-") and len(files.read_lines(path)) == 7:
            raise KeyboardInterrupt
        appended(path, record)

    with monkeypatch.context() as patch:
        patch.setattr(files, "append_line", append)
        with pytest.raises(KeyboardInterrupt):
            rows(models, tmp_path)
    assert (tmp_path / "1-simulator-task/result.json").exists()
    assert find_gaps(rows(models, tmp_path)) == find_gaps(sound)


def test_a_row_that_stands_elsewhere_is_taken_over_if_it_is_the_same(
    models: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(models[""])[3]
    evaluate(build(request, WORLD), WORLD, str(models[SEE]), COUNT, tmp_path / "elsewhere", RowSetting(COUNT))
    monkeypatch.setattr(_audit, "evaluate", lambda *_: pytest.fail("it is there already"))
    have = (tmp_path / "elsewhere" / "result.json",)

    def taken(choice: Any, rows: tuple[int, ...], have: tuple[Path, ...], count: int = COUNT) -> dict[int, Any]:
        setting = replace(SETTING, rows=rows, have=have)
        return _audit.run_rows(WORLD, {3: choice}, str(models[SEE]), count, tmp_path / "new", setting)

    found = taken(request, (3,), have)
    assert found[3]["role"] == "ablation"
    assert not (tmp_path / "new").exists()
    others = {
        "weight": replace(request, cost=replace(request.cost, agent_weight=0.5)),
        "planner": replace(request, planner=replace(PLANNER, iterations=2)),
        "row": asked(models[""])[4],
        "weights": asked(models["shuffled"])[3],  # the same encoder: only the hash of its folder tells
    }
    for what, other in others.items():
        for place in (have, (tmp_path / "elsewhere",)):
            assert not taken(other, (1,), place), what
    assert not taken(request, (1,), have, 5), "other tasks"


def test_what_is_written_is_a_table_that_a_report_reads_and_a_figure_that_stands_alone(
    sound: Mapping[int, Any], tmp_path: Path
) -> None:
    findings = conclude(sound, tmp_path)
    _, (table,) = read_results([tmp_path / "audit.json"])
    assert [row[0] for row in table.rows[6:]] == [*(step.name for step in STEPS), "model, at the probe"]
    content = files.read_json(tmp_path / "audit.json")
    assert content["sentence"] == findings.sentence
    assert content["results_sha256"] == {str(number): result["sha256"] for number, result in sound.items()}
    assert content["provenance"]["weights_hash"] == sound[6]["provenance"]["weights_hash"]
    svg = ElementTree.parse(tmp_path / "audit.svg").getroot()
    shown = " ".join(text for text in svg.itertext())
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert all(word in shown for word in [*(step.name for step in STEPS), *(row.label for row in ROWS.values())])


def constructed(**failed: int) -> Findings:
    """Findings of 100 tasks, of which each row fails the first so many."""
    results = {}
    for number, row in enumerate(("one", "two", "three", "four", "five", "six"), 1):
        episodes = [{"trivial": False, "hold": task >= failed.get(row, 0)} for task in range(100)]
        results[number] = {"env": "imagoal/Ball-v0", "protocol": {"headline": "hold"}, "episodes": episodes}
    return find_gaps(results)


def test_the_gaps_add_up_to_what_the_learned_model_fails() -> None:
    findings = constructed(one=2, two=5, three=9, four=30, five=12, six=41)
    assert [round(100 * gap.size.rate) for gap in findings.gaps] == [2, 3, 4, 21, 11]
    assert round(100 * findings.beside.size.rate) == 3
    assert findings.sentence.startswith("The largest gap is metric, 21.0 points [")
    assert "; next is model, 11.0 points [" in findings.sentence


def test_a_gap_that_so_few_tasks_cannot_tell_from_0_is_not_called_a_cause() -> None:
    findings = constructed(one=1, two=1, three=1, four=3, five=1, six=3)
    assert findings.sentence.startswith("The largest gap, metric, 2.0 points [-")
    assert "is not resolved at n = 100 (hold); planner, 1.0 points [0.2, 5.4], is: " in findings.sentence
    assert constructed(four=3, six=3).sentence.startswith(
        "No gap is resolved at n = 100 (hold): the largest is metric, 3.0 points"
    )


def test_a_loss_that_the_next_row_makes_good_is_said() -> None:
    sentence = constructed(three=40, five=40).sentence
    assert sentence.startswith("The largest gap is information, 40.0 points [")
    assert "; on the other side of 0 is metric, -40.0 points [-" in sentence


def test_tasks_that_were_solved_at_their_start_do_not_count(sound: Mapping[int, Any]) -> None:
    changed = {number: dict(result) for number, result in sound.items()}
    for result in changed.values():
        result["episodes"] = [episode | {"trivial": episode["id"] < 4} for episode in result["episodes"]]
    assert find_gaps(changed).n == COUNT - 4


def test_the_command_says_what_is_missing_and_then_why_it_fails(
    models: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["audit", "--env", SEE, "--world-model", str(models["shuffled"]), "--tasks", str(models[SEE]), "--trust"]
    command += ["--count", "12", "--batch", "12", "--planner.horizon", "2", "--planner.num-samples", "32"]
    assert main([*command, "--rows", "1", "3"]) == 0
    assert "2 of 6 rows are in runs/audit/" in (said := capsys.readouterr().out)
    assert "--rows 2 4 5 6 runs the others" in said
    assert main([*command, "--rows", "2", "4", "5", "6"]) == 0
    said = capsys.readouterr().out
    assert "The largest gap is model, " in said
    (folder,) = (tmp_path / "runs/audit").iterdir()
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["audit.json", "audit.svg"]
    assert files.read_json(folder / "audit.json")["sentence"] in said


@pytest.mark.parametrize(
    ("world_model", "changes", "words"),
    [
        ("simulator", {}, "world model 'simulator'; an audit is of a trained one: pass --world-model DIR"),
        ("", {}, "world model ''; an audit is of a trained one"),
        (None, {"rows": (1, 7)}, r"rows \[7\]; expected some of 1 to 6"),
        (None, {"rows": ()}, r"rows \[\]; expected some of 1 to 6"),
        (None, {"count": COUNT + 1}, "25 tasks asked of .*:See dev"),
    ],
)
def test_what_does_not_go_together_is_refused_and_nothing_is_written(
    models: Mapping[str, Path], tmp_path: Path, world_model: str | None, changes: dict[str, Any], words: str
) -> None:
    name, count = str(models[""]) if world_model is None else world_model, changes.pop("count", COUNT)
    with pytest.raises(UsageError, match=words):
        audit(WORLD, name, str(models[SEE]), count, tmp_path / "run", replace(SETTING, **changes))
    assert not (tmp_path / "run").exists()


def test_results_to_take_over_that_are_not_there_or_edited_are_refused(models: Mapping[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.json is missing"):
        rows(models, tmp_path / "run", have=(tmp_path / "missing.json",))
    files.write_json(tmp_path / "edited.json", {"schema": "imagoal.result/1", "sha256": "0"})
    with pytest.raises(DataError, match=r"edited\.json does not match its own sha256"):
        rows(models, tmp_path / "run", have=[tmp_path])
