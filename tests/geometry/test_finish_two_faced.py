"""Sheets that look different from behind come back with both sides; thin walls do not pass through themselves."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("warp")

from test_source import BLUE, GREEN, RED, flat, sheets

from trellis_addon.core.errors import InputError
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.formats.glb.textured_mesh import TexturedMesh
from trellis_addon.geometry.bake.source import BakeSource
from trellis_addon.geometry.finish.light import Lightener
from trellis_addon.geometry.finish.roundtrip import round_trip
from trellis_addon.geometry.finish.two_faced import with_backs
from trellis_addon.geometry.mesh.crossings import crossing_faces
from trellis_addon.geometry.mesh.topology import TriMesh
from trellis_addon.geometry.simplify.simplify import simplify

VOXEL = 1 / 64


def two_sided(apart: float = 0.0) -> TexturedMesh:
    """A card that is red from above and blue from below."""
    mesh = sheets((apart, flat(RED)), (0.0, flat(BLUE)))
    return TexturedMesh(
        mesh.vertices, np.concatenate([mesh.faces[:2], mesh.faces[2:, ::-1]]), mesh.materials, mesh.ids, up="Z"
    )


def faced(mesh: TexturedMesh) -> int:
    return len(BakeSource(mesh, mesh.vertices, np.eye(3), VOXEL).two_faced())


@pytest.mark.parametrize("apart", [0.0, 0.2 * VOXEL])
def test_a_card_shows_both_sides(apart: float) -> None:
    made = round_trip(two_sided(apart), resolution=64, texture_size=128, faces=500)
    out = read_glb(made.glb)
    seen = BakeSource(out, out.vertices, np.eye(3), VOXEL)
    up = np.array([[0.0, 1.0, 0.0]], np.float32)
    middle = np.zeros((1, 3), np.float32)
    above, below = (seen.read(middle, side * up, 64.0).values[0, :3] for side in (1, -1))
    assert above.round(1).tolist() == [1, 0, 0] and below.round(1).tolist() == [0, 0, 1]
    assert not len(crossing_faces(TriMesh(out.vertices, out.faces.astype(np.int32))))


def test_only_other_looks_count() -> None:
    assert faced(two_sided()) > 1000
    assert faced(sheets((0.0, flat(RED, double_sided=True)))) == 0, "one surface has one look"
    assert faced(sheets((0.0, flat(RED)), (0.2 * VOXEL, flat(GREEN)))) == 0, "layers that are seen from one side"
    assert faced(two_sided(3 * VOXEL)) == 0, "two walls of a body"
    mesh = two_sided()
    alike = TexturedMesh(mesh.vertices, mesh.faces, (flat(RED), flat(RED)), mesh.ids, up="Z")
    assert faced(alike) == 0, "the same from both sides"


def wave(cuts: int, apart: float) -> TriMesh:
    """A closed wavy plate, thinner than the chords of few triangles."""
    step = np.linspace(-0.45, 0.45, cuts + 1)
    x, y = np.meshgrid(step, step, indexing="ij")
    number = np.arange(x.size).reshape(x.shape)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    top = np.stack([a, b, c, a, c, d], -1).reshape(-1, 3)
    rim = np.concatenate([number[:-1, 0], number[-1, :-1], number[:0:-1, -1], number[0, :0:-1]])
    after, count = np.roll(rim, -1), x.size
    side = np.concatenate([np.stack([after, rim, rim + count], 1), np.stack([after, rim + count, after + count], 1)])
    layers = [np.stack([x, y, 0.1 * np.sin(8 * x) + z], -1).reshape(-1, 3) for z in (0, -apart)]
    return TriMesh.of(np.concatenate(layers), np.concatenate([top, top[:, ::-1] + count, side]))


def test_a_thin_wall_of_few_triangles_does_not_pass_through_itself() -> None:
    plate = wave(60, 0.1 * VOXEL)
    assert not len(crossing_faces(plate))
    crushed, made = simplify(plate, 200), Lightener([plate], 64).light(200)
    assert len(made.faces) <= 200
    assert 2 * len(crossing_faces(made)) < len(crossing_faces(crushed))


def test_the_backs_count_among_the_triangles() -> None:
    plate = wave(60, 0.0)
    sheet = TriMesh.of(plate.vertices[: 61 * 61], plate.faces[: 2 * 60 * 60])
    places = sheet.vertices
    made = Lightener([sheet], 64, two_faced=places).light(400)
    assert 200 < len(made.faces) <= 400 and not len(crossing_faces(made))
    assert (with_backs(sheet, places + np.float32(0.5), VOXEL).faces == sheet.faces).all(), "nowhere near"
    closed = wave(60, 2 * VOXEL)
    assert with_backs(closed, places, VOXEL) is closed, "a body has its sides"


def test_triangles_without_area_are_nothing() -> None:
    mesh = sheets((0.0, flat(RED)))
    line = TexturedMesh(np.linspace(0, 9, 9)[:, None].repeat(3, 1).astype(np.float32), np.arange(9).reshape(3, 3))
    with pytest.raises(InputError, match="points or lines"):
        round_trip(line, resolution=64, texture_size=64)
    both = TexturedMesh.join([TexturedMesh(mesh.vertices, mesh.faces, mesh.materials), line])
    extent = np.ptp(read_glb(round_trip(both, resolution=64, texture_size=64).glb).vertices, axis=0)
    assert extent.max() < 1.1, "what is not seen takes no room"
