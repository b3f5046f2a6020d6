"""Normals that are smooth over curves and broken at creases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...formats.glb.tangents import face_normals, unit
from ..unwrap.charts import twin_edges

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

# Faces that meet at a larger angle, in degrees, are shaded apart: the edges of a box, not the facets of a light form.
CREASE = 55.0


def creased_normals(vertices: F32, faces: I32, crease: float = CREASE) -> tuple[F32, I64]:
    """Unit normals (G, 3), and for each corner (F, 3) which of them is its own.

    Corners at a vertex share a normal, the mean of their faces' by area, where edges of less than `crease` degrees
    between two faces connect them.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    normals = face_normals(vertices, faces)
    directions = unit(normals)
    one, two = twin_edges(faces).T
    smooth = np.einsum("ij,ij->i", directions[one // 3], directions[two // 3]) > np.cos(np.radians(crease))
    # A face without area has no direction of its own: nothing is broken at it.
    area = np.linalg.norm(normals, axis=1)
    smooth |= (area[one // 3] == 0.0) | (area[two // 3] == 0.0)
    one, two = one[smooth], two[smooth]
    corner = faces.reshape(-1)

    def ahead(half: I64) -> I64:
        return half - half % 3 + (half % 3 + 1) % 3

    # Half edge 3 f + k runs from corner k to the next; the twin's may run either way.
    same = corner[one] == corner[two]
    start_twin, end_twin = np.where(same, two, ahead(two)), np.where(same, ahead(two), two)
    pairs = np.concatenate([one, ahead(one)]), np.concatenate([start_twin, end_twin])
    count = 3 * len(faces)
    graph = coo_array((np.ones(len(pairs[0]), np.int8), pairs), shape=(count, count))
    groups, group = connected_components(graph, directed=False)
    total = np.stack([np.bincount(group, np.repeat(normals[:, axis], 3), groups) for axis in range(3)], 1)
    return unit(total.astype(np.float64)), group.reshape(-1, 3).astype(np.int64)


def whole_quads(normal: I64) -> I64:
    """Which normal is each corner's (F, 3), of triangles that are quads in pairs (`quads.pairs`): one that bends at its
    diagonal is not creased there, or it would come back as two triangles."""
    found = normal.copy()
    found[1::2, :2] = normal[0::2][:, [0, 2]]
    return found
