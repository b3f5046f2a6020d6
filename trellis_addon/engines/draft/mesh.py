"""From heights over the silhouette to a closed surface, its normals and its texture coordinates."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .fields import F32, Bool
from .mask import Domain
from .quadtree import FRAME, Tree

I32 = NDArray[np.int32]
Ring = list[I32]

# How often nodes are moved by less where they would turn a triangle over, and twice the area, in cells, that
# a triangle has at least where it can.
_MOVES = 4
_LEAST_DOUBLE_AREA = 0.01


@dataclass(frozen=True)
class Flat:
    """The silhouette's inside as a triangulated area.

    `points` (P, 2) are (column, row) on the grid: the first `nodes` are grid nodes (`node_index`,
    their flat indices), the rest lie on the silhouette. `faces` (F, 3) turn clockwise as seen in the picture
    with rows running down, which is counter-clockwise with y up.
    """

    points: F32
    nodes: int
    node_index: NDArray[np.int64]
    faces: I32


@dataclass(frozen=True)
class ReliefMesh:
    """A closed surface: `positions`, `normals` (V, 3), `faces` (F, 3) outward.

    The vertices are all of the front and then all of the back, in the order of `Flat.points`; the silhouette's are
    in both, equal in position and normal, because their texture coordinates differ.
    """

    positions: F32
    normals: F32
    faces: NDArray[np.uint32]


def triangulate(domain: Domain, tree: Tree) -> Flat:
    """Marching squares, filled: every silhouette vertex ends on exactly two border segments.

    Cells whose inside corners meet only diagonally are kept apart, so no vertex and no edge is
    shared by more than it should be (W. Lorensen and H. Cline, "Marching cubes", 1987, in 2D).
    Inside, the cells are those of the `tree`.
    """
    field, inside = domain.field, domain.inside
    rows, columns = field.shape
    # Nodes by their place in the grid; those that are used are numbered at the end.
    place = np.where(inside, np.arange(rows * columns, dtype=np.int32).reshape(rows, columns), -1)

    # One vertex on each grid edge that the silhouette crosses, numbered from where the grid's nodes end.
    rim = []
    crossings = []
    made = rows * columns
    for along_row in (True, False):
        a = (slice(None), slice(None, -1)) if along_row else (slice(None, -1), slice(None))
        b = (slice(None), slice(1, None)) if along_row else (slice(1, None), slice(None))
        cut = inside[a] != inside[b]
        i, j = np.nonzero(cut)
        fa, fb = field[a][i, j], field[b][i, j]
        # Never onto a node: a sliver is better than two vertices in one place.
        t = np.clip(fa / (fa - fb), 0.06, 0.94)
        rim.append(np.stack([j + t * along_row, i + t * (not along_row)], 1).astype(np.float32))
        index = np.full(cut.shape, -1, np.int32)
        index[i, j] = np.arange(made, made + len(i), dtype=np.int32)
        made += len(i)
        crossings.append(index)

    faces = np.concatenate([*_border_faces(place, *crossings), *_inner_faces(place, tree)])
    used = np.zeros(made, bool)
    used[faces.ravel()] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    node_index = np.flatnonzero(used[: rows * columns])
    nodes = np.stack(np.divmod(node_index, columns)[::-1], 1)
    return Flat(np.concatenate([nodes.astype(np.float32), *rim]), len(nodes), node_index, number[faces])


def _border_faces(place: I32, across: I32, downward: I32) -> list[I32]:
    """The triangles of the cells that the silhouette crosses; `across`, `downward` number the crossed grid edges."""
    # A cell's corners and edge crossings, turning clockwise in the picture from the top left; side k
    # follows corner k.
    corners: Ring = [place[:-1, :-1], place[:-1, 1:], place[1:, 1:], place[1:, :-1]]
    sides: Ring = [across[:-1], downward[:, 1:], across[1:], downward[:, :-1]]
    some = np.add.reduce([(corner >= 0).astype(np.int8) for corner in corners])
    border = np.flatnonzero((some > 0) & (some < 4))
    corners, sides = ([ring.ravel()[border] for ring in rings] for rings in (corners, sides))
    faces: list[I32] = []

    def emit(where: Bool, *triangles: tuple[I32, I32, I32]) -> None:
        faces.extend(np.stack([vertex[where] for vertex in triangle], 1) for triangle in triangles)

    for turn in range(4):
        c, s = corners[turn:] + corners[:turn], sides[turn:] + sides[:turn]
        first, second, third, fourth = (corner >= 0 for corner in c)
        # A corner whose two neighbours are outside stands alone, whatever the one across is.
        emit(first & ~second & ~fourth, (c[0], s[0], s[3]))
        emit(first & second & ~third & ~fourth, (c[0], c[1], s[1]), (c[0], s[1], s[3]))
        # Three corners: a fan from the middle one, so that the border's segment is a border edge.
        emit(first & second & fourth & ~third, (c[0], c[1], s[1]), (c[0], s[1], s[2]), (c[0], s[2], c[3]))
    return faces


def _inner_faces(place: I32, tree: Tree) -> list[I32]:
    """The triangles of the tree's cells: two each, and one more for every side that has a node in its middle."""
    columns = place.shape[1]
    faces: list[I32] = []
    for level in range(len(tree.merged)):
        size = 2**level
        i, j = np.nonzero(tree.cells(level))
        start = ((i * size + FRAME) * columns + j * size + FRAME).astype(np.int32)
        corners = [start, start + size, start + size * (columns + 1), start + size * columns]
        kind = np.zeros(len(i), np.int8)
        if level:
            half = size // 2
            middles = [start + half, start + size + half * columns]
            middles += [start + size * columns + half, start + half * columns]
            kind = np.add.reduce([side[i, j].astype(np.int8) << k for k, side in enumerate(tree.split_sides(level))])
        for split in range(1, 16 if level else 1):
            mine = kind == split
            # The outline clockwise from the first middle, which all its triangles share.
            first = (split & -split).bit_length() - 1
            outline = [middles[first]]
            for k in range(first + 1, first + 5):
                outline.append(corners[k % 4])
                if split >> k % 4 & 1 and k % 4 != first:
                    outline.append(middles[k % 4])
            faces += [np.stack([outline[0], a, b], 1)[mine] for a, b in itertools.pairwise(outline[1:])]
        # Diagonals alternate like a chessboard's colours, so that the mesh has no grain.
        odd = (i + j) % 2 == 1
        for mine, first in (((kind == 0) & odd, 0), ((kind == 0) & ~odd, 1)):
            a, b, c, d = (corners[(first + k) % 4][mine] for k in range(4))
            faces += [np.stack([a, b, c], 1), np.stack([a, c, d], 1)]
    return faces


def moved(flat: Flat, shift: F32) -> tuple[Flat, F32]:
    """The area with its nodes moved by `shift` (nodes, 2), each by as much of it as turns no triangle over.

    The second result (nodes,) is how much that is, 0..1.
    """
    share = np.ones(flat.nodes, np.float32)
    a, b, c = flat.faces.T
    for left in range(_MOVES, -1, -1):
        points = flat.points.copy()
        points[: flat.nodes] += share[:, None] * shift
        e1, e2 = points[b] - points[a], points[c] - points[a]
        # Clockwise with rows running down: positive.
        narrow = flat.faces[e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0] < _LEAST_DOUBLE_AREA].ravel()
        narrow = narrow[narrow < flat.nodes]
        if not left or not share[narrow].any():
            break
        share[narrow] = np.where(share[narrow] > 0.3, 0.5 * share[narrow], 0.0)
    return replace(flat, points=points), share


def lift(flat: Flat, front: F32, back: F32, bow: F32) -> ReliefMesh:
    """The closed surface at `front` in front of the sheet z = `bow` and `back` behind it.

    All three are in cells; `front` and `back` (nodes,) are what those of the grid's nodes have that are used, which
    would be zero on the silhouette, and smooth there when squared; `bow` (rows, columns) is all over the grid.
    Normals come from that square: the surface
    (z - bow)^2 = 2 U(x, y) has the normal (-grad U - (z - bow) grad bow, z - bow), which holds on
    the silhouette too, where the slope of z is infinite. x runs right, y up, z to the front.
    """
    count = len(flat.points)
    sheet = at_points(flat, bow)
    tilt = _gradient(flat, sheet)
    heights, gradients = [], []
    for field in (front, back):
        z = np.zeros(count, np.float32)
        z[: flat.nodes] = field
        heights.append(z)
        gradients.append(_gradient(flat, 0.5 * z.astype(np.float64) ** 2))
    rim = slice(flat.nodes, None)
    shared = gradients[0][rim] + gradients[1][rim]
    place = flat.points * np.array([1.0, -1.0], np.float32)
    positions, normals = [], []
    for sign, z, slope in ((1.0, heights[0], gradients[0]), (-1.0, heights[1], gradients[1])):
        slope[rim] = shared
        side = sign * z
        lean = slope + side[:, None] * tilt
        normal = np.column_stack([-lean[:, 0], lean[:, 1], side])
        positions.append(np.column_stack([place, sheet + side]))
        normals.append(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12))
    # y up turns the picture's clockwise into counter-clockwise: as seen from the front.
    faces = np.concatenate([flat.faces[:, ::-1], flat.faces + np.int32(count)])
    return ReliefMesh(
        np.concatenate(positions).astype(np.float32),
        np.concatenate(normals).astype(np.float32),
        faces.astype(np.uint32),
    )


def at_points(flat: Flat, field: F32) -> NDArray[np.float64]:
    """A grid field, linear between the nodes, at the points."""
    column, row = np.floor(flat.points).astype(np.int64).T
    u, v = (flat.points - np.floor(flat.points)).astype(np.float64).T
    right = np.minimum(column + 1, field.shape[1] - 1)
    below = np.minimum(row + 1, field.shape[0] - 1)
    upper = field[row, column] * (1.0 - u) + field[row, right] * u
    lower = field[below, column] * (1.0 - u) + field[below, right] * u
    return np.asarray(upper * (1.0 - v) + lower * v, np.float64)


def _gradient(flat: Flat, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """d value / d(column, row) at the points: the area-weighted mean over the triangles round each."""
    p = flat.points.astype(np.float64)
    a, b, c = flat.faces.T
    e1, e2 = p[b] - p[a], p[c] - p[a]
    d1, d2 = value[b] - value[a], value[c] - value[a]
    double = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    weighted = np.stack([d1 * e2[:, 1] - d2 * e1[:, 1], d2 * e1[:, 0] - d1 * e2[:, 0]], 1)
    sign = np.sign(double)
    corners = flat.faces.T.ravel()
    area = np.bincount(corners, np.tile(np.abs(double), 3), len(p))
    sums = [np.bincount(corners, np.tile(weighted[:, k] * sign, 3), len(p)) for k in (0, 1)]
    return np.stack(sums, 1) / np.maximum(area, 1e-12)[:, None]
