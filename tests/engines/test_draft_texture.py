"""The draft on a mesh that is there: what the picture shows takes its colours, and all else of the file stays."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from mesh_tools import colour_of_side, glb, pixels_of
from PIL import Image
from views_tools import COLOURS, picture, pictures

from trellis_addon.core.errors import EngineError, InputError
from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.draft.projection import Textured, project
from trellis_addon.engines.draft.variation import EVEN
from trellis_addon.engines.engine import Order
from trellis_addon.formats.glb.check import check_glb, split_glb
from trellis_addon.formats.glb.read import Reader
from trellis_addon.task.settings import Settings

FRONT, BACK, RIGHT = 2, 3, 1  # of a box's sides, by `mesh_tools.SIDES`
NEAR = 12  # of 255: JPEG, and the light of no lamp

turned = np.eye(4)
turned[:3, :3] = [[math.cos(0.5), 0, math.sin(0.5)], [0, 1, 0], [-math.sin(0.5), 0, math.cos(0.5)]]
TRANSFORMS = {
    "as it is": np.eye(4),
    "millimetres": np.diag([1e-3, 1e-3, 1e-3, 1.0]),
    "a hundred metres, far away": np.array([[100, 0, 0, 5e4], [0, 100, 0, -2e3], [0, 0, 100, 7e4], [0, 0, 0, 1.0]]),
    "longer than wide": np.diag([0.7, 2.0, 1.4, 1.0]),
    "mirrored": np.diag([-1.0, 1.0, 1.0, 1.0]),
}


def made(
    mesh: bytes, image: Image.Image | None = None, views: Any = None, *, facing: str = "front", uvs: str = "auto"
) -> Textured:
    return project(
        mesh,
        image or picture(0.0, colour=COLOURS["front"]),
        views or {},
        EVEN,
        facing=facing,
        uvs=uvs,
        texture_size=256,
        lossless=True,
        extras={"engine": "draft:relief@1"},
        progress=Progress(),
    )


def near(seen: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(seen - colour).max() <= NEAR)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_the_picture_shows_takes_its_colours_and_the_file_stays(name: str) -> None:
    mesh = glb(matrix=TRANSFORMS[name])
    found = made(mesh)
    check_glb(found.glb)
    for box in ((0, 0), (1, 0), (1, 1)):
        assert near(colour_of_side(found.glb, *box, FRONT), COLOURS["front"]), box
    before, after = split_glb(mesh)[0], split_glb(found.glb)[0]
    assert before["nodes"] == after["nodes"] and before["scenes"] == after["scenes"]
    assert [m["name"] for m in after["meshes"]] == ["Body", "Head"]
    assert after["asset"]["extras"]["own"] == "kept" and after["asset"]["extras"]["engine"] == "draft:relief@1"
    for number, count in ((0, 1), (1, 2)):
        for index in range(count):
            for attribute in ("POSITION", "TEXCOORD_0"):
                one, two = (
                    reader.accessor(reader.document["meshes"][number]["primitives"][index]["attributes"][attribute])
                    for reader in (Reader.of(mesh), Reader.of(found.glb))
                )
                assert one.tobytes() == two.tobytes()
    assert len(pixels_of(found.glb)) == 1, "what lies apart shares a texture"


def test_a_picture_from_the_right_is_what_the_right_view_shows() -> None:
    # from +X the nose, which is in front, is on the left, and the horn is not seen on its other side
    image = picture(90.0, colour=COLOURS["right"])
    pixels = np.array(image)
    pixels[:, : image.width // 2, :3] = COLOURS["left"]  # the left half, where the front is, is of another colour
    image = Image.fromarray(pixels)
    found = made(glb(), image, facing="right")
    assert near(colour_of_side(found.glb, 1, 0, RIGHT), COLOURS["left"]), "the nose is on the left"
    straight = made(glb(), image, facing="90")
    assert colour_of_side(straight.glb, 1, 0, RIGHT).tolist() == colour_of_side(found.glb, 1, 0, RIGHT).tolist()
    assert not found.notes, "the outlines are the same"


def test_several_pictures_have_each_its_side() -> None:
    seen = pictures("front", "back", "right")
    found = made(glb(), seen.pop("front"), seen)
    for side, view in ((FRONT, "front"), (BACK, "back"), (RIGHT, "right")):
        assert near(colour_of_side(found.glb, 0, 0, side), COLOURS[view]), view


def test_a_picture_of_something_else_is_told() -> None:
    image = Image.new("RGBA", (300, 40), (200, 10, 10, 255))
    notes = made(glb(), image).notes
    assert len(notes) == 1 and "overlap" in notes[0] and "front" in notes[0]


@pytest.mark.parametrize(
    ("uvs", "count", "new"), [("square", 3, 0), ("none", 1, 3), ("doubled", 1, 3), ("beyond", 1, 0)]
)
def test_coordinates_are_kept_where_they_can_hold_a_texture(uvs: str, count: int, new: int) -> None:
    mesh = glb(uvs=uvs, more=uvs == "doubled")
    found = made(mesh)
    assert len(pixels_of(found.glb)) == count, "what has a square of its own keeps it"
    assert bool(found.notes) == bool(new)
    reader = Reader.of(found.glb)
    primitives = [p for m in reader.document["meshes"] for p in m["primitives"]]
    materials = reader.document["materials"]
    sets = [materials[p["material"]]["pbrMetallicRoughness"]["baseColorTexture"].get("texCoord", 0) for p in primitives]
    assert sets == [2 if uvs == "doubled" else 0] * 3
    assert near(colour_of_side(found.glb, 0, 0, FRONT), COLOURS["front"])
    if uvs == "doubled":  # every attribute goes where its vertex goes, shape keys too
        for primitive in primitives:
            lengths = {len(reader.accessor(number)) for number in primitive["attributes"].values()}
            assert lengths == {len(reader.accessor(primitive["targets"][0]["POSITION"]))}
        assert "images" in json.dumps(list(reader.document)) and b"\x09\xc8\x09" not in found.glb
    if uvs in ("none", "doubled"):
        kept = Reader.of(mesh)
        one, two = (
            each.accessor(p["attributes"]["POSITION"])[each.accessor(p["indices"]).reshape(-1)]
            for each, p in ((kept, kept.document["meshes"][0]["primitives"][0]), (reader, primitives[0]))
        )
        assert np.array_equal(one, two), "the same triangles in the same order"


def test_coordinates_are_kept_or_made_by_choice() -> None:
    kept, new = made(glb(uvs="doubled"), uvs="keep"), made(glb(), uvs="new")
    document = split_glb(kept.glb)[0]
    assert "TEXCOORD_1" not in document["meshes"][0]["primitives"][0]["attributes"]
    assert "together with other parts" in kept.notes[0]
    assert "TEXCOORD_1" in split_glb(new.glb)[0]["meshes"][0]["primitives"][0]["attributes"]
    assert near(colour_of_side(new.glb, 1, 1, FRONT), COLOURS["front"])


def test_both_sides_are_drawn_where_they_were() -> None:
    document = split_glb(made(glb(uvs="square", materials=2)).glb)[0]
    sides = [m.get("doubleSided", False) for m in document["materials"]]
    assert sides == [False, True, True] and not any(m["name"].startswith("Old") for m in document["materials"])


def test_what_cannot_be_textured_is_a_sentence() -> None:
    with pytest.raises(EngineError, match="no visible pixel"):
        made(glb(), Image.new("RGBA", (20, 20)))
    document, binary = split_glb(glb())
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["mode"] = 0
    from trellis_addon.formats.glb.write import container

    with pytest.raises(InputError, match="no triangles"):
        made(container(document, bytes(binary)))


def test_the_engine_says_what_it_did() -> None:
    settings = Settings(texture_size=1024, facing="-270", texture_format="png")
    one = ReliefEngine().generate(Order(picture(90.0), settings, 1, mesh=glb(uvs="none")), Progress())
    assert one.facts["notes"] == ["The mesh had no texture coordinates, and got new ones."]
    assert split_glb(one.glb)[0]["asset"]["extras"]["seed"] == 1
    assert made(glb(uvs="none")).glb == made(glb(uvs="none")).glb
