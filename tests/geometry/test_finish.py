"""Finishing as a whole: voxels in, a GLB out that is valid, honest about itself, and looks as the voxels say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PATIENCE
from numpy.typing import NDArray

pytest.importorskip("warp")
pytest.importorskip("scipy")

from khronos import assert_valid
from test_finish_texture import linear, patch, plane, torus, voxels
from test_glb_write import accessor, image, parse

from trellis_addon.core.errors import Cancelled, EngineError, FieldError, InputError
from trellis_addon.core.progress import Progress
from trellis_addon.formats.glb.check import check_glb
from trellis_addon.geometry.bake.detail import Detail
from trellis_addon.geometry.bake.volume import Volume
from trellis_addon.geometry.finish.finish import DenseAsset, FinishedAsset, Placement, finish, texture_again, write
from trellis_addon.geometry.mesh.topology import TriMesh
from trellis_addon.geometry.unwrap.unwrap import unwrap

SMALL = {"decimation_target": 2000, "texture_size": 256}


def asset(shape: tuple[NDArray, NDArray], alpha: float = 1.0, resolution: int = 32) -> DenseAsset:
    coords, values = voxels(resolution, linear)
    values[:, 5] = alpha
    return DenseAsset(shape[0], shape[1], coords, values, resolution)


@pytest.fixture(scope="module")
def ring() -> FinishedAsset:
    return finish(asset(torus()), provenance={"seed": 7}, remesh=False, name="Ring", **SMALL)


def test_the_file_is_sound_and_says_what_it_is(ring: FinishedAsset) -> None:
    info = check_glb(ring.glb)
    assert 400 <= info.triangles <= 2000
    assert info.image_sizes == ((256, 256),) * 3
    assert info.extras["seed"] == 7
    assert info.extras["quality"] == json.loads(json.dumps(ring.quality))
    document, _ = parse(ring.glb)
    assert document["nodes"][0]["name"] == "Ring"
    assert "doubleSided" not in document["materials"][0] and "alphaMode" not in document["materials"][0]


def test_the_figures_are_those_of_a_good_asset(ring: FinishedAsset) -> None:
    quality = ring.quality
    assert quality["watertight"] and quality["boundary_edges"] == quality["non_manifold_edges"] == 0
    assert quality["components"] == 1
    assert quality["overlapping_texels"] == 0 and quality["charts"] <= 30
    assert quality["atlas_use"] > 0.5
    assert quality["distance_mean"] < 0.1
    assert quality["colour_error_mean"] < 2 and quality["colour_psnr"] > 38
    assert set(ring.seconds) == {"clean", "simplify", "unwrap", "bake", "encode", "quality"}


def test_the_form_stands_upright_and_shows_the_voxels_colours(ring: FinishedAsset) -> None:
    document, binary = parse(ring.glb)
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    positions = accessor(document, binary, attributes["POSITION"])
    extent = positions.max(0) - positions.min(0)
    assert extent[1] == pytest.approx(0.24, abs=0.01)  # the axis of the torus, Z in the model's frame, is up
    assert extent[0] == pytest.approx(0.84, abs=0.01) and extent[2] == pytest.approx(0.84, abs=0.01)
    normals = accessor(document, binary, attributes["NORMAL"])
    ring_centre = positions * [1, 0, 1]
    ring_centre *= 0.3 / np.linalg.norm(ring_centre, axis=1)[:, None]
    assert (((positions - ring_centre) * normals).sum(1) > 0).mean() > 0.99  # outwards
    tangents = accessor(document, binary, attributes["TANGENT"])
    assert np.abs((tangents[:, :3] * normals).sum(1)).max() < 1e-4
    uvs = accessor(document, binary, attributes["TEXCOORD_0"])
    texels = np.asarray(image(document, binary, 0).convert("RGB"))[tuple((uvs[:, ::-1] * 255.99).astype(int).T)]
    model = np.stack([positions[:, 0], -positions[:, 2], positions[:, 1]], 1)
    assert np.abs(texels / 255.0 - linear(model)[:, :3]).mean() < 0.01


@pytest.mark.checkout
@pytest.mark.parametrize("texture_format", ["webp", "png"])
@pytest.mark.parametrize(("normal_map", "occlusion", "alpha"), [(True, True, 1.0), (False, False, 0.4)])
def test_the_khronos_validator_agrees(
    texture_format: str, normal_map: bool, occlusion: bool, alpha: float, tmp_path: Path
) -> None:
    made = finish(
        asset(torus(), alpha),
        decimation_target=800,
        texture_size=64,
        remesh=False,
        normal_map=normal_map,
        ambient_occlusion=occlusion,
        texture_format=texture_format,
    )
    assert_valid(made.glb, tmp_path)
    document, _ = parse(made.glb)
    material = document["materials"][0]
    assert ("normalTexture" in material) == normal_map
    assert ("occlusionTexture" in material) == occlusion
    assert material.get("alphaMode") == ("BLEND" if alpha < 1 else None)
    assert ("EXT_texture_webp" in document.get("extensionsUsed", [])) == (texture_format == "webp")
    assert ("TANGENT" in document["meshes"][0]["primitives"][0]["attributes"]) == normal_map


@pytest.mark.parametrize("remesh", [False, True])
def test_an_open_sheet_is_seen_from_both_sides(remesh: bool) -> None:
    made = finish(asset(plane(40)), remesh=remesh, **SMALL)
    document, _ = parse(made.glb)
    assert document["materials"][0].get("doubleSided") is True
    assert made.quality["boundary_edges"] > 0


def test_transparency_that_is_known_is_kept() -> None:
    made = finish(asset(torus(48, 16), 0.4), remesh=False, transparency="MASK", **SMALL)
    assert parse(made.glb)[0]["materials"][0]["alphaMode"] == "MASK"
    made = finish(asset(torus(48, 16), 0.4), remesh=False, transparency="OPAQUE", **SMALL)
    document, binary = parse(made.glb)
    assert "alphaMode" not in document["materials"][0]
    assert image(document, binary, 0).mode == "RGB"


def test_remeshing_makes_one_closed_part() -> None:
    made = finish(asset(torus(), resolution=48), remesh=True, **SMALL)
    assert made.quality["watertight"] and made.quality["components"] == 1
    document, _ = parse(made.glb)
    assert "doubleSided" not in document["materials"][0]


@pytest.mark.checkout
def test_only_the_see_through_part_is_blended(tmp_path: Path) -> None:
    whole = asset(torus())
    values = np.array(whole.attributes)
    values[whole.coords[:, 0] < 16, 5] = 0.3
    half = DenseAsset(whole.vertices, whole.faces, whole.coords, values, 32)
    made = finish(half, remesh=False, **SMALL)
    assert [part.alpha_mode for part in made.mesh.parts] == ["OPAQUE", "BLEND"] and made.mesh.part_of is not None
    clear = made.mesh.part_of == 1
    assert 0.45 < clear.mean() < 0.6
    left = made.mesh.vertices[made.mesh.faces[clear]][..., 0]
    assert left.min(1).max() < 0.05
    document, _ = parse(made.glb)
    assert [material.get("alphaMode") for material in document["materials"]] == [None, "BLEND"]
    assert len(document["images"]) == 3
    assert check_glb(made.glb).triangles == made.quality["faces"]
    assert_valid(made.glb, tmp_path)


def test_the_same_again(ring: FinishedAsset) -> None:
    again = finish(asset(torus()), provenance={"seed": 7}, remesh=False, name="Ring", **SMALL)
    assert again.glb == ring.glb


def test_placed_it_is_the_same_asset_elsewhere(ring: FinishedAsset) -> None:
    placement = Placement(2.0, (1.0, 2.0, 3.0))
    made = finish(asset(torus()), provenance={"seed": 7}, remesh=False, name="Ring", placement=placement, **SMALL)
    assert made.quality == ring.quality
    assert np.array_equal(made.mesh.vertices, (ring.mesh.vertices * 2.0 + [1.0, 2.0, 3.0]).astype(np.float32))
    (document, binary), (before, other) = parse(made.glb), parse(ring.glb)
    places = [
        accessor(*file, file[0]["meshes"][0]["primitives"][0]["attributes"]["POSITION"])
        for file in ((document, binary), (before, other))
    ]
    assert places[0] == pytest.approx(places[1] * 2.0 + [1.0, 3.0, -2.0], abs=1e-6)
    assert np.array_equal(np.asarray(image(document, binary, 0)), np.asarray(image(before, other, 0)))


def test_other_formats_of_what_is_finished(ring: FinishedAsset) -> None:
    document, binary = parse(write(ring.mesh, "png", {"note": 1}))
    assert document["asset"]["extras"] == {"note": 1}
    assert np.array_equal(np.asarray(image(document, binary, 2)), ring.mesh.textures.normal)


def test_progress_only_grows_and_work_can_be_stopped() -> None:
    seen: list[tuple[str, float]] = []
    finish(asset(torus(48, 16)), remesh=False, progress=Progress(lambda *at: seen.append(at)), **SMALL)
    shares = [share for _, share in seen]
    assert shares == sorted(shares) and shares[-1] == 1
    assert {stage for stage, _ in seen} == {"clean", "simplify", "unwrap", "bake", "encode", "quality"}
    for stop in (1, len(seen) // 2):
        left = iter(range(stop))
        with pytest.raises(Cancelled):
            finish(
                asset(torus(48, 16)),
                remesh=False,
                progress=Progress(is_cancelled=lambda left=left: next(left, None) is None),
                **SMALL,
            )


def test_what_cannot_be_finished_is_refused() -> None:
    whole = asset(torus(24, 8))
    empty = DenseAsset(whole.vertices, whole.faces[:0], whole.coords, whole.attributes, 32)
    with pytest.raises(InputError):
        finish(empty)
    flat = DenseAsset(whole.vertices * 0, whole.faces, whole.coords, whole.attributes, 32)
    with pytest.raises(EngineError):
        finish(flat, remesh=False)
    for wrong in ({"decimation_target": 0}, {"texture_size": 1}, {"texture_format": "gif"}, {"transparency": "GLASS"}):
        with pytest.raises(FieldError):
            finish(whole, **wrong)
    with pytest.raises(InputError):
        finish(DenseAsset(whole.vertices, whole.faces, whole.coords, whole.attributes[:5], 32), **SMALL)


BLENDER = """
import sys, bpy, mathutils, numpy as np
path, picture = sys.argv[-2:]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=path)
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.samples = 4
scene.render.resolution_x = scene.render.resolution_y = 48
scene.view_settings.view_transform = "Raw"
eye = bpy.data.objects.new("Eye", bpy.data.cameras.new("Eye"))
eye.data.type, eye.data.ortho_scale, eye.location = "ORTHO", 0.7, (0, 0, 2)
scene.collection.objects.link(eye)
scene.camera = eye
sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
sun.data.energy = 2.0
scene.collection.objects.link(sun)
for turn in ((0, 0.9, 0), (-0.9, 0, 0)):
    sun.rotation_euler = turn
    scene.render.filepath = picture
    bpy.ops.render.render(write_still=True)
    bpy.context.view_layer.update()
    lamp = sun.matrix_world.to_3x3() @ mathutils.Vector((0, 0, 1))
    image = bpy.data.images.load(picture)
    seen = np.array(image.pixels[:]).reshape(48, 48, 4)[..., 0]
    bpy.data.images.remove(image)
    at = ((np.arange(48) + 0.5) / 48 - 0.5) * 0.7
    x, y = np.meshgrid(at, at)
    slope = 0.2 * np.cos(20 * x), 0.18 * np.cos(30 * y)
    normal = np.stack([-slope[0], -slope[1], np.ones_like(x)], -1)
    normal /= np.linalg.norm(normal, axis=2)[..., None]
    like = np.corrcoef((normal @ np.array(lamp)).ravel(), seen.ravel())[0, 1]
    assert like > 0.97, like
"""


def test_blender_shades_the_light_mesh_as_the_dense_one(tmp_path: Path) -> None:
    pytest.importorskip("bpy")

    def bumps(u: NDArray, v: NDArray) -> tuple:
        x, y = 0.8 * u - 0.4, 0.8 * v - 0.4
        return x, y, 0.01 * np.sin(20 * x) + 0.006 * np.sin(30 * y)

    dense = patch(160, 160, bumps)
    light = TriMesh.of(*plane(1))
    coords, values = voxels(8, lambda points: np.tile([0.5, 0.5, 0.5, 0.0, 1.0, 1.0], (len(points), 1)))
    flat = unwrap(light.vertices, light.faces, 256)
    mesh = texture_again(light, flat, Detail.of(*dense, Volume(coords, values, 8)), 256)
    path = tmp_path / "bumps.glb"
    path.write_bytes(write(mesh, "webp"))
    run = [sys.executable, "-c", BLENDER, str(path), str(tmp_path / "seen.png")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
