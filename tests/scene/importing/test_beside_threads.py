"""An import while other threads run Python: up to Blender 5.0 operators under an override come down there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from conftest import PATIENCE, ROOT  # noqa: E402
from mathutils import Vector  # noqa: E402
from scene_objects import write  # noqa: E402
from test_glb_check import simple  # noqa: E402

from trellis_addon.core.errors import TrellisError  # noqa: E402
from trellis_addon.scene.importing.joining import join  # noqa: E402
from trellis_addon.scene.place.showing import look_at  # noqa: E402
from trellis_addon.scene.texturing.own_uvs import unwrapped_loops  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")

BESIDE = """
import json, sys, threading, time

def work():
    while True:
        json.loads(json.dumps({str(number): [number] for number in range(200)}))
        time.sleep(0.0005)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
"""

SCRIPT = (
    BESIDE
    + """
from trellis_addon.scene import import_asset
for _ in range(25):
    obj = import_asset(sys.argv[1])
    print("faces", len(obj.data.polygons), flush=True)
import os
os._exit(0)
"""
)

WAYS = (
    BESIDE
    + """
import bpy
from trellis_addon.scene.place.showing import look_at
from trellis_addon.scene.texturing.own_uvs import unwrapped_loops
bpy.ops.mesh.primitive_monkey_add()
obj = bpy.context.object
area = next(a for w in bpy.context.window_manager.windows for a in w.screen.areas if a.type == "VIEW_3D")
for _ in range(10):
    assert len(unwrapped_loops(obj)) == len(obj.data.loops)
    look_at(area, [obj])
print("done", flush=True)
import os
os._exit(0)
"""
)


def test_what_a_click_does_beside_threads_that_work() -> None:
    done = subprocess.run([sys.executable, "-c", WAYS], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0 and b"done" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("lens", [35.0, 85.0])
@pytest.mark.parametrize("perspective", ["PERSP", "ORTHO", "CAMERA"])
def test_what_is_looked_at_is_seen_whole(perspective: str, lens: float) -> None:
    """By the viewport's own numbers: it shows 36 mm times two at its lens, along its longer side."""
    bpy.ops.mesh.primitive_cube_add(size=2, location=(30, -4, 2))
    obj = bpy.context.object
    obj.scale = (1, 3, 0.2)
    area = next(a for w in bpy.context.window_manager.windows for a in w.screen.areas if a.type == "VIEW_3D")
    space = area.spaces.active
    space.lens = lens
    view, region = space.region_3d, next(each for each in area.regions if each.type == "WINDOW")
    view.view_perspective = perspective
    look_at(area, [obj])
    assert view.view_perspective == ("ORTHO" if perspective == "ORTHO" else "PERSP")
    wide = max(region.width, region.height)
    shown = []
    for corner in obj.bound_box:
        seen = view.view_rotation.inverted() @ (obj.matrix_world @ Vector(corner) - view.view_location)
        depth = view.view_distance if perspective == "ORTHO" else view.view_distance - seen.z
        assert depth > space.clip_start
        half = depth * 36.0 / lens
        shown += [abs(seen.x) / half * wide / region.width, abs(seen.y) / half * wide / region.height]
    assert 0.3 < max(shown) < 1.0, "all of it, and not from far away"


def test_from_a_timer_nothing_is_unwrapped() -> None:
    bpy.ops.mesh.primitive_monkey_add()
    obj, scenes = bpy.context.object, set(bpy.data.scenes)
    with bpy.context.temp_override(window=None), pytest.raises(TrellisError, match="from a timer"):  # which has none
        unwrapped_loops(obj)
    assert set(bpy.data.scenes) == scenes and bpy.context.object == obj


def test_an_import_beside_threads_that_work(tmp_path: Path) -> None:
    glb = simple()
    glb.document["nodes"].append({"mesh": 0, "translation": [5, 0, 0]})
    glb.document["scenes"][0]["nodes"] = [0, 1]
    path = write(tmp_path, glb)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counts = [line for line in done.stdout.splitlines() if line.startswith(b"faces")]
    assert len(counts) == 25 and len(set(counts)) == 1


def test_joining_is_what_blenders_operator_makes() -> None:
    """Layers, colours, own normals, materials and groups, of meshes that have not the same ones."""
    ours = [_odd(number) for number in range(3)]
    theirs = [_odd(number) for number in range(3)]
    join(ours)
    chosen = {"active_object": theirs[0], "object": theirs[0]}
    with bpy.context.temp_override(**chosen, selected_objects=theirs, selected_editable_objects=theirs):
        bpy.ops.object.join()
    assert _told(ours[0]) == _told(theirs[0])


def _odd(number: int) -> bpy.types.Object:
    """A sphere with something of its own in every respect in which meshes differ."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=8, ring_count=5)
    obj = bpy.context.object
    mesh = obj.data
    for letter in "ab"[: number + 1]:
        name = f"{letter}{number // 2}"
        mesh.materials.append(bpy.data.materials.get(name) or bpy.data.materials.new(name))
    mesh.materials.append(None)
    random = np.random.default_rng(number)
    mesh.polygons.foreach_set("material_index", random.integers(0, len(mesh.materials), len(mesh.polygons)))
    mesh.polygons.foreach_set("use_smooth", random.random(len(mesh.polygons)) < 0.8)
    mesh.uv_layers[0].name = "UVMap" if number < 2 else "Other"
    colours = mesh.color_attributes.new("Colour", "BYTE_COLOR", "CORNER")
    colours.data.foreach_set("color", random.random(4 * len(colours.data)).astype(np.float32))
    if number:
        normals = _normals(mesh)
        normals += 0.2 * random.normal(size=normals.shape)
        mesh.normals_split_custom_set((normals / np.linalg.norm(normals, axis=1, keepdims=True)).tolist())
    obj.vertex_groups.new(name="all").add(range(len(mesh.vertices)), 0.5, "REPLACE")
    obj.vertex_groups.new(name=f"own {number}").add([number, 5], 0.25, "REPLACE")
    return obj


def _normals(mesh: bpy.types.Mesh) -> np.ndarray:
    found = np.empty((len(mesh.loops), 3), np.float32)
    mesh.corner_normals.foreach_get("vector", found.ravel())
    return found


def _told(obj: bpy.types.Object) -> list[str]:
    """All that each corner is, in an order that does not depend on that of the meshes."""
    mesh, groups, normals = obj.data, obj.vertex_groups, _normals(obj.data).round(3) + 0.0
    corners = []
    for polygon in mesh.polygons:
        material = mesh.materials[polygon.material_index]
        for number in polygon.loop_indices:
            vertex = mesh.vertices[mesh.loops[number].vertex_index]
            layers = sorted((layer.name, tuple(layer.data[number].uv)) for layer in mesh.uv_layers)
            colours = [tuple(layer.data[number].color) for layer in mesh.color_attributes]
            weights = sorted((groups[group.group].name, group.weight) for group in vertex.groups)
            face = (material and material.name, polygon.use_smooth)
            corners.append(repr((tuple(vertex.co), normals[number].tolist(), face, layers, colours, weights)))
    return sorted(corners)
