"""Textured meshes to voxels: colours, transparency, wrapping, placement, and GLBs read from files."""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("array_api_compat")

from devtools.geometry.glb_write import write_glb_scene
from devtools.geometry.sampling import SparseGrid
from trellis_addon.core.errors import Cancelled, DamagedFileError, FieldError, InputError
from trellis_addon.core.progress import Progress
from trellis_addon.formats.glb.check import check_glb
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.formats.glb.textured_mesh import SurfaceMaterial, Texture, TexturedMesh
from trellis_addon.geometry.voxelise.attributes import linear_to_srgb, srgb_to_linear
from trellis_addon.geometry.voxelise.texels import Pyramid
from trellis_addon.geometry.voxelise.voxelise import OVoxel, voxelise

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "geometry"))
import models


def sheet(material: SurfaceMaterial, uv_scale: float = 1.0, **options: Any) -> TexturedMesh:
    """A unit square facing y, in two triangles; v runs along z."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    uvs = (corners[:, [0, 2]] * uv_scale)[faces].astype(np.float32)
    return TexturedMesh(corners, faces, (material,), uvs=uvs, **options)


def at(volume: OVoxel, points: Any) -> np.ndarray:
    """Attributes read at points in the input's own frame."""
    back = np.linalg.inv(volume.transform)
    inside = np.asarray(points, float) @ back[:3, :3].T + back[:3, 3]
    grid = SparseGrid(volume.attributes, volume.coords, volume.resolution)
    return grid.trilinear(((inside + 0.5) * volume.resolution).astype(np.float32))


def picture() -> np.ndarray:
    """A quarter each of red, green, blue and grey."""
    out = np.zeros((64, 64, 3), np.uint8)
    out[:32, :32, 0], out[:32, 32:, 1], out[32:, :32, 2], out[32:, 32:] = 200, 150, 100, 50
    return out


QUARTERS = [[0.25, 0, 0.25], [0.75, 0, 0.25], [0.25, 0, 0.75], [0.75, 0, 0.75]]
COLOURS = np.array([[200, 0, 0], [0, 150, 0], [0, 0, 100], [50, 50, 50]]) / 255


def test_a_picture_lies_where_it_belongs() -> None:
    volume = voxelise(sheet(SurfaceMaterial(base_colour=Texture(picture()), roughness_factor=0.4)), 64)
    found = at(volume, QUARTERS)
    assert np.allclose(found[:, :3], COLOURS, atol=1e-3)
    assert np.allclose(found[:, 3], 0) and np.allclose(found[:, 4], 0.4) and np.allclose(found[:, 5], 1)
    assert volume.alpha_mode == "OPAQUE" and volume.attributes.dtype == np.float32


@pytest.mark.parametrize(
    ("wrap", "expected"), [("repeat", [0, 1, 0, 1]), ("mirror", [0, 1, 1, 0]), ("clamp", [0, 1, 1, 1])]
)
def test_textures_wrap(wrap: str, expected: list[int]) -> None:
    halves = np.zeros((16, 16, 3), np.uint8)
    halves[:, 8:] = 255
    texture = Texture(halves, (wrap, "clamp"))
    volume = voxelise(sheet(SurfaceMaterial(base_colour=texture), uv_scale=2.0), 64)
    found = at(volume, [[x, 0, 0.5] for x in (0.125, 0.375, 0.625, 0.875)])
    assert np.allclose(found[:, 0], expected, atol=0.02)


def test_factors_multiply_light_and_maps_their_channels() -> None:
    rough = np.zeros((4, 4, 3), np.uint8)
    rough[..., 1], rough[..., 2] = 128, 255
    material = SurfaceMaterial(
        base_colour_factor=(0.5, 1.0, 0.0, 0.3),
        metallic_factor=0.5,
        roughness_factor=0.5,
        base_colour=Texture(np.full((4, 4, 3), 128, np.uint8)),
        metallic_roughness=Texture(rough),
        alpha_mode="BLEND",
    )
    found = at(voxelise(sheet(material), 32), [[0.4, 0, 0.6]])[0]
    grey = 128 / 255
    expected = [float(linear_to_srgb(srgb_to_linear(np.array(grey)) * 0.5)), grey, 0, 0.5, 0.5 * grey, 0.3]
    assert np.allclose(found, expected, atol=2e-3)


def test_vertex_colours_count_and_need_no_texture() -> None:
    colours = np.ones((2, 3, 4), np.float32)
    colours[..., 0] = 0.25
    mesh = dataclasses.replace(sheet(SurfaceMaterial()), uvs=None, colours=colours)
    found = at(voxelise(mesh, 32), [[0.3, 0, 0.3]])[0]
    assert np.allclose(found[:3], [float(linear_to_srgb(np.array(0.25))), 1, 1], atol=1e-3)


def test_what_is_not_seen_colours_nothing() -> None:
    clear = np.zeros((64, 64, 4), np.uint8)
    clear[:, :32] = [250, 250, 0, 255]
    clear[:, 32:] = [0, 0, 250, 0]  # unseen blue beside yellow
    for mode in ("BLEND", "MASK"):
        volume = voxelise(sheet(SurfaceMaterial(base_colour=Texture(clear, ("clamp", "clamp")), alpha_mode=mode)), 64)
        found = at(volume, [[0.25, 0, 0.5], [0.49, 0, 0.5], [0.75, 0, 0.5]])
        assert volume.alpha_mode == mode
        assert found[0, 5] > 0.99 and found[2, 5] < 0.01
        assert np.allclose(found[:2, :3], [250 / 255, 250 / 255, 0], atol=0.05)


def test_a_mask_keeps_its_edge() -> None:
    slope = np.zeros((8, 256, 4), np.uint8)
    slope[..., :3] = 255
    slope[..., 3] = np.arange(256)
    material = SurfaceMaterial(base_colour=Texture(slope, ("clamp", "clamp")), alpha_mode="MASK", alpha_cutoff=0.25)
    places = np.linspace(0.02, 0.98, 97)
    alpha = at(voxelise(sheet(material), 128), np.stack([places, 0 * places, 0 * places + 0.5], 1))[:, 5]
    assert abs(places[np.argmax(alpha > 0.5)] - 0.25) < 0.02
    assert alpha[0] < 0.05 and alpha[-1] > 0.95


def test_textures_finer_than_voxels_are_averaged() -> None:
    checker = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    volume = voxelise(sheet(SurfaceMaterial(base_colour=Texture(checker))), 32)
    assert np.abs(volume.attributes[:, :3] - 0.5).max() < 0.02


def test_pyramids_of_any_shape() -> None:
    for shape in ((1, 1, 3), (5, 3, 4), (1, 7, 1), (64, 2, 3)):
        pixels = np.full(shape, 77, np.uint8)
        for whole in (True, False):
            pyramid = Pyramid(pixels, whole=whole)
            assert pyramid.levels[-1].shape[:2] == (1, 1)
            level = np.array([-np.inf, 0.5, 99, np.nan])
            assert np.allclose(pyramid.read(np.linspace(-3, 3, 4), np.linspace(5, -5, 4), level), 77)


@pytest.mark.parametrize("up", ["Y", "Z"])
def test_the_mesh_keeps_its_place_and_size(up: str) -> None:
    mesh = models.build("creature", 0.2, 16)
    mesh = dataclasses.replace(mesh, vertices=mesh.vertices * 40 + np.float32([300, -20, 7]), up=up)
    volume = voxelise(mesh, 48)
    vertices, faces = volume.mesh()
    assert np.abs(vertices).max() <= 0.5
    back = vertices[np.unique(faces)] @ volume.transform[:3, :3].T + volume.transform[:3, 3]
    low, high = mesh.bounds()
    voxel = (high - low).max() / 46
    assert np.abs(back.min(0) - low).max() < voxel and np.abs(back.max(0) - high).max() < voxel
    # What points up in the mesh points along z in the cube.
    axis = 1 if up == "Y" else 2
    assert np.ptp(vertices[np.unique(faces), 2]) == pytest.approx(np.ptp(mesh.vertices[:, axis]) / voxel / 48, abs=0.03)


@pytest.mark.parametrize("name", list(models.MODELS))
def test_models_survive_a_file_and_voxels_hold_their_colours(name: str) -> None:
    mesh = models.build(name, 0.3, 128)
    data = write_glb_scene(mesh, name)
    check_glb(data)
    read = read_glb(data)
    assert len(read.faces) == len(mesh.faces) and read.area() == pytest.approx(mesh.area(), rel=1e-5)
    assert [material.name for material in read.materials] == [material.name for material in mesh.materials]
    volume = voxelise(read, 64)
    assert len(volume.coords) > 1000
    assert volume.attributes.min() >= 0 and volume.attributes.max() <= 1
    direct = voxelise(mesh, 64)
    assert np.array_equal(volume.coords, direct.coords)
    assert np.abs(volume.attributes - direct.attributes).mean() < 1e-3


def glb(document: dict[str, Any], binary: bytes = b"") -> bytes:
    document = {"asset": {"version": "2.0"}, "buffers": [{"byteLength": len(binary)}], **document}
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary))
    return head + struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x4E4942) + binary


def placed(**node: Any) -> TexturedMesh:
    """A strip of two triangles under two nodes, the inner one as given."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], "<f4").tobytes()
    return read_glb(
        glb(
            {
                "scene": 0,
                "scenes": [{"nodes": [1]}],
                "nodes": [{"mesh": 0, **node}, {"children": [0], "translation": [10, 0, 0]}],
                "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 5}]}],
                "bufferViews": [{"buffer": 0, "byteLength": len(points)}],
                "accessors": [{"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"}],
            },
            points,
        )
    )


def test_nodes_place_their_meshes() -> None:
    mesh = placed(scale=[2, 3, 1], rotation=[0, 0, 0.5**0.5, 0.5**0.5])
    assert np.allclose(mesh.bounds(), [[7, 0, 0], [10, 2, 0]], atol=1e-5)
    matrix = [0, 2, 0, 0, -3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert np.allclose(placed(matrix=matrix).vertices, mesh.vertices, atol=1e-5)

    def normal(mesh: TexturedMesh) -> np.ndarray:
        corners = mesh.vertices[mesh.faces]
        return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])

    assert (normal(placed())[:, 2] > 0).all()
    assert (normal(placed(scale=[-1, 1, 1]))[:, 2] > 0).all()  # a mirror turns the corners' order, not the side


def test_files_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError):
        read_glb(b"not a glb at all, but long enough")
    with pytest.raises(DamagedFileError):
        read_glb(tmp_path / "nowhere.glb")
    line = {"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 1}]}], "nodes": [{"mesh": 0}]}
    accessor = {"bufferView": 0, "componentType": 5126, "count": 2, "type": "VEC3"}
    with pytest.raises(InputError, match="no triangles"):
        read_glb(glb({**line, "accessors": [accessor], "bufferViews": [{"buffer": 0, "byteLength": 24}]}, bytes(24)))


def test_meshes_that_cannot_be_voxelised_say_so() -> None:
    mesh = sheet(SurfaceMaterial())
    with pytest.raises(FieldError):
        voxelise(mesh, 4)
    with pytest.raises(InputError, match="extent"):
        voxelise(dataclasses.replace(mesh, vertices=mesh.vertices * 0), 32)
    with pytest.raises(InputError, match="no triangles"):
        voxelise(TexturedMesh(mesh.vertices, mesh.faces[:0]), 32)
    with pytest.raises(InputError):
        TexturedMesh(mesh.vertices, mesh.faces, material_ids=np.array([0, 1]))
    with pytest.raises(InputError):
        Texture(np.zeros((4, 4), np.uint8))
    with pytest.raises(Cancelled):
        voxelise(mesh, 32, progress=Progress(is_cancelled=lambda: True))
