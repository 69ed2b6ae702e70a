"""A report shows every number, asks for nothing from elsewhere, and believes no file."""

import copy
import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagoal import files, find
from imagoal.commands.report import Report
from imagoal.errors import DataError
from imagoal.eval.episodes import table
from imagoal.eval.show._filmstrip import read_filmstrip
from imagoal.eval.show._report import report
from imagoal.eval.show._sources import read_results

SHIPPED = find.folder("results")
HOSTILE = '<script>alert("1")</script>'


def sign(result: dict[str, Any]) -> dict[str, Any]:
    unsigned = {key: value for key, value in result.items() if key != "sha256"}
    return unsigned | {"sha256": files.hash_of(unsigned)}


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    result = files.read_json(SHIPPED / "Ball" / "oracle-s0.json")
    assert isinstance(result, dict)
    return result | {"episodes": []}


def headline(oracle: dict[str, Any], seed: int, rate: float) -> dict[str, Any]:
    result = copy.deepcopy(oracle) | {"role": "headline"}
    result["agent"] |= {"training_seed": seed, "privileged": False}
    result["summary"]["success"]["hold"]["rate"] = rate
    return sign(result)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    frames = np.zeros((30, 8, 12, 3), np.uint8)
    for step in range(10):  # then it rests
        frames[step:, :, step] = 255
    frames[:, 7, 11] = 8 * np.arange(30)[:, None]  # as the step count does; equal frames would be merged
    pages = [Image.fromarray(frame) for frame in frames]
    path = tmp_path / "film.webp"
    pages[0].save(path, save_all=True, append_images=pages[1:], lossless=True, duration=100)
    return path


def test_every_number_of_every_shipped_row_is_on_the_page() -> None:
    page = report([SHIPPED], [])
    for path in SHIPPED.glob("*/*.json"):
        result = files.read_json(path)
        if result["schema"] != "imagoal.result/1":
            continue
        for rate in result["summary"]["success"].values():
            assert f">{100 * rate['rate']:.1f}<small>{100 * rate['low']:.1f} to {100 * rate['high']:.1f}<" in page
        times = result["summary"]["latency_ms"]
        if times:
            taken = (times["per_action"][p] for p in ("p50", "p90"))
            p50, p90 = (f"{each:.1f}" if each < 100 else f"{each:.0f}" for each in taken)
            assert f">{p50}<sup>" in page
            assert f">p90 {p90}<" in page
        assert result["provenance"]["hardware"] in page
        assert f"<code>{html.escape(result['provenance']['command'], quote=False)}</code>" in page


def test_rows_of_an_env_with_options_stand_apart_and_say_so() -> None:
    rows = [SHIPPED / "Ball" / f"{name}-s0.json" for name in ("latent", "latent-distracted")]
    lines = table([files.read_json(row) for row in rows]).splitlines()[2:]
    assert sorted(line.partition("  mpc")[0].rstrip() for line in lines) == ["Ball", "Ball distractors=noise+mover"]
    page = report(rows, [])
    assert "<h2>Ball</h2>" in page
    assert "<h2>Ball distractors=noise+mover</h2>" in page


def test_the_page_asks_for_nothing_from_elsewhere(film: Path) -> None:
    page = report([SHIPPED], [film])
    assert "://" not in page
    assert "url(" not in page
    assert not re.search(r"<(script|link|iframe|object|embed)\b", page)
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) == {"data:"}
    assert "default-src 'none'" in page


def test_whatever_a_file_says_stays_text(oracle: dict[str, Any], tmp_path: Path) -> None:
    bad = copy.deepcopy(oracle)
    bad["env"] = bad["role"] = bad["agent"]["name"] = bad["agent"]["world_model"] = HOSTILE
    bad["protocol"]["split"] = bad["protocol"]["source"] = bad["protocol"]["name"] = HOSTILE
    bad["agent"]["encoder"] = {"label": HOSTILE}
    bad["agent"]["cost"] |= {"at": HOSTILE}
    bad["agent"]["planner"]["name"] = HOSTILE
    bad["provenance"] |= {"command": HOSTILE, "hardware": HOSTILE, "commit": "<script>", "date": HOSTILE}
    files.write_json(tmp_path / "<script>-s0.json", sign(bad))
    cells = {"columns": [HOSTILE], "rows": [[HOSTILE]], "command": HOSTILE}
    files.write_json(tmp_path / "<script>.table.json", {"schema": "imagoal.table/1", **cells})
    page = report([tmp_path], [])
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page


def test_rows_stand_by_role_and_seeds_are_summed_up(oracle: dict[str, Any], tmp_path: Path) -> None:
    files.write_json(tmp_path / "a-floor-s0.json", sign(oracle | {"role": "floor"}))
    files.write_json(tmp_path / "b-oracle-s0.json", sign(oracle))
    for seed, rate in enumerate([0.91, 0.97, 0.95]):
        files.write_json(tmp_path / f"learned-s{seed}.json", headline(oracle, seed, rate))
    page = report([tmp_path], [])
    rows = re.findall(r'<th scope="row">(.*?)<small>', page)
    assert rows == ["learned", "learned-s0", "learned-s1", "learned-s2", "b-oracle", "a-floor"]
    assert "headline: median and range of 3 training seeds" in page
    assert ">95.0<small>91.0 to 97.0<" in page


def test_rows_of_one_name_are_no_seeds_if_nothing_was_trained(oracle: dict[str, Any], tmp_path: Path) -> None:
    paths = [tmp_path / folder / "oracle.json" for folder in ("first", "second")]
    for path in paths:
        files.write_json(path, sign(oracle))
    assert "training seeds" not in report(paths, [])


def test_folders_are_not_mixed_and_files_are_read_once(oracle: dict[str, Any], tmp_path: Path) -> None:
    for folder in ("live", "kept"):
        files.write_json(tmp_path / folder / "oracle" / "result.json", sign(oracle))
        files.write_json(tmp_path / folder / "oracle" / "run.json", {"schema": "imagoal.run/1"})
    both = [tmp_path / "live", tmp_path / "kept"]
    rows, _ = read_results([*both, tmp_path / "live" / "oracle" / "result.json"])
    assert [row.label for row in rows] == ["oracle", "oracle"]
    page = report(both, [])
    assert page.count("<h2>Ball</h2>") == 2
    assert page.index("live") < page.index("kept"), "in the order in which they were named"


def test_times_of_batches_are_not_plotted_beside_others(oracle: dict[str, Any], tmp_path: Path) -> None:
    batched = copy.deepcopy(oracle)
    batched["summary"]["latency_ms"]["batch"] = 25
    files.write_json(tmp_path / "batched-s0.json", sign(batched))
    page = report([tmp_path], [])
    assert ", batch 25<" in page
    assert "Time per action" not in page
    files.write_json(tmp_path / "single-s0.json", sign(oracle))
    assert "Time per action" in report([tmp_path], [])


def test_other_tables_are_shown_as_they_are(tmp_path: Path) -> None:
    cells = {"columns": ["history", "error, cm"], "rows": [[1, 2.34567], ["all", None]], "command": "make-it --now"}
    files.write_json(tmp_path / "Ball" / "history.table.json", {"schema": "imagoal.table/1", **cells})
    page = report([tmp_path], [])
    assert "<h2>Ball: history</h2>" in page
    assert ">2.346<" in page
    assert "<code>make-it --now</code>" in page


def test_a_strip_follows_what_changes_not_the_clock(film: Path) -> None:
    strip = read_filmstrip(film)
    numbers = [number for number, _ in strip.frames]
    assert (len(numbers), numbers[0], numbers[-1]) == (8, 0, 29)
    assert sum(number < 10 for number in numbers) >= 7
    assert strip.moving.startswith("data:image/webp;base64,")


def test_an_edited_result_is_refused(oracle: dict[str, Any], tmp_path: Path) -> None:
    edited = headline(oracle, 0, 0.5)
    edited["summary"]["success"]["hold"]["rate"] = 1.0
    files.write_json(tmp_path / "learned-s0.json", edited)
    with pytest.raises(DataError, match=r"learned-s0\.json.*edited"):
        report([tmp_path], [])


@pytest.mark.parametrize("lost", ["agent", "summary", "protocol", "provenance"])
def test_a_result_that_lacks_something_is_refused(oracle: dict[str, Any], tmp_path: Path, lost: str) -> None:
    files.write_json(tmp_path / "x-s0.json", sign({key: value for key, value in oracle.items() if key != lost}))
    with pytest.raises(DataError, match=lost):
        report([tmp_path], [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"schema": "imagoal.run/1"}', "no result file"),
        ('{"schema": "imagoal.result/2"}', "expected schema"),
        ('{"schema": "imagoal.table/2"}', "expected schema"),
        ('{"schema": "imagoal.table/1", "command": "x", "columns": ["a"], "rows": [[1, 2]]}', "row 0"),
        ('{"schema": "imagoal.table/1", "columns": ["a"], "rows": []}', "lacks command"),
        ('{"schema": ', "not readable JSON"),
        ("[]", "no result file"),
    ],
)
def test_foreign_and_broken_files_are_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=words) as caught:
        report([tmp_path / "x.json"], [])
    assert "\n" not in str(caught.value)


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no result file"):
        report([tmp_path], [])
    with pytest.raises(DataError, match="missing"):
        report([tmp_path / "not-there.json"], [])


def test_a_film_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.webp").write_bytes(b"RIFF....WEBPVP8L")
    for name in ("x.webp", "not-there.webp"):
        with pytest.raises(DataError, match=f"{name} is no moving picture"):
            read_filmstrip(tmp_path / name)


def test_the_command_writes_one_file(tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "report.html"
    assert Report(films=(film,), out=out).run() == 0
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "report.html" in capsys.readouterr().out
