"""For every way in which the surface can pass a voxel's twelve edges: which sides of which edges share a vertex.

An edge that is passed has two sides, each seen from one of its corners. Within a voxel the sides seen from
connected corners form closed rings; each ring is one sheet of the surface and gets a vertex of its own.
That is manifold dual contouring (Schaefer, Ju, Warren 2007), written for flags instead of signs so that
surfaces without an inside are covered too.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

# A voxel's edges: axis, and the edge's offsets along the two axes that follow cyclically.
EDGES = tuple((axis, first, second) for axis in range(3) for first in (0, 1) for second in (0, 1))
SIDES = 2 * len(EDGES)


def edge_number(axis: int, first: int, second: int) -> int:
    """The number 0..11 of the edge along `axis` at these offsets along the next two axes."""
    return axis * 4 + first * 2 + second


def ends(edge: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The lower and the upper corner of an edge."""
    axis, first, second = EDGES[edge]
    corner = [0, 0, 0]
    corner[(axis + 1) % 3], corner[(axis + 2) % 3] = first, second
    upper = list(corner)
    upper[axis] = 1
    return tuple(corner), tuple(upper)  # type: ignore[return-value]


@cache
def rings() -> NDArray[np.uint8]:
    """(4096, 24): by the mask of passed edges and by side (2 * edge + 0 lower / 1 upper corner), the ring 0.. it is in.

    255 for sides of edges that are not passed.
    """
    masks = np.arange(4096)
    label = np.where((masks[:, None] >> (np.arange(SIDES) // 2)) & 1, np.arange(SIDES), 255).astype(np.uint8)
    links = [_partners(face, masks) for face in _faces()]
    changed = True
    while changed:
        before = label.copy()
        for sides, partner in links:
            for column, side in enumerate(sides):
                rows = np.flatnonzero(partner[:, column] >= 0)
                other = partner[rows, column]
                low = np.minimum(label[rows, side], label[rows, other])
                label[rows, side] = low
                label[rows, other] = low
        changed = bool((label != before).any())
    ranked = np.full_like(label, 255)
    for row in range(4096):
        used = np.unique(label[row][label[row] < 255])
        where = label[row] < 255
        ranked[row, where] = np.searchsorted(used, label[row][where])
    return ranked


def _faces() -> list[list[tuple[int, int]]]:
    """The six faces of a voxel, each as four (edge, end) steps: the corner each edge leaves going round."""
    faces = []
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        for level in (0, 1):
            corners = []
            for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
                corner = [0, 0, 0]
                corner[axis], corner[one], corner[two] = level, a, b
                corners.append(tuple(corner))
            faces.append([_edge_between(corners[k], corners[(k + 1) % 4]) for k in range(4)])
    return faces


def _edge_between(start: tuple[int, ...], end: tuple[int, ...]) -> tuple[int, int]:
    for edge in range(12):
        pair = ends(edge)
        if set(pair) == {start, end}:
            return edge, int(start == pair[1])
    raise AssertionError("Corners of one face that follow each other share an edge.")


def _partners(face: list[tuple[int, int]], masks: NDArray[np.int64]) -> tuple[list[int], NDArray[np.int64]]:
    """The sides on one face that can be passed, and for each mask the side that each goes on to, or -1.

    Going round the face, the side seen from an edge's far corner goes on to the near side of the next edge that is
    passed: the corners between the two are connected.
    """
    sides = [2 * edge + (1 - start) for edge, start in face]
    partner = np.full((len(masks), 4), -1)
    passed = np.stack([(masks >> edge) & 1 for edge, _ in face], axis=1).astype(np.bool_)
    for k in range(4):
        for step in range(1, 5):
            edge, start = face[(k + step) % 4]
            rows = passed[:, k] & passed[:, (k + step) % 4] & (partner[:, k] < 0)
            partner[rows, k] = 2 * edge + start
    return sides, partner
