"""Rows and benches of a lower precision: asked for, described, replayed and counted; and rows of fp32, which are as ever."""

from pathlib import Path
from typing import Any

import pytest
import torch

from imagoal import files, flags
from imagoal.agents import Decision
from imagoal.cli import main
from imagoal.commands.bench import Bench
from imagoal.commands.eval import Eval
from imagoal.envs import make
from imagoal.errors import DataError, UsageError
from imagoal.eval.episodes._build import build
from imagoal.eval.episodes._choices import AgentChoice
from imagoal.eval.episodes._evaluate import RowSetting, evaluate
from imagoal.eval.episodes._on_policy import on_policy
from imagoal.eval.episodes._replay import replay
from imagoal.eval.episodes._run import run_tasks
from imagoal.eval.episodes._shard import merge
from imagoal.eval.episodes._table import budget, table
from imagoal.eval.latency import bench_subject, count
from imagoal.eval.show import parse_row
from imagoal.eval.tasks import frozen_tasks
from imagoal.planning import CEM, Collocation, Gradient, Plan
from imagoal.world_model.models import Precision
from tests.choices import choice

ENV = make("ball")
SMALL = CEM(horizon=4, num_samples=16, num_elites=4, iterations=2)
FINALISTS = 8
BOTH: tuple[Precision, Precision] = ("bf16", "fp32")


@pytest.fixture(autouse=True)
def _any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 is computed everywhere, only slowly."""
    monkeypatch.setattr("imagoal.world_model.models._precision.bf16_units", lambda: ("amx_bf16",))


def request(precision: Precision = "bf16", **settings: Any) -> AgentChoice:
    fields: dict[str, Any] = {"world_model": "Ball-latent", "planner": SMALL, "replan_every": 4}
    return choice(**fields | settings, precision=precision)


def row(folder: Path, asked: AgentChoice, count: int = 2, batch: int = 1, shard: str = "1/1") -> dict[str, Any]:
    return evaluate(build(asked, ENV), ENV, "dev", count, folder, RowSetting(batch, shard))


@pytest.mark.parametrize("command", [Eval, Bench])
def test_the_flag_reaches_the_model(command: type[Eval | Bench]) -> None:
    for words, precision in (([], "fp32"), (["--precision", "bf16"], "bf16")):
        planning = build(flags.parse(command, words, "imagoal").choice(), ENV).planning
        assert planning is not None
        assert planning.model.precision == precision  # type: ignore[attr-defined]


def test_a_precision_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--precision", "fp8"]) == 2
    assert "--precision is 'fp8'; expected one of bf16, fp32" in capsys.readouterr().err


def test_a_processor_without_bf16_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("imagoal.world_model.models._precision.bf16_units", lambda: ())
    assert main(["eval", "--precision", "bf16", "--count", "1", "--run", str(tmp_path / "run")]) == 2
    assert "precision bf16: this processor has no unit that makes it faster" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"world_model": "simulator"}, "precision bf16 with world model 'simulator'; expected fp32, since only a trained one"),
        ({"world_model": ""}, "precision bf16 with world model ''; expected fp32"),
        ({"agent": "no_op", "world_model": ""}, "precision bf16 with world model ''; expected fp32"),
        ({"planner": Collocation(horizon=4)}, "Collocation with precision bf16; expected fp32, or another planner"),
    ],
)
def test_what_has_no_precision_to_choose_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build(request(**settings), ENV)
    if settings.get("world_model") != "":
        build(request("fp32", **settings), ENV)


def test_noise_is_refused_since_the_finals_would_take_it_away() -> None:
    with pytest.raises(UsageError, match=r"noise = 0.1 with precision bf16; expected fp32"):
        on_policy(build(request(), ENV), ENV, 0.1)
    names = {on_policy(build(request(precision), ENV), ENV).__name__ for precision in BOTH}
    assert len(names) == 2, "a store is not continued at another precision"


def test_a_row_tells_its_precision_and_regret_and_one_of_fp32_neither(tmp_path: Path) -> None:
    rough, exact = (row(tmp_path / precision, request(precision)) for precision in BOTH)
    planner = rough["agent"]["planner"]
    assert planner.pop("precision") == "bf16"
    assert rough["agent"] == exact["agent"]
    regret = rough["summary"].pop("regret")
    assert rough["summary"].keys() == exact["summary"].keys()
    assert list(regret) == ["median", "p90", "max", "changed"]
    assert 0 <= regret["median"] <= regret["p90"] <= regret["max"] < 0.5
    assert 0 <= regret["changed"] <= 1
    assert rough["summary"]["evaluations_per_plan"] == exact["summary"]["evaluations_per_plan"] + FINALISTS


def test_tables_and_pages_name_the_precision(tmp_path: Path) -> None:
    rough, exact = (row(tmp_path / precision, request(precision), 1) for precision in BOTH)
    assert budget(rough["agent"]["planner"]) == "cem 16x2 H4 bf16"
    assert budget(exact["agent"]["planner"]) == "cem 16x2 H4"
    assert "cem 16x2 H4 bf16" in table([rough, exact])
    assert parse_row("rough", "", rough).budget == "cem 16x2 H4 bf16"


def test_a_row_is_replayed_and_not_at_another_precision(tmp_path: Path) -> None:
    for precision, other in (BOTH, BOTH[::-1]):
        row(tmp_path / precision, request(precision, deadline_ms=1e-6))
        path = tmp_path / precision / "result.json"
        assert replay(build(request(precision, deadline_ms=1e-6), ENV), ENV, "dev", path) == []
        with pytest.raises(DataError, match=r"result\.json has planner"):
            replay(build(request(other, deadline_ms=1e-6), ENV), ENV, "dev", path)


def test_shards_and_batches_sum_up_the_same_regret(tmp_path: Path) -> None:
    whole = row(tmp_path / "whole", request())
    for number in (1, 2):
        row(tmp_path / str(number), request(), shard=f"{number}/2")
    merged = merge([tmp_path / str(number) / "result.json" for number in (1, 2)])
    assert merged["summary"]["regret"] == whole["summary"]["regret"]
    batched = row(tmp_path / "batch", request(), batch=2)
    assert batched["summary"]["regret"] == pytest.approx(whole["summary"]["regret"], abs=1e-3)


def test_what_is_counted_is_the_network_that_searches() -> None:
    words = ["--planner.horizon", "4", "--planner.num-samples", "16", "--planner.iterations", "2"]
    asked = [flags.parse(Bench, [*words, "--precision", each], "imagoal").choice() for each in ("bf16", "fp32")]
    (rough, problem), (exact, _) = (count(bench_subject(build(each, ENV), ENV, "dev"), 1) for each in asked)
    assert rough.cost_calls == exact.cost_calls >= 2
    assert rough.network_calls == exact.network_calls == exact.cost_calls, "a prefix predictor imagines all steps in one call"
    assert rough.flops_per_step == exact.flops_per_step
    assert rough.evaluations == exact.evaluations + FINALISTS
    assert rough.flops_per_step is not None
    assert rough.flops is not None
    assert exact.flops is not None
    assert rough.flops - exact.flops == pytest.approx(FINALISTS * 4 * rough.flops_per_step, rel=0.2)
    assert torch.equal(problem.search().actions, problem.search().actions)


@pytest.mark.parametrize("planner", [SMALL, Gradient(horizon=4, num_samples=4, iterations=2)], ids=["cem", "gradient"])
def test_any_planner_is_counted(planner: Any) -> None:
    counts, problem = count(bench_subject(build(request(planner=planner), ENV), ENV, "dev"), 2)
    assert counts.network_calls
    problem.bare()


def test_a_bench_names_precision_and_units(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagoal.eval.latency._bench.bf16_units", lambda: ("some_unit",))
    command = ["bench", "--plans", "2", "--batches", "1", "--planner.horizon", "4", "--planner.iterations", "1"]
    for precision in BOTH:
        assert main([*command, "--precision", precision, "--out", str(tmp_path / "bench.json")]) == 0
        found = files.read_json(tmp_path / "bench.json")
        assert found["setting"]["precision"] == precision
        assert found["provenance"]["bf16_units"] == ["some_unit"]
        assert ("Searched in bf16" in capsys.readouterr().out) == (precision == "bf16")
    assert main([*command, "--world-model", "simulator", "--out", str(tmp_path / "bench.json")]) == 0
    assert files.read_json(tmp_path / "bench.json")["setting"]["precision"] is None


class Claiming:
    """An agent whose plan cost 4, 0 and 2 in its three rows, and was claimed to cost 2, 0 and anything."""

    privileged = False

    def reset(self, *told: Any) -> None: ...

    def act(self, *told: Any) -> Decision:
        actions, cost = torch.zeros(3, 1, 2), torch.tensor([4.0, 0.0, 2.0])
        claimed = torch.tensor([2.0, 0.0, torch.inf])
        plan = Plan(actions, cost, actions[:, None], cost[:, None], 1, 1, True, 0.0, claimed)
        return Decision(actions[:, 0], dict.fromkeys(("plan", "encode", "rollout", "refit"), 1.0), plan, cost)


def test_an_episode_remembers_what_a_search_over_paths_claimed_as_a_share() -> None:
    episodes = run_tasks(lambda: make("ball"), Claiming(), frozen_tasks(ENV, "dev"), [0, 1, 2], 1)
    assert [episode.plans[0]["claimed"] for episode in episodes] == [0.5, 0.0, 1e6]
    assert all("regret" not in episode.plans[0] for episode in episodes)


def test_a_row_of_collocation_tells_what_it_claimed(tmp_path: Path) -> None:
    planner = Collocation(horizon=3, num_samples=4, iterations=1, steps=2)
    found = row(tmp_path, request("fp32", planner=planner, replan_every=3), 1)
    claimed = found["summary"]["claimed"]
    assert 0 < claimed["min"] <= claimed["median"] < 2
    assert "regret" not in found["summary"]
