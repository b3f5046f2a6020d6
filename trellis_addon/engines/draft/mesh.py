"""From heights over the silhouette to a closed surface, its normals and its texture coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .fields import F32, Bool
from .mask import Domain

I32 = NDArray[np.int32]
Ring = list[I32]


@dataclass(frozen=True)
class Flat:
    """The silhouette's inside as a triangulated area.

    `points` (P, 2) are (column, row) on the grid: the first `nodes` are grid nodes (`node_index`,
    flat), the rest lie on the silhouette. `faces` (F, 3) turn clockwise as seen in the picture
    with rows running down, which is counter-clockwise with y up.
    """

    points: F32
    nodes: int
    node_index: NDArray[np.int64]
    faces: I32


@dataclass(frozen=True)
class ReliefMesh:
    """A closed surface: `positions`, `normals` (V, 3), `flat` (V, 2) grid places, `faces` (F, 3) outward.

    Vertices [0, split) make the front, the rest the back; the silhouette's are in both, equal in
    position and normal, because their texture coordinates differ.
    """

    positions: F32
    normals: F32
    flat: F32
    faces: NDArray[np.uint32]
    split: int


def triangulate(domain: Domain) -> Flat:
    """Marching squares, filled: every silhouette vertex ends on exactly two border segments.

    Cells whose inside corners meet only diagonally are kept apart, so no vertex and no edge is
    shared by more than it should be (W. Lorensen and H. Cline, "Marching cubes", 1987, in 2D).
    """
    field, inside = domain.field, domain.inside
    rows, columns = field.shape
    node_index = np.flatnonzero(inside)
    nodes = len(node_index)
    number = np.full(rows * columns, -1, np.int32)
    number[node_index] = np.arange(nodes, dtype=np.int32)
    number = number.reshape(rows, columns)

    # One vertex on each grid edge that the silhouette crosses.
    points = [np.stack(np.divmod(node_index, columns)[::-1], 1).astype(np.float32)]
    crossings = []
    made = nodes
    for along_row in (True, False):
        a = (slice(None), slice(None, -1)) if along_row else (slice(None, -1), slice(None))
        b = (slice(None), slice(1, None)) if along_row else (slice(1, None), slice(None))
        cut = inside[a] != inside[b]
        i, j = np.nonzero(cut)
        fa, fb = field[a][i, j], field[b][i, j]
        # Never onto a node: a sliver is better than two vertices in one place.
        t = np.clip(fa / (fa - fb), 0.06, 0.94)
        points.append(np.stack([j + t * along_row, i + t * (not along_row)], 1).astype(np.float32))
        index = np.full(cut.shape, -1, np.int32)
        index[i, j] = np.arange(made, made + len(i), dtype=np.int32)
        made += len(i)
        crossings.append(index)
    across, downward = crossings

    # A cell's corners and edge crossings, turning clockwise in the picture from the top left; side k
    # follows corner k.
    corners: Ring = [number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]]
    sides: Ring = [across[:-1], downward[:, 1:], across[1:], downward[:, :-1]]
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
    whole = (corners[0] >= 0) & (corners[1] >= 0) & (corners[2] >= 0) & (corners[3] >= 0)
    # Diagonals alternate like a chessboard's colours, so that the mesh has no grain.
    odd = (np.add.outer(np.arange(rows - 1), np.arange(columns - 1)) % 2).astype(bool)
    top_left, top_right, bottom_right, bottom_left = corners
    emit(whole & odd, (top_left, top_right, bottom_right), (top_left, bottom_right, bottom_left))
    emit(whole & ~odd, (top_left, top_right, bottom_left), (top_right, bottom_right, bottom_left))
    return Flat(np.concatenate(points), nodes, node_index, np.concatenate(faces))


def lift(flat: Flat, front: F32, back: F32, bow: F32) -> ReliefMesh:
    """The closed surface at `front` in front of the sheet z = `bow` and `back` behind it.

    All three are given at the grid's nodes, in cells; `front` and `back` are zero on the silhouette,
    and smooth there when squared. Normals come from that square: the surface
    (z - bow)^2 = 2 U(x, y) has the normal (-grad U - (z - bow) grad bow, z - bow), which holds on
    the silhouette too, where the slope of z is infinite. x runs right, y up, z to the front.
    """
    count = len(flat.points)
    sheet = _at_points(flat, bow)
    tilt = _gradient(flat, sheet)
    heights, gradients = [], []
    for field in (front, back):
        z = np.zeros(count, np.float32)
        z[: flat.nodes] = field.ravel()[flat.node_index]
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
        np.concatenate([flat.points, flat.points]),
        faces.astype(np.uint32),
        count,
    )


def _at_points(flat: Flat, field: F32) -> NDArray[np.float64]:
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
