"""Two rows, task by task."""

import json
from pathlib import Path
from typing import Any

import pytest

from imagoal import find
from imagoal.cli import main
from imagoal.errors import DataError
from imagoal.eval.episodes import load_result, paired_difference
from imagoal.eval.show._compare import Comparison, compare

BALL = find.folder("results") / "Ball"


def made(marks: str, trivial: str = "", **changes: Any) -> dict[str, Any]:
    """A row: + a task that is solved at the end, - one that is not."""
    protocol = {"hash": "p", "tasks_hash": "t", "split": "test", "headline": "final", "source": "sampler"}
    lines = [
        {"id": i, "seed": i, "trivial": str(i) in trivial, "hold": False, "final": mark == "+", "ever": True}
        for i, mark in enumerate(marks)
    ]
    return {"env": "imagoal/Push-v0", "env_options": {}, "protocol": protocol, "episodes": lines} | changes


def test_the_difference_is_first_minus_second_on_the_same_tasks() -> None:
    found = compare(made("+++--+-+"), made("+-+-+--+"))
    final = found.success["final"]
    assert (final.first, final.second) == (5 / 8, 4 / 8)
    assert (final.only_first, final.only_second) == (2, 1)
    assert final.difference == paired_difference([c == "+" for c in "+++--+-+"], [c == "+" for c in "+-+-+--+"])
    assert list(found.success) == ["final", "hold", "ever"], "the headline first"
    assert (found.n, found.success["hold"].difference.rate, found.success["ever"].first) == (8, 0, 1)


def test_trivial_tasks_do_not_count() -> None:
    found = compare(made("+--+", trivial="0"), made("---+", trivial="0"))
    assert (found.n, found.success["final"].difference.rate) == (3, 0)


@pytest.mark.parametrize(
    ("marks", "others", "not_worse"),
    [("+" * 200, "+" * 200, True), ("+" * 40, "+" * 40, False), ("-" + "+" * 49, "+" * 50, False)],
)
def test_not_worse_asks_for_evidence(marks: str, others: str, not_worse: bool) -> None:
    found = compare(made(marks), made(others))
    assert found.not_worse() == not_worse == (found.success["final"].difference.low > -0.03)
    assert ("A is not worse than B" in found.text("a", "b")) == not_worse


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"env": "imagoal/PushEasy-v0"}, "in env "),
        ({"env_options": {"goal_finger": "anywhere"}}, "in env_options "),
        ({"protocol": made("")["protocol"] | {"hash": "q"}}, r"in protocol\.hash "),
        ({"protocol": made("")["protocol"] | {"source": "dataset"}}, r"in protocol\.source "),
        ({"episodes": made("--", trivial="0")["episodes"]}, "in tasks "),
        ({"episodes": [line | {"seed": 7} for line in made("+--")["episodes"]]}, "in tasks "),
        ({"episodes": made("+--")["episodes"], "protocol": made("")["protocol"] | {"split": "dev"}}, r"in protocol\.split "),
        ({"episodes": [line | {"seed": 7} for line in made("+-")["episodes"]]}, "in tasks "),
    ],
)
def test_rows_on_other_tasks_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"the rows differ {words}.*; expected two rows on the same tasks"):
        compare(made("+-"), made("+-", **changes))


def test_a_row_of_the_first_tasks_is_compared_on_those() -> None:
    longer = made("+-+-++++") | {"protocol": made("")["protocol"] | {"hash": "q", "tasks_hash": "u"}}
    for found, rate in ((compare(made("++++"), longer), 0.5), (compare(longer, made("++++")), -0.5)):
        final = found.success["final"]
        assert (found.n, found.protocol, final.difference.rate) == (4, "p", rate)


def test_committed_rows_of_different_lengths_can_be_compared() -> None:
    first, second = (load_result(BALL / f"{name}-s0.json") for name in ("pixel_diffusion", "latent"))
    assert compare(first, second).n == len(first["episodes"]) < len(second["episodes"])


def test_committed_rows_can_be_compared_and_those_of_another_env_with_the_same_tasks_cannot() -> None:
    first, second = (load_result(BALL / f"{name}-s0.json") for name in ("latent", "random"))
    found = compare(first, second)
    assert found.success["hold"].difference.low > 0.9
    gust = load_result(BALL.parent / "BallGust/random-s0.json")
    assert gust["protocol"]["hash"] == first["protocol"]["hash"]
    with pytest.raises(DataError, match=r"differ in env \('imagoal/Ball-v0' and 'imagoal/BallGust-v0'\)"):
        compare(first, gust)


def test_the_text_names_rows_tasks_and_every_kind() -> None:
    text = Comparison.text(compare(made("++"), made("+-")), "mine", "theirs")
    lines = text.splitlines()
    assert lines[:3] == ["A: mine", "B: theirs", "2 test tasks of imagoal/Push-v0, protocol p"]
    assert [line.split()[0] for line in lines[5:8]] == ["final", "hold", "ever"]
    assert lines[5].split()[1:4] == ["100.0", "50.0", "+50.0"]
    assert lines[-1].startswith("A is not ")
    assert "goals from dataset" in compare(*2 * [made("+", protocol=made("")["protocol"] | {"source": "dataset"})]).text(
        "a", "b"
    )


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [str(BALL / f"{name}-s0.json") for name in ("latent", "oracle")]
    assert main(["compare", *rows]) == 0
    assert capsys.readouterr().out.startswith(f"A: {rows[0]}\nB: {rows[1]}\n200 test tasks of imagoal/Ball-v0, protocol ")
    assert main(["compare", *rows, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["first"], found["n"]) == ("imagoal.comparison/1", rows[0], 200)
    assert found["second_sha256"] == load_result(Path(rows[1]))["sha256"]
    assert set(found["success"]["hold"]["difference"]) == {"rate", "low", "high"}
    assert main(["compare", rows[0], str(BALL / "metric.table.json")]) == 3
    assert main(["compare", rows[0], str(tmp_path / "nope.json")]) == 3
    assert main(["compare", rows[0]]) == 2
