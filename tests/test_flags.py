"""Flags: fields whose class is chosen by name, and complaints of one line."""

import io
import re
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest

from imagoal import find, flags
from imagoal.commands.eval import Eval
from imagoal.commands.train import Train
from imagoal.errors import UsageError
from imagoal.planning import CEM, MPPI, Over


@dataclass(frozen=True)
class Verb:
    """Something to do."""

    planner: Annotated[Any, flags.Named("planner", "cem")] = None
    """What searches."""
    over: Over = field(default_factory=Over)
    """How steps become a cost."""
    place: Literal["state", "frame"] | None = None
    """Where."""
    count: int = 3
    """How many."""
    speed: float = 1.0
    """How fast."""
    limit: int | None = None
    """At most."""
    quick: bool = False
    """Whether to hurry."""


def parse(*args: str) -> Verb:
    return flags.parse(Verb, args, "imagoal verb")


def complaint(*args: str) -> str:
    with pytest.raises(UsageError) as refused:
        parse(*args)
    text = str(refused.value)
    assert "\n" not in text
    assert not re.search(r"[│╭╮╰╯─]|\x1b", text)
    return text


@dataclass(frozen=True)
class Greedy:
    """A planner from outside."""

    depth: int = 2
    """How deep."""


@dataclass(frozen=True)
class Demanding:
    """A planner without a default."""

    depth: int


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("somebody")
    module.Greedy, module.Demanding, module.Plain = Greedy, Demanding, type("Plain", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "somebody", module)


def test_defaults() -> None:
    verb = parse()
    assert verb.planner == CEM()
    assert (verb.over, verb.place, verb.count, verb.quick) == (Over(), None, 3, False)
    assert isinstance(verb, Verb)


def test_a_name_chooses_the_class_and_its_fields_follow() -> None:
    assert parse("--planner.num-samples", "99", "--planner.init-std", "0.7").planner == CEM(num_samples=99, init_std=0.7)
    assert parse("--planner", "mppi", "--planner.temperature", "0.3").planner == MPPI(temperature=0.3)
    assert parse("--planner.temperature", "0.3", "--count", "4", "--planner=mppi").planner == MPPI(temperature=0.3)
    assert parse("--over.last", "1", "--quick").over == Over(last=1.0)


@pytest.mark.usefixtures("outside")
def test_a_class_from_outside_has_flags_too() -> None:
    assert parse("--planner", "somebody:Greedy", "--planner.depth", "5").planner == Greedy(5)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("--count x", "--count is 'x'; expected a whole number"),
        ("--count 1.5", "--count is '1.5'; expected a whole number"),
        ("--speed x", "--speed is 'x'; expected a number"),
        ("--place there", "--place is 'there'; expected one of None, frame, state"),
        ("--limit x", "--limit is 'x'; expected {None}|INT"),
        ("--count", "--count has no value; expected one"),
        ("--foo 3", "unrecognised: --foo, 3"),
        ("--cuont 3", "unrecognised: --cuont, 3; did you mean --count?"),
        ("word", "unrecognised: word"),
        ("--quick yes", "unrecognised: yes"),
        ("--planner.num-elites 65", "CEM.num_elites is 65; expected from 1 to num_samples, 64"),
        ("--planner.horizon 0", "CEM.horizon is 0; expected a whole number 1 or more"),
        ("--planner.horizon -3", "CEM.horizon is -3; expected a whole number 1 or more"),
        ("--planner.init-std nan", "CEM.init_std is nan; expected 0.05 or more"),
        ("--planner.temperature 0.1", "unrecognised: --planner.temperature, 0.1"),
        ("--planner mppi --planner.temperature -1", "MPPI.temperature is -1.0; expected 1e-09 or more"),
        ("--over.mean inf", "Over.mean is inf; expected a finite number, 0 or more"),
        ("--over.mean 0", "Over.last, mean and min are all 0; expected at least one weight above 0"),
    ],
)
def test_a_complaint_names_flag_value_and_what_was_expected(args: str, words: str) -> None:
    assert complaint(*args.split()) == f"{words}; see imagoal verb --help"


class Ascii(io.StringIO):
    """A screen that cannot draw frames."""

    encoding = "ascii"


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_a_complaint_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch, width: str, ascii_only: bool) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setattr(sys, "stdout", Ascii() if ascii_only else io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    see = "; see imagoal verb --help"
    assert complaint("--planner.num-elites", "65") == f"CEM.num_elites is 65; expected from 1 to num_samples, 64{see}"
    assert complaint("--place", "there") == f"--place is 'there'; expected one of None, frame, state{see}"
    assert complaint("--count", "x") == f"--count is 'x'; expected a whole number{see}"
    assert complaint("--cuont", "3") == f"unrecognised: --cuont, 3; did you mean --count?{see}"


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("--planner cen", "no planner 'cen'; did you mean 'cem'? there are: "),
        ("--planner", "--planner needs a name"),
        ("--planner --count 3", "--planner needs a name"),
        ("--planner somebody:Plain", "is no dataclass, so it has no flags; make it a frozen dataclass"),
        ("--planner somebody:Demanding", "needs a default for each field"),
    ],
)
def test_a_wrong_name_is_refused(args: str, words: str) -> None:
    assert words in complaint(*args.split())


def test_help_shows_every_field_with_its_default_and_how_to_choose_a_class(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse("--planner", "mppi", "--help")
    assert left.value.code == 0
    said = " ".join(re.sub(r"[│─]", " ", capsys.readouterr().out).split())
    for words in (
        "Something to do.",
        "--count INT",
        "How many. (default: 3)",
        "--planner.temperature",
        "Divides the standardised",
    ):
        assert words in said
    names = ", ".join(find.entries("planner"))
    assert f"--planner NAME chooses: {names}, or package.module:Class. Fields of mppi:" in said


@pytest.mark.parametrize(
    ("args", "world_model", "horizon"),
    [
        ("", "Ball-latent", 8),
        ("--env imagoal/Push-v0", "Push-latent", 7),
        ("--env=push_easy --planner.horizon 5", "PushEasy-latent", 5),
        ("--env push --world-model simulator", "simulator", 7),
        ("--env push --planner mppi", "Push-latent", 7),
        ("--env push --agent no_op", "", 8),
        ("--env my_package.my_env:MyEnv", "", 8),
    ],
)
def test_an_env_s_preset_stands_before_the_user_s_flags(args: str, world_model: str, horizon: int) -> None:
    found = flags.parse(Eval, args.split(), "imagoal eval")
    assert (found.model.world_model, found.planner.horizon) == (world_model, horizon)


@pytest.mark.parametrize(
    ("args", "cost", "readouts"),
    [
        ("--world-model Push-latent", None, ""),
        ("--world-model Push-pixel_regression", "latent", "Push-latent"),
        ("--world-model=Push-pixel_diffusion --cost frame", "frame", "Push-latent"),
    ],
)
def test_frames_that_a_shipped_model_imagines_are_compared_by_the_encoder_that_did_best(
    args: str, cost: str | None, readouts: str
) -> None:
    found = flags.parse(Eval, ["--env", "push", *args.split()], "imagoal eval")
    assert (found.cost.at, found.model.readouts) == (cost, readouts)


@pytest.mark.parametrize(
    ("args", "steps"),
    [("", 1500), ("--kind pixel_regression", 16000), ("--kind=pixel_regression", 16000), ("--run runs/pixel_regression", 1500)],
)
def test_a_kind_of_world_model_learns_for_as_long_as_it_needs(args: str, steps: int) -> None:
    assert flags.parse(Train, args.split(), "imagoal train").schedule.steps == steps
