"""The Blender without a window that makes quads of surfaces: its QuadriFlow, for `geometry.quads.quadriflow`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np

from ...geometry.quads.fitting import Made, fitted
from ...runtime.child import parent_progress

# It refuses a mesh with an edge under 1e-4 units, and takes that for one that is not manifold.
_SIZE = 100.0
_TRIES, _CLOSE = 3, 0.045
_MORE = 1.08  # it makes somewhat fewer than it is asked for


def main(arguments: Sequence[str]) -> int:
    """`PARTS.npz QUADS.npz`: do it, and end the process, as some Blenders come down when they clean up."""
    if hasattr(os, "nice"):  # the artist goes on working
        os.nice(5)
    source, target = map(Path, arguments)
    found: dict[str, np.ndarray] = {}
    report = parent_progress()
    with np.load(source) as given:
        counts, creased = given["counts"].tolist(), given["creased"].tolist()
        for number, count in enumerate(counts):
            report.update("simplify", number / len(counts))
            made = quads_of(given[f"vertices{number}"], given[f"faces{number}"], count, creased[number])
            if made is not None:
                found |= {f"vertices{number}": made[0], f"quads{number}": made[1]}
    np.savez(target, allow_pickle=False, **found)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def quads_of(vertices: np.ndarray, faces: np.ndarray, count: int, is_creased: bool) -> Made | None:
    """About `count` quads of one part (V, 3), (F, 3); `is_creased` keeps its sharp edges. None where it is refused."""

    def make(asked: int) -> Made | None:
        made = _remeshed(vertices, faces, asked, is_creased)
        if is_creased and (made is None or not np.isfinite(made[0]).all()):
            made = _remeshed(vertices, faces, asked, False)  # creases may lead it astray
        return made

    return fitted(make, count, _MORE * count, _TRIES, _CLOSE)


def _remeshed(vertices: np.ndarray, faces: np.ndarray, count: int, is_creased: bool) -> Made | None:
    middle = vertices.mean(0)
    scale = _SIZE / max(float(np.ptp(vertices, axis=0).max()), 1e-30)
    mesh = bpy.data.meshes.new("Part")
    mesh.from_pydata(((vertices - middle) * scale).tolist(), [], faces.tolist())
    obj = bpy.data.objects.new("Part", mesh)
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)
    wanted = {
        "use_paint_symmetry": False,
        "use_mesh_symmetry": False,
        "use_preserve_sharp": is_creased,
        "use_preserve_boundary": True,
        "mode": "FACES",
        "target_faces": count,
        "seed": 0,
    }
    known = bpy.ops.object.quadriflow_remesh.get_rna_type().properties.keys()
    try:
        outcome = bpy.ops.object.quadriflow_remesh(**{name: value for name, value in wanted.items() if name in known})
        made = _arrays(obj.data) if "FINISHED" in outcome else None
    except RuntimeError:  # what it says of a mesh that it refuses
        made = None
    finally:
        mesh = obj.data
        bpy.data.batch_remove([obj, mesh])
    return None if made is None else ((made[0] / scale + middle).astype(np.float32), made[1])


def _arrays(mesh: bpy.types.Mesh) -> Made | None:
    """None where not all of its faces are quads."""
    if not len(mesh.polygons) or len(mesh.loops) != 4 * len(mesh.polygons):
        return None
    vertices = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", vertices.reshape(-1))
    quads = np.empty((len(mesh.polygons), 4), np.int32)
    mesh.loops.foreach_get("vertex_index", quads.reshape(-1))
    return vertices, quads
