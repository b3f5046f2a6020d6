"""Which attention kernel is taken: by what was measured, never a wrong one; on the processor, which has two kernels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from conftest import PATIENCE, disc  # noqa: E402
from pretend_device import pretend_cuda  # noqa: E402

from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.configuration import HOME_VARIABLE  # noqa: E402
from trellis_addon.pipeline.checkpoint import safetensors_file  # noqa: E402
from trellis_addon.pipeline.device import attention_choice as module  # noqa: E402
from trellis_addon.pipeline.networks import attention  # noqa: E402
from trellis_addon.pipeline.numerics import exactly  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline  # noqa: E402

CPU = torch.device("cpu")
SHAPE = (1, 256, 2, 32)


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(module, "_remembered", {})
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    with torch.inference_mode():
        yield


def test_what_is_not_there_is_not_measured_and_what_is_there_is_right() -> None:
    """cuDNN and the memory-efficient kernel are CUDA's; the others run here, each alone."""
    used: list[str] = []

    def time_of(work: Any, device: Any) -> float:
        q, k, v = (torch.randn(SHAPE) for _ in range(3))
        used.append(attention.attention_backend(q, k, v))
        work()
        return 1.0

    names = ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH")
    assert list(module.measured(names, CPU, torch.float32, SHAPE, time_of)) == ["FLASH_ATTENTION", "MATH"]
    assert used == ["flash", "math"]
    assert module.measured(("FLASH_ATTENTION",), CPU, torch.bfloat16, SHAPE).keys() == {"FLASH_ATTENTION"}


def test_a_wrong_kernel_is_never_taken(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """As one that adds up in 16 bits: fast, and off."""
    attend = module.attend

    def worse(q: Any, k: Any, v: Any) -> Any:
        backend = attention.attention_backend(q, k, v)
        return attend(q, k, v) * (1.05 if backend == "flash" else 1.0)

    monkeypatch.setattr(module, "attend", worse)
    found = module.measured(("FLASH_ATTENTION", "MATH"), CPU, torch.float32, SHAPE)
    assert list(found) == ["MATH"] and "FLASH_ATTENTION is off by 0.05" in caplog.text


def test_the_order_holds_while_it_lasts() -> None:
    from torch.nn.attention import _cur_sdpa_kernel_backends

    def order() -> list[str]:
        return [backend.name for backend in _cur_sdpa_kernel_backends(with_priority=True)]

    q, k, v = (torch.randn(SHAPE) for _ in range(3))
    before, backend = order(), attention.attention_backend(q, k, v)
    with module.preferring(("EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "FLASH_ATTENTION")):
        assert order() == ["EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "FLASH_ATTENTION", "MATH"]
        assert attention.attention_backend(q, k, v) == "flash"  # the first that can
    with module.preferring(("CUDNN_ATTENTION",)):
        assert attention.attention_backend(q, k, v) == "math"  # none of them can
    assert order() == before and attention.attention_backend(q, k, v) == backend


def test_hopper_and_blackwell_try_cudnn_first_and_turing_has_one() -> None:
    assert module.candidates((9, 0))[0] == module.candidates((12, 0))[0] == "CUDNN_ATTENTION"
    assert module.candidates((8, 9))[0] == "FLASH_ATTENTION" and len(module.candidates((8, 6))) == 3
    assert module.candidates((7, 5)) == ("EFFICIENT_ATTENTION",)
    assert all("MATH" not in module.candidates(capability) for capability in ((7, 0), (8, 0), (10, 0)))


def test_a_device_is_measured_once_and_runs_with_the_fastest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A whole run on a card that is none: one measurement for all of them, and its outcome first in the order."""
    monkeypatch.setattr(safetensors_file, "_named", lambda device: "cpu")
    measurements: list[tuple[str, ...]] = []
    orders: list[tuple[str, ...]] = []
    preferring = module.preferring

    def measured(names: tuple[str, ...], *_: Any) -> dict[str, float]:
        measurements.append(names)
        return {"CUDNN_ATTENTION": 3.0, "FLASH_ATTENTION": 1.0, "EFFICIENT_ATTENTION": 2.0}

    def prefer(names: tuple[str, ...]) -> Any:
        orders.append(tuple(names))
        return preferring(names)

    monkeypatch.setattr(module, "measured", measured)
    monkeypatch.setattr(module, "preferring", prefer)
    few = {"resolution": 512, "sparse_structure_steps": 1, "shape_slat_steps": 1, "tex_slat_steps": 1}
    with pretend_cuda(capability=(9, 0)):
        pipeline = Pipeline.from_folder(make_small(tmp_path), device="cuda", dtype="float32")
        for seed in (3, 4):
            pipeline.run(disc(), few, seed=seed)
    assert len(measurements) == 1
    assert set(orders) == {("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION")}


def test_the_processor_is_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measured", lambda *_: pytest.fail("it was measured"))
    with module.fastest_attention(CPU, torch.float32):
        pass


def test_no_sum_is_made_in_16_bits_while_a_network_runs() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_fp16_accumulation
    matmul.allow_fp16_accumulation = True
    try:
        with exactly():
            assert not matmul.allow_fp16_accumulation and not matmul.allow_fp16_reduced_precision_reduction
        assert matmul.allow_fp16_accumulation
    finally:
        matmul.allow_fp16_accumulation = before


def test_several_threads_each_on_a_device_sum_exactly_until_the_last_is_done() -> None:
    """PyTorch's switches are the process's: the first to be done must not take them back from the others."""
    matmul, before = torch.backends.cuda.matmul, torch.backends.cudnn.allow_tf32
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with exactly():
            inside.set()
            assert leave.wait(PATIENCE)

    thread = threading.Thread(target=other)
    torch.backends.cudnn.allow_tf32 = True
    try:
        with exactly():
            thread.start()
            assert inside.wait(PATIENCE)
        assert not matmul.allow_bf16_reduced_precision_reduction and not torch.backends.cudnn.allow_tf32
        leave.set()
        thread.join(PATIENCE)
        assert matmul.allow_bf16_reduced_precision_reduction and torch.backends.cudnn.allow_tf32
    finally:
        leave.set()
        torch.backends.cudnn.allow_tf32 = before


def test_no_run_goes_on_while_kernels_are_tried_alone() -> None:
    gate, happened = module.Gate(), []
    inside, leave = threading.Event(), threading.Event()

    def run() -> None:
        with gate.together():
            inside.set()
            assert leave.wait(PATIENCE)
            happened.append("ran")

    def measure() -> None:
        with gate.alone():
            happened.append("measured")

    def run_later() -> None:
        with gate.together():
            happened.append("ran later")

    threads = [threading.Thread(target=work) for work in (run, measure, run_later)]
    threads[0].start()
    assert inside.wait(PATIENCE)
    threads[1].start()
    while not gate._wanted:
        assert threads[1].is_alive()
    threads[2].start()
    leave.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert happened == ["ran", "measured", "ran later"], "who waits for that is not overtaken for ever"


def test_a_kernel_that_had_no_memory_is_not_given_up_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(module, "attend", full)
    monkeypatch.setattr(module, "SHAPE", (1, 64, 2, 32))
    with pretend_cuda():
        with pytest.raises(torch.OutOfMemoryError):
            module.chosen(torch.device("cuda:0"), torch.bfloat16)
        assert not module._remembered and not list(tmp_path.rglob("*.json"))
