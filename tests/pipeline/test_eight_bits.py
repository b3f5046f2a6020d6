"""Weights in 8 bits: what they are, where they are kept, and how far a flow model is off with them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from conftest import disc  # noqa: E402

from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.configuration import DEVICE_VARIABLE, EIGHT_BITS_VARIABLE  # noqa: E402
from trellis_addon.core.errors import FieldError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines.engine import Order  # noqa: E402
from trellis_addon.engines.trellis2 import Trellis2Engine  # noqa: E402
from trellis_addon.pipeline.checkpoint import eight_bits as module  # noqa: E402
from trellis_addon.pipeline.configs import FlowConfig  # noqa: E402
from trellis_addon.pipeline.costs import PUBLISHED_FLOW  # noqa: E402
from trellis_addon.pipeline.networks import fp8  # noqa: E402
from trellis_addon.pipeline.networks.attention import Layout, rope_phases  # noqa: E402
from trellis_addon.pipeline.networks.latent_flow import SLatFlowModel  # noqa: E402
from trellis_addon.pipeline.networks.network import Linear, full_size  # noqa: E402
from trellis_addon.pipeline.networks.transformer import FlowTransformer  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402
from trellis_addon.weights.eight_bits import KINDS, asked_for, suits  # noqa: E402
from trellis_addon.weights.fetching import remove  # noqa: E402

FLOW = "shape_slat_flow_model_512"
FEW = {"sparse_structure_steps": 1, "shape_slat_steps": 1, "tex_slat_steps": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_small(tmp_path / "weights")


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each weight that is converted."""
    found: list[int] = []
    quantised = module.quantised

    def spy(weight: Any, kind: Any) -> Any:
        found.append(len(weight))
        return quantised(weight, kind)

    monkeypatch.setattr(module, "quantised", spy)
    return found


def flow_of(folder: Path) -> Any:
    return Pipeline.from_folder(folder, device="cpu", dtype="float32", eight_bits="int8").store.use(FLOW)


def kept_of(folder: Path) -> Path:
    (found,) = folder.rglob("*.int8.safetensors")
    return found


def test_each_channel_is_within_half_a_step() -> None:
    sizes = torch.tensor([[1.0], [1e-3], [9], [0], [1]])
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(1)) * sizes
    weight[4] = 0
    weight[4, 7] = -3.0
    whole, scale = module.quantised(weight.bfloat16())
    assert whole.dtype == torch.int8 and int(whole.abs().max()) == 127 and scale.dtype == torch.float32
    error = (whole.float() * scale[:, None] - weight.bfloat16().float()).abs()
    assert (error <= 0.5001 * scale[:, None]).all()
    assert int(whole[3].abs().max()) == 0 and int(whole[4, 7]) == -127


def test_it_is_converted_once_and_kept_beside(folder: Path, conversions: list[int]) -> None:
    before = set(folder.rglob("*"))
    first = flow_of(folder).state_dict()
    converted = len(conversions)
    assert converted == 2 * 7  # blocks, and their linear layers
    kept = kept_of(folder)
    assert set(folder.rglob("*")) - before == {kept}
    again = flow_of(folder).state_dict()
    assert len(conversions) == converted
    assert first.keys() == again.keys() and all(torch.equal(first[key], again[key]) for key in first)
    assert {key.rsplit(".", 1)[1] for key, tensor in again.items() if tensor.dtype == torch.int8} == {"weight"}


@pytest.mark.parametrize("fault", ["another source", "cut off", "no safetensors", "other weights"])
def test_what_is_not_of_this_file_is_made_anew(folder: Path, conversions: list[int], fault: str) -> None:
    wanted = {key: tensor.clone() for key, tensor in flow_of(folder).state_dict().items()}
    kept = kept_of(folder)
    conversions.clear()
    if fault == "another source":
        source = kept.with_name(kept.name.replace(".int8", ""))
        os.utime(source, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns + 1_000_000_000))
    elif fault == "cut off":
        kept.write_bytes(kept.read_bytes()[:-100])
    elif fault == "no safetensors":
        kept.write_text("no", encoding="utf-8")
    else:
        from safetensors.torch import save_file

        source = kept.with_name(kept.name.replace(".int8", ""))
        save_file({"a": torch.zeros(3)}, kept, metadata={"format": "1", "source": module._mark(source)})
    found = flow_of(folder).state_dict()
    assert conversions and all(torch.equal(wanted[key], found[key]) for key in wanted)
    conversions.clear()
    flow_of(folder)
    assert not conversions, "and kept"


def test_a_folder_that_is_only_read_is_enough(
    folder: Path, conversions: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("read only")

    monkeypatch.setattr(module, "save_file", refuse)
    assert flow_of(folder).state_dict() and conversions
    assert not list(folder.rglob("*.int8*")) and "converted each time" in caplog.text


def test_a_run_with_them_is_planned_for(folder: Path) -> None:
    """The decoders, and what sees the picture, stay as they are."""
    full, small = (Pipeline.from_folder(folder, device="cpu", eight_bits=eight) for eight in ("", "int8"))
    for name in (FLOW, "shape_slat_decoder"):
        before, after = (pipeline.store.outline(name).weights for pipeline in (full, small))
        assert (after < 0.8 * before) if name == FLOW else (after == before)


def test_a_published_flow_model_takes_half() -> None:
    weights = {eight: full_size(SLatFlowModel, PUBLISHED_FLOW, eight_bits=eight)[0] for eight in ("", *KINDS)}
    assert weights["int8"] == weights["fp8"] < 0.52 * weights[""] and weights["int8"] < 1.35e9


def test_fp8_is_within_half_a_step_of_its_own() -> None:
    """Three bits after the point: a sixteenth of each number at the most, above the smallest ones."""
    sizes = torch.tensor([[1.0], [1e-3], [9], [0]])
    weight = torch.randn(4, 40, generator=torch.Generator().manual_seed(1)) * sizes
    held, scale = module.quantised(weight, fp8.FP8)
    assert held.dtype == fp8.FP8 and scale.dtype == torch.float32 and not held.float().isnan().any()
    error = (held.float() * scale[:, None] - weight).abs()
    assert (error <= weight.abs() / 16 + scale[:, None] * 2**-10).all()
    assert torch.equal(held.float().abs().amax(1), torch.tensor([448.0, 448.0, 448.0, 0.0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_layer_in_fp8_multiplies_what_is_scaled_into_it(dtype: Any) -> None:
    """By value, each step done by hand; rows of any size, also of noughts."""
    generator = torch.Generator().manual_seed(2)
    layer = Linear(32, 48).requires_grad_(False)
    exact = torch.randn(48, 32, generator=generator)
    layer.bias.data = torch.randn(48, generator=generator)
    layer.weight.data, layer.scale = module.quantised(exact, fp8.FP8)
    x = torch.randn(2, 5, 32, generator=generator) * torch.tensor([1e-4, 1.0, 60, 0, 3])[:, None]
    x = x.to(dtype)
    steps = x.float().abs().amax(-1, keepdim=True).clamp_min(1e-30) / 448
    rounded = (x.float() / steps).to(fp8.FP8).double() * steps
    wanted = rounded @ (layer.weight.double() * layer.scale[:, None]).T + layer.bias
    found = layer(x)
    assert found.dtype == dtype and found.shape == (2, 5, 48)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 2 * torch.finfo(dtype).eps
    plain = x.double() @ exact.double().T + layer.bias
    assert 0.005 < float((found - plain).norm() / plain.norm()) < 0.06, "close to what it stands for, and not the same"


def test_the_operation_of_cards_comes_to_the_definition() -> None:
    """PyTorch has it for the processor, too: called as cards call it. Where it is missing, the definition computes."""
    fp8.multiplies.cache_clear()
    assert fp8.multiplies(torch.device("cpu")) in (True, False)
    if not fp8.multiplies(torch.device("cpu")):
        pytest.skip("this PyTorch has no such operation for the processor: the definition computes")
    rows, weight = (torch.randn(n, 64, generator=torch.Generator().manual_seed(n)) for n in (3, 48))
    given = (*fp8.scaled(rows), *fp8.scaled(weight), torch.bfloat16)
    assert torch.allclose(fp8.fast(*given).float(), fp8.plain(*given).float(), rtol=0.01, atol=0.01)


def test_a_device_without_it_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*given: Any, **named: Any) -> Any:
        return fp8.plain(*given) * 1.1

    def none(*_: Any, **__: Any) -> Any:
        raise RuntimeError("not implemented")

    for operation in (wrong, none):
        monkeypatch.setattr(fp8, "fast", operation)
        fp8.multiplies.cache_clear()
        assert not fp8.multiplies(torch.device("cpu"))
    fp8.multiplies.cache_clear()


def test_what_a_device_holds() -> None:
    told = [suits("fp8", "nvidia", text) for text in ("8.6", "8.9", "9.0", "12.0", "")]
    assert told == ["int8", "fp8", "fp8", "fp8", "int8"]
    assert [suits("fp8", kind) for kind in ("cpu", "amd", "apple")] == ["int8"] * 3
    assert suits("int8", "nvidia", "9.0") == "int8" and suits("", "nvidia", "9.0") == ""


def test_both_kinds_lie_beside_each_other_and_go_with_their_group(folder: Path) -> None:
    for kind in KINDS:
        Pipeline.from_folder(folder, device="cpu", eight_bits=kind).store.use("sparse_structure_flow_model")
    published = next(path for path in folder.rglob("ss_flow*.safetensors") if not path.stem.endswith(KINDS))
    beside = [published.with_name(f"{published.stem}.{kind}.safetensors") for kind in KINDS]
    assert all(path.is_file() for path in beside)
    place = folder / "ckpts" / "ss_flow_img_dit_1_3B_64_bf16.safetensors"
    place.parent.mkdir(exist_ok=True)
    for path, kind in zip(beside, KINDS, strict=True):
        path.rename(place.with_name(f"{place.stem}.{kind}.safetensors"))
    remove(folder, "core")
    assert not list(folder.rglob("ss_flow*.int8*")) and not list(folder.rglob("ss_flow*.fp8*"))


@pytest.mark.parametrize(("kind", "most"), [("int8", 0.05), ("fp8", 0.15)])
def test_the_error_at_full_depth(kind: str, most: float) -> None:
    """30 blocks of random weights, in float32 otherwise: int8 is off by a hundredth, about as bfloat16 is."""
    config = FlowConfig(
        8, 4, 64, 32, 4, 30, 2, 2.0, pe_mode="rope", share_mod=True, qk_rms_norm=True, qk_rms_norm_cross=True
    )
    generator = torch.Generator().manual_seed(5)

    def random(*shape: int) -> Any:
        return torch.randn(shape, generator=generator)

    exact = {}
    with torch.inference_mode():
        model = FlowTransformer(config)
        for key, parameter in model.named_parameters():
            if not key.endswith(("gamma", "norm2.weight")):
                parameter.data = random(*parameter.shape) * (
                    parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.1
                )
            exact[key] = parameter.data.clone()
        x, cond = random(24, 4), random(1, 9, 32)
        phases = rope_phases(torch.randint(0, 8, (24, 3), generator=generator), 32)

        def run(model: Any) -> Any:
            context = model.encode_context(cond)
            return model.velocity(x, torch.tensor([700.0]), phases, Layout((24,)), context).float()

        wanted = run(model)
        with torch.device("meta"):
            small = FlowTransformer(config).requires_grad_(False)
        small.choose(torch.float32)
        small.hold_in_eight_bits(kind)
        small.load_state_dict(module._converted(small, exact.__getitem__), assign=True)
        off = float((run(small) - wanted).norm() / wanted.norm())
    assert 1e-4 < off < most


def test_it_is_chosen_and_written_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trellis_addon.geometry.finish import finish

    written: list[dict[str, Any]] = []

    def finished(dense: Any, *, provenance: dict[str, Any], **_: Any) -> Any:
        written.append(provenance)
        return SimpleNamespace(glb=b"glTF")

    monkeypatch.setattr(finish, "finish", finished)
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    monkeypatch.setenv(EIGHT_BITS_VARIABLE, "1")
    Trellis2Engine(folder).generate(Order(disc(64), Settings(resolution=512, **FEW), 3), Progress())
    assert written[0]["eightBits"] == "int8" and list(folder.rglob("*.int8.safetensors"))
    monkeypatch.setenv(EIGHT_BITS_VARIABLE, "4")
    with pytest.raises(FieldError, match="TRELLIS2_EIGHT_BITS"):
        asked_for()
