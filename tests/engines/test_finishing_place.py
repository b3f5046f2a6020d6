"""Where an asset is finished, and what is said where the memory for that is short."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("warp")
pytest.importorskip("scipy")

from trellis_addon.core.configuration import FINISHING_VARIABLE
from trellis_addon.core.errors import (
    Cancelled,
    DeviceMemoryError,
    EngineError,
    FieldError,
    MainMemoryError,
)
from trellis_addon.core.progress import Progress
from trellis_addon.engines import trellis2
from trellis_addon.engines.memory_policy import Attempt, make_within_memory
from trellis_addon.geometry.finish import finish as module
from trellis_addon.task.settings import Settings


def finished(monkeypatch: pytest.MonkeyPatch, device: str, failing: dict[str, Exception]) -> list[str]:
    """Finish on a device; the devices that it was tried on."""
    tried: list[str] = []

    def finish(asset: Any, *, device: str, **options: Any) -> str:
        tried.append(device)
        if device in failing:
            raise failing[device]
        return f"made on {device}"

    monkeypatch.setattr(module, "finish", finish)
    nothing: Any = None
    found: Any = trellis2._finished(nothing, Settings(), {}, Progress(), device)
    assert found == f"made on {tried[-1]}"
    return tried


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("not enough memory: you tried to allocate 7 bytes"), OSError("bad_alloc")]
)
def test_a_shortage_of_main_memory_is_not_the_device_s(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Sampling again, or lower, with less of the device's memory would take minutes and change nothing."""
    runs: list[Attempt] = []

    def make(attempt: Attempt) -> Any:
        runs.append(attempt)
        return finished(monkeypatch, "cpu", {"cpu": error})

    with pytest.raises(MainMemoryError, match="main memory.*fewer faces") as caught:
        make_within_memory(make, Settings(resolution=1536), Progress(), lambda: pytest.fail("released"))
    assert len(runs) == 1 and isinstance(caught.value, EngineError)
    assert not isinstance(caught.value, DeviceMemoryError)


def test_what_the_device_cannot_finish_the_processor_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert finished(monkeypatch, "cuda:1", {}) == ["cuda:1"]
    assert finished(monkeypatch, "cuda:1", {"cuda:1": RuntimeError("CUDA error 2: out of memory")}) == ["cuda:1", "cpu"]
    assert finished(monkeypatch, "cuda:1", {"cuda:1": RuntimeError("no kernel image")}) == ["cuda:1", "cpu"]


@pytest.mark.parametrize(
    "error", [Cancelled("Cancelled."), EngineError("Nothing is left."), RuntimeError("CUDA error: GPU is lost")]
)
def test_what_would_go_wrong_there_too_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        finished(monkeypatch, "cuda:0", {"cuda:0": error})


def test_the_processor_finishes_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    import warp

    def on(kind: str, index: int | None = None) -> str:
        pipeline: Any = SimpleNamespace(device=SimpleNamespace(type=kind, index=index))
        return trellis2._finishing_device(pipeline)

    monkeypatch.setattr(warp, "is_cuda_available", lambda: True)
    monkeypatch.delenv(FINISHING_VARIABLE, raising=False)
    assert on("cuda") == "cpu"
    monkeypatch.setenv(FINISHING_VARIABLE, "device")
    assert (on("cuda"), on("cuda", 2), on("cpu"), on("mps")) == ("cuda:0", "cuda:2", "cpu", "cpu")
    monkeypatch.setattr(warp, "is_cuda_available", lambda: False)
    assert on("cuda") == "cpu"
    monkeypatch.setenv(FINISHING_VARIABLE, "gpu")
    with pytest.raises(FieldError, match="TRELLIS2_FINISHING.*gpu"):
        on("cuda")
