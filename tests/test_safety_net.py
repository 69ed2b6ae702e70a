"""A net under changes that are to change nothing: what is shipped and committed, held from the outside.

All that this file knows of the package's modules stands in `inside`. The same actions come out on the same processor, with the
same versions of what computes them. To hold those of another processor as well, or others where a change is meant to change
them: `python tests/test_safety_net.py`.
"""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
WEIGHTS, RESULTS = ROOT / "world_model/weights", ROOT / "experiments/results"
GOLDEN = ROOT / "tests/golden/actions.json"


@cache
def inside() -> SimpleNamespace:
    """The only names of modules in this file: parse, build, choose, run, load, hardware."""
    from imagoal import flags
    from imagoal.commands.eval import Eval
    from imagoal.eval.episodes import build, hardware, load_result, run_tasks
    from imagoal.eval.tasks import choose_tasks

    parse = partial(flags.parse, Eval, prog="imagoal eval")
    return SimpleNamespace(parse=parse, build=build, choose=choose_tasks, run=run_tasks, load=load_result, hardware=hardware)


@dataclass(frozen=True)
class Shipped:
    """What is known of a shipped world model.

    Attributes:
        weights: first 16 characters of the hash of its weights.
        encoder: of the hash of the encoder that it is planned with, unless flags say otherwise; None if with none.
        rows: how many committed rows are of it, at least.
    """

    weights: str
    encoder: str | None
    rows: int


SHIPPED = {
    "Ball-latent": Shipped("df21390cbeb25778", "5f8e86b44d98898f", 12),
    "Ball-pixel_diffusion": Shipped("654a9a20ed210bb7", None, 4),
    "Ball-pixel_regression": Shipped("c14b28f1f976dedd", None, 4),
    "BallGravity-latent": Shipped("743fc61c23001af0", "09998b2d5fa546d5", 1),
    "BallGust-latent": Shipped("ff51174db3085808", "9735484354e36045", 2),
    "Push-latent": Shipped("1d843d522dc6fc0a", "dfa1c6bc7d40d463", 11),
    "Push-pixel_diffusion": Shipped("3dc560e474c8ad06", "dfa1c6bc7d40d463", 4),
    "Push-pixel_regression": Shipped("2c0c83300e6527ac", "dfa1c6bc7d40d463", 4),
    "PushEasy-latent": Shipped("ffd2cf2fd264e384", "f476071ee725ddf0", 1),
    "Reach-latent": Shipped("bdda53b59f1f5c4f", "7fc282a8f1e96666", 1),
}

MOVED = {
    "Ball/latent-mppi-s0",
    "Push/oracle-s0",
    "Push/oracle-anywhere-s0",
    "Push/simulator-latent-s0",
    "PushEasy/oracle-s0",
    "Reach/oracle-s0",
}
"""Rows whose flags are now described otherwise: an env's default search was chosen anew after they were made, a weight that
does not count is written as none, or another planner now keeps what it has of the env's preset."""

UNTRAINED_ROWS = 46
"""Rows whose agents need no trained world model, those in `MOVED` included, at least."""

FILES = {
    ("rows", "imagoal.result/1"): 145,
    ("rows", "imagoal.table/1"): 27,
    ("others", "imagoal.result/1"): 12,
    ("others", "imagoal.table/1"): 33,
    ("others", "imagoal.bench/1"): 5,
    ("others", "imagoal.peers/1"): 1,
}
"""How many there are of each schema, at least."""

ENVS = ("Ball", "BallGravity", "BallGust", "Push", "PushEasy", "Reach")
TASKS = 2
"""Of a row, that are run again."""

MOST = 1600
"""Evaluations per plan of a row that is run again."""

COMPUTES = ("torch", "numpy", "mujoco")
"""What actions depend on, beside the processor."""

NARROW = "--planner.init-std 0.5"
WIDE = "--planner.num-samples 64 --planner.num-elites 8 --planner.iterations 4"
SMALL = "--planner.horizon 5 --planner.num-samples 8"
TINY = "--planner.horizon 3 --planner.num-samples 6 --planner.num-elites 2 --planner.iterations 1"
CASES: dict[str, tuple[int, str]] = {
    **{f"{env}-latent": (2, "") for env in ENVS},
    "Ball cem": (1, f"{SMALL} --planner.num-elites 2 --planner.iterations 3 --planner.momentum 0.1"),
    "Ball icem": (1, f"--planner icem {SMALL} {NARROW} --planner.num-elites 3 --planner.iterations 3"),
    "Ball icem_adam": (1, f"--planner icem_adam {NARROW} {WIDE} --planner.sampling 2 --planner.num-refined 2"),
    "Ball mppi": (1, f"--planner mppi {SMALL} {NARROW} --planner.correlation 0 --planner.iterations 3"),
    "Ball gradient": (1, f"--planner gradient {SMALL} {NARROW} --planner.iterations 4"),
    "Ball collocation": (
        1,
        f"--planner collocation {SMALL} {NARROW} --planner.correlation 0.95 --planner.iterations 2 --planner.steps 3",
    ),
    "Ball random_shooting": (1, f"--planner random_shooting {SMALL} --planner.iterations 3"),
    "Ball probe": (1, "--cost probe"),
    "Ball bf16": (1, "--precision bf16"),
    "Ball-pixel_regression": (1, f"--world-model Ball-pixel_regression {TINY}"),
    "Ball-pixel_diffusion": (1, f"--world-model Ball-pixel_diffusion {TINY}"),
    "Ball simulator": (2, "--world-model simulator"),
    "Ball simulator, distracted": (1, f"--world-model simulator --env-options distractors=noise+mover {TINY}"),
    "Ball simulator, frames": (1, f"--world-model simulator --cost frame {TINY}"),
    "Push surprise": (1, "--surprise 0.1"),
    "Push slowness": (1, "--distance slowness --no-warm-start"),
    "Push-pixel_regression": (1, f"--world-model Push-pixel_regression {TINY}"),
    "Push-pixel_diffusion": (1, f"--world-model Push-pixel_diffusion {TINY} --denoising-steps 1"),
    "Push anywhere": (1, "--env-options goal_finger=anywhere"),
    "Push random_actions": (2, "--agent random_actions"),
    "Push scripted": (2, "--agent scripted"),
    "Push mimic": (2, "--agent mimic"),
}
"""How many of the first test tasks, and flags, of cases that begin with the name of their env."""


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rows were run: their commands may name lists of tasks by path."""
    monkeypatch.chdir(ROOT)


@cache
def rows() -> dict[str, dict[str, Any]]:
    """Committed rows by env and name."""
    found = {
        f"{path.parent.name}/{path.stem}": json.loads(path.read_text()) for path in sorted((RESULTS / "rows").rglob("*.json"))
    }
    return {name: row for name, row in found.items() if row["schema"] == "imagoal.result/1"}


def shipped_as(weights_hash: str | None) -> str | None:
    """The name of a shipped world model of these weights."""
    return next((name for name, known in SHIPPED.items() if (weights_hash or "").startswith(known.weights)), None)


def words_of(row: dict[str, Any]) -> list[str] | None:
    """The flags of a row, its world models by the names by which they are shipped; None if they are not, or it is no `eval`."""
    first, *_ = row["provenance"]["command"].split(" && ")
    program, verb, *words = shlex.split(first)
    if (program, verb) != ("imagoal", "eval"):
        return None
    for flag, weights in (("--world-model", "weights_hash"), ("--readouts", "readouts_hash")):
        name = shipped_as(row["provenance"].get(weights))
        words = [name if name and before == flag else word for before, word in pairwise(["", *words])]
    if any(word.startswith("runs/") for flag, word in pairwise(words) if flag in {"--world-model", "--readouts"}):
        return None
    return [word for before, word in pairwise(["", *words]) if "--shard" not in {before, word}]


def built(words: Sequence[str]) -> tuple[Any, Any]:
    """The command that these flags make, and the agent that it asks for."""
    asked = inside().parse(words)
    return asked, inside().build(asked.choice(), asked.make_env())


def described(words: Sequence[str]) -> dict[str, Any]:
    """As a result file describes the agent of these flags."""
    description: dict[str, Any] = json.loads(json.dumps(built(words)[1].description))
    return description


def actions(words: Sequence[str], count: int) -> list[str]:
    """Hashes of the actions in the first tasks, one episode at a time."""
    asked, made = built(words)
    env = asked.make_env
    tasks, steps = inside().choose(env(), asked.tasks), env().max_episode_steps
    return [inside().run(env, made.agent, tasks, [number], steps)[0].actions_sha256 for number in range(count)]


def env_of(name: str) -> str:
    """The id of the env with which a name begins."""
    return f"imagoal/{re.split('[ -]', name)[0]}-v0"


def acted(case: str) -> list[str]:
    """Hashes of the actions in a case."""
    count, flags = CASES[case]
    return actions(["--env", env_of(case), "--tasks", "test", *flags.split()], count)


def here() -> dict[str, str]:
    """The versions of what computes actions."""
    return {package: version(package) for package in COMPUTES}


def unlike(names: Sequence[str]) -> Iterator[str]:
    """Those of the rows whose flags ask for another agent than the row describes."""
    for name in names:
        row = rows()[name]
        words = words_of(row)
        if words is not None and described(words) != row["agent"]:
            yield name


def rebuildable(weights: str | None) -> list[str]:
    """Names of the rows of these weights whose flags can be parsed here."""
    of_them = {name: row for name, row in rows().items() if shipped_as(row["provenance"]["weights_hash"]) == weights}
    sound = {name: row for name, row in of_them.items() if weights or row["provenance"]["weights_hash"] is None}
    return [name for name, row in sound.items() if words_of(row) is not None]


def test_these_are_the_shipped_models() -> None:
    assert {path.name for path in WEIGHTS.iterdir() if path.is_dir()} == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_has_the_weights_and_the_encoder_that_it_had(name: str) -> None:
    _, made = built(["--env", env_of(name), "--world-model", name])
    encoder = (made.description["encoder"] or {}).get("hash")
    assert (made.hashes["weights_hash"][:16], encoder and encoder[:16]) == (SHIPPED[name].weights, SHIPPED[name].encoder)


@pytest.mark.parametrize("name", SHIPPED)
def test_flags_of_the_rows_of_a_shipped_model_ask_for_the_agents_in_them(name: str) -> None:
    names = rebuildable(name)
    assert len(names) >= SHIPPED[name].rows
    assert set(unlike(names)) == MOVED & set(names)


def test_flags_of_rows_without_a_trained_model_ask_for_the_agents_in_them() -> None:
    names = rebuildable(None)
    assert len(names) >= UNTRAINED_ROWS
    assert set(unlike(names)) == MOVED & set(names)


def test_every_committed_file_is_read() -> None:
    """Results, whole by their own hash; tables, as wide everywhere as their columns; of everything as much as there was."""
    counts = dict.fromkeys(FILES, 0)
    for path in RESULTS.rglob("*.json"):
        content = json.loads(path.read_text())
        counts["rows" if (RESULTS / "rows") in path.parents else "others", content["schema"]] += 1
        if content["schema"] == "imagoal.result/1":
            assert inside().load(path) == content
        if content["schema"] == "imagoal.table/1":
            assert {len(row) for row in content["rows"]} == {len(content["columns"])}, path
        assert path.name.endswith(".table.json") == (content["schema"] == "imagoal.table/1")
    assert {kind: count for kind, count in counts.items() if count < FILES[kind]} == {}


def to_run_again(env: str, compiled: bool) -> dict[str, dict[str, Any]]:
    """Rows of this env, processor and versions that can be run again soon.

    Skips the test if there is none.
    """
    known = [*(name for model in SHIPPED for name in rebuildable(model)), *rebuildable(None)]
    of_env = {name: rows()[name] for name in known if name.startswith(f"{env}/") and name not in MOVED}
    short = {name: row for name, row in of_env.items() if (row["summary"]["evaluations_per_plan"] or 0) <= MOST}
    kind = {name: row for name, row in short.items() if bool((row["agent"]["planner"] or {}).get("compiled")) == compiled}
    found = {name: row for name, row in kind.items() if made_here(row["provenance"])}
    if not found:
        processors = sorted({row["provenance"]["hardware"] for row in kind.values()})
        pytest.skip(f"rows of {env} are of {', '.join(processors)}; this is {inside().hardware()} with {here()}")
    return found


def made_here(origin: dict[str, Any]) -> bool:
    """Whether a row is of this processor, and of these versions."""
    return origin["hardware"] == inside().hardware() and here().items() <= origin["versions"].items()


def differing(again: dict[str, dict[str, Any]], count: int) -> dict[str, list[str]]:
    """What is done now in the first tasks of the rows in which it is not what was done."""
    done = {name: actions(words_of(row) or [], count) for name, row in again.items()}
    return {
        name: hashes
        for name, hashes in done.items()
        if hashes != [line["actions_sha256"] for line in again[name]["episodes"][:count]]
    }


@pytest.mark.parametrize("env", ENVS)
def test_rows_of_this_processor_come_out_again(env: str) -> None:
    assert differing(to_run_again(env, compiled=False), TASKS) == {}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning")
@pytest.mark.parametrize("env", ["Ball", "Push"])
def test_compiled_rows_of_this_processor_come_out_again(env: str) -> None:
    assert differing(to_run_again(env, compiled=True), 1) == {}


def test_golden_actions_are_those_of_the_cases() -> None:
    for known in json.loads(GOLDEN.read_text()).values():
        assert {case: len(hashes) for case, hashes in known["actions"].items()} == {
            case: count for case, (count, _) in CASES.items()
        }


@pytest.mark.parametrize("case", CASES)
def test_actions_are_the_golden_ones(case: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    known = golden.get(inside().hardware())
    if known is None or known["versions"] != here():
        of = "; ".join(f"{hardware} with {known['versions']}" for hardware, known in golden.items())
        pytest.skip(f"golden actions are of {of}; this is {inside().hardware()} with {here()}")
    assert acted(case) == known["actions"][case]


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = {inside().hardware(): {"versions": here(), "actions": {each: acted(each) for each in CASES}}}
    GOLDEN.write_text(json.dumps(json.loads(GOLDEN.read_text()) | made, indent=1) + "\n")
