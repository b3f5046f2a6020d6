"""What the tests of `scene` share: objects made by hand, files to import, and what holds for all that is imported."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Vector
from test_glb_check import Glb

CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def mesh_object(points: Any, faces: Any, name: str = "Thing") -> Any:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], faces)
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    return obj


def cube(offset: float = 0.0, faces: Any = SIDES) -> tuple[list[tuple[float, ...]], list[tuple[int, ...]]]:
    return [(x + offset, y, z) for x, y, z in CORNERS], list(faces)


def ball(segments: int = 64) -> Any:
    """A sphere with UVs (one seam), of about `segments`^2 triangles."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=segments, ring_count=segments // 2)
    return bpy.context.object


def datablocks() -> Counter[tuple[str, str, int]]:
    """Everything in the file: kind, name, users."""
    found: Counter[tuple[str, str, int]] = Counter()
    for kind in dir(bpy.data):
        blocks = getattr(bpy.data, kind) if kind != "all_ids" else None  # all the others once more
        if isinstance(blocks, bpy.types.bpy_prop_collection):
            found.update((kind, block.name, block.users) for block in blocks if isinstance(block, bpy.types.ID))
    return found


def write(folder: Path, glb: Glb | bytes, name: str = "thing") -> Path:
    path = folder / f"{name}.glb"
    path.write_bytes(glb.done() if isinstance(glb, Glb) else glb)
    return path


def points(obj: Any) -> np.ndarray:
    """(V, 3) in the world."""
    flat = np.empty(len(obj.data.vertices) * 3, np.float32)
    obj.data.vertices.foreach_get("co", flat)
    world = np.array(obj.matrix_world)
    return flat.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


def check_sound(obj: Any, height: float | None = 1.0, location: tuple[float, float, float] = (0, 0, 0)) -> None:
    """What holds for every imported object."""
    assert obj.type == "MESH" and len(obj.data.polygons) > 0
    assert tuple(obj.scale) == (1, 1, 1) and tuple(obj.rotation_euler) == (0, 0, 0)
    assert obj.parent is None and obj.animation_data is None
    assert tuple(obj.location) == pytest.approx(location)
    found = points(obj)
    assert np.isfinite(found).all()
    low, high = found.min(0), found.max(0)
    size = max(float((high - low).max()), 1e-3)
    assert low[2] == pytest.approx(location[2], abs=1e-5 * size)
    assert (low + high)[:2] / 2 == pytest.approx(np.array(location[:2]), abs=1e-5 * size)
    if height is not None and high[2] - low[2] > 1e-3 * size:
        assert high[2] - low[2] == pytest.approx(height, rel=1e-5)
    assert not obj.data.validate(), "Blender had to repair the mesh"
    (collection,) = obj.users_collection
    assert list(collection.objects) == [obj] and collection.users > 0
    assert not [s.name for s in bpy.data.scenes if "TRELLIS" in s.name]


def normals_point_outwards(obj: Any) -> bool:
    """For a convex object: whether every face looks away from the middle."""
    middle = sum((p.center for p in obj.data.polygons), Vector()) / len(obj.data.polygons)
    return all((p.center - middle).dot(p.normal) > 0 for p in obj.data.polygons)
