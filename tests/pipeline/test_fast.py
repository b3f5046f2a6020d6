"""The fast choice: which steps reuse the velocity before them, what it costs and saves, and where it is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from conftest import disc  # noqa: E402

from benchmarks import fast  # noqa: E402
from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.configuration import DEVICE_VARIABLE, FAST_VARIABLE  # noqa: E402
from trellis_addon.core.errors import FieldError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines.engine import Order  # noqa: E402
from trellis_addon.engines.trellis2 import Trellis2Engine, is_fast  # noqa: E402
from trellis_addon.local.estimate import seconds_of  # noqa: E402
from trellis_addon.pipeline.configs import SamplerSettings  # noqa: E402
from trellis_addon.pipeline.costs import PUBLISHED_SAMPLERS  # noqa: E402
from trellis_addon.pipeline.request import Request  # noqa: E402
from trellis_addon.pipeline.sampling.samplers import dense_spread, sample  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

FEW = {"sparse_structure_steps": 1, "shape_slat_steps": 1, "tex_slat_steps": 1}


def pattern(settings: SamplerSettings) -> str:
    """C for a step that is computed, and - for one that reuses."""
    return "".join("C" if is_computed else "-" for is_computed in settings.computed())


def test_which_steps_reuse() -> None:
    """After the first six, every other; never the last, and never where the guidance has just ended."""
    found = {name: pattern(replace(own, reuses=True)) for name, own in PUBLISHED_SAMPLERS.items()}
    assert found == {
        "sparse_structure": "CCCCCC-C-CCC",  # its guidance ends at the eleventh step
        "shape_slat": "CCCCCC-C-C-C",
        "tex_slat": "CCCCCC-C-C-C",
    }
    for own in PUBLISHED_SAMPLERS.values():
        assert pattern(own) == "C" * 12 and own.computed_steps() == 12
        assert replace(own, reuses=True).guided_steps() <= own.guided_steps()
    assert pattern(SamplerSettings(6, reuses=True)) == "C" * 6
    assert pattern(SamplerSettings(8, reuses=True)) == "CCCCCC-C"


def test_the_model_is_asked_as_often_as_is_counted_and_the_path_stays_near() -> None:
    """A velocity that turns with time, as a real one does, and is known."""
    own = PUBLISHED_SAMPLERS["shape_slat"]
    noise = torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    ends, calls = [], []
    for settings in (own, replace(own, reuses=True), replace(own, steps=1000)):
        asked: list[int] = []

        def velocity(x: Any, t: Any, conditional: Any, asked: list[int] = asked) -> list[Any]:
            asked.append(len(conditional))
            return [x * (t / 1000).view(-1, 1, 1, 1, 1) + 0.1 * sees for sees in conditional]

        ends.append(sample(velocity, noise, settings, dense_spread))
        calls.append((len(asked), sum(asked) - len(asked)))
    assert calls[:2] == [(12, own.guided_steps()), (9, replace(own, reuses=True).guided_steps())]
    full, reused = (float((end - ends[2]).norm() / ends[2].norm()) for end in ends[:2])
    assert reused < 3 * full < 0.5


def test_what_it_saves_is_printed_and_what_it_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    samplers = (PUBLISHED_SAMPLERS[name] for name in ("sparse_structure", "shape_slat", "tex_slat"))
    assert 0.15 < fast.saved(Request("1024_cascade", *samplers)) < 0.25
    full = seconds_of(Settings(), None)
    monkeypatch.setenv(FAST_VARIABLE, "1")
    assert 0.75 * full < seconds_of(Settings(), None) < 0.9 * full


def test_it_is_measured_against_two_seeds(tmp_path: Path) -> None:
    pipeline = fast.Pipeline.from_folder(make_small(tmp_path), device="cpu")
    rows = list(fast.distances(pipeline, fast.preprocess_image(disc(64)), [3]))
    assert [stage for stage, _, _ in rows] == ["structure", "shape", "texture"]
    assert all(0 < reused < others for _, reused, others in rows)


@pytest.mark.parametrize(("said", "expected"), [("", False), ("0", False), ("1", True), ("TRUE", True)])
def test_it_is_chosen_and_written_down(
    said: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trellis_addon.geometry.finish import finish

    written: list[dict[str, Any]] = []

    def finished(dense: Any, *, provenance: dict[str, Any], **_: Any) -> Any:
        written.append(provenance)
        return SimpleNamespace(glb=b"glTF")

    monkeypatch.setattr(finish, "finish", finished)
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    monkeypatch.setenv(FAST_VARIABLE, said)
    engine = Trellis2Engine(make_small(tmp_path))
    engine.generate(Order(disc(64), Settings(resolution=512, **FEW), 3), Progress())
    assert written[0].get("fast", False) is expected and ("fast" in written[0]) is expected
    assert engine._pipeline is not None and engine._pipeline.request({}).shape.reuses is expected


def test_what_is_neither_yes_nor_no_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAST_VARIABLE, "turbo")
    with pytest.raises(FieldError, match="TRELLIS2_FAST"):
        is_fast()
