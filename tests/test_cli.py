"""The door: exit codes, one line for each wrong input, and nothing written."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium import spaces

from imagoal import cli, find
from imagoal.cli import main
from imagoal.envs import Frames, make
from imagoal.envs.ball import Ball
from imagoal.envs.store import Store, open_cache
from imagoal.errors import DataError, EnvError, ImagoalError, NumericalError, ResourceError, UsageError
from imagoal.eval.tasks import draw_tasks

VERBS = list(find.entries("command"))


class Small(Ball):
    """A ball in pictures of half the size."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        picture = spaces.Box(0, 255, (32, 32, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": picture, "goal": picture})  # type: ignore[assignment]

    def render_states(self, states: Any) -> Frames:
        return super().render_states(states)[:, ::2, ::2]


class Wide(Ball):
    """A ball with a third, idle action."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = spaces.Box(-1, 1, (3,), np.float32)


class Mad:
    """An agent whose actions are no numbers."""

    privileged: ClassVar[bool] = False

    def __init__(self, env: Any, planning: Any) -> None:
        pass

    def reset(self, goal: Any, seeds: Any) -> None:
        pass

    def act(self, now: Any) -> Any:
        import torch

        from imagoal.agents import Decision

        return Decision(torch.full((len(now.frame), 2), torch.nan), {})


@pytest.fixture(scope="module", autouse=True)
def _outside() -> Iterator[None]:
    """The classes above, as somebody else's module."""
    module = ModuleType("somebody")
    for cls in (Small, Wide, Mad):
        setattr(module, cls.__name__, cls)
        cls.__module__ = "somebody"
    sys.modules["somebody"] = module
    yield
    del sys.modules["somebody"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, an encoder and a world model, made by the verbs, and with things that are none."""
    folder = tmp_path_factory.mktemp("made")
    learn = ["--schedule.steps", "2", "--schedule.batch", "4"]
    store, encoder, model = (str(folder / name) for name in ("store", "encoder", "model"))
    assert main(["collect", "--data", store, "--episodes", "3", "--steps", "8"]) == 0
    assert main(["pretrain", "--data", store, "--run", encoder, *learn, "--encoder.width", "4", "--encoder.size", "4"]) == 0
    assert main(["train", "--data", store, "--encoder", encoder, "--run", model, *learn, "--predictor.width", "8"]) == 0
    assert main(["collect", "--data", str(folder / "small"), "--env", "somebody:Small", "--episodes", "2", "--steps", "8"]) == 0
    open_cache(Store.open(folder / "small"))
    shutil.copytree(folder / "store", folder / "damaged")
    shutil.rmtree(folder / "damaged" / "cache")
    with (folder / "damaged/episodes/000001.npz").open("ab") as file:
        file.write(b"x")
    shutil.copytree(folder / "model", folder / "broken")
    (folder / "broken/model/model.safetensors").write_bytes(b"nothing")
    (folder / "foreign").mkdir()
    (folder / "foreign/holiday.txt").write_text("sun\n")
    (folder / "file").write_text("a file\n")
    (folder / "bad.npz").write_text("no zip\n")
    draw_tasks(make("ball_gust"), "dev", 2).save(folder / "gust.npz")
    return folder


@dataclass(frozen=True)
class Case:
    """A wrong command line, its exit code, and words of its complaint."""

    args: str
    code: int
    words: str


EVAL = "eval --run new "
ORACLE = EVAL + "--world-model simulator "
LATENT = EVAL + "--world-model model "
SCRIPTED = EVAL + "--agent scripted "
COLLECT = "collect --data new "
PRETRAIN = "pretrain --data store --run new "
TRAIN = "train --data store --encoder encoder --run new "
WRONG = [
    Case("evla", 2, "no command 'evla'; did you mean 'eval'? there are: "),
    Case("eval --foo", 2, "unrecognised: --foo; see imagoal eval --help"),
    Case("list encodr", 2, "no kind 'encodr'; there are: "),
    # names
    Case(EVAL + "--env bal", 2, "no env 'bal'; did you mean 'ball'?"),
    Case(EVAL + "--env imagoal/Bal-v0", 2, "env 'imagoal/Bal-v0': "),
    Case(EVAL + "--env nobody:Env", 2, "env 'nobody:Env' cannot be imported"),
    Case(EVAL + "--env pathlib:Path", 2, "expected a subclass of imagoal.envs.GoalEnv"),
    Case(EVAL + "--agent mcp", 2, "no agent 'mcp'; did you mean 'mpc'?"),
    Case(EVAL + "--planner cen", 2, "no planner 'cen'; did you mean 'cem'?"),
    Case(PRETRAIN + "--objective sigrag", 2, "no objective 'sigrag'; did you mean 'sigreg'?"),
    Case(TRAIN + "--predictor mpl", 2, "no predictor 'mpl'; did you mean 'mlp'?"),
    Case("train --data store --run new --encoder patchconv", 2, "no encoder 'patchconv'; did you mean 'patch_conv'?"),
    Case("train --data store --run new --encoder no/encoder", 2, "no encoder folder no/encoder; make it with"),
    Case(COLLECT + "--behaviour nois", 2, "behaviour 'nois'; expected one of noise, "),
    Case(SCRIPTED + "--role best", 2, "role 'best'; expected one of headline, "),
    # numbers
    Case(ORACLE + "--planner.num-elites 33", 2, "CEM.num_elites is 33; expected from 1 to num_samples, 32"),
    Case(ORACLE + "--compile", 2, "compile with world model 'simulator'; only a trained one can be compiled; leave it out"),
    Case(ORACLE + "--planner.horizon 0", 2, "CEM.horizon is 0; expected a whole number 1 or more"),
    Case(ORACLE + "--planner.iterations -1", 2, "CEM.iterations is -1; expected"),
    Case(ORACLE + "--planner.init-std nan", 2, "CEM.init_std is nan; expected"),
    Case(ORACLE + "--over.mean nan", 2, "Over.mean is nan; expected"),
    Case(
        ORACLE + "--replan-every 9",
        2,
        "replan_every = 9; expected a multiple of the action block (1) up to horizon x block (8)",
    ),
    Case(ORACLE + "--replan-every 0", 2, "replan_every = 0; expected"),
    Case(SCRIPTED + "--count 201", 2, "201 tasks asked of imagoal/Ball-v0 dev; expected from 1 to 200"),
    Case(SCRIPTED + "--count -1", 2, "-1 tasks asked"),
    Case(SCRIPTED + "--count many", 2, "--count is 'many'; expected a whole number"),
    Case(SCRIPTED + "--batch 0", 2, "batch = 0; expected at least 1"),
    Case(SCRIPTED + "--threads 0", 2, "threads = 0; expected from 1 to "),
    Case(SCRIPTED + "--threads 4096", 2, "threads = 4096; expected from 1 to "),
    Case(COLLECT + "--episodes 0", 2, "episodes 0; expected at least 1"),
    Case(COLLECT + "--workers 0", 2, "workers 0; expected at least 1"),
    Case(COLLECT + "--steps 0", 2, "steps 0; expected at least 1"),
    Case(COLLECT + "--seed -1", 2, "seed -1; expected at least 0"),
    Case(PRETRAIN + "--schedule.steps 0", 2, "steps = 0; expected at least 1"),
    Case(PRETRAIN + "--schedule.lr nan", 2, "lr = nan; expected a number above 0"),
    Case(PRETRAIN + "--encoder.size 0", 2, "PatchConv.size is 0; expected 1 or more"),
    Case(PRETRAIN + "--future 0", 2, "future = 0; expected at least 1"),
    Case(TRAIN + "--future 0", 2, "future = 0"),
    Case(TRAIN + "--action-block 0", 2, "action_block = 0"),
    Case(TRAIN + "--reduce 99", 2, "reduce = 99; expected at most 4"),
    Case(TRAIN + "--predictor.history -1", 2, "MLP.history is -1; expected 1 or more"),
    Case(TRAIN + "--schedule.weight-decay inf", 2, "weight_decay = inf; expected"),
    # what does not go together
    Case(
        EVAL + "--env imagoal.envs.ball:Ball --world-model=",
        2,
        "the mpc agent needs a world model; name one with --world-model",
    ),
    Case(ORACLE + "--cost there", 2, "--cost is 'there'; expected one of None, frame, latent, probe, state"),
    Case(LATENT + "--cost state", 2, "nothing leads from latent back to state; measure the cost where"),
    Case(ORACLE + "--cost latent", 2, "needs an encoder and there is none; pass --readouts DIR"),
    Case(
        ORACLE + "--cost frame --distance slowness",
        2,
        "no distance 'slowness' at frame; task is at state, visible at state and probe, blur at frame, slowness and",
    ),
    Case(LATENT + "--env somebody:Wide --tasks wide.npz", 2, "wants actions of size 2, the env 3; name a world model that was"),
    Case(
        LATENT + "--env somebody:Small --tasks small.npz", 2, "sees frames (64, 64, 3), the env shows (32, 32, 3); name a world"
    ),
    Case("pretrain --data small --run new --trust", 2, "frames of shape (3, 32, 32); patch_conv expects (3, 64, 64)"),
    Case(
        "train --data small --encoder encoder --run new --trust",
        2,
        "frames of shape (3, 32, 32); patch_conv expects (3, 64, 64)",
    ),
    # files
    Case(EVAL + "--world-model nowhere", 3, "no folder nowhere; make it with"),
    Case(EVAL + "--world-model file", 3, "no folder file; make it with"),
    Case(EVAL + "--world-model store", 3, "holds no MANIFEST.json"),
    Case(EVAL + "--world-model broken", 3, "model.safetensors is damaged: sha256"),
    Case(ORACLE + "--readouts nowhere --cost latent", 3, "no folder nowhere; make it with"),
    Case(SCRIPTED + "--tasks nowhere.npz", 3, "no file nowhere.npz; expected a list of tasks"),
    Case(SCRIPTED + "--tasks bad.npz", 3, "bad.npz is no list of tasks: no .npz file"),
    Case(SCRIPTED + "--tasks gust.npz", 3, "gust.npz holds tasks of imagoal/BallGust-v0; expected imagoal/Ball-v0"),
    Case(SCRIPTED + "--tasks tset", 2, "tasks 'tset'; expected dev, test, or the path of an .npz file"),
    Case("collect --data foreign", 3, "foreign holds 'holiday.txt' and is no store; choose a new or empty folder"),
    Case("collect --data store --env ball_gust --steps 8", 3, "store was made with other settings: env "),
    Case("data info --data nowhere", 3, "nowhere is no store (no manifest.json or episodes.jsonl); make one with"),
    Case("data verify --data foreign", 3, "foreign is no store"),
    Case("pretrain --data nowhere --run new", 3, "nowhere is no store"),
    Case("pretrain --data damaged --run new", 3, "damaged/episodes/000001.npz has"),
    Case("pretrain --data small --run new", 3, "'somebody:Small', which is not built in; --trust imports and runs it"),
    Case(PRETRAIN + "--future 9", 3, "windows need 10 frames, the longest episode has 9: lower the horizon or collect longer"),
    Case(TRAIN + "--future 9", 3, "windows need 10 frames, the longest episode has 9"),
    Case(TRAIN + "--future 2 --action-block 5", 3, "windows need 11 frames, the longest episode has 9"),
    Case("pretrain --data store --run encoder --seed 3", 3, "encoder was made with other settings"),
    Case("train --data store --encoder encoder --run model --seed 3", 3, "model was made with other settings"),
    # agents and places
    Case(EVAL + "--agent somebody:Mad --count 1", 4, "expected finite numbers in [-1, 1]; mend the agent"),
    Case("eval --agent scripted --run file", 6, "cannot write to file: "),
    Case("eval --agent scripted --run file/below", 6, "cannot write to file/below: "),
    Case("collect --data file", 6, "cannot write to file: "),
    Case("pretrain --data store --run file", 6, "cannot write to file: "),
    Case("train --data store --encoder encoder --run file/below", 6, "cannot write to file/below: "),
]


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files but caches, which may be made at any time."""
    found = (path for path in folder.rglob("*") if path.is_file() and "cache" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def inside(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that was made, as the working directory."""
    monkeypatch.chdir(made)
    if not (made / "wide.npz").exists():
        draw_tasks(Wide(), "dev", 2).save(made / "wide.npz")
        draw_tasks(Small(), "dev", 2).save(made / "small.npz")
    return made


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.args)
def test_wrong_input_gets_one_line_and_a_code_and_nothing_is_written(
    inside: Path, case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(inside)
    capsys.readouterr()
    assert main(case.args.split()) == case.code
    said = capsys.readouterr().err
    assert case.words in said
    assert said.startswith("imagoal: ")
    assert said.count("\n") == 1
    after = snapshot(inside)
    if case.code == 4:
        after.pop("new/run.json")  # the run began; the mended agent continues it
        shutil.rmtree(inside / "new")
    assert after == before


def test_damage_is_listed_line_by_line(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "verify", "--data", "damaged"]) == 3
    said = capsys.readouterr()
    assert "episode 1: damaged/episodes/000001.npz has" in said.out
    assert said.err.splitlines()[-1] == "imagoal: damaged is damaged; problems: 1, listed above"
    assert main(["data", "verify", "--data", "store"]) == 0
    assert main(["data", "info", "--data", "store"]) == 0


def test_after_a_refusal_the_corrected_command_may_use_the_same_folder(inside: Path) -> None:
    learn = ["--schedule.steps", "1", "--schedule.batch", "2", "--predictor.width", "4"]
    assert main([*TRAIN.split(), *learn, "--future", "9"]) == 3
    assert main([*TRAIN.split(), *learn, "--future", "2"]) == 0
    shutil.rmtree(inside / "new")


def test_what_was_made_can_be_evaluated_and_continued(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [*LATENT.split(), "--count", "1", "--planner.num-samples", "8", "--planner.horizon", "2"]
    for cost in ([], ["--cost", "probe"], ["--distance", "euclid"]):
        assert main([*args, *cost]) == 0
        assert "wrote new/result.json" in capsys.readouterr().out
        shutil.rmtree(inside / "new")
    assert main([*args, "--env", "ball_gravity"]) == 0, "another env of the same make is allowed"
    capsys.readouterr()
    assert main([*args, "--env", "ball_gravity"]) == 0
    assert "new is complete: nothing to do" in capsys.readouterr().err
    shutil.rmtree(inside / "new")


def test_an_oracle_may_borrow_an_encoder_which_the_result_then_names(inside: Path) -> None:
    from imagoal import files

    flags = "--count 1 --planner.num-samples 4 --planner.horizon 2 --planner.num-elites 2 --readouts model --cost latent"
    assert main([*ORACLE.split(), *flags.split()]) == 0
    agent = files.read_json(inside / "new/result.json")["agent"]
    assert (agent["world_model"], agent["encoder"]["name"], agent["parameters"]) == ("simulator", "patch_conv", None)
    assert files.read_json(inside / "new/run.json")["parents"]["readouts_hash"]
    shutil.rmtree(inside / "new")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code in {0, None}
    said = capsys.readouterr()
    assert said.out.startswith(f"usage: imagoal {verb}")
    assert find.entries("command")[verb].summary.split(":")[0][:40] in said.out
    assert not said.err


@pytest.mark.parametrize("args", [[], ["-h"], ["--help"], ["--debug"]])
def test_the_overview_names_every_verb(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: imagoal VERB")
    for verb in VERBS:
        assert f"\n  {verb.replace('_', '-')} " in said


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("imagoal 0.")


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["list"], ["evla"]])
def test_nothing_heavy_is_imported_at_the_door(args: list[str]) -> None:
    code = (
        "import sys; from imagoal.cli import main; main(sys.argv[1:]);"
        "print(sorted({'torch', 'numpy', 'gymnasium', 'mujoco', 'scipy'} & set(sys.modules)), 'tyro' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == f"[] {args == ['list']}"


@pytest.mark.parametrize("kind", ["encoder", "encoders", "world-model", "world_models"])
def test_list_takes_a_kind_however_it_is_written(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind]) == 0
    said = capsys.readouterr().out
    assert ("patch_conv" in said) == kind.startswith("encoder")
    assert ("simulator" in said) == kind.startswith("world")


def raising(error: BaseException) -> Any:
    def run(verb: str, args: Any) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ImagoalError("no"), 1),
        (UsageError("no"), 2),
        (DataError("no"), 3),
        (EnvError("no"), 4),
        (NumericalError("no"), 5),
        (ResourceError("no"), 6),
        (PermissionError("no"), 6),
        (MemoryError(), 6),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_kind_of_error_has_its_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_run", raising(error))
    assert main(["eval"]) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert len(said) > 10


def test_a_message_of_several_lines_is_made_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "_run", raising(DataError("one\n  two\n")))
    assert main(["eval"]) == 3
    assert capsys.readouterr().err == "imagoal: one two\n"


def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_run", raising(DataError("no")))
    for args in (["--debug", "eval"], ["eval", "--debug"], ["eval", "--count", "3", "--debug"]):
        with pytest.raises(DataError):
            main(args)


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_run", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["eval"])


def test_being_terminated_is_exit_143(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def kill(verb: str, args: Any) -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    monkeypatch.setattr(cli, "_run", kill)
    try:
        with pytest.raises(SystemExit) as left:
            main(["eval"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert left.value.code == 143
    assert capsys.readouterr().err == "terminated; the same command continues where it can\n"
