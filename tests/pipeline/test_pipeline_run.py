"""Whole runs on the small model: every pipeline type, seeds, latents, cancel, and what happens when memory is short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("array_api_compat")

from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.errors import Cancelled, DeviceMemoryError, EngineError, ImageError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.images.frame import subject_square  # noqa: E402
from trellis_addon.pipeline import pipeline as module  # noqa: E402
from trellis_addon.pipeline.device.memory import GB, Budget  # noqa: E402
from trellis_addon.pipeline.numerics import exactly  # noqa: E402
from trellis_addon.pipeline.pipeline import Noise, Pipeline  # noqa: E402
from trellis_addon.pipeline.preprocess import preprocess_image  # noqa: E402
from trellis_addon.pipeline.result import Latents, PipelineResult  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

FEW = {"sparse_structure_steps": 2, "shape_slat_steps": 2, "tex_slat_steps": 2}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline.from_folder(make_small(tmp_path_factory.mktemp("small")), device="cpu")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    image = Image.new("RGBA", (120, 90))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 10, 100, 80), (200, 120, 60, 255))
    draw.rectangle((50, 30, 70, 70), (20, 60, 200, 255))
    return image


@pytest.fixture(scope="module")
def result(pipeline: Pipeline, picture: Image.Image) -> PipelineResult:
    return pipeline.run(picture, Settings(resolution=512, **FEW), seed=5)


def check(result: PipelineResult, resolution: int) -> None:
    """Sound, whatever it looks like."""
    n = len(result.coords)
    assert result.resolution == resolution and n > 1000 and len(result.faces) > 1000
    assert result.vertices.shape == (n, 3) and result.vertices.dtype == np.float32
    assert result.attributes.shape == (n, 6) and np.isfinite(result.attributes).all()
    assert result.faces.dtype == np.int32 and result.faces.min() >= 0 and result.faces.max() < n
    assert result.coords.min() >= 0 and result.coords.max() < resolution
    assert len(np.unique(result.coords, axis=0)) == n
    corner = result.vertices * resolution + resolution / 2 - result.coords
    assert corner.min() > -0.51 and corner.max() < 1.51  # a vertex may leave its voxel by half of one
    np.testing.assert_allclose(corner, result.dual_vertices, atol=1e-2)
    assert (result.split_weight > 0).all() and result.intersected.any()


def test_512(result: PipelineResult) -> None:
    check(result, 512)
    assert result.notes == () and result.latents.pipeline_type == "512"


def test_cascades_refine(pipeline: Pipeline, picture: Image.Image, result: PipelineResult) -> None:
    high = pipeline.run(picture, Settings(resolution=1024, **FEW), seed=5)
    check(high, 1024)
    assert len(high.latents.coords) > 2 * len(result.latents.coords)
    # the same structure under both: the noise is drawn in the same order
    assert set(map(tuple, high.latents.coords[:, 1:].numpy() // 2)) <= set(
        map(tuple, result.latents.coords[:, 1:].numpy())
    )


def test_1024_without_a_cascade(pipeline: Pipeline) -> None:
    """The type that the API does not offer: fine voxels at once, with the large models alone."""
    features = {512: torch.randn(1, 20, 64), 1024: torch.randn(1, 30, 64)}
    request = module.replace(pipeline.request(Settings(**FEW)), pipeline_type="1024")
    check(pipeline.generate(features, request, seed=1), 1024)
    assert not any(name.endswith("flow_model_512") for name in pipeline.store.resident[-4:])


def test_too_many_tokens_lower_the_resolution(pipeline: Pipeline) -> None:
    request = pipeline.request(Settings(resolution=1536, **FEW))
    shape, grid = torch.randn(40, 4), torch.unique(torch.randint(0, 32, (60, 3)), dim=0)[:40]
    coords = torch.cat([torch.zeros(40, 1), grid], dim=1).int()
    with exactly():
        finer, resolution, note = pipeline.refine(shape, coords, request, 10**9, Progress())
        assert (resolution, note) == (1536, "")
        assert finer.min() >= 0 and finer.max() < 96
        lower = module.replace(request, max_tokens=len(finer) // 2)
        few, resolution, note = pipeline.refine(shape, coords, lower, 10**9, Progress())
        assert 1024 <= resolution < 1536 and resolution % 128 == 0 and len(few) < len(finer)
        assert note.startswith(f"The object was made at {resolution} instead of 1536: it has more voxels")
        # below 1024 the model's limit does not count, the memory does
        least = module.replace(request, max_tokens=1)
        assert pipeline.refine(shape, coords, least, 10**9, Progress())[1] == 1024
        kept, resolution, note = pipeline.refine(shape, coords, request, 10, Progress())
        assert resolution == 512 and kept is coords and "of memory" in note


def test_the_seed_decides(pipeline: Pipeline, picture: Image.Image, result: PipelineResult) -> None:
    again = pipeline.run(picture, Settings(resolution=512, **FEW), seed=5)
    assert np.array_equal(again.vertices, result.vertices) and np.array_equal(again.attributes, result.attributes)
    other = pipeline.run(picture, Settings(resolution=512, **FEW), seed=2**62)
    assert len(other.coords) != len(result.coords)


def test_several_seeds_stage_by_stage_come_out_as_one_by_one(pipeline: Pipeline, picture: Image.Image) -> None:
    settings = Settings(resolution=1024, **FEW)
    told: dict[int, list[float]] = {5: [], 2**62: []}
    handles = {seed: Progress(lambda _, share, seed=seed: told[seed].append(share)) for seed in told}
    samples = pipeline.shape_all(picture, settings, handles)
    for seed in told:
        alone, found = pipeline.run(picture, settings, seed=seed), pipeline.paint(samples[seed])
        assert np.array_equal(found.vertices, alone.vertices) and np.array_equal(found.attributes, alone.attributes)
        assert told[seed] == sorted(told[seed]) and told[seed][-1] == pytest.approx(1)


def test_noise_is_torchs_own_of_the_cpu() -> None:
    noise = Noise(42, torch.device("cpu"))
    first, second = noise(2, 3), noise(5)
    torch.manual_seed(42)
    assert torch.equal(first, torch.randn(2, 3)) and torch.equal(second, torch.randn(5))


def test_latents_are_kept(pipeline: Pipeline, picture: Image.Image, result: PipelineResult, tmp_path: Path) -> None:
    result.latents.save(tmp_path / "latents.safetensors")
    latents = Latents.load(tmp_path / "latents.safetensors")
    decoded = pipeline.decode(latents)
    assert np.array_equal(decoded.vertices, result.vertices) and np.array_equal(decoded.attributes, result.attributes)

    painted = pipeline.retexture(latents, picture, Settings(**FEW), seed=9)
    assert np.array_equal(painted.faces, result.faces) and np.array_equal(painted.vertices, result.vertices)
    assert not np.allclose(painted.attributes, result.attributes, atol=0.05)

    (tmp_path / "latents.safetensors").write_bytes(b"no")
    with pytest.raises(EngineError, match="cannot be read"):
        Latents.load(tmp_path / "latents.safetensors")


def test_progress_runs_from_0_to_1_and_names_every_stage(pipeline: Pipeline, picture: Image.Image) -> None:
    seen: list[tuple[str, float]] = []
    pipeline.run(picture, Settings(resolution=1024, **FEW), 3, Progress(lambda *update: seen.append(update)))
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == pytest.approx(1)
    assert list(dict.fromkeys(stage for stage, _ in seen)) == [
        "Looking at the image",
        "Finding the rough shape",
        "Shaping",
        "Refining the voxels",
        "Shaping in detail",
        "Painting",
        "Building the surface",
        "Colouring the surface",
        "Building the mesh",
    ]
    assert len(seen) == 1 + 2 + 2 + 1 + 2 + 2 + 4  # one for each step


@pytest.mark.parametrize("stage", ["Finding the rough shape", "Painting", "Building the surface"])
def test_cancel(pipeline: Pipeline, picture: Image.Image, stage: str) -> None:
    seen: list[str] = []
    progress = Progress(lambda name, _: seen.append(name), lambda: stage in seen)
    with pytest.raises(Cancelled):
        pipeline.run(picture, Settings(resolution=512, **FEW), 3, progress)
    assert seen[-1] == stage and seen.count(stage) == 1


def test_no_voxels_is_a_sentence(pipeline: Pipeline, picture: Image.Image) -> None:
    decoder: Any = pipeline.store.use("sparse_structure_decoder")
    bias = decoder.out_layer[-1].bias
    with torch.inference_mode():
        bias -= 100
    try:
        with pytest.raises(EngineError, match="found no object"):
            pipeline.run(picture, Settings(resolution=512, **FEW))
    finally:
        with torch.inference_mode():
            bias += 100


def test_a_picture_without_a_subject_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(ImageError, match="no transparency"):
        pipeline.run(Image.new("RGBA", (40, 40), (255, 0, 0, 255)))
    with pytest.raises(ImageError, match="transparent everywhere"):
        pipeline.run(Image.new("RGBA", (40, 40), (255, 0, 0, 100)))


def test_preprocessing_crops_on_black() -> None:
    image = Image.new("RGBA", (50, 40), (10, 20, 30, 0))
    image.paste((200, 100, 50, 255), (10, 5, 31, 16))
    prepared = preprocess_image(image)
    assert prepared.mode == "RGB" and prepared.size == (20, 20)
    pixels = np.asarray(prepared)
    assert pixels[0].max() == 0 and tuple(pixels[10, 10]) == (200, 100, 50)
    assert subject_square(np.asarray(image)[:, :, 3]) == (10, 0, 30, 20)
    large = Image.new("RGBA", (3000, 1500))
    large.paste((1, 2, 3, 255), (500, 300, 2500, 1200))
    assert max(preprocess_image(large).size) <= 1024


def test_a_subject_in_a_large_picture_is_seen_in_all_its_pixels() -> None:
    """Stripes a pixel wide: they are there after cropping, and grey after reducing the whole picture first."""
    image = Image.new("RGBA", (2000, 1200))
    stripes = np.zeros((500, 500, 4), np.uint8)
    stripes[:, ::2, :3] = 255
    stripes[:, :, 3] = 255
    image.paste(Image.fromarray(stripes, "RGBA"), (1300, 400))
    seen = preprocess_image(image)
    assert abs(seen.width - 500) <= 2
    inner = np.asarray(seen)[100:400, 100:400].astype(int)
    assert np.abs(np.diff(inner, axis=1)).min() == 255
    reduced = preprocess_image(image, reduce_first=True)
    assert abs(reduced.width - 256) <= 2
    larger = Image.new("RGBA", (2000, 1600))
    larger.paste((9, 9, 9, 255), (100, 50, 1900, 1500))
    assert preprocess_image(larger).size == (1024, 1024)


def test_short_memory_makes_512_of_a_cascade(
    pipeline: Pipeline, picture: Image.Image, monkeypatch: pytest.MonkeyPatch, result: PipelineResult
) -> None:
    monkeypatch.setattr(Pipeline, "_room", lambda self, side, features, *kinds: 10**9 if side == 512 else 10)
    lowered = pipeline.run(picture, Settings(resolution=1024, **FEW), seed=5)
    assert "made at 512 instead of 1024" in lowered.notes[0] and "memory" in lowered.notes[0]
    assert lowered.latents.pipeline_type == "512"
    assert np.array_equal(lowered.vertices, result.vertices)  # all noise was drawn in the same order


TEXTURE_512 = "ckpts/slat_flow_imgshape2tex_dit_1_3B_512_bf16"


@pytest.fixture(scope="module")
def set_of_1024(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """What is fetched for 1024: all but the texture at 512."""
    folder = make_small(tmp_path_factory.mktemp("set"))
    for ending in (".json", ".safetensors"):
        (folder / f"{TEXTURE_512}{ending}").unlink()
    return Pipeline.from_folder(folder, device="cpu")


@pytest.mark.parametrize("room", [10, 10**9])  # for the model of 1024 with its own view of the image, or not even that
def test_falling_back_to_512_needs_nothing_that_a_set_for_1024_lacks(
    set_of_1024: Pipeline, picture: Image.Image, monkeypatch: pytest.MonkeyPatch, result: PipelineResult, room: int
) -> None:
    contexts = []
    paint = Pipeline.sample_texture

    def sample_texture(self: Pipeline, shape: Any, coords: Any, cond: Any, side: int, *rest: Any) -> Any:
        contexts.append((side, cond.shape[1]))
        return paint(self, shape, coords, cond, side, *rest)

    def rooms(self: Pipeline, side: int, features: Any, kinds: tuple[str, ...] = ("shape", "tex")) -> int:
        return 10**9 if side == 512 else room if kinds == ("tex",) else 10

    monkeypatch.setattr(Pipeline, "sample_texture", sample_texture)
    monkeypatch.setattr(Pipeline, "_room", rooms)
    lowered = set_of_1024.run(picture, Settings(resolution=1024, **FEW), seed=5)
    assert np.array_equal(lowered.vertices, result.vertices)
    assert contexts == [(1024, 5 + (512 if room == 10 else 1024) ** 2 // 32**2)]
    check(lowered, 512)
    made, painted = lowered.notes
    assert "made at 512 instead of 1024" in made and "the one for 512 is not there" in painted

    again = set_of_1024.retexture(lowered.latents, picture, Settings(**FEW), seed=9)
    assert np.array_equal(again.faces, lowered.faces) and again.notes == (painted,)


def test_a_run_that_was_lowered_to_512_goes_with_what_there_is(
    set_of_1024: Pipeline, pipeline: Pipeline, picture: Image.Image, result: PipelineResult
) -> None:
    """As `engines/memory_policy.py` does it where the memory has not sufficed twice."""
    asked = Settings(resolution=512, **FEW)
    with pytest.raises(EngineError, match=r"tex_slat_flow_model_512 .* is missing"):
        set_of_1024.run(picture, asked, seed=5)  # who asks for 512 is told what to fetch
    lowered = set_of_1024.run(picture, asked, seed=5, is_lowered=True)
    assert np.array_equal(lowered.vertices, result.vertices) and "the one for 512 is not there" in lowered.notes[0]
    assert not np.array_equal(lowered.attributes, result.attributes)
    whole = pipeline.run(picture, asked, seed=5, is_lowered=True)
    assert np.array_equal(whole.attributes, result.attributes) and whole.notes == ()


def test_a_budget_that_nothing_fits_into_is_a_sentence(
    pipeline: Pipeline, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_measure", lambda: Budget(1 << 20))
    with pytest.raises(EngineError, match="do not fit into 0.0 GB of memory"):
        pipeline.run(picture, Settings(resolution=512, **FEW))


def test_running_out_of_memory_is_told_at_once_and_leaves_nothing_on_the_device(
    pipeline: Pipeline, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is tried next is the engine's: `tests/service/test_worker_memory.py`."""
    budgets: list[int] = []
    generate = Pipeline._shape

    def short(self: Pipeline, *arguments: Any) -> None:
        budgets.append(self.store.budget.total)
        if len(budgets) < 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return generate(self, *arguments)

    monkeypatch.setattr(Pipeline, "_shape", short)
    monkeypatch.setattr(pipeline, "_measure", lambda: Budget(8 * GB))
    with pytest.raises(DeviceMemoryError, match="8.0 GB were planned with"):
        pipeline.run(picture, Settings(resolution=512, **FEW), seed=5)
    assert not pipeline.store.resident
    monkeypatch.setattr(pipeline, "memory_share", 0.75)
    pipeline.run(picture, Settings(resolution=512, **FEW), seed=5)
    assert budgets == [8 * GB, 6 * GB] and pipeline.store.budget.total == 8 * GB
    del budgets[:]

    def never(self: Pipeline, *_: Any) -> None:
        budgets.append(0)
        raise RuntimeError("MPS backend out of memory (MPS allocated: 7.9 GB)")

    monkeypatch.setattr(Pipeline, "encode_image", never)
    with pytest.raises(DeviceMemoryError, match="ran out of memory"):
        pipeline.run(picture, Settings(resolution=512, **FEW), seed=5)
    assert len(budgets) == 1


def test_the_shape_alone_and_its_texture_later(
    pipeline: Pipeline, picture: Image.Image, result: PipelineResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "sample_texture", lambda *given: pytest.fail("a texture was sampled"))
    said: list[float] = []
    progress = Progress(lambda stage, share: said.append(share))
    shape = pipeline.run(picture, Settings(resolution=512, texture=False, **FEW), seed=5, progress=progress)
    assert said == sorted(said) and said[-1] == 1.0
    assert result.latents is not None and shape.latents is not None
    assert torch.equal(shape.latents.shape, result.latents.shape) and not shape.latents.is_textured
    np.testing.assert_array_equal(shape.vertices, result.vertices)
    np.testing.assert_array_equal(np.unique(shape.attributes, axis=0), np.float32([[0.6, 0.6, 0.6, 0, 0.8, 1]]))
    monkeypatch.undo()

    kept = Latents.from_bytes(shape.latents.to_bytes())
    np.testing.assert_array_equal(pipeline.decode(kept).attributes, shape.attributes)
    painted = pipeline.retexture(kept, picture, Settings(resolution=512, texture=False, **FEW), seed=7)
    again = pipeline.retexture(result.latents, picture, Settings(resolution=512, **FEW), seed=7)
    assert painted.latents is not None and painted.latents.is_textured
    np.testing.assert_array_equal(painted.attributes, again.attributes)
    np.testing.assert_array_equal(painted.vertices, result.vertices)
