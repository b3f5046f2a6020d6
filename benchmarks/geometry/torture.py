"""What finishing makes of meshes as bad as people's are, in numbers: `finishing.py --torture`.

The figures are this file's own, and crossings are Blender's where there is `bpy`: nothing is taken from the package
that is measured.
"""

from __future__ import annotations

import importlib.util
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from devtools.geometry.torture import CASES, build, suzanne
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.formats.glb.textured_mesh import TexturedMesh
from trellis_addon.geometry.finish.roundtrip import round_trip

HEAD = ("faces", "parts", "open", "non-man.", "crossing", "slivers %", "shortest", "charts", "CPU s")


def torture(names: list[str], resolution: int, faces: int, texels: int) -> None:
    """Print a table; a name is one of `CASES`, "suzanne", or a GLB."""
    if not names:
        names = list(CASES) if importlib.util.find_spec("bpy") is None else ["suzanne", *CASES]
    print(f"{resolution} voxels, at most {faces} faces, {texels} texels")
    print(f"{'case':<18}" + "".join(f"{title:>10}" for title in HEAD))
    for name in names:
        mesh = _mesh(name)
        start = time.process_time()
        made = round_trip(mesh, resolution=resolution, faces=faces, texture_size=texels)
        seconds = time.process_time() - start
        values = [*figures(made.mesh.vertices, made.mesh.faces), made.quality["charts"], f"{seconds:.1f}"]
        print(f"{name.split('/')[-1]:<18}" + "".join(f"{value:>10}" for value in values), flush=True)


def _mesh(name: str) -> TexturedMesh:
    if name == "suzanne":
        return suzanne()
    return build(name) if name in CASES else read_glb(name)


def figures(vertices: NDArray[Any], faces: NDArray[Any]) -> tuple[int, int, int, int, int, str, str]:
    """Faces, parts, open and non-manifold edges, pairs of faces that cross, slivers, and the shortest edge.

    Vertices at one place count as one. Slivers are the percentage of faces with an angle under 5 degrees, the shortest
    edge is told as a share of the median one.
    """
    extent = float(np.ptp(vertices, axis=0).max())
    cells = np.round((vertices.astype(np.float64) - vertices.min(0)) / extent * 2**20).astype(np.int64)
    _, first, number = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    places = vertices[first].astype(np.float64) / extent
    faces = number.reshape(-1)[faces]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    key, count = np.unique(ends[:, 0] * len(places) + ends[:, 1], return_counts=True)
    one, two = key // len(places), key % len(places)
    graph = coo_matrix((np.ones(len(one)), (one, two)), shape=(len(places),) * 2)
    parts = len(np.unique(connected_components(graph, directed=False)[1][faces[:, 0]]))
    length = np.linalg.norm(places[one] - places[two], axis=1)
    corners = places[faces]
    angles = []
    for slot in range(3):
        a, b = (corners[:, (slot + step) % 3] - corners[:, slot] for step in (1, 2))
        angles.append(np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(1)))
    slivers = 100 * float((np.min(angles, axis=0) < np.radians(5)).mean())
    return (
        len(faces),
        parts,
        int((count == 1).sum()),
        int((count > 2).sum()),
        crossings(places, faces),
        f"{slivers:.2f}",
        f"{length.min() / np.median(length):.4f}",
    )


def crossings(places: NDArray[np.float64], faces: NDArray[np.int64]) -> int:
    """Pairs of faces that cross, by Blender's tree; -1 without `bpy`."""
    if importlib.util.find_spec("bpy") is None:
        return -1
    import bpy  # noqa: F401 - mathutils comes with it
    from mathutils.bvhtree import BVHTree

    tree = BVHTree.FromPolygons((places * 10).tolist(), faces.tolist(), epsilon=0.0)
    return len({(min(pair), max(pair)) for pair in tree.overlap(tree)})
