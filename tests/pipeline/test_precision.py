"""Which numbers each card computes in, and what comes out then, by value against float32: all of it on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from conftest import disc  # noqa: E402
from pretend_device import pretend_cuda  # noqa: E402
from torch import Tensor  # noqa: E402

from devtools.pipeline.make_small import make_small  # noqa: E402
from devtools.pipeline.peak import PeakMemory  # noqa: E402
from trellis_addon.pipeline.checkpoint import safetensors_file  # noqa: E402
from trellis_addon.pipeline.checkpoint.repository import Repository  # noqa: E402
from trellis_addon.pipeline.costs import PUBLISHED_FLOW  # noqa: E402
from trellis_addon.pipeline.device.memory import Budget  # noqa: E402
from trellis_addon.pipeline.device.store import CheckpointSource, ModelStore  # noqa: E402
from trellis_addon.pipeline.networks import attention, transformer  # noqa: E402
from trellis_addon.pipeline.networks.attention import Layout, rope_phases  # noqa: E402
from trellis_addon.pipeline.networks.network import Linear, to_stream, within_range  # noqa: E402
from trellis_addon.pipeline.networks.transformer import FlowTransformer  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline  # noqa: E402
from trellis_addon.pipeline.precision import EXACT_KEYS, precision_of  # noqa: E402
from trellis_addon.pipeline.sample import course  # noqa: E402
from trellis_addon.pipeline.sizes import SCORES, SCORES_PEAK, flow_bytes  # noqa: E402

CARDS = [
    ("nvidia", "12.0", "NVIDIA GeForce RTX 5090", "bfloat16"),
    ("nvidia", "10.3", "NVIDIA B300", "bfloat16"),
    ("nvidia", "9.0", "NVIDIA H200", "bfloat16"),
    ("nvidia", "8.9", "NVIDIA GeForce RTX 4060 Laptop GPU", "bfloat16"),
    ("nvidia", "8.6", "NVIDIA GeForce RTX 3060", "bfloat16"),
    ("nvidia", "8.0", "NVIDIA A100-SXM4-40GB", "bfloat16"),
    ("nvidia", "", "NVIDIA whose driver tells nothing", "bfloat16"),
    ("nvidia", "7.5", "NVIDIA GeForce RTX 2080 Ti", "float16"),
    ("nvidia", "7.5", "Quadro RTX 5000 with Max-Q Design", "float16"),
    ("nvidia", "7.5", "Tesla T4", "float16"),
    ("nvidia", "7.5", "NVIDIA TITAN RTX", "float16"),
    ("nvidia", "7.0", "Tesla V100-SXM2-16GB", "float16"),
    ("nvidia", "7.0", "NVIDIA TITAN V", "float16"),
    ("nvidia", "7.5", "NVIDIA GeForce GTX 1660 Ti", "float32"),
    ("nvidia", "7.5", "NVIDIA GeForce GTX 1650", "float32"),
    ("nvidia", "7.5", "NVIDIA GeForce MX450", "float32"),
    ("nvidia", "7.5", "NVIDIA T400 4GB", "float32"),
    ("nvidia", "7.5", "Quadro T2000", "float32"),
    ("nvidia", "6.1", "NVIDIA GeForce GTX 1080 Ti", "float32"),
    ("nvidia", "6.0", "Tesla P100-PCIE-16GB", "float32"),
    ("nvidia", "5.2", "NVIDIA GeForce GTX 980", "float32"),
    ("amd", "gfx1100", "AMD Radeon RX 7900 XTX", "bfloat16"),
    ("amd", "gfx1201", "AMD Radeon RX 9070 XT", "bfloat16"),
    ("amd", "gfx942", "AMD Instinct MI300X", "bfloat16"),
    ("amd", "gfx908", "AMD Instinct MI100", "bfloat16"),
    ("amd", "gfx1030", "AMD Radeon RX 6900 XT", "float16"),
    ("amd", "gfx906", "AMD Radeon VII", "float16"),
    ("apple", "", "Apple M3 Max", "bfloat16"),
    ("cpu", "", "", "float32"),
]


@pytest.mark.parametrize(("kind", "capability", "name", "expected"), CARDS)
def test_each_card_computes_in_what_it_is_fast_in(kind: str, capability: str, name: str, expected: str) -> None:
    found = precision_of(kind, capability, name)
    assert found.flows == expected and found.reason
    assert found.decoders == ("float32" if expected == "float32" else "float16")
    assert found.itemsize == (4 if expected == "float32" else 2)
    assert found.weight == (4 if kind == "cpu" else 2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small(tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize(
    ("capability", "name", "flows", "decoders", "held"),
    [
        ((8, 6), "NVIDIA GeForce RTX 3060", "bfloat16", "float16", "bfloat16"),
        ((7, 5), "NVIDIA GeForce RTX 2060", "float16", "float16", "float16"),
        ((7, 5), "NVIDIA GeForce GTX 1660", "float32", "float32", "bfloat16"),
    ],
)
def test_the_pipeline_takes_what_suits_the_card(
    weights: Path,
    capability: tuple[int, int],
    name: str,
    flows: str,
    decoders: str,
    held: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every network as it comes onto a card that is none, and what is planned with."""
    monkeypatch.setattr(safetensors_file, "_named", lambda device: "cpu")
    with torch.inference_mode(), pretend_cuda(capability=capability, name=name):
        pipeline = Pipeline.from_folder(weights, device="cuda")
        found: dict[str, Any] = {name: pipeline.store.use(name) for name in course(pipeline.request({}))}
        assert found["shape_slat_flow_model_512"].torso == getattr(torch, flows)
        assert found["shape_slat_flow_model_512"].blocks[0].mlp.mlp[0].weight.dtype == getattr(torch, held)
        for decoder in ("sparse_structure_decoder", "shape_slat_decoder"):
            assert found[decoder].torso == getattr(torch, decoders)
            in_torso = [p for key, p in found[decoder].named_parameters() if found[decoder].in_torso(key)]
            assert {parameter.dtype for parameter in in_torso} == {torch.float16}
        assert found["image_cond_model"].torso == torch.float32
        itemsize = 4 if flows == "float32" else 2
        assert pipeline.store.outline("tex_slat_flow_model_512").itemsize == itemsize
        sizes = {
            name: sum(p.numel() * p.element_size() for p in network.parameters()) for name, network in found.items()
        }
        assert sizes == {name: pipeline.store.outline(name).weights for name in found}


def test_float32_of_weights_in_16_bits_is_float32_of_these_weights(weights: Path) -> None:
    """Cards without tensor cores: nothing is rounded but what was published rounded."""
    few = {"sparse_structure_steps": 1, "shape_slat_steps": 1, "tex_slat_steps": 1}
    expected = Pipeline.from_folder(weights, device="cpu").run(disc(), {"resolution": 512, **few}, seed=3)
    source = CheckpointSource(Repository(weights), torch.device("cpu"), torch.float32, is_packed=True)
    pipeline = Pipeline(ModelStore(source, torch.device("cpu"), Budget(1 << 32)), Repository(weights).config)
    found = pipeline.run(disc(), {"resolution": 512, **few}, seed=3)
    assert torch.bfloat16 in {p.dtype for p in pipeline.store.use("tex_slat_flow_model_512").parameters()}
    assert (found.faces == expected.faces).all() and (found.vertices == expected.vertices).all()
    assert (found.attributes == expected.attributes).all()


DEEP = replace(
    PUBLISHED_FLOW, model_channels=96, num_heads=2, cond_channels=32, mlp_ratio=4.0, in_channels=8, out_channels=8
)


def deep_model(seed: int = 0) -> FlowTransformer:
    """All 30 blocks, narrow, with weights that keep the scale of what goes through."""
    generator = torch.Generator().manual_seed(seed)
    model = FlowTransformer(replace(DEEP, dtype="float32"))
    for key, parameter in model.named_parameters():
        if key.endswith("gamma") or key.endswith("norm2.weight"):
            continue
        scale = 1 / parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else 0.1
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return model.requires_grad_(False).eval()


def velocity(model: FlowTransformer, torso: torch.dtype) -> Tensor:
    """What both branches put out in this torso, float32 (2, T, 8)."""
    generator = torch.Generator().manual_seed(1)
    coords = torch.randint(0, 16, (60, 3), generator=generator)
    x, cond = torch.randn(60, 8, generator=generator), torch.randn(1, 20, 32, generator=generator)
    with torch.inference_mode():
        model.cast(torso)
        phases, layout = rope_phases(coords, DEEP.head_dim), Layout((60,))
        return model.velocity(x, torch.tensor([700.0]), phases, layout, model.encode_context(cond), (True, False))


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_both_16_bit_ways_stay_near_float32_at_full_depth() -> None:
    wanted = velocity(deep_model(), torch.float32)
    brain, half = (error(velocity(deep_model(), torso), wanted) for torso in (torch.bfloat16, torch.float16))
    assert brain < 3e-2
    assert half < brain / 4  # three more bits, and a stream that is not rounded at all


@pytest.mark.parametrize("where", ["self_attn.to_out", "mlp.mlp.2"])
def test_float16_holds_what_bfloat16_holds(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block adds more to the stream than float16's largest number, and all that follow carry it on."""

    def model() -> FlowTransformer:
        made = deep_model()
        parameters = dict(made.named_parameters())
        parameters[f"blocks.3.{where}.weight"].data *= 1e5
        return made

    seen: list[float] = []
    loud = model()
    loud.blocks[3].register_forward_hook(lambda module, inputs, out: seen.append(float(out.abs().max())))
    wanted = velocity(loud, torch.float32)
    assert seen[0] > 8e4
    found = velocity(model(), torch.float16)
    assert found.isfinite().all() and error(found, wanted) < 2e-2

    # the test tells: with a stream in float16, and sums as they are, nothing is left
    monkeypatch.setattr(FlowTransformer, "stream", torch.float16)
    monkeypatch.setattr(attention, "to_stream", lambda layer, x: layer(x))
    monkeypatch.setattr(transformer, "to_stream", lambda layer, x: layer(x))
    assert not velocity(model(), torch.float16).isfinite().all()


def test_what_goes_to_the_stream_is_the_layers_own_up_to_float16() -> None:
    layer = Linear(64, 32).half()
    x = torch.randn(50, 64).half()
    with torch.inference_mode():
        found, wanted = to_stream(layer, x), layer.float()(x.float())
    assert found.dtype == torch.float32
    assert float((found - wanted).abs().max()) < 2e-3
    whole = Linear(1, 1, bias=False).half()
    torch.nn.init.ones_(whole.weight)
    tiny = to_stream(whole, torch.tensor([[2.0**-14]], dtype=torch.float16))
    assert float(tiny.detach().abs()) > 0  # what is a 32nd as large is not lost
    loud = torch.tensor([float("inf"), -float("inf"), 7.0])
    assert within_range(loud.half()).tolist() == [65504.0, -65504.0, 7.0]
    assert within_range(loud).tolist() == [float("inf"), -float("inf"), 7.0]  # other types have the room


def test_the_float16_way_is_planned_for() -> None:
    config = replace(PUBLISHED_FLOW, num_blocks=1)
    for tokens, branches in ((4096, (True, False)), (9600, (True,))):
        with torch.device("meta"), torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(attention, "attend", lambda q, k, v: torch.empty_like(q))
            model = FlowTransformer(config).cast(torch.float16)
            x, t, phases, cond = (torch.empty(size) for size in ((tokens, 8), (1,), (tokens, 64, 2), (1, 1029, 1024)))
            with PeakMemory(model) as seen:
                model.velocity(x, t, phases, Layout((tokens,)), model.encode_context(cond), branches)
        assert seen.peak < flow_bytes(config, tokens, 1029, 2, len(branches))


@pytest.mark.parametrize(("keys", "is_exact"), [(EXACT_KEYS, False), (EXACT_KEYS + 1, True)])
def test_metals_attention_takes_float32_beyond_2000_keys(
    keys: int, is_exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(1, n, 2, 16, generator=generator).bfloat16() for n in (30, keys, keys))
    wanted = attention.attend(q.float(), k.float(), v.float())
    used: list[torch.dtype] = []
    plain = torch.nn.functional.scaled_dot_product_attention

    def spy(q: Tensor, *rest: Any) -> Tensor:
        used.append(q.dtype)
        return plain(q, *rest)

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", spy)
    monkeypatch.setattr(attention, "_is_metal", lambda device: True)
    monkeypatch.setattr(attention, "_is_fused", lambda device: False)
    found = attention.attend(q, k, v)
    assert found.dtype == torch.bfloat16 and set(used) == {torch.float32 if is_exact else torch.bfloat16}
    if is_exact:
        assert torch.equal(found, wanted.bfloat16())


def test_scores_that_are_held_whole_are_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row that Metal and ROCm compute at once, at 9,600 tokens of 12 heads, in float32, with its softmax."""
    shapes: list[tuple[int, ...]] = []

    def note(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        shapes.append((*q.shape[:3], k.shape[2]))
        return torch.empty_like(q)

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", note)
    monkeypatch.setattr(attention, "_is_fused", lambda device: False)
    with torch.device("meta"):
        attention.attend(*(torch.empty(1, 9600, 12, 128) for _ in range(3)))
    assert sum(shape[2] for shape in shapes) == 9600
    scores = max(shape[0] * shape[1] * shape[2] * shape[3] for shape in shapes)
    assert scores <= SCORES and 3 * 4 * scores <= SCORES_PEAK
