"""The model's rough shapes, on the small model: nothing is sampled twice, and the rest is what it would have been."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import disc

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("array_api_compat")

from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.configuration import DEVICE_VARIABLE  # noqa: E402
from trellis_addon.core.errors import EngineError, LatentsError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines.engine import Order  # noqa: E402
from trellis_addon.engines.trellis2 import Trellis2Engine  # noqa: E402
from trellis_addon.formats.glb.check import check_glb  # noqa: E402
from trellis_addon.formats.latents import check_latents  # noqa: E402
from trellis_addon.pipeline import pipeline as module  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline, rough_of  # noqa: E402
from trellis_addon.pipeline.result import Latents, PipelineResult, Rough  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

STAGES = ("sparse_structure", "shape_slat", "tex_slat")
FEW = {**{f"{name}_steps": 1 for name in STAGES}, **{f"{name}_guidance_strength": 1.0 for name in STAGES}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each kind of sampling was begun."""
    found = {"structure": 0, "latent": 0}

    def count(name: str, kind: str) -> None:
        real = getattr(module, name)

        def counted(*given: Any, **named: Any) -> Any:
            found[kind] += 1
            return real(*given, **named)

        monkeypatch.setattr(module, name, counted)

    count("denoise_structure", "structure")
    count("denoise_latent", "latent")
    return found


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decoding makes of latents is the same of the same latents, and takes long."""

    def decode(self: Pipeline, latents: Latents, notes: tuple[str, ...], progress: Progress) -> PipelineResult:
        progress.update("Building the mesh", 1)
        one = np.zeros((1, 3), np.float32)
        flags = np.ones((1, 3), bool)
        six = np.zeros((1, 6), np.float32)
        places = np.zeros((1, 3), np.int32)
        return PipelineResult(one, places, places, six, latents.resolution, one, flags, one[:, :1], latents, notes)

    monkeypatch.setattr(Pipeline, "_decode", decode)


@pytest.mark.usefixtures("undecoded")
def test_only_what_was_chosen_goes_on_and_comes_out_as_at_once(folder: Path, passes: dict[str, int]) -> None:
    pipeline, settings = Pipeline.from_folder(folder, device="cpu"), Settings(resolution=1024, **FEW)
    told: dict[int, list[Any]] = {5: [], 6: []}
    handles = {seed: Progress(on_picture=lambda png, _, seed=seed: told[seed].append(png)) for seed in told}
    kept = {seed: rough_of(found) for seed, found in pipeline.rough_all(disc(64), settings, handles).items()}
    assert passes == {"structure": 2, "latent": 0} and all(len(pictures) == 1 for pictures in told.values())
    chosen = Rough.from_bytes(kept[6].to_bytes())
    assert torch.equal(chosen.coords, kept[6].coords) and torch.equal(chosen.structure, kept[6].structure)

    shares: list[float] = []
    progress = Progress(lambda _, share: shares.append(share))
    found = pipeline.paint(pipeline.shape_all(disc(64), settings, {6: progress}, rough=chosen)[6])
    assert passes == {"structure": 2, "latent": 3}, "the shape, in detail, and the texture"
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == pytest.approx(1)
    at_once = pipeline.run(disc(64), settings, seed=6)
    assert found.resolution == at_once.resolution and found.notes == at_once.notes
    for name in ("coords", "shape", "texture", "structure"):
        assert torch.equal(getattr(found.latents, name), getattr(at_once.latents, name)), name


@pytest.mark.usefixtures("undecoded")
def test_the_engine_samples_those_of_a_task_together(
    folder: Path, passes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trellis_addon.geometry.finish import finish

    written: list[dict[str, Any]] = []

    def finished(dense: Any, *, provenance: dict[str, Any], **_: Any) -> Any:
        written.append(provenance)
        return SimpleNamespace(glb=b"glTF")

    monkeypatch.setattr(finish, "finish", finished)
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    engine, asked = Trellis2Engine(folder), Settings(resolution=512, rough=True, **FEW)
    opened: list[str] = []
    monkeypatch.setattr(Pipeline, "encode_image", _noting(Pipeline.encode_image, opened))
    first = engine.generate(Order(disc(64), asked, 3), Progress(siblings={5: Progress()}))
    assert (passes["structure"], len(opened)) == (2, 1), "the picture is looked at once for all"
    second = engine.generate(Order(disc(64), asked, 5), Progress())
    assert passes == {"structure": 2, "latent": 0} and first.glb != second.glb
    assert all(check_glb(made.glb).triangles > 11 for made in (first, second))
    kept = second.latents
    assert kept is not None and (check_latents(kept).seed, check_latents(kept).is_rough) == (5, True)

    whole = engine.generate(Order(disc(64), Settings(resolution=512), 5, latents=kept), Progress())
    plain = engine.generate(Order(disc(64), Settings(resolution=512, **FEW), 5), Progress())
    assert written[0] == written[1] and "rough" not in written[0]["settings"]["settings"]
    assert whole.latents is not None and plain.latents is not None
    assert torch.equal(Latents.from_bytes(whole.latents).texture, Latents.from_bytes(plain.latents).texture)
    engine.generate(Order(disc(64), Settings(), 9, latents=kept), Progress())
    assert (written[2]["seed"], written[2]["roughSeed"]) == (9, 5)


def test_a_rough_shape_is_no_asset(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    engine = Trellis2Engine(folder)
    made = engine.generate(Order(disc(64), Settings(rough=True, **FEW), 3), Progress())
    with pytest.raises(LatentsError, match="gone on from first"):
        engine.generate(Order(None, Settings(), 3, latents=made.latents), Progress())
    with pytest.raises(EngineError):
        engine.generate(Order(None, Settings(rough=True), 3), Progress())


def _noting(real: Any, opened: list[str]) -> Any:
    def encode(self: Any, *given: Any, **named: Any) -> Any:
        opened.append("picture")
        return real(self, *given, **named)

    return encode
