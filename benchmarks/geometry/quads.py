"""Quads measured: QuadriFlow as it is used here, Instant Meshes, and Blender's QuadriFlow by itself, on one surface.

    python benchmarks/geometry/quads.py FILE.glb ... [--counts 2000 8000] [--resolution 256]

Prints, for each file, number and way: the faces, the share that are quads, corners inside without four edges, the mean
distance of the quads to the surface in percent of its size, the shortest edge by the median, open and non-manifold
edges, and CPU seconds, those of a Blender that was started included. Needs bpy; Instant Meshes is asked only where
pynanoinstantmeshes is installed. Nothing is asserted: the figures are for reading.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from trellis_addon.core.errors import TrellisError
from trellis_addon.core.progress import Progress
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.geometry.finish.finish import sound_surface
from trellis_addon.geometry.finish.roundtrip import dense_asset
from trellis_addon.geometry.mesh.closest import Surface
from trellis_addon.geometry.mesh.topology import TriMesh
from trellis_addon.geometry.quads import instant, quadriflow
from trellis_addon.geometry.quads.fitting import Made
from trellis_addon.geometry.quads.pairs import quad_edges, triangles_of
from trellis_addon.geometry.quads.quads import quadrangulate
from trellis_addon.geometry.simplify.simplify import simplify
from trellis_addon.geometry.voxelise.voxelise import voxelise

_POINTS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.glb")
    parser.add_argument("--counts", type=int, nargs="+", default=[2_000, 8_000])
    parser.add_argument("--resolution", type=int, default=256)
    options = parser.parse_args()
    print(f"{'':34}{'faces':>7}{'quads':>8}{'irreg.':>8}{'dist.':>8}{'edge':>8}{'open':>6}{'many':>6}{'CPU s':>7}")
    for file in options.files:
        volume = voxelise(read_glb(file), options.resolution, colours=False)
        surface = sound_surface(dense_asset(volume), True, Progress())
        for count in options.counts:
            fine = simplify(surface, max(6 * count, 30_000))
            for way, make in _WAYS.items():
                begun = sum(os.times()[:4])
                made = make(fine, count)
                seconds = sum(os.times()[:4]) - begun
                name = f"{file.stem}, {count}, {way}"
                print(f"{name:<34}{'refused' if made is None else figures(made, surface)}{seconds:7.1f}", flush=True)


def _ours(mesh: TriMesh, count: int) -> Made | None:
    there = instant.is_here
    instant.is_here = lambda: False  # type: ignore[assignment]
    try:
        return quadrangulate(mesh, count)
    except TrellisError:
        return None
    finally:
        instant.is_here = there  # type: ignore[assignment]


def _instant(mesh: TriMesh, count: int) -> Made | None:
    there = quadriflow.find_blender
    quadriflow.find_blender = lambda: None  # type: ignore[assignment]
    try:
        return quadrangulate(mesh, count)
    except TrellisError:
        return None
    finally:
        quadriflow.find_blender = there  # type: ignore[assignment]


def _blender(mesh: TriMesh, count: int) -> Made | None:
    """Its button, on the mesh as it is, in its own size."""
    import bpy

    data = bpy.data.meshes.new("Surface")
    data.from_pydata(mesh.vertices.tolist(), [], mesh.faces.tolist())
    obj = bpy.data.objects.new("Surface", data)
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)
    try:
        outcome = bpy.ops.object.quadriflow_remesh(target_faces=count)
    except RuntimeError:
        outcome = set()
    made = obj.data
    quads = np.array([face.vertices[:] for face in made.polygons if len(face.vertices) == 4], np.int32).reshape(-1, 4)
    vertices = np.array([vertex.co[:] for vertex in made.vertices], np.float32)
    bpy.data.batch_remove([obj, made])
    return (vertices, quads) if "FINISHED" in outcome and len(quads) else None


_WAYS: dict[str, Callable[[TriMesh, int], Made | None]] = {
    "ours": _ours,
    **({"Instant Meshes": _instant} if instant.is_here() else {}),
    "Blender alone": _blender,
}


def figures(made: Made, surface: TriMesh) -> str:
    vertices, quads = made
    triangles = triangles_of(vertices, quads)
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    ends = np.sort(np.stack([quads, np.roll(quads, -1, 1)], 2).reshape(-1, 2), axis=1)
    edges, times = np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0, return_counts=True)
    assert len(edges) == len(quad_edges(quads))
    valence, rim = np.bincount(edges.reshape(-1)), np.zeros(int(edges.max()) + 1, bool)
    rim[edges[times == 1]] = True
    irregular = ((valence != 4) & ~rim & (valence > 0)).sum() / (valence > 0).sum()
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    corners = vertices[triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    areas = np.nan_to_num(areas)
    strewn = np.random.default_rng(0)
    chosen = strewn.choice(len(corners), _POINTS, p=areas / areas.sum())
    points = (corners[chosen] * strewn.dirichlet([1, 1, 1], _POINTS)[:, :, None]).sum(1)
    away = Surface(surface.vertices, surface.faces).closest(points).distances.mean() / np.ptp(surface.vertices, 0).max()
    return (
        f"{len(quads):7d}{(quads[:, 2] != quads[:, 3]).mean():8.1%}{irregular:8.1%}{100 * away:8.3f}"
        f"{lengths.min() / np.median(lengths):8.2g}{(times == 1).sum():6d}{(times > 2).sum():6d}"
    )


if __name__ == "__main__":
    main()
