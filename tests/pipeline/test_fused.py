"""Norms, rotation and gates as one operation each: by value against the plain code, which is the truth, on Warp's CPU.

Whether a card is better off with them is found out on the card; here is shown what is made of the answer, and how much
less of its memory is read and written.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("warp")

from conftest import PATIENCE  # noqa: E402
from pretend_device import pretend_cuda  # noqa: E402

from devtools.pipeline.peak import PeakMemory  # noqa: E402
from trellis_addon.core.configuration import HOME_VARIABLE  # noqa: E402
from trellis_addon.pipeline.configs import FlowConfig  # noqa: E402
from trellis_addon.pipeline.costs import PUBLISHED_FLOW  # noqa: E402
from trellis_addon.pipeline.device import attention_choice, fused_choice, learned  # noqa: E402
from trellis_addon.pipeline.networks import attention, fused  # noqa: E402
from trellis_addon.pipeline.networks.attention import Layout, MultiHeadRMSNorm, normed, rope_phases  # noqa: E402
from trellis_addon.pipeline.networks.transformer import FlowTransformer, gated, modulated, normed_by  # noqa: E402

CPU = torch.device("cpu")
TYPES = (torch.bfloat16, torch.float16, torch.float32)
SMALL = FlowConfig(8, 4, 48, 32, 4, 2, 3, 2.0, pe_mode="rope", share_mod=True, qk_rms_norm=True, qk_rms_norm_cross=True)


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def random(*shape: int, seed: int = 1) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def both(operation: Any) -> tuple[Any, Any]:
    plain = operation()
    with fused.fused():
        assert fused.is_fused()
        ours = operation()
    assert not fused.is_fused() and ours.dtype == plain.dtype and ours.shape == plain.shape
    return ours.float(), plain.float()


def norm_of(heads: int, channels: int) -> Any:
    norm = MultiHeadRMSNorm(channels, heads)
    norm.gamma.data = random(heads, channels, seed=2)
    return norm


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("is_rotated", [False, True])
def test_rms_norm_and_rotation(dtype: Any, is_rotated: bool) -> None:
    """Of queries as they lie between keys and values; rounded where the plain code rounds, so equal in 16 bits."""
    qkv = (10 * random(2, 7, 3, 3, 16)).to(dtype)
    qkv[0, 3, 0, 1] = 0  # a head of length nought
    phases = rope_phases(torch.randint(0, 64, (7, 3), generator=torch.Generator().manual_seed(3)), 16)
    ours, plain = both(lambda: normed(norm_of(3, 16), qkv[:, :, 0], phases if is_rotated else None))
    assert ours.isfinite().all()
    assert torch.allclose(ours, plain, rtol=1e-6, atol=1e-6 if dtype == torch.float32 else 0)
    single, alone = both(lambda: normed(norm_of(3, 16), qkv[0, :, 1]))  # as cross-attention has them
    assert torch.allclose(single, alone, rtol=1e-6, atol=1e-6 if dtype == torch.float32 else 0)


@pytest.mark.parametrize("torso", TYPES)
def test_layer_norm_and_gate_are_nearer_to_float32_than_the_plain_code(torso: Any) -> None:
    stream = torch.float32 if torso == torch.float16 else torso
    h, x = 3 * random(1, 9, 48, seed=4) + 1, random(2, 9, 48, seed=5)
    h = h.to(stream).expand(2, -1, -1)  # as the first block gets it
    scale, shift, weight = (random(1, 48, seed=seed).to(stream) for seed in (6, 7, 8))
    norm = torch.nn.LayerNorm(48, eps=1e-6)
    norm.weight.data, norm.bias.data = weight[0].float(), shift[0].float()

    def true(values: Any) -> Any:
        return values.float()

    cases = {
        "modulated": (
            lambda: modulated(h, scale, shift, torso),
            lambda: modulated(true(h), true(scale), true(shift), torch.float32),
        ),
        "normed": (lambda: normed_by(norm, h[0], torso), lambda: normed_by(norm, true(h[0]), torch.float32)),
        "gated": (
            lambda: gated(h, scale, x.to(torso)),
            lambda: gated(true(h), true(scale), true(x.to(torso))),
        ),
    }
    for name, (operation, exact) in cases.items():
        ours, plain = both(operation)
        wanted = exact()
        off, plainly_off = (float((values - wanted).abs().max()) for values in (ours, plain))
        # 1 + scale is rounded in both; a rounding of the result remains
        assert off <= 1.01 * plainly_off + 4e-6, (name, off, plainly_off)
        assert ours.is_contiguous()


def test_samples_of_their_own_modulation_go_the_plain_way() -> None:
    h, per_token = random(1, 6, 48), random(6, 48, seed=2)
    ours, plain = both(lambda: gated(modulated(h, per_token, per_token, torch.float32), per_token, h))
    assert torch.equal(ours, plain)


@pytest.mark.parametrize("torso", TYPES[:2])
def test_a_whole_pass_is_no_further_from_float32(torso: Any) -> None:
    model = FlowTransformer(SMALL)
    for key, parameter in model.named_parameters():
        parameter.data = random(*parameter.shape, seed=len(key)) * (0.5 if parameter.dim() > 1 else 0.2)
        parameter.data /= parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else 1.0
    x, cond = random(20, 4), random(1, 11, 32, seed=3)
    phases = rope_phases(torch.randint(0, 8, (20, 3), generator=torch.Generator().manual_seed(4)), 16)

    def run() -> Any:
        context = model.encode_context(cond)
        return model.velocity(x, torch.tensor([700.0]), phases, Layout((20,)), context, (True, False))

    exact = run()
    model.cast(torso)
    ours, plain = both(run)
    off, plainly_off = (float((values - exact).abs().max()) for values in (ours, plain))
    assert off <= 1.5 * plainly_off + 1e-5 * float(exact.abs().max())


def test_a_full_size_pass_reads_and_writes_less_than_half() -> None:
    """Shapes only, two blocks at full width; attention itself counts for neither."""
    config, tokens = replace(PUBLISHED_FLOW, num_blocks=2), 9600
    traffic = {}
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(attention, "attend", lambda q, k, v: torch.empty_like(q))
        model = FlowTransformer(config).cast(torch.bfloat16)
        x, t, phases, cond = (torch.empty(size) for size in ((tokens, 8), (1,), (tokens, 64, 2), (1, 4101, 1024)))
        context = model.encode_context(cond)
        for is_on in (False, True):
            with fused.fused(is_on), PeakMemory(model) as seen:
                model.velocity(x, t, phases, Layout((tokens,)), context, (True,))
            traffic[is_on] = seen.traffic, seen.peak
    assert traffic[True][0] < 0.4 * traffic[False][0]
    assert traffic[True][1] <= traffic[False][1], "nor does it take more memory"


# Whether a device uses them


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A card that is none, on which nothing was measured yet."""
    import warp

    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(warp, "is_cuda_available", lambda: True)
    monkeypatch.setattr(fused_choice, "_remembered", {})
    monkeypatch.setattr(attention_choice, "_remembered", {})
    found = SimpleNamespace(asked=0, error=0.5, times=(1.0, 2.0), file=tmp_path / "home" / learned.FILE)

    def compared(*_: Any) -> dict[str, tuple[float, float, float]]:
        found.asked += 1
        if isinstance(found.error, Exception):
            raise found.error
        return dict.fromkeys(fused_choice.OPERATIONS, (found.error, *found.times))

    monkeypatch.setattr(fused_choice, "compared", compared)
    with pretend_cuda(capability=(8, 9)):
        yield found


def chosen() -> bool:
    return fused_choice.is_chosen(torch.device("cuda:0"), torch.bfloat16)


def test_the_processor_is_left_alone() -> None:
    assert not fused_choice.is_chosen(CPU, torch.float32)


@pytest.mark.parametrize(
    ("error", "times", "is_used"),
    [
        (0.5, (1.0, 2.0), True),
        (0.5, (2.0, 1.0), False),  # slower
        (1.5, (1.0, 2.0), False),  # wrong
        (float("nan"), (1.0, 2.0), False),
        (RuntimeError("Warp could not be compiled"), (1.0, 2.0), False),
    ],
)
def test_only_where_right_and_faster(card: Any, error: Any, times: tuple[float, float], is_used: bool) -> None:
    card.error, card.times = error, times
    assert chosen() == is_used
    with fused_choice.fastest_blocks(torch.device("cuda:0"), torch.bfloat16):
        assert fused.is_fused() == is_used
    assert not fused.is_fused() and card.asked == 1


@pytest.mark.parametrize("words", ["an illegal memory access was encountered", "out of memory"])
def test_a_lost_device_and_a_full_one_are_told(card: Any, words: str) -> None:
    """Nothing is remembered: it says nothing of the operations."""
    card.error = RuntimeError(f"CUDA error: {words}")
    with pytest.raises(RuntimeError, match=words):
        chosen()
    assert not fused_choice._remembered and not card.file.exists()


def test_a_thread_on_another_device_does_without() -> None:
    told: list[bool] = []
    with fused.fused():
        thread = threading.Thread(target=lambda: told.append(fused.is_fused()))
        thread.start()
        thread.join(PATIENCE)
        assert fused.is_fused() and told == [False]


def test_it_is_remembered_for_the_next_session_of_the_same_device(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen() and card.asked == 1
    fused_choice._remembered.clear()
    card.times = (2.0, 1.0)
    assert chosen() and card.asked == 1, "a new session asks the disk"
    fused_choice._remembered.clear()
    monkeypatch.setattr(learned, "_driver", lambda: "13000")
    assert not chosen() and card.asked == 2, "another driver is measured"
    assert len(json.loads(card.file.read_text(encoding="utf-8"))) == 2


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"a": ', "\xff", "[" * 100_000])
def test_a_damaged_memory_is_measured_again(card: Any, content: str) -> None:
    card.file.parent.mkdir(parents=True)
    card.file.write_text(content, encoding="latin-1")
    assert chosen() and card.asked == 1
    assert list(json.loads(card.file.read_text(encoding="utf-8")).values()) == [["fused"]]


def test_a_memory_that_cannot_be_kept_stops_nothing(card: Any) -> None:
    card.file.parent.write_text("no folder", encoding="utf-8")
    assert chosen() and card.asked == 1


def test_attention_is_remembered_too(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Any] = []

    def measure(names: Any, *_: Any) -> dict[str, float]:
        measured.append(names)
        return {"EFFICIENT_ATTENTION": 1.0, "FLASH_ATTENTION": 2.0}

    monkeypatch.setattr(attention_choice, "measured", measure)
    device, wanted = torch.device("cuda:0"), ("EFFICIENT_ATTENTION", "FLASH_ATTENTION")
    for _ in range(2):
        assert attention_choice.chosen(device, torch.bfloat16) == wanted
        attention_choice._remembered.clear()
    assert len(measured) == 1
    known = {key: ["MATH"] for key in json.loads(card.file.read_text(encoding="utf-8"))}
    card.file.write_text(json.dumps(known), encoding="utf-8")
    assert attention_choice.chosen(device, torch.bfloat16) == wanted and len(measured) == 2, (
        "never one of no candidates"
    )


def test_what_is_compared_is_right_here() -> None:
    """The very measurement that decides on a card, at a small size on the processor."""
    for dtype in TYPES[:1]:
        found = fused_choice.compared(CPU, dtype, 8, 3, 16, lambda work, device: float(work() is None))
        assert set(found) == set(fused_choice.OPERATIONS)
        assert all(error <= 1.0 for error, *_ in found.values()), (dtype, found)
