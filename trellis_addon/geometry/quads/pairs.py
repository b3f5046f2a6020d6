"""Quads as pairs of triangles: so they go through everything that knows triangles alone, and come back as quads.

Triangles 2k and 2k + 1 are quad k, along a diagonal from its first to its third corner. A triangle among quads stands
twice in its fourth corner, and its second half has no area.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


def quad_edges(quads: I32) -> I32:
    """(E, 2) the edges of quads, each once, its lower corner first."""
    ends = np.sort(np.stack([quads, np.roll(quads, -1, 1)], 2).reshape(-1, 2), axis=1)
    found: I32 = np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0)
    return found


def triangles_of(vertices: F32, quads: I32) -> I32:
    """(2 Q, 3) triangles of quads (Q, 4), each cut along its shorter diagonal."""
    a, b, c, d = (vertices[quads[:, corner]] for corner in range(4))
    longer = ((a - c) ** 2).sum(1) > ((b - d) ** 2).sum(1)
    longer &= quads[:, 2] != quads[:, 3]  # a triangle keeps its fourth corner where it is
    turned = np.where(longer[:, None], np.roll(quads, -1, axis=1), quads)
    found: I32 = turned[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3).astype(np.int32)
    return found


def polygons_of(faces: I32) -> tuple[I32, I32]:
    """Quads (Q, 4) and triangles (T, 3) of paired triangles (2 N, 3): a pair that a seam goes through stays two."""
    first, second = faces[0::2], faces[1::2]
    is_triangle = second[:, 1] == second[:, 2]
    is_quad = (first[:, 0] == second[:, 0]) & (first[:, 2] == second[:, 1]) & ~is_triangle
    quads = np.concatenate([first[is_quad], second[is_quad][:, 2:]], axis=1)
    rest = np.concatenate([first[~is_quad], second[~is_quad & ~is_triangle]])
    return quads.astype(np.int32), rest.astype(np.int32)


def fans_of(polygons: tuple[I32, I32]) -> NDArray[np.uint32]:
    """(T, 3) triangles of quads and triangles, in the order that glTF's FB_ngon_encoding asks for.

    A polygon is a run of triangles with the same first corner, which is another one than that of the run before it.
    """
    quads, triangles = polygons
    out: list[tuple[int, int, int]] = []
    first = -1
    for a, b, c, d in quads.tolist():
        if a == first:
            a, b, c, d = c, d, a, b
        out += [(a, b, c), (a, c, d)]
        first = a
    for a, b, c in triangles.tolist():
        if a == first:
            a, b, c = b, c, a
        out.append((a, b, c))
        first = a
    return np.array(out, np.uint32).reshape(-1, 3)
