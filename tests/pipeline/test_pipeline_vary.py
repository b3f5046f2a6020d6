"""Relatives of an asset, with small weights: from the very asset to what another seed alone would be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("array_api_compat")

from views_tools import pictures  # noqa: E402

from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.errors import FieldError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines import trellis2  # noqa: E402
from trellis_addon.engines.engine import Made, Order  # noqa: E402
from trellis_addon.formats.latents import check_latents, check_rework, describe_making  # noqa: E402
from trellis_addon.pipeline.change import occupied_in, rows_of  # noqa: E402
from trellis_addon.pipeline.configs import SamplerSettings, time_at, time_grid  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline, seen_pictures  # noqa: E402
from trellis_addon.pipeline.result import Latents, PipelineResult  # noqa: E402
from trellis_addon.pipeline.sample import Noise  # noqa: E402
from trellis_addon.pipeline.sampling.hold import Hold  # noqa: E402
from trellis_addon.pipeline.sampling.samplers import dense_spread, sample  # noqa: E402
from trellis_addon.pipeline.vary import _structure as of_structure  # noqa: E402
from trellis_addon.pipeline.vary import vary  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

FEW = Settings(resolution=512, sparse_structure_steps=2, shape_slat_steps=2, tex_slat_steps=2)
SIGMA = 1e-5
SEEN: dict[tuple[int, ...], Any] = {}  # of the one picture, by the sides it is seen at


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline.from_folder(make_small(tmp_path_factory.mktemp("small")), device="cpu")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return pictures("front")["front"]


@pytest.fixture(scope="module")
def first(pipeline: Pipeline, picture: Image.Image) -> PipelineResult:
    return pipeline.run(picture, FEW, seed=5)


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where latents are all that is looked at: decoding, and looking at the one picture, take longer than the rest."""
    encode = Pipeline.encode_views

    def seen(self: Pipeline, pictures: Any, sides: tuple[int, ...], progress: Progress) -> Any:
        if sides not in SEEN:
            SEEN[sides] = encode(self, pictures, sides, progress)
        return SEEN[sides]

    monkeypatch.setattr(Pipeline, "encode_views", seen)
    monkeypatch.setattr(
        Pipeline,
        "_decode",
        lambda self, latents, notes, progress: SimpleNamespace(latents=latents, notes=notes, resolution=512),
    )


def same(one: Latents, other: Latents) -> bool:
    """To the last bit."""
    names = ("coords", "shape", "texture", *(("structure",) if one.structure is not None else ()))
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def walk(settings: SamplerSettings, hold: Hold, noise: torch.Tensor) -> tuple[torch.Tensor, list]:
    seen = []

    def velocity(x: torch.Tensor, t: torch.Tensor, conditional: object) -> list[torch.Tensor]:
        seen.append((float(t[0]) / 1000, x.clone()))
        return [0.3 * x]

    return sample(velocity, noise, settings, dense_spread, sigma_min=SIGMA, hold=hold), seen


def test_it_begins_where_the_path_is_at_that_time() -> None:
    """x_t = (1 - t) x_0 + (s + (1 - s) t) noise, and then the rest of the schedule, ending at 0."""
    noise, known = (torch.randn(1, 2, 3, 3, 3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    settings, t = SamplerSettings(4, 1.0, 0.0, (0.0, 1.0), 3.0), time_at(0.6, 3.0)
    assert t == pytest.approx(1.8 / 2.2)
    made, seen = walk(settings, Hold(known, torch.ones(1), t), noise)
    there = (1 - t) * known + (SIGMA + (1 - SIGMA) * t) * noise
    assert torch.allclose(seen[0][1], there)
    times = [time for time, _ in seen]
    assert times == pytest.approx([t, *[u for u in time_grid(4, 3.0)[:-1] if u < t]], abs=1e-6)
    x = there
    for now, then in zip(times, [*times[1:], 0.0], strict=True):
        x = x - (now - then) * 0.3 * x
    assert torch.allclose(made, x, atol=1e-5)
    # on a time of the schedule it is no step more
    assert len(walk(settings, Hold(known, torch.ones(1), time_at(0.5, 3.0)), noise)[1]) == 2
    free = sample(lambda x, t, conditional: [0.3 * x], noise, settings, dense_spread)
    assert torch.equal(walk(settings, Hold(known, torch.ones(1), 1.0), noise)[0], free), "all of the way is a free one"


def test_what_was_not_there_comes_all_the_way_from_noise() -> None:
    noise, known = (torch.randn(1, 2, 3, 3, 3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    share = torch.ones(1, 1, 3, 3, 3)
    share[..., 0] = 0
    settings, t = SamplerSettings(4, 1.0, 0.0, (0.0, 1.0), 3.0), time_at(0.5, 3.0)
    made, seen = walk(settings, Hold(known, share, t), noise)
    free = sample(lambda x, t, conditional: [0.3 * x], noise, settings, dense_spread)
    assert len(seen) == 4 and torch.equal(made[..., 0], free[..., 0]), "here nothing connects the cells"
    alone = walk(settings, Hold(known, torch.ones(1), t), noise)[0]
    assert torch.equal(made[..., 1:], alone[..., 1:]), "the rest does as if it were alone"


def test_nought_is_the_asset_and_nothing_is_sampled(
    pipeline: Pipeline, first: PipelineResult, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("_structure", "sample_shape", "sample_texture", "encode_views"):
        monkeypatch.delattr(Pipeline, stage)
    made = vary(pipeline, first.latents, 0.0, picture, FEW, seed=9)
    assert made.latents is first.latents
    assert (made.vertices == first.vertices).all() and (made.attributes == first.attributes).all()


def test_one_is_a_run_of_its_own(
    pipeline: Pipeline, older: Latents, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pipeline, "run", lambda self, *given, **named: (given[:3], named["preprocess"]))
    assert vary(pipeline, older, 1.0, picture, FEW, seed=9) == ((picture, FEW, 9), True)


def apart(one: torch.Tensor | None, other: torch.Tensor | None) -> float:
    assert one is not None and other is not None
    return float((one - other).square().mean().sqrt())


@pytest.fixture
def older(first: PipelineResult) -> Latents:
    """Some of the asset's voxels, as they were kept before the rough shape was."""
    kept = first.latents
    return replace(kept, coords=kept.coords[:300], shape=kept.shape[:300], texture=kept.texture[:300], structure=None)


@pytest.mark.usefixtures("undecoded")
def test_the_further_the_stronger(
    pipeline: Pipeline, first: PipelineResult, older: Latents, picture: Image.Image
) -> None:
    strengths = (0.02, 0.5, 0.95)
    made = [vary(pipeline, older, strength, picture, FEW, seed=9).latents for strength in strengths]
    found = {name: [apart(getattr(one, name), getattr(older, name)) for one in made] for name in ("shape", "texture")}
    assert first.latents.structure is not None
    request, cond = (
        pipeline.request(FEW),
        pipeline.encode_views(seen_pictures(picture, None, True), (512,), Progress())[512],
    )
    rough = [
        of_structure(
            pipeline, first.latents.structure, cond, request, time_at(strength, request.structure.rescale_t),
            Noise(9, pipeline.device), Progress(),
        )
        for strength in strengths
    ]  # fmt: skip
    found["structure"] = [apart(one, first.latents.structure) for one in rough]
    for name, distances in found.items():
        assert distances == sorted(distances) and 0 < distances[0] < 0.2 * distances[-1], (name, distances)
    assert same(vary(pipeline, older, 0.5, picture, FEW, seed=9).latents, made[1])
    assert apart(vary(pipeline, older, 0.5, picture, FEW, seed=10).latents.shape, made[1].shape) > 0


@pytest.mark.usefixtures("undecoded")
def test_voxels_come_and_go_with_the_rough_shape(
    pipeline: Pipeline, first: PipelineResult, picture: Image.Image
) -> None:
    made = vary(pipeline, first.latents, 0.3, picture, FEW, seed=9).latents
    assert made.structure is not None
    occupied = occupied_in(pipeline, made.structure, made.resolution // 16)
    assert torch.equal(made.coords[:, 1:].sort(0).values, occupied.nonzero().int().sort(0).values)
    rows = rows_of(first.latents.coords, made.coords, made.resolution // 16)
    assert bool((rows < 0).any()) and len(made.shape) == len(made.texture) == len(made.coords)


@pytest.mark.usefixtures("undecoded")
def test_where_the_rough_shape_was_not_kept_the_voxels_stay(
    pipeline: Pipeline, older: Latents, picture: Image.Image
) -> None:
    made = vary(pipeline, older, 0.5, picture, FEW, seed=9)
    assert torch.equal(made.latents.coords, older.coords) and made.latents.structure is None
    assert not torch.equal(made.latents.shape, older.shape) and not torch.equal(made.latents.texture, older.texture)
    assert any("rough shape" in note for note in made.notes)
    plain = replace(older, texture=torch.zeros_like(older.texture))
    assert not vary(pipeline, plain, 0.5, picture, FEW, seed=9).latents.is_textured, "a shape alone stays one"


@pytest.mark.usefixtures("undecoded")
def test_what_the_engine_makes_of_both_ends(
    pipeline: Pipeline, first: PipelineResult, older: Latents, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the finishing taken out: what is told of the making stands for the file."""

    def finished(asset: Any, settings: Settings, told: Any, *rest: Any) -> SimpleNamespace:
        return SimpleNamespace(glb=json.dumps([told, settings.to_request()]).encode())

    monkeypatch.setattr(
        trellis2, "dense_asset", lambda result: SimpleNamespace(attributes=np.zeros((1, 6)), vertices=0)
    )
    monkeypatch.setattr(trellis2, "_finished", finished)
    engine = trellis2.Trellis2Engine(Path())
    engine._pipeline = pipeline
    asked = Settings(FEW).replace(texture_size=1024)
    alone = engine.generate(Order(picture, asked, 9), Progress())
    kept = older.to_bytes(made=describe_making(5, asked, ()))

    def varied(strength: float, seed: int = 9) -> Made:
        return engine.generate(Order(picture, asked.replace(variation=strength), seed, latents=kept), Progress())

    itself = varied(0)
    assert itself.latents == kept and json.loads(itself.glb)[0]["seed"] == 5
    assert itself.glb == engine.generate(Order(None, asked, 5, latents=kept), Progress()).glb
    other = varied(1)
    assert other.glb == alone.glb and other.latents is not None and alone.latents is not None
    assert same(Latents.from_bytes(other.latents), Latents.from_bytes(alone.latents)), "another seed, bit for bit"
    near = varied(0.4)
    told = json.loads(near.glb)[0]
    assert told["seed"] == 9 and "shapeSeed" not in told and told["settings"]["settings"]["variation"] == 0.4
    assert near.latents is not None and check_latents(near.latents).settings == asked
    again = engine.generate(Order(None, Settings(), 9, latents=near.latents), Progress())
    assert json.loads(again.glb)[0]["settings"] == asked.to_request(), "what comes of it is no variant once more"


def test_what_may_be_asked_of_a_variant(older: Latents) -> None:
    asked = Settings(FEW)
    kept = check_latents(older.to_bytes(made=describe_making(5, asked, ())))
    check_rework(kept, asked.replace(variation=0.4, shape_slat_steps=7, seed=9), with_image=True)
    check_rework(kept, asked.replace(variation=1.0, resolution=1024), with_image=True)
    with pytest.raises(FieldError, match="resolution"):
        check_rework(kept, asked.replace(variation=0.4, resolution=1024), with_image=True)
    for name, value in (("seed", 9), ("tex_slat_steps", 7)):
        with pytest.raises(FieldError, match=name.split("_")[-1]):
            check_rework(kept, asked.replace(variation=0.0, **{name: value}), with_image=True)
