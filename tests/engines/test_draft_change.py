"""A part of a draft made anew: what lies outside stays byte for byte, and all of it is closed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trellis_addon.core.errors import EngineError, FieldError
from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.draft.change.loops import filled
from trellis_addon.engines.engine import Order
from trellis_addon.formats.glb.check import check_glb, split_glb
from trellis_addon.formats.glb.images import image_bytes
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.task.region import Region, as_region
from trellis_addon.task.settings import Settings

spatial = pytest.importorskip("scipy.spatial")
QUICK = Settings(resolution=512, texture_size=1024)
pytestmark = pytest.mark.once


def figure(horn: bool = False, colour: tuple[int, int, int] = (200, 120, 60)) -> Image.Image:
    """A body with a hole, or the same with a horn on its top."""
    big = Image.new("RGBA", (600, 800))
    draw = ImageDraw.Draw(big)
    draw.ellipse((120, 220, 480, 760), fill=(*colour, 255))
    draw.ellipse((240, 420, 360, 560), fill=(0, 0, 0, 0))
    if horn:
        draw.polygon([(250, 280), (350, 280), (420, 40)], fill=(240, 230, 90, 255))
    return big.resize((300, 400), Image.Resampling.BOX)


@pytest.fixture(scope="module")
def asset() -> bytes:
    return ReliefEngine().generate(Order(figure(), QUICK, 7), Progress()).glb


def change(asset: bytes, region: object, image: Image.Image | None = None, seed: int = 8) -> bytes:
    engine = ReliefEngine()
    return engine.generate(
        Order(image or figure(), QUICK, seed, latents=asset, region=as_region(region)), Progress()
    ).glb


def balance(glb: bytes) -> int:
    """How many edges do not run as often one way as the other: of a closed form none; corners in one place are one."""
    mesh = read_glb(glb)
    places = np.unique(mesh.vertices, axis=0)
    near = np.array([min(found) for found in spatial.cKDTree(places).query_ball_point(places, 2e-7)])
    faces = near[np.unique(mesh.vertices, axis=0, return_inverse=True)[1].reshape(-1)][mesh.faces]
    runs: Counter[tuple[int, int]] = Counter()
    for a, b in ((0, 1), (1, 2), (2, 0)):
        for one, other in zip(faces[:, a].tolist(), faces[:, b].tolist(), strict=True):
            runs[min(one, other), max(one, other)] += 1 if one < other else -1
    return sum(count != 0 for count in runs.values())


def rows(glb: bytes) -> set[bytes]:
    """Every vertex of a file with all that it has."""
    mesh = read_glb(glb)
    assert mesh.normals is not None and mesh.uvs is not None
    corners = np.concatenate([mesh.vertices[mesh.faces], mesh.normals, mesh.uvs], -1).astype(np.float32)
    return {row.tobytes() for row in corners.reshape(-1, 8)}


def outside(glb: bytes, region: Region) -> set[bytes]:
    mesh = read_glb(glb)
    apart = (region.depth(mesh.vertices) < 0)[mesh.faces].all(1)
    assert mesh.normals is not None and mesh.uvs is not None
    corners = np.concatenate([mesh.vertices[mesh.faces], mesh.normals, mesh.uvs], -1).astype(np.float32)
    return {row.tobytes() for row in corners[apart].reshape(-1, 8)}


def images(glb: bytes) -> list[bytes]:
    document, binary = split_glb(glb)
    return [image_bytes(document, binary, number) for number in range(len(document["images"]))]


BOX = [-0.6, 0.12, -0.5, 0.6, 0.6, 0.5]


@pytest.mark.parametrize("region", [BOX, [0.05, 0.2, 0.0, 0.22], {"points": [[0, 0.3, 0]], "radius": 0.2}])
def test_what_is_outside_stays_and_all_is_closed(asset: bytes, region: object) -> None:
    made = change(asset, region)
    check_glb(made)
    assert made != asset
    assert balance(asset) == balance(made) == 0
    there = rows(made)
    low, high = as_region(region).bounds()  # of what is round a draft takes the box around
    lost = outside(asset, Region("box", (*low, *high))) - there
    assert not lost, f"{len(lost)} vertices are not as they were"
    assert images(made)[: len(images(asset))] == images(asset)


def test_a_new_picture_brings_what_it_shows(asset: bytes) -> None:
    horned = figure(horn=True)
    made = change(asset, [-1, 0.3, -1, 1, 1, 1], horned)
    before, after = (read_glb(glb).bounds() for glb in (asset, made))
    assert after[1, 1] > before[1, 1] + 0.2, "the horn sticks out above"
    assert np.allclose(after[0], before[0], atol=1e-6), "and the rest lies where it lay"
    assert balance(made) == 0
    # the same horn, but the region does not reach it
    below = change(asset, [-1, -0.6, -1, 1, -0.2, 1], horned)
    assert np.allclose(read_glb(below).bounds()[1], before[1], atol=1e-6)


def test_the_new_lies_upon_the_old_at_the_edge(asset: bytes) -> None:
    """A seed changes how deep a draft is: without a rim there would be a step."""

    def step(rim: float) -> float:
        box = {"box": BOX, "rim": rim}
        document, binary = split_glb(change(asset, box, seed=21))
        parts = []
        from trellis_addon.engines.draft.change.change import _column

        for primitive in document["meshes"][0]["primitives"]:
            points = _column(document, binary, primitive["attributes"]["POSITION"])
            faces = _column(document, binary, primitive["indices"]).ravel()
            used = points[np.unique(faces)]
            parts.append(used[np.abs(used[:, 1] - BOX[1]) < 1e-5])
        old, new = parts
        return abs(float(old[:, 2].max() - new[:, 2].max()))

    assert step(0.1) < 0.3 * step(0.0)


def test_nothing_there_is_the_same_bytes(asset: bytes) -> None:
    assert change(asset, [2, 2, 2, 3, 3, 3]) == asset
    assert change(asset, [0, 0, 0, 0, 1, 1]) == asset


def test_the_same_again_and_once_more(asset: bytes) -> None:
    once = change(asset, BOX)
    assert once == change(asset, BOX)
    twice = change(once, [-0.6, -0.6, -0.5, 0.6, -0.2, 0.5], seed=9)
    check_glb(twice)
    assert balance(twice) == 0
    told = split_glb(twice)[0]["asset"]["extras"]["changes"]
    assert [entry["seed"] for entry in told] == [8, 9] and told[0]["region"] == {"box": BOX}


def test_what_cannot_be_done_is_said(asset: bytes) -> None:
    with pytest.raises(EngineError, match="texture alone"):
        change(asset, {"box": BOX, "only": "texture"})
    for wrong in (
        [1, 2, 3],
        {"box": [1, 2]},
        {"cone": [1]},
        {"box": BOX, "sphere": [0, 0, 0, 1]},
        "all",
        {"points": []},
    ):
        with pytest.raises(FieldError, match=r"inputs\.region"):
            as_region(wrong)


def test_a_section_with_holes_is_filled() -> None:
    turn = np.linspace(0.0, 2.0 * np.pi, 41)[:-1]
    normal = np.array([0.0, 0.0, 1.0])

    def ring(radius: float, x: float, direction: int) -> np.ndarray:
        points = np.stack([x + radius * np.cos(turn), radius * np.sin(turn), np.zeros(40)], 1)[::direction]
        return np.stack([points, np.roll(points, -1, 0)], 1)

    edges = np.concatenate([ring(1.0, 0.0, 1), ring(0.2, -0.5, -1), ring(0.3, 0.4, -1), ring(0.1, 0.4, 1)])
    triangles = filled(edges, normal)
    area = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 2] / 2.0
    polygon = 40 / 2 * np.sin(2 * np.pi / 40)
    assert area.sum() == pytest.approx(-polygon * (1.0 - 0.04 - 0.09 + 0.01), rel=1e-9)
    assert (area <= 1e-12).all()
    assert len(triangles) == 4 * 40 - 2 * 2 + 2 * 2
