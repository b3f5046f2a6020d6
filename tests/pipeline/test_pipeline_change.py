"""A part of an asset sampled anew, with small weights: what is outside of it is the same to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("array_api_compat")

from views_tools import pictures  # noqa: E402

from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.errors import LatentsError  # noqa: E402
from trellis_addon.formats.latents import check_latents  # noqa: E402
from trellis_addon.pipeline.change import _weight, change, rows_of  # noqa: E402
from trellis_addon.pipeline.configs import SamplerSettings  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline  # noqa: E402
from trellis_addon.pipeline.result import Latents, PipelineResult  # noqa: E402
from trellis_addon.pipeline.sampling.hold import Hold  # noqa: E402
from trellis_addon.pipeline.sampling.samplers import dense_spread, sample  # noqa: E402
from trellis_addon.task.region import as_region  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

FEW = Settings(resolution=512, sparse_structure_steps=2, shape_slat_steps=2, tex_slat_steps=2)
TOP = {"box": [-1, 0.0, -1, 1, 1, 1], "rim": 0.1}  # y is up in the asset, z in the model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Pipeline:
    return Pipeline.from_folder(folder, device="cpu")


@pytest.fixture(scope="module")
def seen() -> dict[str, Image.Image]:
    return pictures("front", "right")


@pytest.fixture(scope="module")
def first(pipeline: Pipeline, seen: dict[str, Image.Image]) -> PipelineResult:
    return pipeline.run(seen["front"], FEW, seed=5)


def same(one: Latents, other: Latents) -> bool:
    """To the last bit."""
    names = ("coords", "shape", "texture", "structure")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def by_place(latents: Latents) -> dict[tuple[int, ...], tuple[bytes, bytes]]:
    return {
        tuple(place): (shape.numpy().tobytes(), texture.numpy().tobytes())
        for place, shape, texture in zip(latents.coords.tolist(), latents.shape, latents.texture, strict=True)
    }


def test_what_is_known_stays_to_the_last_bit_and_the_rest_sees_it_on_its_way() -> None:
    noise = torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    known = torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    share = torch.zeros(1, 1, 4, 4, 4)
    share[..., :2] = 1
    share[..., 2:3] = 0.5
    seen = []

    def velocity(x: torch.Tensor, t: torch.Tensor, conditional: object) -> list[torch.Tensor]:
        seen.append((float(t[0]) / 1000, x.clone()))
        return [0.1 * x]

    settings = SamplerSettings(4, 1.0, 0.0, (0.0, 1.0), 1.0)
    made = sample(velocity, noise, settings, dense_spread, hold=Hold(known, share))
    free = sample(velocity, noise, settings, dense_spread)
    assert torch.equal(made[..., :2], known[..., :2])
    for pure in (known, free):
        assert not torch.isclose(made[..., 2], pure[..., 2]).any(), "the rim is between the two"
    assert torch.equal(made[..., 3], free[..., 3]), "here nothing connects the cells"
    for t, x in seen[1:4]:
        there = (1 - t) * known + (1e-5 + (1 - 1e-5) * t) * noise
        assert torch.allclose(x[..., :2], there[..., :2], atol=1e-6)
    assert torch.equal(sample(velocity, noise, settings, dense_spread, hold=Hold(known, torch.ones_like(share))), known)
    assert torch.equal(sample(velocity, noise, settings, dense_spread, hold=Hold(known, torch.zeros_like(share))), free)


def test_outside_of_the_region_the_latents_are_the_same_bytes(
    pipeline: Pipeline, first: PipelineResult, seen: dict[str, Image.Image]
) -> None:
    region = as_region(TOP)
    made = change(pipeline, first.latents, region, seen["right"], FEW, seed=9).latents
    grid = made.resolution // 16
    before, after = by_place(first.latents), by_place(made)
    kept = first.latents.coords[_weight(region, first.latents.coords[:, 1:], grid) <= 0].tolist()
    assert 0 < len(kept) < len(before)
    assert all(after[tuple(place)] == before[tuple(place)] for place in kept)
    new = [place for place in after if place not in before]
    inside = torch.tensor([place[1:] for place in after if tuple(place) not in {tuple(k) for k in kept}])
    assert (_weight(region, inside, grid) > 0).all(), "nothing is new outside"
    assert any(after[place] != before.get(place) for place in map(tuple, [[0, *cell] for cell in inside.tolist()]))
    assert len(new) + len(before) >= len(after)
    again = change(pipeline, first.latents, region, seen["right"], FEW, seed=9).latents
    assert same(again, made)


def test_up_is_up_and_front_is_front() -> None:
    cells = torch.tensor([[0, 0, 7], [0, 7, 0], [7, 0, 0]])
    assert _weight(as_region({"box": [-1, 0.2, -1, 1, 1, 1], "rim": 0}), cells, 8).tolist() == [1, 0, 0]
    assert _weight(as_region({"box": [-1, -1, 0.2, 1, 1, 1], "rim": 0}), cells, 8).tolist() == [1, 0, 1]
    assert _weight(as_region({"box": [0.2, -1, -1, 1, 1, 1], "rim": 0}), cells, 8).tolist() == [0, 0, 1]


def test_an_empty_region_changes_nothing(
    pipeline: Pipeline, first: PipelineResult, seen: dict[str, Image.Image]
) -> None:
    for region in ([2, 2, 2, 3, 3, 3], [0, 0, 0, 0, 0, 0]):
        made = change(pipeline, first.latents, as_region(region), seen["right"], FEW, seed=9)
        assert same(made.latents, first.latents)
        assert (made.vertices == first.vertices).all()


def test_the_texture_alone(pipeline: Pipeline, first: PipelineResult, seen: dict[str, Image.Image]) -> None:
    made = change(pipeline, first.latents, as_region({**TOP, "only": "texture"}), seen["right"], FEW, seed=9).latents
    assert torch.equal(made.coords, first.latents.coords) and torch.equal(made.shape, first.latents.shape)
    assert not torch.equal(made.texture, first.latents.texture)
    assert made.structure is first.latents.structure


def test_the_rough_shape_is_kept_and_older_files_are_read(
    pipeline: Pipeline, first: PipelineResult, seen: dict[str, Image.Image]
) -> None:
    again = Latents.from_bytes(first.latents.to_bytes())
    assert again.structure is not None and torch.equal(again.structure, first.latents.structure)
    cells = round(len(again.structure) ** (1 / 3))
    z = again.structure.T.reshape(1, -1, cells, cells, cells)
    assert torch.equal(pipeline._occupied(z, 32).sort(0).values, again.coords.sort(0).values)
    older = replace(first.latents, structure=None)
    check_latents(older.to_bytes())
    made = change(pipeline, older, as_region(TOP), seen["right"], FEW, seed=9)
    assert torch.equal(made.latents.coords, older.coords) and not torch.equal(made.latents.shape, older.shape)
    assert any("rough shape" in note for note in made.notes)
    broken = replace(first.latents, structure=torch.zeros(7, 8))
    with pytest.raises(LatentsError, match="no cube"):
        check_latents(broken.to_bytes())


def test_rows_are_found_again() -> None:
    old = torch.tensor([[0, 3, 1, 2], [0, 0, 0, 1], [0, 2, 2, 2]])
    new = torch.tensor([[0, 2, 2, 2], [0, 1, 1, 1], [0, 3, 1, 2], [0, 3, 3, 3]])
    assert rows_of(old, new, 4).tolist() == [2, -1, 0, -1]
