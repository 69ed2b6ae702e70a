"""Runs: what is stopped continues to the same bits, what is asked otherwise is refused, and nothing bad is ever saved."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imagoal import files
from imagoal.errors import DataError, NumericalError, ResourceError, UsageError
from imagoal.world_model.disk._run import Run, open_run
from imagoal.world_model.training import BAD_STEPS, Schedule, fit

SCHEDULE = Schedule(steps=40, batch=1, lr=0.05, save_every=10)
CONFIG: dict[str, Any] = {"seed": 0, "schedule": {"steps": 40, "lr": 0.05}, "sizes": (1, 2)}
Spoil = Callable[[int, Tensor], Tensor]


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 1))


def train(
    path: Path, spoil: Spoil = lambda step, loss: loss, schedule: Schedule = SCHEDULE, log_every: int = 5
) -> dict[str, Tensor]:
    """Learn a sum; `spoil` may change the loss of a step, or stop the run. The weights in the end."""
    module = network()

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
        loss = (module(inputs).squeeze(1) - inputs.sum(1)).square().mean()
        return spoil(step, loss), {"twice": 2 * float(loss.detach())}

    with open_run(path, "fit", CONFIG, {"data": "d"}) as run:
        fit(module, loss_at, schedule, run, "fit", log_every)
    assert not module.training
    return module.state_dict()


def stop_at(*steps: int) -> Spoil:
    """Ctrl-C at the first of these steps that comes."""

    def spoil(step: int, loss: Tensor) -> Tensor:
        if step in steps:
            raise KeyboardInterrupt
        return loss

    return spoil


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A run that nothing stopped."""
    path = tmp_path_factory.mktemp("whole")
    return path, train(path)


def steps_logged(path: Path) -> list[float]:
    return [line["step"] for line in Run(path).metrics()]


@pytest.mark.parametrize("stops", [(0,), (3,), (9,), (10,), (11,), (20, 33), (39,), (5, 15, 25, 35)], ids=str)
def test_a_stopped_run_continues_to_the_same_bits(
    whole: tuple[Path, dict[str, Tensor]], tmp_path: Path, stops: tuple[int, ...]
) -> None:
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, stop_at(stop))
    assert equal(train(tmp_path), whole[1])
    assert Run(tmp_path).metrics() == Run(whole[0]).metrics()
    assert steps_logged(tmp_path) == [0, 5, 10, 15, 20, 25, 30, 35, 39]
    assert (tmp_path / "latest").read_text() == "step-000040"
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-000030", "step-000040"]


@pytest.mark.parametrize("at", range(1, 22, 3))
def test_a_disk_that_fills_up_at_any_write_costs_no_earlier_checkpoint(
    whole: tuple[Path, dict[str, Tensor]], tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_at(15))
    calls, real = [], files.os.fsync

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) == at:
            raise OSError(28, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fsync)
        with pytest.raises(ResourceError, match="No space left"):
            train(tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))
    assert equal(train(tmp_path), whole[1])
    assert Run(tmp_path).metrics() == Run(whole[0]).metrics()


def test_a_run_that_came_to_its_end_is_not_trained_again(whole: tuple[Path, dict[str, Tensor]]) -> None:
    before = (whole[0] / "metrics.jsonl").read_bytes()
    assert equal(train(whole[0], stop_at(*range(40))), whole[1])
    assert (whole[0] / "metrics.jsonl").read_bytes() == before


def test_a_damaged_checkpoint_is_refused_with_a_cure_that_works(whole: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_at(25))
    files_there = sorted((tmp_path / "checkpoints" / "step-000020").iterdir())
    assert [file.name for file in files_there] == ["MANIFEST.json", "config.json", "model.safetensors", "optimizer.safetensors"]
    for number, file in enumerate(files_there[1:] * 13):
        whole_bytes = file.read_bytes()
        damaged = bytearray(whole_bytes)
        damaged[number * 37 % len(damaged)] ^= 1 << number % 8
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{file.name} is damaged.*name an older one in .*latest"):
            train(tmp_path)
        file.write_bytes(whole_bytes)
    file.write_bytes(damaged)
    (tmp_path / "latest").write_text("step-000010\n")
    assert equal(train(tmp_path), whole[1])
    assert Run(tmp_path).metrics() == Run(whole[0]).metrics()


def test_without_latest_a_run_begins_anew(whole: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_at(35))
    (tmp_path / "latest").unlink()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_at(15))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000010"], "later ones were forgotten"
    assert equal(train(tmp_path), whole[1])
    assert steps_logged(tmp_path) == steps_logged(whole[0])


@pytest.mark.parametrize("name", ["", "step-000099", "../checkpoints", "nonsense\n"])
def test_a_wrong_latest_is_a_data_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_at(25))
    (tmp_path / "latest").write_text(name)
    with pytest.raises(DataError, match="latest"):
        train(tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_at(25))
    module = nn.Linear(3, 8)
    with open_run(tmp_path, "fit", CONFIG, {"data": "d"}) as run, pytest.raises(DataError, match="not expected"):
        fit(module, lambda step: (module.weight.sum(), {}), SCHEDULE, run, "fit")


@pytest.mark.parametrize(
    ("command", "config", "parents", "words"),
    [
        ("other", CONFIG, {"data": "d"}, "command 'fit' -> 'other'"),
        ("fit", CONFIG | {"seed": 1}, {"data": "d"}, "config.seed 0 -> 1"),
        ("fit", CONFIG | {"schedule": {"steps": 40, "lr": 0.1}}, {"data": "d"}, "config.schedule.lr 0.05 -> 0.1"),
        ("fit", CONFIG | {"new": 1}, {"data": "d"}, "config.new None -> 1"),
        ("fit", CONFIG | {"sizes": (1, 3)}, {"data": "d"}, r"config.sizes \[1, 2\] -> \[1, 3\]"),
        ("fit", {"seed": 0}, {"data": "d"}, "config.schedule.lr 0.05 -> None"),
        ("fit", CONFIG, {"data": "e"}, "parents.data 'd' -> 'e'"),
    ],
)
def test_a_run_made_with_other_settings_is_refused_and_left_alone(
    tmp_path: Path, command: str, config: dict[str, Any], parents: dict[str, str], words: str
) -> None:
    with open_run(tmp_path, "fit", CONFIG, {"data": "d"}):
        pass
    before = (tmp_path / "run.json").read_bytes()
    with open_run(tmp_path, "fit", CONFIG, {"data": "d"}) as run:
        assert not run.done, "the same settings are welcome, tuples and all"
    with (
        pytest.raises(DataError, match=f"other settings .*{words}.*another --run"),
        open_run(tmp_path, command, config, parents),
    ):
        pass
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}"])
def test_a_run_folder_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError), open_run(tmp_path, "fit", CONFIG, {}):
        pass


def test_a_run_in_use_is_refused_and_a_finished_one_says_so(tmp_path: Path) -> None:
    with open_run(tmp_path, "fit", CONFIG, {}) as run:
        with pytest.raises(ResourceError, match="in use"), open_run(tmp_path, "fit", CONFIG, {}):
            pass
        assert not run.done
        run.finish(rank=3.5)
        assert run.done
    with open_run(tmp_path, "fit", CONFIG, {}) as run:
        assert run.done
    assert files.read_json(tmp_path / "run.json")["results"] == {"rank": 3.5}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_step_whose_loss_is_not_finite_changes_no_weight(tmp_path: Path, bad: float) -> None:
    module, before = network(), []

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        before.append(torch.cat([weight.detach().flatten() for weight in module.parameters()]))
        loss = module(torch.ones(4, 3) * torch.arange(4)[:, None]).square().mean()
        return (loss * bad if step in (3, 4, 20) else loss), {"bad": bad, "good": 1.0}

    with open_run(tmp_path, "fit", CONFIG, {}) as run:
        fit(module, loss_at, SCHEDULE, run, "fit", log_every=5)
        logged = run.metrics()
    kept = [step for step in range(39) if torch.equal(before[step], before[step + 1])]
    assert kept == [3, 4, 20]
    assert [line["step"] for line in logged if "loss" not in line] == [20]
    assert all("bad" not in line and line["good"] == 1 for line in logged), "only what is finite is logged"


class Poisoned(torch.autograd.Function):
    """Passes its input on; its gradient is not finite."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * math.nan


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_several_bad_steps_in_a_row_end_the_run_and_the_last_checkpoint_is_good(
    whole: tuple[Path, dict[str, Tensor]], tmp_path: Path, kind: str
) -> None:
    seen = []

    def spoil(step: int, loss: Tensor) -> Tensor:
        seen.append(step)
        if step < 23:
            return loss
        return loss * math.nan if kind == "loss" else Poisoned.apply(loss)

    with pytest.raises(NumericalError, match=f"{BAD_STEPS} times at step 27; the last checkpoint is good.*below 0.05"):
        train(tmp_path, spoil)
    assert seen[-1] == 27
    assert equal(train(tmp_path), whole[1]), "from that checkpoint, the good run is the good run"


def test_a_few_bad_steps_apart_do_not_end_a_run(tmp_path: Path) -> None:
    train(tmp_path, lambda step, loss: loss * math.nan if step % BAD_STEPS else loss)
    assert (tmp_path / "latest").read_text() == "step-000040"


def test_statistics_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """A forward pass can poison a running mean though the step is skipped."""
    module = network()

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
        return module(inputs * math.inf if step == 24 else inputs).square().mean(), {}

    with open_run(tmp_path, "fit", CONFIG, {}) as run:
        with pytest.raises(NumericalError, match="statistic is not finite at step 29"):
            fit(module, loss_at, SCHEDULE, run, "fit")
        assert run.resume(network(), torch.optim.AdamW(module.parameters())) == 20


def test_the_learning_rate_is_warmed_up_and_decays_to_a_hundredth() -> None:
    schedule = Schedule(steps=1000, lr=2e-3)
    rates = [schedule.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(2e-3 / 50)
    assert max(rates) == pytest.approx(2e-3)
    assert rates[:50] == sorted(rates[:50])
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[-1] == pytest.approx(2e-5, rel=0.01)
    assert Schedule(steps=1).rate(0) > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch": -1},
        {"save_every": 0},
        {"lr": 0},
        {"lr": math.nan},
        {"lr": math.inf},
        {"clip": 0},
        {"clip": -1},
        {"weight_decay": -1e-3},
        {"weight_decay": math.nan},
    ],
    ids=str,
)
def test_wrong_fields_are_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(UsageError, match=f"{name} = .*; expected"):
        Schedule(**wrong)


def test_what_a_kill_left_of_a_checkpoint_is_ignored(whole: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_at(15))
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "step-000010", folder / "step-000020.tmp")
    (folder / "step-000020.tmp" / "MANIFEST.json").unlink()
    assert equal(train(tmp_path), whole[1])
    assert sorted(p.name for p in folder.iterdir()) == ["step-000030", "step-000040"]
