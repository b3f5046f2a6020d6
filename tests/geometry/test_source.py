"""Reading a source: its layers as they are seen, its maps at their places, and what of it is drawn how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("warp")
pytest.importorskip("scipy")

from khronos import assert_valid
from test_finish_texture import sphere
from test_glb_write import parse

from trellis_addon.formats.glb.read import read_glb
from trellis_addon.formats.glb.textured_mesh import SurfaceMaterial, Texture, TexturedMesh
from trellis_addon.geometry.bake.maps import look_up
from trellis_addon.geometry.bake.pictures import Picture
from trellis_addon.geometry.bake.reading import DENSEST, Reading
from trellis_addon.geometry.bake.source import BakeSource
from trellis_addon.geometry.finish.roundtrip import round_trip
from trellis_addon.geometry.finish.shells import shells

VOXEL = 0.01
UP = np.array([[0.0, 0.0, 1.0]], np.float32)
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


def flat(colour: tuple[float, ...], mode: str = "OPAQUE", **more: Any) -> SurfaceMaterial:
    """A material of one colour (linear, with alpha)."""
    return SurfaceMaterial(
        base_colour_factor=(*colour[:3], colour[3] if len(colour) > 3 else 1.0), alpha_mode=mode, **more
    )


def sheets(*layers: tuple[float, SurfaceMaterial], turned: bool = False) -> TexturedMesh:
    """Unit squares that face up, each at its height, z up."""
    vertices = np.concatenate([np.insert(CORNERS - 0.5, 2, height, 1) for height, _ in layers]).astype(np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])[:, :: -1 if turned else 1]
    numbers = np.concatenate([faces + 4 * k for k in range(len(layers))])
    uvs = np.tile(CORNERS[faces], (len(layers), 1, 1)).astype(np.float32)
    ids = np.repeat(np.arange(len(layers), dtype=np.int32), 2)
    return TexturedMesh(vertices, numbers, tuple(material for _, material in layers), ids, uvs, up="Z")


def read(mesh: TexturedMesh, points: Any, directions: Any = UP, **more: Any) -> Reading:
    points = np.asarray(points, np.float32).reshape(-1, 3)
    source = BakeSource(mesh, mesh.vertices, np.eye(3), VOXEL)
    return source.read(
        points, np.broadcast_to(np.asarray(directions, np.float32), points.shape).copy(), DENSEST, **more
    )


RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def test_of_near_layers_the_front_most_is_seen() -> None:
    mesh = sheets((0.0, flat(RED)), (0.005, flat(GREEN)), (0.2, flat(BLUE)))
    seen = read(mesh, [[0.1, 0.2, 0.0], [0.1, 0.2, 0.004], [0.3, -0.1, 0.2]]).values
    assert seen[:, :3].round(3).tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 1]]
    from_below = read(mesh, [[0.1, 0.2, 0.0]], -UP)
    assert from_below.values[0, :3].round(3).tolist() == [1, 0, 0] and from_below.flipped is not None
    assert from_below.flipped.all()
    assert from_below.normals is not None and from_below.normals[0, 2] < 0, "lit from where it is seen"


@pytest.mark.parametrize("height", [0.0, 0.004])
def test_through_what_is_clear_the_next_layer_shows(height: float) -> None:
    mesh = sheets((0.0, flat(RED, emission_factor=(4.0, 0.0, 0.0))), (height, flat((*GREEN, 0.25), "BLEND")))
    seen = read(mesh, [[0.1, 0.2, height]])
    assert seen.values[0, 5] == pytest.approx(1.0), "nothing is seen through all"
    linear = np.where(
        seen.values[0, :3] <= 0.04045, seen.values[0, :3] / 12.92, ((seen.values[0, :3] + 0.055) / 1.055) ** 2.4
    )
    assert linear == pytest.approx([0.75, 0.25, 0.0], abs=1e-3)
    assert seen.emission is not None and seen.emission[0] == pytest.approx([3.0, 0, 0], abs=1e-3)
    assert seen.parts is not None and seen.parts[0] == 0
    alone = read(sheets((0.0, flat((*GREEN, 0.25), "BLEND"))), [[0.1, 0.2, 0.0]])
    assert alone.values[0].round(3).tolist() == [0, 1, 0, 0, 1, 0.25]


def test_a_cut_out_is_all_or_nothing_over_what_lies_behind() -> None:
    pixels = np.zeros((1, 8, 4), np.uint8)
    pixels[..., 1], pixels[..., 3] = 255, np.linspace(0, 255, 8).astype(np.uint8)
    cut = SurfaceMaterial(base_colour=Texture(pixels, ("clamp", "clamp")), alpha_mode="MASK", alpha_cutoff=0.5)
    points = np.stack([np.linspace(-0.49, 0.49, 99), np.zeros(99), np.full(99, 0.004)], 1)
    over = read(sheets((0.0, flat(RED)), (0.004, cut)), points).values
    assert set(over[:, 0].round(3)) == {0.0, 1.0} and (over[:, 5] == 1).all()
    assert (over[:, 1] > 0.5).sum() == pytest.approx(50, abs=2)
    alone = read(sheets((0.0, cut)), points).values[:, 5]
    assert (np.diff(alone) >= -1e-6).all() and ((alone > 0.1) & (alone < 0.9)).mean() > 0.2, "its edge keeps its slope"


def test_a_wall_is_read_on_the_side_that_is_asked_for() -> None:
    # Two walls of a thin box, half a voxel apart: the nearer one to the place faces the other way.
    inside = sheets((0.0, flat(RED)), turned=True)
    outside = sheets((0.005, flat(GREEN)))
    both = TexturedMesh.join([inside, outside])
    assert read(both, [[0.1, 0.1, 0.001]]).values[0, :3].round(3).tolist() == [0, 1, 0]
    assert read(both, [[0.1, 0.1, 0.004]], -UP).values[0, :3].round(3).tolist() == [1, 0, 0]


def test_normals_are_those_of_the_shading_and_the_map() -> None:
    pixels = np.full((4, 4, 3), (255, 128, 128), np.uint8)  # bent to where u grows, which is x
    bent = SurfaceMaterial(normal=Texture(pixels))
    seen = read(sheets((0.0, bent)), [[0.1, 0.1, 0.0]]).normals
    assert seen is not None and seen[0] / np.linalg.norm(seen[0]) == pytest.approx([1, 0, 0], abs=0.01)
    up, tilted = sheets((0.0, flat(RED))), np.float32([0.6, 0, 0.8])
    given = TexturedMesh(
        up.vertices, up.faces, up.materials, up.ids, up.uvs, normals=np.tile(tilted, (2, 3, 1)), up="Z"
    )
    assert read(given, [[0.1, 0.1, 0.0]]).normals == pytest.approx(tilted[None], abs=1e-6)


def test_pictures_are_read_between_texels_and_levels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    texture = Texture(pixels)
    centres = ((np.stack(np.meshgrid(*[np.arange(8)] * 2), -1).reshape(-1, 2) + 0.5) / 8).astype(np.float32)
    picture = Picture(pixels)
    zero = np.zeros(64, np.float32)
    assert picture.read(centres, zero, texture)[:, :3] * 255 == pytest.approx(pixels.reshape(-1, 3), abs=1e-3)
    assert picture.read(centres + np.float32(3), zero, texture)[:, :3] * 255 == pytest.approx(
        pixels.reshape(-1, 3), abs=0.1
    )
    coarse = picture.read(centres, zero + 9, texture)[:, :3] * 255
    assert coarse == pytest.approx(np.broadcast_to(pixels.reshape(-1, 3).mean(0), (64, 3)), abs=1.5)
    clear = np.zeros((1, 2, 4), np.uint8)
    clear[0, 0] = 255, 0, 0, 255  # beside it black that is not seen
    between = Picture(clear, by_alpha=True).read(np.float32([[0.5, 0.5]]), zero[:1], Texture(clear))
    assert between[0].round(2).tolist() == [1.0, 0.0, 0.0, 0.5]


# --- the whole way ---


def ball(materials: tuple[SurfaceMaterial, ...], side: Any, scale: float = 1.0) -> TexturedMesh:
    vertices, faces = sphere(48, 24)
    ids = side(vertices[faces].mean(1)).astype(np.int32)
    return TexturedMesh(vertices * np.float32(scale), faces.astype(np.int64), materials, ids, up="Z")


def halves(*materials: SurfaceMaterial) -> TexturedMesh:
    return ball(materials, lambda middle: middle[:, 0] > 0)


SMALL = {"resolution": 32, "texture_size": 128, "faces": 1500}


@pytest.mark.checkout
def test_each_part_keeps_its_way_of_being_drawn(tmp_path: Any) -> None:
    made = round_trip(
        halves(flat(RED, emission_factor=(0.0, 3.0, 0.0)), flat((*BLUE, 0.3), "BLEND", transmission=0.5)), **SMALL
    )
    document, _ = parse(made.glb)
    solid, glass = document["materials"]
    assert "alphaMode" not in solid and glass["alphaMode"] == "BLEND"
    assert glass["extensions"]["KHR_materials_transmission"] == {"transmissionFactor": 0.5}
    assert solid["extensions"]["KHR_materials_emissive_strength"]["emissiveStrength"] == pytest.approx(3.0, rel=0.01)
    back = read_glb(made.glb)
    middle = back.vertices[back.faces].mean(1)
    assert (middle[back.ids == 0, 0] < 0.06).all() and (middle[back.ids == 1, 0] > -0.06).all()
    clear = back.materials[1].base_colour
    assert clear is not None and np.abs(np.median(clear.pixels[..., 3][clear.pixels[..., 3] < 200]) - 0.3 * 255) < 3
    assert_valid(made.glb, tmp_path)


def test_a_cut_out_stays_one_beside_glass() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[:, 0] = 255
    cut = SurfaceMaterial(base_colour=Texture(pixels), alpha_mode="MASK")
    mesh = halves(cut, flat((*BLUE, 0.3), "BLEND"))
    uvs = (mesh.vertices[mesh.faces][..., [1, 2]] * 6).astype(np.float32)
    made = round_trip(TexturedMesh(mesh.vertices, mesh.faces, mesh.materials, mesh.ids, uvs, up="Z"), **SMALL)
    document, _ = parse(made.glb)
    assert [material.get("alphaMode") for material in document["materials"]] == ["MASK", "BLEND"]


def test_a_normal_map_is_there_where_it_helps() -> None:
    # Facets of a box are what they are: nothing can be added.
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    plain = TexturedMesh(corners, faces, (flat(RED),), up="Z")
    assert round_trip(plain, **SMALL).mesh.textures.normal is None
    assert round_trip(plain, normal_map=True, **SMALL).mesh.textures.normal is not None
    vertices, round_faces = sphere(96, 48)
    smooth = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    ball_ = TexturedMesh(vertices, round_faces.astype(np.int64), (flat(RED),), normals=smooth[round_faces], up="Z")
    few = {**SMALL, "faces": 60, "texture_size": 256}
    assert round_trip(ball_, **few).mesh.textures.normal is not None


def test_glass_that_holds_something_is_a_shell_of_its_own() -> None:
    outer = ball((flat((*BLUE, 0.2), "BLEND"),), lambda middle: middle[:, 0] * 0)
    inner = ball((flat(RED),), lambda middle: middle[:, 0] * 0, 0.5)
    both = TexturedMesh.join([outer, inner])
    solid, glass = shells(both, both.vertices, 1 / 64)
    assert np.array_equal(glass, both.ids == 0) and np.array_equal(solid, ~glass)
    made = round_trip(both, **{**SMALL, "resolution": 48})
    back = read_glb(made.glb)
    assert [material.alpha_mode for material in back.materials] == ["OPAQUE", "BLEND"]
    reach = [np.linalg.norm(back.vertices[back.faces[back.ids == k]], axis=2).max() for k in (0, 1)]
    assert reach == pytest.approx([0.2, 0.4], abs=0.01)
    # A layer that lies on something goes with it.
    label = sheets((0.0, flat(RED)), (0.003, flat((*BLUE, 0.2), "BLEND")))
    assert len(shells(label, label.vertices, VOXEL)) == 1


def test_each_shell_is_read_from_its_own_surface() -> None:
    """Glass so near to what it holds that either would be seen in the other's place."""
    outer = ball((flat((*BLUE, 0.2), "BLEND"),), lambda middle: middle[:, 0] * 0)
    inner = ball((flat(RED),), lambda middle: middle[:, 0] * 0, 1 - 0.6 * 2 / 46)
    made = round_trip(TexturedMesh.join([outer, inner]), **{**SMALL, "resolution": 48})
    back = read_glb(made.glb)
    assert [material.alpha_mode for material in back.materials] == ["OPAQUE", "BLEND"]
    assert back.uvs is not None
    for number, colour in ((0, (255, 0, 0, 255)), (1, (0, 0, 255, 51))):
        texture = back.materials[number].base_colour
        assert texture is not None
        seen = look_up(texture.pixels, back.uvs[back.ids == number].mean(1).astype(float))
        assert np.abs(seen - colour).max(1).mean() < 6
