"""Objects however they are placed, scaled, turned or mirrored get their own colours back from their voxels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
pytest.importorskip("torch")
pytest.importorskip("warp")

from mathutils import Matrix  # noqa: E402
from mesh_tools import pixels_of  # noqa: E402
from round_trip import TRANSFORMS, painted, psnr, there_and_back  # noqa: E402
from test_texturing import boxes, state_of  # noqa: E402

from trellis_addon.jobs.job import Asset  # noqa: E402
from trellis_addon.scene.texturing import taking  # noqa: E402
from trellis_addon.scene.texturing.giving import NUMBER, give  # noqa: E402

SIZE = 128
TO_BLENDER = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)  # from Y up


def things(matrix: np.ndarray) -> list[Any]:
    """A body with a modifier and a group, and a part that hangs on it; both stand where the matrix says."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    body = boxes("Body", ((-0.5, -0.3, 0), (0.5, 0.3, 0.6)))
    part = boxes("Part", ((0.6, -0.2, 0.1), (0.9, 0.2, 0.5)))
    bevel = body.modifiers.new("Split", "SUBSURF")
    bevel.subdivision_type, bevel.levels = "SIMPLE", 1
    body.vertex_groups.new(name="Half").add([0, 1, 2], 0.5, "REPLACE")
    body.data.materials.append(bpy.data.materials.new("Former"))
    body.matrix_world = Matrix((TO_BLENDER @ matrix @ TO_BLENDER.T).tolist())
    part.parent = body
    bpy.context.view_layer.update()
    return [body, part]


def inside(picture: np.ndarray) -> np.ndarray:
    """What of it is painted, without the rim."""
    found = picture.sum(-1) > 0
    for axis in (0, 1):
        found &= np.roll(found, 2, axis) & np.roll(found, -2, axis)
    return found


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_its_own_colours_come_back(name: str, tmp_path: Path) -> None:
    objects = things(TRANSFORMS[name])
    before = [state_of(obj) for obj in objects]
    taken = taking.take(objects)
    own = painted(taken.glb, SIZE)
    made = there_and_back(own, 64, SIZE)
    assert not made.notes
    sheets = pixels_of(own)
    for one, two in zip(sheets, pixels_of(made.glb), strict=True):
        covered = inside(one)
        assert covered.mean() > 0.05 and psnr(one[covered], two[covered]) > 35.0
    path = tmp_path / "asset.glb"
    path.write_bytes(made.glb)
    for number, obj in enumerate(taken.objects):
        obj[NUMBER] = number
    give(taken.objects, replace(Asset(path, "Look"), provenance={"mesh_sha256": "0"}))
    for obj, kept in zip(objects, before, strict=True):
        assert state_of(obj) == kept
        image = next(node.image for node in obj.data.materials[0].node_tree.nodes if node.label == "Base Color")
        shown = np.array(image.pixels[:]).reshape(SIZE, SIZE, 4)[::-1, :, :3] * 255
        assert max(psnr(shown[inside(one)], one[inside(one)]) for one in sheets) > 35.0
    assert [slot.material.name for slot in objects[0].material_slots][1:] == ["Former"]
