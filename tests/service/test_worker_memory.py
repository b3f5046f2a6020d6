"""The TRELLIS.2 engine where the device has too little memory, and where it has nothing to do."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from conftest import disc, sentence  # noqa: E402

from trellis_addon.core.configuration import DEVICE_VARIABLE  # noqa: E402
from trellis_addon.core.errors import DeviceMemoryError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines.engine import Order  # noqa: E402
from trellis_addon.engines.trellis2 import Trellis2Engine  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

SETTINGS = Settings(
    texture_size=1024,
    sparse_structure_steps=2,
    shape_slat_steps=1,
    tex_slat_steps=1,
    decimation_target=100_000,
    remesh=False,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from devtools.pipeline.make_small import make_small

    folder = tmp_path_factory.mktemp("weights")
    make_small(folder)
    return folder


@pytest.fixture
def engine(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Trellis2Engine:
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    return Trellis2Engine(weights)


def scarce(monkeypatch: pytest.MonkeyPatch, too_large: int) -> list[int]:
    """Have painting run out of memory for shapes from models of this size on; returns a list of all that was tried."""
    tried: list[int] = []
    original = Pipeline.sample_texture

    def paint(self: Any, shape: Any, coords: Any, cond: Any, side: int, *more: Any) -> Any:
        tried.append(side)
        if side >= too_large:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")
        return original(self, shape, coords, cond, side, *more)

    monkeypatch.setattr(Pipeline, "sample_texture", paint)
    return tried


def extras(glb: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<I", glb, 12)
    return json.loads(glb[20 : 20 + length])["asset"]["extras"]


def test_a_lower_resolution_is_made_and_told(engine: Trellis2Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = scarce(monkeypatch, 1024)
    told: list[tuple[str, float]] = []
    made = engine.generate(
        Order(disc(64), SETTINGS.replace(resolution=1024), 3), Progress(lambda *update: told.append(update))
    )
    assert tried == [1024, 1024, 512]
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    stages = list(dict.fromkeys(stage for stage, _ in told))
    asked = [stage for stage in stages if stage.startswith("Not enough memory")]
    assert asked == ["Not enough memory: trying 1024 again", "Not enough memory: trying 512"]
    note = "Made at 512 instead of 1024: the device ran out of memory."
    assert made.facts["resolution"] == 512 and made.facts["notes"] == [note]
    assert extras(made.glb)["notes"] == [note] and extras(made.glb)["resolution"] == 512
    assert made.facts["device"] == "CPU"

    assert engine._pipeline is not None and engine._pipeline.store.resident
    engine.release()
    assert not engine._pipeline.store.resident, "nothing is left on the device"


def test_when_that_does_not_suffice_the_cure_is_told(engine: Trellis2Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = scarce(monkeypatch, 512)
    with pytest.raises(DeviceMemoryError) as caught:
        engine.generate(Order(disc(64), SETTINGS.replace(resolution=1024), 3), Progress())
    assert "at 1024, and again at 512" in sentence(caught.value) and "close other programs" in str(caught.value)
    assert tried == [1024, 1024, 512]
    assert engine._pipeline is not None and not engine._pipeline.store.resident, "it lets go of the device"


def test_what_is_left_of_the_work_is_tried_again_too(engine: Trellis2Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finishing, on the processor; and another texture on a kept shape, whose resolution is settled."""
    from trellis_addon.geometry.finish import finish

    real, resolutions = finish.finish, []

    def crowded(dense: Any, **options: Any) -> Any:
        resolutions.append(dense.resolution)
        if len(resolutions) == 1:
            raise MemoryError
        return real(dense, **options)

    monkeypatch.setattr(finish, "finish", crowded)
    made = engine.generate(Order(disc(64), SETTINGS.replace(resolution=512), 3), Progress())
    assert resolutions == [512, 512] and made.facts["notes"] == []

    tried = scarce(monkeypatch, 512)
    with pytest.raises(DeviceMemoryError) as caught:
        engine.generate(Order(disc(64), SETTINGS, 4, latents=made.latents), Progress())
    assert tried == [512, 512] and "twice" in sentence(caught.value)
