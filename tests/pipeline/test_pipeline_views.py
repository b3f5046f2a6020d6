"""Several views of one object in the model, with small weights: what changes nothing, and who has a say where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
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
from trellis_addon.engines.engine import Order  # noqa: E402
from trellis_addon.pipeline.networks.transformer import FlowTransformer  # noqa: E402
from trellis_addon.pipeline.pipeline import Noise, Pipeline  # noqa: E402
from trellis_addon.pipeline.preprocess import preprocess_image, preprocess_views  # noqa: E402
from trellis_addon.pipeline.result import PipelineResult  # noqa: E402
from trellis_addon.pipeline.sampling.views import Views, context_length, views_of  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

FEW = Settings(resolution=512, sparse_structure_steps=2, shape_slat_steps=2, tex_slat_steps=2)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline.from_folder(make_small(tmp_path_factory.mktemp("small")), device="cpu")


@pytest.fixture(scope="module")
def seen() -> dict[str, Image.Image]:
    return pictures("front", "right", "back", "left")


@pytest.fixture(scope="module")
def alone(pipeline: Pipeline, seen: dict[str, Image.Image]) -> PipelineResult:
    return pipeline.run(seen["front"], FEW, seed=5)


def latents(result: PipelineResult) -> list[Any]:
    assert result.latents is not None
    return [result.latents.coords, result.latents.shape, result.latents.texture]


def directions(*names: str) -> Views:
    return views_of({name: torch.zeros(1, 3, 4) for name in names})


def test_one_view_is_the_single_picture_to_the_last_bit(
    pipeline: Pipeline, seen: dict[str, Image.Image], alone: PipelineResult
) -> None:
    none = pipeline.run(seen["front"], FEW, seed=5, views={})
    assert all(torch.equal(a, b) for a, b in zip(latents(alone), latents(none), strict=True))
    picture = preprocess_image(seen["front"])
    features = pipeline.encode_image(picture, (512,), pipeline_progress())
    one = {512: views_of({"front": features[512]})}
    request = pipeline.request(FEW)
    plain, blended = (pipeline.generate(given, request, seed=5) for given in (features, one))
    for a, b in zip(latents(plain), latents(blended), strict=True):
        assert torch.equal(a, b), "a softmax over one is exactly 1"


def test_equal_views_are_one_view(pipeline: Pipeline, seen: dict[str, Image.Image], alone: PipelineResult) -> None:
    front = seen["front"]
    same = pipeline.run(front, FEW, seed=5, views={"right": front, "back": front, "left": front})
    coords, shape, texture = latents(alone)
    found = latents(same)
    assert torch.equal(coords, found[0])
    for a, b in ((shape, found[1]), (texture, found[2])):
        assert torch.allclose(a, b, atol=1e-5 * float(a.abs().max()))


def test_the_order_changes_nothing(pipeline: Pipeline, seen: dict[str, Image.Image], alone: PipelineResult) -> None:
    views = {name: picture for name, picture in seen.items() if name != "front"}
    one = pipeline.run(seen["front"], FEW, seed=5, views=views)
    other = pipeline.run(seen["front"], FEW, seed=5, views=dict(reversed(views.items())))
    assert all(torch.equal(a, b) for a, b in zip(latents(one), latents(other), strict=True))
    shapes = latents(one)[1], latents(alone)[1]
    assert shapes[0].shape != shapes[1].shape or not torch.equal(*shapes), "the other views do something"
    with pytest.raises(FieldError):
        pipeline.run(seen["front"], FEW, views={"front": seen["front"]})


@pytest.mark.parametrize("side", [16, 32, 64, 96])
def test_a_token_has_most_of_the_view_that_it_faces(side: int) -> None:
    """On the dense grid by where it lies: x to the right, y away from the front's camera, z up."""
    views = directions("front", "right", "back", "left")
    middle = side // 2
    cells = torch.tensor([[middle, 0, 0], [side - 1, middle, 3], [middle, side - 1, side - 1], [0, middle, 0]])
    weights = views.on_grid(cells, side).weights
    assert weights is not None and weights.argmax(0).tolist() == [0, 1, 2, 3]
    assert torch.allclose(weights.sum(0), torch.ones(4))
    at_pole = weights[:, 0].tolist()
    if side == 16:  # the table of T = 2 at 31/32
        assert at_pole == pytest.approx([0.75, 0.12, 0.02, 0.12], abs=0.02)


@pytest.mark.parametrize("side", [32, 64])
def test_a_token_on_the_surface_has_most_of_the_view_that_sees_it(side: int) -> None:
    def block(low: Sequence[int], high: Sequence[int]) -> Any:
        return torch.cartesian_prod(*(torch.arange(a, b) for a, b in zip(low, high, strict=True)))

    # two walls across, both in the half that is nearer to the front: by where they lie both would be the front's
    first, second = block((8, 4, 4), (24, 5, 28)), block((8, 12, 4), (24, 13, 28))
    coords = torch.nn.functional.pad(torch.cat([first, second]), (1, 0))
    weights = directions("front", "back").on_surface(coords, side).weights
    assert weights is not None
    inner = ((coords[:, 1] > 9) & (coords[:, 1] < 22) & (coords[:, 3] > 5) & (coords[:, 3] < 26)).numpy()
    is_first = np.arange(len(coords)) < len(first)
    assert (weights[0, inner & is_first] > 0.8).all(), "the front sees the first wall"
    assert (weights[1, inner & ~is_first] > 0.8).all(), "and only the back sees the second"
    by_place = directions("front", "back").on_grid(coords[:, 1:], side).weights
    assert by_place is not None and (by_place[0, inner & ~is_first] > 0.5).all()

    turned = coords[:, [0, 2, 1, 3]]  # the walls now face right and left: x is what y was
    weights = directions("left", "right").on_surface(turned, side).weights
    assert weights is not None and (weights[0, inner & is_first] > 0.8).all()
    assert (weights[1, inner & ~is_first] > 0.8).all()


class Passes:
    """Counts what goes through the flow models: passes with a picture, and without."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count: Counter[bool] = Counter()
        velocity = FlowTransformer.velocity

        def counted(model: Any, *given: Any, **more: Any) -> Any:
            conditional = given[5] if len(given) > 5 else more.get("conditional", (True,))
            self.count.update(conditional)
            return velocity(model, *given, **more)

        monkeypatch.setattr(FlowTransformer, "velocity", counted)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    return Passes(monkeypatch)


@pytest.mark.parametrize("names", [(), ("back",), ("right", "back", "left")])
def test_the_pass_without_a_picture_is_made_once(
    pipeline: Pipeline, seen: dict[str, Image.Image], passes: Passes, names: tuple[str, ...]
) -> None:
    pipeline.run(seen["front"], FEW, seed=5, views={name: seen[name] for name in names})
    request = pipeline.request(FEW)
    samplers = (request.structure, request.shape, request.texture)
    steps, guided = sum(s.steps for s in samplers), sum(s.guided_steps() for s in samplers)
    assert guided > 0 and passes.count == {True: steps * (len(names) + 1), False: guided}


def test_the_mark_of_the_back_s_picture_comes_out_at_the_back(
    pipeline: Pipeline, seen: dict[str, Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only the back's picture would change is changed at the back, in the axes of the asset itself."""
    features = pipeline.encode_views({"front": preprocess_image(seen["front"])}, (512,), pipeline_progress())[512]
    assert isinstance(features, torch.Tensor)
    other = features + 3.0
    name = "sparse_structure_flow_model"
    model = pipeline.store.use(name, 0)
    cells = model.config.resolution
    cond = {
        back: views_of({"front": features, "back": given}) for back, given in (("same", features), ("other", other))
    }
    sampler = pipeline.request(FEW).structure
    latent = {
        back: pipeline._structure(given, sampler, Noise(3, pipeline.device), pipeline_progress())
        for back, given in cond.items()
    }
    change = (latent["other"] - latent["same"]).abs().mean((0, 1))  # (x, y, z)
    near, far = change[:, : cells // 4].mean(), change[:, -(cells // 4) :].mean()
    assert far > 3 * near > 0
    assert context_length(cond["same"]) == 2 * features.shape[1]


def pipeline_progress() -> Any:
    from trellis_addon.core.progress import Progress

    return Progress()


def test_texturing_again_sees_all_views(
    pipeline: Pipeline, seen: dict[str, Image.Image], alone: PipelineResult
) -> None:
    assert alone.latents is not None
    views = {"back": seen["back"]}
    plain = pipeline.retexture(alone.latents, seen["front"], FEW, seed=9)
    both = pipeline.retexture(alone.latents, seen["front"], FEW, seed=9, views=views)
    assert torch.equal(latents(plain)[1], latents(both)[1]) and not torch.equal(latents(plain)[2], latents(both)[2])


def test_the_subject_is_equally_tall_in_every_picture() -> None:
    def bar(width: int, height: int) -> Image.Image:
        image = Image.new("RGBA", (800, 800))
        image.paste((255, 255, 255, 255), (400 - width // 2, 400 - height // 2, 400 + width // 2, 400 + height // 2))
        return image

    found = preprocess_views({"front": bar(100, 300), "left": bar(600, 300), "back": bar(50, 150)})
    heights = {}
    for name, picture in found.items():
        rows = np.flatnonzero(np.asarray(picture)[..., 0].any(1))
        assert picture.width == picture.height
        heights[name] = (rows[-1] - rows[0] + 1) / picture.height
    assert heights["front"] == pytest.approx(0.5, abs=0.02)
    assert max(heights.values()) - min(heights.values()) < 0.02
    one = bar(100, 300)
    same = preprocess_views({"front": one, "back": one})
    assert same["front"].tobytes() == same["back"].tobytes() == preprocess_image(one).tobytes()


def test_the_engine_hands_them_on(tmp_path: Path, seen: dict[str, Image.Image]) -> None:
    from trellis_addon.core.progress import Progress
    from trellis_addon.engines.trellis2 import Trellis2Engine

    engine = Trellis2Engine(make_small(tmp_path), "cpu")
    orders = (Order(seen["front"], FEW, 5, views=views) for views in ({}, {"back": seen["back"]}))
    one, two = (engine.voxels(order, Progress()) for order in orders)
    assert len(one.coords) != len(two.coords) or not np.array_equal(one.attributes, two.attributes)
