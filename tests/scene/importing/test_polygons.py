"""Quads that a GLB tells of are quads in Blender, also where one of them has two corners at one place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from trellis_addon import scene  # noqa: E402
from trellis_addon.formats.glb.write import Material, Mesh, write_glb  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402

_SIDE = 5  # quads


def strip_of_quads(collapsed: tuple[int, ...]) -> Mesh:
    """A field of quads, each on vertices of its own; of `collapsed` ones two corners are at one place."""
    points, faces = [], []
    for n in range(_SIDE * _SIDE):
        x, y = n % _SIDE, n // _SIDE
        first = len(points)
        corners = [(x, y, 0.0), (x + 1, y, 0.0), (x + 1, y + 1, 0.0), (x, y + 1, 0.0)]
        if n in collapsed:
            corners[1 + n % 3] = corners[n % 3]
        points += corners
        faces += [[first, first + 1, first + 2], [first, first + 2, first + 3]]
    positions = np.array(points, np.float32)
    normals = np.tile(np.float32([0, 0, 1]), (len(points), 1))
    return Mesh(positions, np.array(faces, np.uint32), normals, positions[:, :2] / _SIDE, has_ngons=True)


@pytest.mark.parametrize("collapsed", [(), (4,), (6, 7, 11)])
def test_quads_stay_quads(collapsed: tuple[int, ...], tmp_path: Path) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    path = tmp_path / "asset.glb"
    path.write_bytes(write_glb(strip_of_quads(collapsed), Material()))
    mesh = scene.import_asset(Asset(path, "Field")).data
    sides = [len(face.vertices) for face in mesh.polygons]
    assert sides.count(4) == _SIDE * _SIDE - len(collapsed)
    assert len(sides) <= _SIDE * _SIDE and set(sides) <= {3, 4}
    assert all(face.area > 1e-6 for face in mesh.polygons)
