"""The draft engine with several views: a real hull of the outlines, each picture on its own side."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_glb_write import accessor, image, parse
from views_tools import COLOURS, inside, picture, pictures

from trellis_addon.core.errors import Cancelled, EngineError
from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.draft.hull.carve import carve, roundness_seen
from trellis_addon.engines.draft.hull.outlines import outline_of
from trellis_addon.engines.draft.hull.surface import surface_of
from trellis_addon.engines.draft.mask import cut_out
from trellis_addon.engines.engine import Order
from trellis_addon.task.settings import Settings

QUICK = Settings(resolution=512, texture_size=1024)


def make(*views: str, seed: int = 1, settings: Settings = QUICK, **more: Image.Image) -> bytes:
    found = {**pictures("front", *views), **more}
    front = found.pop("front")
    return ReliefEngine().generate(Order(front, settings, seed, views=found), Progress()).glb


class Made:
    """A GLB in Blender's axes, 1 high, its middle at the origin."""

    def __init__(self, glb: bytes) -> None:
        document, binary = parse(glb)
        primitive = document["meshes"][0]["primitives"][0]
        x, y, z = accessor(document, binary, primitive["attributes"]["POSITION"]).T
        points = np.stack([x, -z, y], 1).astype(float)
        low, high = points.min(0), points.max(0)
        self.points = (points - (low + high) / 2.0) / (high[2] - low[2])
        self.faces = accessor(document, binary, primitive["indices"]).reshape(-1, 3).astype(np.int64)
        self.uvs = accessor(document, binary, primitive["attributes"]["TEXCOORD_0"])
        place = document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["index"]
        self.texture = np.asarray(image(document, binary, place).convert("RGB"), float)
        a, b, c = (self.points[self.faces[:, k]] for k in range(3))
        across = np.cross(b - a, c - a)
        self.areas = np.linalg.norm(across, axis=1) / 2.0
        self.normals = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
        self.middles = (a + b + c) / 3.0

    def colours(self, faces: np.ndarray) -> np.ndarray:
        """The texture in the middle of faces."""
        uv = self.uvs[self.faces[faces]].mean(1)
        side = len(self.texture)
        column, row = np.clip((uv * side).astype(int), 0, side - 1).T
        return self.texture[row, column]

    def occupied(self, steps: np.ndarray) -> np.ndarray:
        """Which points of the lattice of these steps are inside: crossings of each column's ray, counted."""
        a, b, c = (self.points[self.faces[:, k]] for k in range(3))

        def side(q: np.ndarray, r: np.ndarray, x: float, y: float) -> np.ndarray:
            return (r[:, 0] - q[:, 0]) * (y - q[:, 1]) - (r[:, 1] - q[:, 1]) * (x - q[:, 0])

        found = np.zeros((len(steps),) * 3, bool)
        for i, x in enumerate(steps):
            band = np.flatnonzero(
                (np.minimum(np.minimum(a, b), c)[:, 0] <= x) & (np.maximum(np.maximum(a, b), c)[:, 0] >= x)
            )
            p, q, r = a[band], b[band], c[band]
            for j, y in enumerate(steps):
                u, v, w = side(q, r, x, y), side(r, p, x, y), side(p, q, x, y)
                hit = (np.sign(u) == np.sign(v)) & (np.sign(v) == np.sign(w)) & (np.abs(u + v + w) > 1e-12)
                weights = np.stack([u, v, w], 1)[hit]
                heights = (weights * np.stack([p[hit, 2], q[hit, 2], r[hit, 2]], 1)).sum(1) / weights.sum(1)
                found[i, j] = (heights[:, None] > steps).sum(0) % 2 == 1
        return found


def overlap(made: Made) -> float:
    """Intersection over union with the object, by points of a lattice."""
    steps = np.linspace(-0.62, 0.62, 19) + 0.0031
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1)
    truth = inside(points + [0.0, -0.175, 0.0])  # the object's middle, which the asset's is at the origin
    found = made.occupied(steps)
    return float((truth & found).sum() / (truth | found).sum())


@pytest.fixture(scope="module")
def four() -> Made:
    return Made(make("right", "back", "left"))


def test_the_sides_are_where_blender_has_them(four: Made) -> None:
    """The nose points to -Y, the horn stands at +X, and each picture lies on its own side."""
    assert four.points[np.argmin(four.points[:, 1])][2] < 0.0, "the nose is below the middle"
    assert four.points[four.points[:, 2] > 0.4][:, 0].mean() > 0.1, "the horn"
    for view, axis, sign in (("front", 1, -1), ("right", 0, 1), ("back", 1, 1), ("left", 0, -1)):
        facing = np.flatnonzero((four.normals[:, axis] * sign > 0.97) & (four.middles[:, 2] < 0.2))
        found = np.average(four.colours(facing), 0, four.areas[facing])
        assert np.abs(found - COLOURS[view]).max() < 25, (view, found)


def test_what_is_made_is_closed_and_light(four: Made) -> None:
    places = np.unique(np.round(four.points, 5), axis=0, return_inverse=True)[1].reshape(-1)[four.faces]
    edges = np.concatenate([places[:, [0, 1]], places[:, [1, 2]], places[:, [2, 0]]])
    there = {(int(a), int(b)) for a, b in edges}
    assert len(there) == len(edges) and all((b, a) in there for a, b in there), "every edge has two faces"
    assert 1000 < len(four.faces) <= 50_000
    assert four.uvs.min() >= 0.0 and four.uvs.max() <= 1.0
    least = Made(make("right", settings=QUICK.replace(decimation_target=100_000)))
    assert len(least.faces) <= 100_000


def test_more_views_come_nearer_to_the_truth(four: Made) -> None:
    one = Made(ReliefEngine().generate(Order(picture(0), QUICK, 1), Progress()).glb)
    two, five = Made(make("left")), Made(make("right", "135", "back", "left"))
    assert overlap(one) < 0.4 < 0.75 < overlap(two) and overlap(four) > 0.75
    assert overlap(five) > 0.83, "the diagonal shows that it is square"


def test_a_view_from_between_says_how_round_it_is() -> None:
    def outline(name: str, shape: str) -> Any:
        picture = Image.new("RGBA", (200, 200))
        width = 100 if name != "45" or shape == "round" else 141
        picture.paste((90, 90, 90, 255), (100 - width // 2, 30, 100 + (width + 1) // 2, 170))
        subject = cut_out(picture, 512)
        return outline_of(name, subject, subject.colour)

    for shape, low, high in (("round", 2.0, 2.3), ("square", 8.0, 64.0)):
        outlines = [outline(name, shape) for name in ("front", "45", "right")]
        assert low <= roundness_seen(outlines, 2.6) <= high, shape
        volume = (carve(outlines, 64, roundness_seen(outlines, 2.6)).field > 0).sum() * (1.0 / 64) ** 3
        sure = (100 / 140) ** 2 * (np.pi / 4.0 if shape == "round" else 1.0)
        assert volume == pytest.approx(sure, rel=0.08)


def test_the_order_changes_nothing_and_the_seed_something() -> None:
    found = pictures("front", "back", "left")
    front, back, left = found.values()
    one, other = (
        ReliefEngine().generate(Order(front, QUICK, 5, views=views), Progress()).glb
        for views in ({"back": back, "left": left}, {"left": left, "back": back})
    )
    assert one == other == make("back", "left", seed=5)
    assert make("back", "left", seed=6) != one


def test_the_back_alone_is_put_on_the_back() -> None:
    plain, made = (
        Made(ReliefEngine().generate(Order(pictures("front")["front"], QUICK, 1), Progress()).glb),
        Made(make("back")),
    )
    assert np.array_equal(plain.points, made.points), "the form is the front's"
    behind = np.flatnonzero(made.normals[:, 1] > 0.8)
    assert np.abs(made.colours(behind).mean(0) - COLOURS["back"]).max() < 25
    assert np.abs(made.colours(np.flatnonzero(made.normals[:, 1] < -0.8)).mean(0) - COLOURS["front"]).max() < 25


def test_the_back_is_seen_from_behind() -> None:
    """What is on the left of the picture of the back is on the object's right, from +X."""
    back = pictures("back")["back"]
    back.paste((255, 255, 255, 255), (60, 100, 90, 130))
    for made in (Made(make(back=back)), Made(make("left", back=back))):
        behind = np.flatnonzero(made.normals[:, 1] > 0.8)
        white = behind[(made.colours(behind) > 200).all(1)]
        assert len(white) and made.middles[white][:, 0].mean() > 0.05


def test_a_side_that_nobody_shows_is_the_other_one_s_mirror_image() -> None:
    made = Made(make("left", "back"))
    facing = np.flatnonzero((made.normals[:, 0] > 0.97) & (made.middles[:, 2] < 0.2))
    assert np.abs(made.colours(facing).mean(0) - COLOURS["left"]).max() < 30


def test_a_picture_in_the_wrong_height_is_made_as_tall() -> None:
    left = pictures("left")["left"].resize((320, 320))
    assert overlap(Made(make("back", left=left))) > 0.75


def test_views_without_anything_in_common_are_told() -> None:
    def lines(*tops: int) -> Image.Image:
        found = Image.new("RGBA", (1200, 1200))
        for top in tops:
            found.paste((99, 99, 99, 255), (40, top, 1160, top + 3))
        return found

    front, left = lines(100, 400, 1100), lines(100, 800, 1100)
    with pytest.raises(EngineError, match="nothing in common"):
        ReliefEngine().generate(Order(front, QUICK, 1, views={"left": left}), Progress())
    with pytest.raises(EngineError, match="no visible pixel"):
        ReliefEngine().generate(Order(front, QUICK, 1, views={"left": Image.new("RGBA", (9, 9))}), Progress())


def test_a_flat_thing_is_flat() -> None:
    def bar(width: int) -> Image.Image:
        found = Image.new("RGBA", (400, 400))
        found.paste((99, 99, 99, 255), (200 - width // 2, 180, 200 + width // 2, 200))
        return found

    made = Made(ReliefEngine().generate(Order(bar(360), QUICK, 1, views={"left": bar(100)}), Progress()).glb)
    assert np.ptp(made.points, axis=0) == pytest.approx([18, 5, 1], rel=0.1)


def test_it_stops_when_told() -> None:
    found = pictures("front", "left")
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    with pytest.raises(Cancelled):
        ReliefEngine().generate(
            Order(found["front"], QUICK, 1, views={"left": found["left"]}), Progress(is_cancelled=stop)
        )


def test_edges_and_corners_that_only_touch_do_not_branch() -> None:
    """A field of noise has every case of places that meet in an edge or a corner."""
    from trellis_addon.engines.draft.hull.carve import Volume

    field = np.random.default_rng(3).standard_normal((24, 24, 24)).astype(np.float32)
    surface = surface_of(Volume(field, (0.0, 0.0, 0.0), 1.0))
    edges = np.concatenate([surface.faces[:, [0, 1]], surface.faces[:, [1, 2]], surface.faces[:, [2, 0]]])
    assert len({(int(a), int(b)) for a, b in edges}) == len(edges)
    assert {(int(a), int(b)) for a, b in edges} == {(int(b), int(a)) for a, b in edges}


def test_pictures_of_every_kind_of_file_size() -> None:
    """A tiny picture beside a large one, and one of a line."""
    buffer = io.BytesIO()
    picture(90).resize((24, 24)).save(buffer, "PNG")
    small = Image.open(buffer).convert("RGBA")
    assert make(right=small).startswith(b"glTF")
    line = Image.new("RGBA", (60, 60))
    line.paste((9, 9, 9, 255), (30, 5, 31, 55))
    assert make(right=line).startswith(b"glTF")


@pytest.mark.parametrize("views", [(), ("back",), ("back", "left")])
def test_the_shape_alone_is_the_same_shape_in_grey(views: tuple[str, ...]) -> None:
    found = pictures("front", *views)
    front = found.pop("front")
    textured, plain = (
        parse(ReliefEngine().generate(Order(front, QUICK.replace(texture=texture), 4, views=found), Progress()).glb)
        for texture in (True, False)
    )
    assert textured[0]["images"] and not plain[0].get("images") and not plain[0].get("textures")
    place = plain[0]["meshes"][0]["primitives"][0]["attributes"]["POSITION"]
    assert np.array_equal(accessor(*textured, place), accessor(*plain, place))
    (material,) = plain[0]["materials"]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0.0
