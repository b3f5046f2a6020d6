"""TRELLIS.2 on a mesh that is there, with small weights; and its own colours there and back without any."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesh_tools import glb, pixels_of
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("array_api_compat")
pytest.importorskip("warp")

from round_trip import TRANSFORMS, OwnColours, placed, there_and_back  # noqa: E402
from round_trip import painted as own_colours  # noqa: E402

from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines.engine import Order  # noqa: E402
from trellis_addon.engines.retexture import retexture  # noqa: E402
from trellis_addon.engines.trellis2 import Trellis2Engine  # noqa: E402
from trellis_addon.formats.glb.check import check_glb, split_glb  # noqa: E402
from trellis_addon.pipeline.texturing import TexturedVoxels  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

SIZE = 256


def picture(colour: tuple[int, int, int] = (200, 40, 60)) -> Image.Image:
    image = Image.new("RGBA", (60, 60))
    image.paste((*colour, 255), (10, 10, 50, 50))
    image.paste((20, 90, 200, 255), (20, 20, 30, 30))
    return image


@cache
def painted() -> bytes:
    return own_colours(glb(), SIZE)


@pytest.mark.parametrize("name", ["as it is", "mirrored", "all at once"])
def test_its_own_colours_come_back_to_its_own_coordinates(name: str) -> None:
    before = placed(painted(), TRANSFORMS[name])
    made = there_and_back(before, 96, SIZE, "front" if name == "as it is" else "30")
    (first,), (second,) = pixels_of(before), pixels_of(made.glb)
    inside = np.zeros((SIZE, SIZE), bool)
    for cell in range(18):
        row, column = divmod(cell, 5)
        low, high = (np.array([row, column]) + 0.12) / 5 * SIZE, (np.array([row, column]) + 0.88) / 5 * SIZE
        inside[int(low[0]) : int(high[0]), int(low[1]) : int(high[1])] = True
    error = float(np.square(first[inside] - second[inside]).mean())
    assert 10 * np.log10(255**2 / error) > 35.0
    one, two = split_glb(before)[0], split_glb(made.glb)[0]
    assert one["nodes"] == two["nodes"] and not made.notes
    assert [set(p["attributes"]) for m in one["meshes"] for p in m["primitives"]] == [
        set(p["attributes"]) for m in two["meshes"] for p in m["primitives"]
    ]


class Grey(OwnColours):
    """Colours all voxels alike until it is asked with another seed for the `good` time."""

    def __init__(self, glb: bytes, good: int) -> None:
        super().__init__(glb, 64)
        self.good, self.seeds = good, []  # type: ignore[var-annotated]

    def texture_mesh(
        self, vertices: Any, faces: Any, image: Any, settings: Any, seed: int, *more: Any, **_: Any
    ) -> Any:
        self.seeds.append(seed)
        found = super().texture_mesh(vertices, faces)
        if len(self.seeds) >= self.good:
            return found
        return TexturedVoxels(found.coords, np.zeros_like(found.attributes), found.resolution, found.matrix)


@pytest.mark.parametrize(("good", "asked", "words"), [(1, 1, 0), (2, 2, 1), (3, 2, 2)])
def test_a_texture_of_one_colour_is_made_again_with_another_seed(good: int, asked: int, words: int) -> None:
    pipeline: Any = Grey(painted(), good)
    made = retexture(pipeline, painted(), picture(), {}, Settings(texture_size=1024), 7, {}, Progress())
    assert len(set(pipeline.seeds)) == asked and pipeline.seeds[0] == 7
    assert len(made.notes) == words
    plain: Any = Grey(painted(), 9)
    image = Image.new("RGBA", (20, 20), (9, 9, 9, 255))
    assert not retexture(plain, painted(), image, {}, Settings(texture_size=1024), 7, {}, Progress()).notes


def test_the_engine_textures_with_small_weights(tmp_path: Path) -> None:
    engine = Trellis2Engine(make_small(tmp_path), "cpu")
    thin = placed(glb(), np.diag([1.0, 0.02, 0.02, 1.0]))  # of few voxels
    settings = Settings(resolution=512, texture_size=1024, tex_slat_steps=1, facing="left", texture_format="png")
    views = {"back": picture((9, 9, 200))}
    made = engine.generate(Order(picture(), settings, 3, mesh=thin, views=views), Progress())
    assert made.facts["resolution"] == 512
    assert check_glb(made.glb).extras["engine"] == "microsoft:trellis-2@4b"
    assert split_glb(made.glb)[0]["nodes"] == split_glb(thin)[0]["nodes"]
    engine.release()
