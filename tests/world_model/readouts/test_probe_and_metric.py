"""What is read from latents without training a network: positions, by a linear probe, and how far apart two latents are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Generator, Tensor

from imagoal.errors import DataError
from imagoal.world_model.readouts._metric import load_metric, resting, slowness
from imagoal.world_model.readouts._probe import effective_rank, fit_probe, load_probe, r2, visible_positions


def linear_world(generator: Generator, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    """Latents (300, 2, 4), and positions (300, 2) that are linear in them but for noise."""
    latents = torch.randn(300, 2, 4, generator=generator) * torch.tensor([1.0, 10.0, 0.1, 3.0]) + 5
    weight = torch.randn(8, 2, generator=generator)
    return latents, latents.flatten(1) @ weight + 0.3 + noise * torch.randn(300, 2, generator=generator)


def test_a_probe_of_linear_data_is_exact(generator: Generator) -> None:
    latents, positions = linear_world(generator)
    probe = fit_probe(latents[:200], positions[:200], penalty=1e-12)
    torch.testing.assert_close(probe(latents), positions, atol=1e-3, rtol=1e-4)
    assert r2(probe, latents[200:], positions[200:]) > 1 - 1e-6


def test_a_probe_of_noise_explains_nothing_that_was_held_out(generator: Generator) -> None:
    latents, positions = torch.randn(300, 1, 40, generator=generator), torch.randn(300, 2, generator=generator)
    probe = fit_probe(latents[:200], positions[:200])
    assert r2(probe, latents[:200], positions[:200]) > 0.1, "it does fit what it saw"
    assert r2(probe, latents[200:], positions[200:]) <= 0


def test_r2_is_the_share_of_the_variance_that_is_explained(generator: Generator) -> None:
    latents, positions = linear_world(generator, noise=20.0)
    probe = fit_probe(latents[:200], positions[:200])
    noise = 20.0**2 / float(positions.var(0).mean())
    assert 0.2 < noise < 0.8
    assert r2(probe, latents[200:], positions[200:]) == pytest.approx(1 - noise, abs=0.1)
    assert np.isfinite(r2(probe, latents, torch.ones(300, 2))), "positions that never change have no variance"


def test_a_probe_does_not_care_about_scale_offset_or_dead_dimensions(generator: Generator) -> None:
    latents, positions = linear_world(generator)
    plain = fit_probe(latents, positions)(latents)
    dead = torch.cat([latents, torch.full((300, 1, 4), 7.0)], 1)
    torch.testing.assert_close(fit_probe(dead, positions, 1.5e-4)(dead), plain, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(fit_probe(100 * latents - 3, positions)(100 * latents - 3), plain, atol=1e-3, rtol=1e-3)


def test_a_probe_is_differentiable(generator: Generator) -> None:
    latents, positions = linear_world(generator)
    latents.requires_grad_()
    fit_probe(latents.detach(), positions)(latents).sum().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0


def test_the_effective_rank(generator: Generator) -> None:
    assert effective_rank(torch.ones(50, 8)) == pytest.approx(1)
    assert effective_rank(torch.zeros(50, 8)) == pytest.approx(1)
    for rank in (1, 2, 5):
        directions, _ = torch.linalg.qr(torch.randn(8, rank, generator=generator))
        rows = directions.T.repeat(10, 1)
        assert effective_rank(rows) == pytest.approx(rank, rel=1e-6)
        assert effective_rank(100 * rows) == pytest.approx(rank, rel=1e-6)
    assert 7.5 < effective_rank(torch.randn(1000, 8, generator=generator)) <= 8


def waves(places: Tensor, dead: int = 0) -> Tensor:
    """Latents (..., 1, 10 + dead) of places (...) in [0, 1]: equally strong waves of ten lengths, and dead dimensions."""
    angles = places[..., None] * torch.pi * torch.arange(1, 11)
    return torch.cat([angles.cos(), torch.zeros(*places.shape, dead)], -1)[..., None, :]


def wander(generator: Generator) -> Tensor:
    """Places (20001,) of a walk that is mirrored at 0 and 1."""
    walk = 0.5 + (0.02 * torch.randn(20001, generator=generator, dtype=torch.float64)).cumsum(0)
    return (1 - (walk.remainder(2) - 1).abs()).float()


def ranks(distance: Tensor, first: Tensor, second: Tensor) -> float:
    return float(spearmanr(distance, (first - second).abs()).statistic)


def test_slowness_ranks_far_above_near_where_euclid_does_not(generator: Generator) -> None:
    path = wander(generator)
    metric = slowness(waves(path[1:]) - waves(path[:-1]))
    first, second = torch.rand(2, 2000, generator=generator)
    slow = metric(waves(first), waves(second))
    euclid = (waves(first) - waves(second)).flatten(1).norm(dim=1)
    assert slow.shape == (2000,)
    assert ranks(slow, first, second) > 0.95
    assert ranks(euclid, first, second) < 0.6


def test_slowness_does_not_depend_on_how_latents_are_scaled_or_mixed(generator: Generator) -> None:
    """Up to its ridge, which keeps dead dimensions harmless."""
    path, (first, second) = wander(generator), torch.rand(2, 500, generator=generator)
    rotation, _ = torch.linalg.qr(torch.randn(10, 10, generator=generator))
    mixing = rotation * torch.linspace(0.3, 3, 10)
    plain = slowness(waves(path[1:]) - waves(path[:-1]), ridge=1e-9)(waves(first), waves(second))
    mixed = slowness((waves(path[1:]) - waves(path[:-1])) @ mixing, ridge=1e-9)
    torch.testing.assert_close(mixed(waves(first) @ mixing, waves(second) @ mixing), plain, rtol=0.02, atol=0.02)


def test_dead_dimensions_are_harmless(generator: Generator) -> None:
    """Nothing moves there in training; a little noise there at test time must not drown what matters."""
    path, (first, second) = wander(generator), torch.rand(2, 1000, generator=generator)
    metric = slowness(waves(path[1:], dead=30) - waves(path[:-1], dead=30))
    assert torch.isfinite(metric.matrix).all()
    noisy = waves(first, dead=30) + 0.01 * torch.randn(1000, 1, 40, generator=generator)
    assert ranks(metric(noisy, waves(second, dead=30)), first, second) > 0.95
    still = slowness(torch.zeros(10, 1, 3))
    assert torch.isfinite(still(torch.ones(2, 1, 3), torch.zeros(2, 1, 3))).all()


def test_slowness_is_a_distance_in_usual_changes(generator: Generator) -> None:
    changes = torch.randn(5000, 2, 3, generator=generator) * torch.tensor([1.0, 5.0, 0.2])
    metric = slowness(changes, ridge=1e-9)
    a, b, c = torch.randn(3, 7, 2, 3, generator=generator)
    torch.testing.assert_close(metric(a, b), metric(b, a))
    assert torch.equal(metric(a, a), torch.zeros(7))
    assert (metric(a, c) <= metric(a, b) + metric(b, c) + 1e-5).all()
    usual = metric(changes, torch.zeros_like(changes)).square().mean()
    assert float(usual) == pytest.approx(6, rel=1e-3), "a usual change is 1 in each of the six directions"


def test_save_and_load(tmp_path: Path, generator: Generator) -> None:
    latents, positions = linear_world(generator)
    probe, metric = fit_probe(latents, positions), slowness(latents[1:] - latents[:-1])
    probe.save(tmp_path / "probe")
    metric.save(tmp_path / "metric")
    assert torch.equal(load_probe(tmp_path / "probe")(latents), probe(latents))
    assert torch.equal(load_metric(tmp_path / "metric").matrix, metric.matrix)
    with pytest.raises(DataError, match=r"expected 'imagoal\.probe/1'"):
        load_probe(tmp_path / "metric")
    with pytest.raises(DataError, match=r"expected 'imagoal\.metric/1'"):
        load_metric(tmp_path / "probe")


@pytest.mark.parametrize("env", ["canary_package:Env", "canary_package:Env-v0", "imagoal/canary_package:Ball-v0"])
def test_an_environment_from_outside_that_a_store_names_is_not_imported(
    env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "canary_package.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'canary')!r}).touch()")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError, match="--trust imports and runs it"):
        visible_positions(env, np.zeros((3, 4)))
    assert not (tmp_path / "canary").exists()


def test_visible_positions_are_what_the_environment_says() -> None:
    states = np.arange(8.0).reshape(2, 4)
    assert visible_positions("imagoal/Ball-v0", states).tolist() == [[0, 1], [4, 5]]


def test_resting_tells_what_mostly_rests_from_what_always_moves(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    moved = (torch.rand(4000, 1, generator=rng) < 0.2) * torch.randn(4000, 2, generator=rng)
    arm = torch.randn(4000, 3, generator=rng)
    jitter = 0.02 * torch.randn(4000, 2, generator=rng)
    metric = resting(torch.cat([arm[:, :1], moved + jitter, arm[:, 1:]], 1)[:, None])
    a, b = torch.zeros(1, 1, 5), torch.tensor([[[5.0, 0.3, 0.4, 0.0, 12.0]]])
    assert metric(a, b).item() == pytest.approx(0.5)
    assert metric.weighing(0.1)(a, b).item() == pytest.approx(0.5 + 1.3)
    metric.save(tmp_path / "metric")
    assert load_metric(tmp_path / "metric").weighing(0.1)(a, b).item() == pytest.approx(1.8)
    nothing_rests = resting(arm[:, None]).weighing(0.1)
    assert nothing_rests(torch.zeros(1, 1, 3), torch.ones(1, 1, 3)).item() == pytest.approx(3**0.5)
