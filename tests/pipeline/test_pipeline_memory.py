"""What fits into how much memory, and which networks stay on the device."""

from __future__ import annotations

import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from conftest import disc  # noqa: E402

from benchmarks import memory  # noqa: E402
from devtools.pipeline.make_small import make_small  # noqa: E402
from devtools.pipeline.peak import PeakMemory  # noqa: E402
from trellis_addon.core.errors import EngineError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.pipeline.costs import (  # noqa: E402
    PUBLISHED_DECODER,
    PUBLISHED_FLOW,
    decoder_flops,
    flow_flops,
    stage_costs,
    stage_parts,
)
from trellis_addon.pipeline.device.memory import (  # noqa: E402
    GB,
    MAX_TOKENS,
    VOXELS_PER_TOKEN,
    Budget,
    decoder_bytes,
    device_budget,
    flow_bytes,
    keep_within_card,
    largest_resolution,
)
from trellis_addon.pipeline.device.store import ModelStore, Outline, choose_device  # noqa: E402
from trellis_addon.pipeline.networks import attention  # noqa: E402
from trellis_addon.pipeline.networks.network import full_size, parse  # noqa: E402
from trellis_addon.pipeline.networks.sparse import sparse  # noqa: E402
from trellis_addon.pipeline.networks.transformer import FlowTransformer  # noqa: E402
from trellis_addon.pipeline.networks.vae_decoder import DecoderConfig, FlexiDualGridVaeDecoder, SparseUnetVaeDecoder  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline  # noqa: E402
from trellis_addon.pipeline.request import Request  # noqa: E402
from trellis_addon.pipeline.sample import course  # noqa: E402
from trellis_addon.pipeline.sampling.samplers import SamplerSettings  # noqa: E402

FLOW_WEIGHTS, DECODER_WEIGHTS = int(2.6 * GB), int(0.95 * GB)
DECODER = parse(
    DecoderConfig,
    {
        "model_channels": PUBLISHED_DECODER[0],
        "num_blocks": PUBLISHED_DECODER[1],
        "latent_channels": 32,
        "block_type": ["SparseConvNeXtBlock3d"] * 5,
        "up_block_type": ["SparseResBlockC2S3d"] * 4,
        "use_fp16": True,
    },
    "",
)


def resolution(gigabytes: float) -> int:
    return largest_resolution(Budget(int(gigabytes * GB)), PUBLISHED_FLOW, FLOW_WEIGHTS, DECODER, DECODER_WEIGHTS)


def test_tiers_follow_from_the_budget() -> None:
    """What a device with so many gigabytes is good for, half of one being kept back."""
    assert [resolution(size - 0.5) for size in (3, 6, 8, 12, 16, 24)] == [0, 1024, 1536, 1536, 1536, 1536]


def test_more_memory_never_takes_fewer_tokens() -> None:
    budgets = [Budget(int(size * GB)) for size in (2, 3, 4, 6, 8, 12, 16, 24, 48)]
    flow = [budget.flow_tokens(PUBLISHED_FLOW, FLOW_WEIGHTS, 4101) for budget in budgets]
    decoder = [budget.decoder_tokens(DECODER, DECODER_WEIGHTS) for budget in budgets]
    assert flow == sorted(flow) and decoder == sorted(decoder)
    assert flow[0] == 0 and flow[-1] == decoder[-1] == MAX_TOKENS
    for budget, tokens in zip(budgets, flow, strict=True):
        assert not tokens or FLOW_WEIGHTS + flow_bytes(PUBLISHED_FLOW, tokens, 4101) <= budget.total


def test_estimates_lie_where_the_sizes_of_the_tensors_put_them() -> None:
    """49,152 tokens: about 3 GB of activations and 0.76 GB of keys and values; 2.5 M voxels: about 2 GB."""
    assert 2.5 * GB < flow_bytes(PUBLISHED_FLOW, MAX_TOKENS, 4101) < 5 * GB
    assert 1.2 * GB < decoder_bytes(DECODER, 9600) < 2.5 * GB
    assert decoder_bytes(DECODER, 9600, itemsize=4) > decoder_bytes(DECODER, 9600)
    weights, torso = full_size(SparseUnetVaeDecoder, DECODER)
    assert torso == torch.float16 and abs(weights - 948_000_000) < 4_000_000


def test_both_branches_go_together_only_when_small_and_when_there_is_room() -> None:
    def together(gigabytes: float, tokens: int) -> bool:
        return Budget(int(gigabytes * GB)).branches_together(PUBLISHED_FLOW, FLOW_WEIGHTS, tokens, 1029)

    assert together(24, 2400) and together(4, 2400)
    assert not together(2.8, 2400)
    assert not together(80, 22000)


def test_flops_agree_with_the_published_table() -> None:
    for tokens, context, tera in ((4096, 1029, 13.7), (2400, 1029, 7.4), (9600, 4101, 47.7), (22000, 4101, 159)):
        assert flow_flops(PUBLISHED_FLOW, tokens, context) / 1e12 == pytest.approx(tera, rel=0.05)
    assert decoder_flops(*PUBLISHED_DECODER, 9600) / 1e12 == pytest.approx(33, rel=0.15)


def test_stages_share_the_progress_as_they_share_the_time() -> None:
    settings = SamplerSettings(12, 7.5, 0.5, (0.6, 1.0), 3.0)
    seen: list[float] = []
    request = Request("1024_cascade", settings, settings, settings)
    for part in stage_parts(request, Progress(lambda stage, fraction: seen.append(fraction))).values():
        part.update("", 0)
        part.update("", 1)
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == pytest.approx(1)
    costs = stage_costs(request)
    assert costs["detail"] > costs["shape"]
    assert stage_costs(Request("512", settings, settings, settings))["detail"] == 0
    assert 1.5e15 < sum(costs.values()) < 3.5e15


class Networks:
    """A source of networks of one kilobyte each, which counts what it loads."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def load(self, name: str) -> Any:
        self.loaded.append(name)
        return torch.nn.Linear(1, 1)

    def outline(self, name: str) -> Outline:
        return Outline(None, 1000, 2)


def test_networks_stay_while_there_is_room() -> None:
    source = Networks()
    store = ModelStore(source, torch.device("cpu"), Budget(3500))
    for name in "abcab":
        store.use(name)
    assert source.loaded == ["a", "b", "c"] and store.resident == ("c", "a", "b")
    store.use("d")
    assert store.resident == ("a", "b", "d")  # the one that was not used for longest went
    store.use("b", activations=2000)
    assert store.resident == ("b",)
    store.use("b", activations=9000)  # more than there is: the network is given all the same
    assert store.resident == ("b",)
    store.clear()
    assert store.resident == ()


def test_what_is_needed_last_goes_first() -> None:
    """Room for three of four networks that are used in a circle: the best that can be done is known."""
    source = Networks()
    store = ModelStore(source, torch.device("cpu"), Budget(3500))
    store.expect("abcd")
    for name in "abcd":
        store.use(name)
    assert store.resident == ("a", "b", "d")  # c, just used, is the one that is needed last
    del source.loaded[:]
    for name in "abcd" * 3:
        store.use(name)
    assert len(source.loaded) == 4  # with the least recently used going first it would be all 12
    store.expect("aeae")
    store.use("e")
    assert store.resident[0] == "a" and len(store.resident) == 3  # what is not expected at all goes before what is


@pytest.mark.parametrize(
    ("resolution", "card", "most"), [(1024, 6, 12.7), (1024, 8, 10.5), (1024, 12, 5.0), (1536, 12, 7.5), (1536, 24, 0)]
)
def test_weights_are_read_again_as_seldom_as_a_card_allows(resolution: int, card: float, most: float) -> None:
    """Of 12.7 GB. On a card of 6 nothing is read twice for one asset."""
    again = memory.read_again(resolution, card) / GB
    assert again <= most
    assert again <= memory.read_again(resolution, card, is_expected=False) / GB
    assert memory.read_again(resolution, card, results=4) / GB <= 0.55 * again  # of several at once


@pytest.mark.parametrize(("resolution", "kinds"), [(512, 7), (1024, 8), (1536, 8)])
def test_what_a_run_uses_is_what_it_expects(resolution: int, kinds: int, tmp_path: Path) -> None:
    """The course is a promise: were it another, the wrong network would go."""
    pipeline = Pipeline.from_folder(make_small(tmp_path), device="cpu")
    used: list[str] = []
    use = pipeline.store.use
    pipeline.store.use = lambda name, beside=0: (used.append(name), use(name, beside))[1]  # type: ignore[method-assign]
    few = {"sparse_structure_steps": 1, "shape_slat_steps": 1, "tex_slat_steps": 1}
    pipeline.run(disc(), {"resolution": resolution, **few}, seed=3)
    assert used == list(course(pipeline.request({"resolution": resolution}))) and len(set(used)) == kinds


def test_the_device_says_what_it_has() -> None:
    assert device_budget(choose_device("cpu")).total > GB
    assert choose_device().type in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match='no "cuda" device'):
            choose_device("cuda")


@pytest.mark.parametrize(("memory", "gigabytes"), [(8, 4.0), (128, 64.0), (0, 8.0)])
def test_of_the_machines_memory_half_is_used(memory: int, gigabytes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that does not say has 16 GB."""
    monkeypatch.setattr("trellis_addon.pipeline.device.memory.machine_memory", lambda: (memory * GB, 0))
    assert device_budget(torch.device("cpu")).total == gigabytes * GB


CUDA = torch.device("cuda:1")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A card of 8 GB, of which `free` are, and `ours` held by PyTorch; `share` is what PyTorch was allowed last."""
    card: dict[str, Any] = {"free": 6 * GB, "ours": 1 * GB, "share": None}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (card["free"], 8 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: card["ours"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA GeForce RTX 2070")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))

    def allow(share: float, device: torch.device) -> None:
        assert 0.0 < share <= 1.0 and device == CUDA
        card["share"] = share

    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", allow)
    monkeypatch.setattr(sys, "platform", "win32")
    return card


@pytest.mark.parametrize(("free", "ours", "share"), [(6, 1, 6.5 / 8), (0, 0, 0.05), (8, 1, 1.0)])
def test_on_windows_pytorch_stays_within_what_is_free(free: int, ours: int, share: float, card: dict[str, Any]) -> None:
    """NVIDIA's driver there would go on in main memory, and nothing would be tried at a smaller size."""
    card.update(free=free * GB, ours=ours * GB)
    keep_within_card(CUDA)
    assert card["share"] == pytest.approx(share)
    card.update(share=None)
    keep_within_card(torch.device("cpu"))
    assert card["share"] is None


@pytest.mark.parametrize(
    ("system", "release", "is_limited"),
    [("linux", "6.8.0-generic", False), ("linux", "5.15.153.1-microsoft-standard-WSL2", True), ("win32", "11", True)],
)
def test_elsewhere_the_driver_says_so_itself(
    system: str, release: str, is_limited: bool, card: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "release", lambda: release)
    keep_within_card(CUDA)
    assert (card["share"] is not None) == is_limited


def test_every_run_looks_anew_what_others_have_left(card: dict[str, Any]) -> None:
    pipeline = Pipeline.__new__(Pipeline)
    pipeline.store, pipeline.device = ModelStore(Networks(), CUDA, Budget(4 * GB)), CUDA
    pipeline._measure, pipeline.memory_share = (lambda: Budget(4 * GB)), 1.0

    def allowed() -> float:
        return float(card["share"])

    assert pipeline._within_budget(allowed) == pytest.approx(6.5 / 8)
    card.update(free=2 * GB)
    assert pipeline._within_budget(allowed) == pytest.approx(2.5 / 8)


def test_workspace_follows_the_budget() -> None:
    assert Budget(0).workspace == 32 << 20
    assert Budget(4 * GB).workspace == 256 << 20
    assert Budget(80 * GB).workspace == 512 << 20


@pytest.mark.parametrize(("tokens", "branches"), [(2400, (True, False)), (22000, (True,)), (49152, (True,))])
def test_a_full_size_flow_model_stays_below_its_estimate(
    tokens: int, branches: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shapes only, at full width; attention itself holds no more than its output."""
    monkeypatch.setattr(attention, "attend", lambda q, k, v: torch.empty_like(q))
    config = replace(PUBLISHED_FLOW, num_blocks=2)
    with torch.device("meta"), torch.inference_mode():
        model = FlowTransformer(config).cast(torch.bfloat16)
        x, t, phases, cond = (torch.empty(size) for size in ((tokens, 8), (1,), (tokens, 64, 2), (1, 4101, 1024)))
        with PeakMemory(model) as seen:
            context = model.encode_context(cond)
            model.velocity(x, t, phases, attention.Layout((tokens,)), context, branches)
    estimate = flow_bytes(config, tokens, 4101, 2, len(branches))
    assert 0.5 * estimate < seen.peak < estimate


def test_a_decoder_stays_below_its_estimate() -> None:
    """The widths of the last levels; the count of voxels as it comes out."""
    levels = {"block_type": ("SparseConvNeXtBlock3d",) * 3, "up_block_type": ("SparseResBlockC2S3d",) * 2}
    config = DecoderConfig((64, 128, 64), 4, (0, 1, 0), **levels)
    model = FlexiDualGridVaeDecoder(config)
    for key, parameter in model.named_parameters():
        parameter.data = torch.randn(parameter.shape) * (0.02 if parameter.dim() > 1 else 0.1)
        if "to_subdiv" in key:
            parameter.data = torch.tensor([3.0] * 4 + [-3.0] * 4) if parameter.dim() == 1 else 0 * parameter
    coords = torch.cat([torch.zeros(1000, 1), torch.cartesian_prod(*[torch.arange(10)] * 3)], dim=1)
    workspace = 8 << 20
    with torch.inference_mode():
        z = sparse(torch.randn(len(coords), 4), coords, workspace)
        with PeakMemory(model) as seen:
            voxels = len(model(z).out.grid)
    per_voxel = decoder_bytes(config, 1000, itemsize=4) / 1000 / VOXELS_PER_TOKEN
    assert voxels == 16 * len(coords)
    chunks = 4 * 27 * 8 * (1 << 16)  # whole numbers of one chunk of neighbours: part of the workspace at real sizes
    assert seen.peak < per_voxel * voxels + 3 * workspace + chunks
