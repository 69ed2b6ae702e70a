"""A frozen encoder: it never changes, its hash proves it, and what it says depends on the frame alone."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imagoal import files
from imagoal.envs.store import FrameCache
from imagoal.errors import DataError, NumericalError, UsageError
from imagoal.world_model._frames import as_float, to_array, to_tensor
from imagoal.world_model.disk import describe
from imagoal.world_model.encoders.patch_conv import PatchConv
from imagoal.world_model.readouts import _frozen
from imagoal.world_model.readouts._frozen import FrozenEncoder
from imagoal.world_model.training import encode_all

CONFIG = PatchConv(size=8, width=4)


def trained() -> FrozenEncoder:
    """An encoder whose weights and statistics do not fit into float16."""
    net = CONFIG.build()
    generator = torch.Generator().manual_seed(1)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(torch.rand(tensor.shape, generator=generator) / 7)
    return FrozenEncoder(CONFIG, net, "in_domain_actions")


def frames(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=generator)


def test_it_is_frozen() -> None:
    encoder = trained()
    assert not encoder.net.training
    assert not any(weight.requires_grad for weight in encoder.net.parameters())
    pixels = as_float(frames(2)).requires_grad_()
    encoder.encode(pixels).sum().backward()
    assert pixels.grad is not None, "gradients still flow through it"
    assert pixels.grad.abs().sum() > 0


def test_weights_are_rounded_to_float16_before_anything_is_computed() -> None:
    encoder = trained()
    for tensor in encoder.net.state_dict().values():
        if tensor.is_floating_point():
            assert torch.equal(tensor, tensor.half().float())


def test_save_and_load_keep_hash_and_every_bit_of_the_latents(tmp_path: Path, ball_encoder: FrozenEncoder) -> None:
    for number, encoder in enumerate((trained(), ball_encoder)):
        before, pictures = encoder.hash, frames(5)
        latents = encoder.encode(pictures)
        encoder.save(tmp_path / str(number))
        loaded = _frozen.load_encoder(tmp_path / str(number))
        assert torch.equal(loaded.encode(pictures), latents)
        assert loaded.hash == encoder.hash == before
        assert (loaded.label, loaded.config) == (encoder.label, encoder.config)
        loaded.save(tmp_path / "again")
        assert files.read_json(tmp_path / "again" / "MANIFEST.json") == files.read_json(
            tmp_path / str(number) / "MANIFEST.json"
        )


def test_the_hash_sees_every_weight_the_settings_and_the_label(ball_cache: FrameCache) -> None:
    hashes = {trained().hash}
    for name, value in trained().net.state_dict().items():
        other = trained()
        tensor = other.net.state_dict()[name]
        flat = tensor.view(-1)
        flat[-1] = flat[-1] * 2 + 1
        assert not torch.equal(tensor, value)
        hashes.add(FrozenEncoder(CONFIG, other.net, "in_domain_actions").hash)
    hashes.add(FrozenEncoder(CONFIG, trained().net, "random").hash)
    hashes.add(FrozenEncoder(PatchConv(size=8, width=4, seed=1), trained().net, "in_domain_actions").hash)
    hashes |= {trained().with_reduction(ball_cache.frames[:50], size, 0).hash for size in (2, 3)}
    assert len(hashes) == 1 + len(trained().net.state_dict()) + 4


def test_a_latent_does_not_depend_on_what_it_is_encoded_with(ball_encoder: FrozenEncoder) -> None:
    """But for rounding: the normalisation of a trained one divides by a spread of some 0.004, and its rounding too."""
    pictures = frames(40)
    for encoder, tolerance in ((trained(), 1e-6), (ball_encoder, 1e-5)):
        together = encoder.encode(pictures)
        for batch in (1, 7, 39):
            alone = torch.cat([encoder.encode(part) for part in pictures.split(batch)])
            torch.testing.assert_close(alone, together, atol=tolerance, rtol=1e-6)


def test_many_frames_are_encoded_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, pictures = trained(), frames(11)
    whole = encoder.encode(pictures)
    monkeypatch.setattr(_frozen, "FRAMES_AT_ONCE", 4)
    assert encoder.encode(pictures).shape == whole.shape
    torch.testing.assert_close(encoder.encode(pictures), whole, atol=1e-6, rtol=1e-6)
    assert encoder.encode(pictures[:0]).shape == (0, 1, 8)


def test_bytes_and_floats_give_the_same_latents() -> None:
    encoder, pictures = trained(), frames(3)
    assert torch.equal(encoder.encode(pictures), encoder.encode(pictures.float() / 255))


def test_frames_are_turned_there_and_back(ball_cache: FrameCache) -> None:
    pictures = ball_cache.frames[:5]
    assert to_tensor(pictures).shape == (5, 3, 64, 64)
    assert (to_array(to_tensor(pictures)) == pictures).all()
    assert (to_array(as_float(to_tensor(pictures))) == pictures).all()
    assert to_array(torch.full((3, 2, 2), 1.7)).tolist() == [[[255] * 3] * 2] * 2, "clamped for display"


def test_the_reduction_is_pca(ball_cache: FrameCache) -> None:
    size, plain = 6, _frozen.build_encoder(PatchConv(size=16, width=8, normalise=False))
    encoder = plain.with_reduction(ball_cache.frames, size, seed=0)
    assert encoder.reduce is not None
    mean, basis = encoder.reduce.mean, encoder.reduce.basis
    torch.testing.assert_close(basis.T @ basis, torch.eye(size), atol=2e-3, rtol=0)  # rounded to float16
    points = plain.encode(to_tensor(ball_cache.frames)).flatten(1).double()
    centred = points - points.mean(0)
    values = torch.linalg.svdvals(centred)
    reduced = encoder.encode(to_tensor(ball_cache.frames))
    assert reduced.shape == (len(points), 1, size)
    rebuilt = reduced[:, 0].double() @ basis.double().T + mean.double()
    missing = points - rebuilt
    left, best = (missing - missing.mean(0)).square().sum(), values[size:].square().sum()
    assert best < left * (1 + 1e-9)
    assert left < best * 1.1, "no basis of that size rebuilds much better, though these components are nearly alike"
    assert plain.reduce is None, "the encoder itself is as it was"


def test_the_reduction_follows_from_its_seed_and_disturbs_no_other(ball_cache: FrameCache) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    hashes = {trained().with_reduction(ball_cache.frames[:99], 3, seed=0).hash for _ in range(2)}
    assert torch.equal(torch.rand(2), expected)
    assert len(hashes) == 1


@pytest.mark.parametrize(("count", "size"), [(100, 9), (5, 6)])
def test_a_reduction_to_more_than_there_is_is_refused(ball_cache: FrameCache, count: int, size: int) -> None:
    with pytest.raises(UsageError, match=f"reduce = {size}; expected at most {min(count, 8)}"):
        trained().with_reduction(ball_cache.frames[:count], size, seed=0)


def forged(path: Path, change: dict[str, Any]) -> Path:
    """The folder of an encoder with other settings, and a manifest that agrees with them."""
    trained().save(path)
    files.write_json(path / "config.json", files.read_json(path / "config.json") | change)
    hashes = files.read_json(path / "MANIFEST.json")
    files.write_json(path / "MANIFEST.json", hashes | {"config.json": files.sha256(path / "config.json")})
    return path


def test_a_folder_with_other_settings_than_it_was_saved_with_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.json says"):
        _frozen.load_encoder(forged(tmp_path / "label", {"label": "generic"}))
    with pytest.raises(DataError, match=r"bias: \(8,\) in file, \(9,\) expected"):
        _frozen.load_encoder(forged(tmp_path / "size", {"encoder": describe("encoder", PatchConv(size=9, width=4))}))


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": None},
        {"encoder": []},
        {"encoder": {}},
        {"encoder": {"name": 3, "fields": {}}},
        {"encoder": {"name": ["a:b"], "fields": {}}},
        {"encoder": {"name": "patch_cone", "fields": {}}},
        {"encoder": {"name": "../encoders/patch_conv", "fields": {}}},
        {"encoder": {"name": "patch_conv", "fields": {"size": 0}}},
        {"encoder": {"name": "patch_conv", "fields": {"size": "8"}}},
        {"encoder": {"name": "patch_conv", "fields": {"size": 1e99}}},
        {"encoder": {"name": "patch_conv", "fields": {"sise": 8}}},
        {"encoder": {"name": "patch_conv", "fields": {"width": 10**15}}},
        {"encoder": {"name": "patch_conv", "fields": [8]}},
        {"reduce": [4]},
        {"reduce": [4, 4]},
        {"reduce": "many"},
        {"hash": 3},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_a_data_error(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        _frozen.load_encoder(forged(tmp_path / "encoder", change))


@dataclass(frozen=True)
class Foreign:
    """An encoder from outside."""

    label: ClassVar[str] = "random"

    def build(self) -> nn.Module:
        return nn.Sequential(nn.AvgPool2d(64), nn.Flatten(), nn.Unflatten(1, (1, 3)))

    layers = build


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an encoder in a package that sings when it is imported."""
    source = Path(__file__).read_text()
    body = source[source.index("@dataclass(frozen=True)\nclass Foreign") : source.index("@pytest.fixture\ndef foreign")]
    head = "from dataclasses import dataclass\nfrom typing import ClassVar\nfrom pathlib import Path\nfrom torch import nn\n"
    (tmp_path / "singing.py").write_text(f"{head}Path({str(tmp_path / 'canary')!r}).touch()\n{body}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "singing", raising=False)
    return "singing:Foreign"


def test_a_foreign_name_in_a_file_imports_nothing_without_trust(tmp_path: Path, foreign: str) -> None:
    path = forged(tmp_path / "encoder", {"encoder": {"name": foreign, "fields": {}}})
    with pytest.raises(DataError, match="--trust imports and runs it"):
        _frozen.load_encoder(path)
    assert not (tmp_path / "canary").exists()
    assert "singing" not in sys.modules


def test_a_foreign_encoder_is_used_with_trust(tmp_path: Path, foreign: str) -> None:
    encoder = _frozen.named_encoder(foreign)
    assert (tmp_path / "canary").exists(), "whoever types a name means it"
    encoder.save(tmp_path / "encoder")
    assert files.read_json(tmp_path / "encoder" / "config.json")["encoder"]["name"] == foreign
    loaded = _frozen.load_encoder(tmp_path / "encoder", trust=True)
    assert loaded.hash == encoder.hash
    with pytest.raises(DataError, match="--trust"):
        _frozen.load_encoder(tmp_path / "encoder")


def test_encoders_by_name(tmp_path: Path) -> None:
    assert _frozen.named_encoder("patch_conv").label == "random"
    assert _frozen.named_encoder("patch_conv").hash == _frozen.named_encoder("PATCH-CONV").hash, (
        "the same random weights every time"
    )
    trained().save(tmp_path / "run" / "encoder")
    assert _frozen.named_encoder(str(tmp_path / "run")).hash == _frozen.named_encoder(str(tmp_path / "run" / "encoder")).hash
    with pytest.raises(UsageError, match="patch_conv"):
        _frozen.named_encoder("patch_cone")
    with pytest.raises(UsageError, match="no encoder folder"):
        _frozen.named_encoder(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="MANIFEST"):
        _frozen.named_encoder(str(tmp_path))


def test_frames_of_another_size_are_refused_in_words() -> None:
    with pytest.raises(UsageError, match=r"\(3, 32, 32\); patch_conv expects \(3, 64, 64\)"):
        trained().encode(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("field", ["size", "width"])
def test_wrong_fields_are_named(field: str) -> None:
    with pytest.raises(UsageError, match=f"PatchConv.{field} is 0; expected 1 or more"):
        PatchConv(**{field: 0})


def test_latents_of_a_store_are_encoded_once(
    ball_cache: FrameCache, ball_encoder: FrozenEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encode_all(ball_cache, ball_encoder)
    path = ball_cache.folder / f"latents-{ball_encoder.hash}.npy"
    assert first.dtype == torch.float16
    assert torch.equal(first, ball_encoder.encode(to_tensor(ball_cache.frames)).half())
    with monkeypatch.context() as patch:
        patch.setattr(FrozenEncoder, "encode", None)
        assert torch.equal(encode_all(ball_cache, ball_encoder), first)
    shorter, wider = io.BytesIO(), io.BytesIO()
    np.save(shorter, first[:-1].numpy())
    np.save(wider, first.double().numpy())
    for damage in (b"", path.read_bytes()[:-1], b"x" * 1000, shorter.getvalue(), wider.getvalue()):
        path.write_bytes(damage)
        assert torch.equal(encode_all(ball_cache, ball_encoder), first)


def test_latents_that_are_not_finite_are_not_kept(ball_cache: FrameCache) -> None:
    net = CONFIG.build()
    net.get_parameter("body.7.bias").data.fill_(6e4)
    net.get_buffer("norm.running_var").fill_(0.25)
    encoder = FrozenEncoder(CONFIG, net, "random")
    with pytest.raises(NumericalError, match="not finite"):
        encode_all(ball_cache, encoder)
    assert not (ball_cache.folder / f"latents-{encoder.hash}.npy").exists()
