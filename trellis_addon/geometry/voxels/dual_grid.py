"""From the flexible dual grid to triangles, as TRELLIS.2 does it, on numpy arrays and on torch tensors.

Every active voxel holds one vertex. Where the surface crosses a grid edge, the four voxels round that
edge make a quad, as in dual contouring, but with flags that know no inside and outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np

from ...core.errors import InputError
from .index import Array, VoxelIndex

# Corners of the quad round the edge along x, y and z, as offsets from the voxel that holds the flag.
_CORNERS = (
    ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)),
    ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)),
    ((0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0)),
)
_DIAGONAL_A = (0, 1, 2, 0, 2, 3)
_DIAGONAL_B = (0, 1, 3, 3, 1, 2)
_FAN = (0, 1, 1, 2, 2, 3, 3, 0)
_CHUNK = 1 << 20


def split_decoder_output(head: Array, voxel_margin: float = 0.5) -> tuple[Array, Array, Array]:
    """Dual vertices (L, 3) voxel-local, flags (L, 3) bool and split weights (L, 1) of the decoder's 7 channels.

    Vertices lie in (-margin, 1 + margin), weights are positive.
    """
    xp = array_api_compat.array_namespace(head)
    place = head[:, 0:3]
    # Each branch of the logistic function only sees numbers whose exponential is finite.
    low = xp.exp(-xp.abs(place))
    sigmoid = xp.where(place >= 0, 1 / (1 + low), low / (1 + low))
    vertices = (1 + 2 * voxel_margin) * sigmoid - voxel_margin
    weight = head[:, 6:7]
    positive = xp.where(weight > 0, weight, 0 * weight)
    return vertices, head[:, 3:6] > 0, positive + xp.log1p(xp.exp(-xp.abs(weight)))


def grid_of(
    voxel_size: Any, grid_size: Any, aabb: Any
) -> tuple[np.ndarray[Any, Any], tuple[int, int, int], np.ndarray[Any, Any]]:
    """(voxel size (3,) float32, cells along x, y, z, lower corner (3,) float32) from one of the two sizes."""
    box = np.asarray(_host(aabb), np.float32)
    if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[1] > box[0]).all():
        raise InputError("The bounding box must be two finite corners, the lower one first.")
    if (voxel_size is None) == (grid_size is None):
        raise InputError("Give either the voxel size or the grid size.")
    extent = box[1] - box[0]
    if grid_size is not None:
        cells = np.broadcast_to(np.asarray(_host(grid_size)), 3).astype(np.int64)
        if (cells < 1).any() or (cells > 65536).any():
            raise InputError(
                "A grid of {cells} cells cannot be used; it takes 1 to 65536 along each axis.", cells=cells.tolist()
            )
        size = extent / cells.astype(np.float32)
    else:
        size = np.broadcast_to(np.asarray(_host(voxel_size), np.float32), 3)
        if not np.isfinite(size).all() or (size <= 0).any():
            raise InputError("A voxel size of {size} cannot be used; it must be positive.", size=size.tolist())
        cells = np.rint(extent / size)
        if (cells < 1).any() or (cells > 65536).any():
            raise InputError("A voxel size of {size} does not fit the bounding box.", size=size.tolist())
    return size.astype(np.float32), (int(cells[0]), int(cells[1]), int(cells[2])), box[0]


def dual_grid_to_mesh(
    coords: Array,
    dual_vertices: Array,
    intersected: Array,
    split_weight: Array | None = None,
    *,
    voxel_size: Any = None,
    grid_size: Any = None,
    aabb: Any = ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)),
    train: bool = False,
    split: str = "reference",
) -> tuple[Array, Array]:
    """Vertices (V, 3) float32 in the frame of `aabb` and faces (F, 3), of the same kind as the input.

    `coords` (L, 3) int, `dual_vertices` (L, 3) voxel-local, `intersected` (L, 3): flag k says that the surface
    crosses the voxel's far grid edge along axis k. Exactly one of `voxel_size` and `grid_size` is given. All
    L vertices are returned, in order; a quad with a voxel missing is left out, and the winding follows the
    axis, not the surface. `split_weight` (L,) or (L, 1) chooses each quad's diagonal; without it `split`
    does: "reference" takes the first diagonal as TRELLIS.2 does, unless its first triangle has no area,
    "flat" the one that bends least. With `train` every quad gets a fifth vertex, differentiable in
    positions and weights, and four triangles. Raises `InputError` for arrays that do not fit together.
    """
    xp = array_api_compat.array_namespace(coords, dual_vertices, intersected)
    count = coords.shape[0]
    if coords.shape != (count, 3) or dual_vertices.shape != (count, 3) or intersected.shape != (count, 3):
        raise InputError("Coordinates, vertices and flags of a dual grid must be (L, 3) of the same length.")
    if split not in ("reference", "flat"):
        raise InputError('A quad can be split by "reference" or "flat", not by "{split}".', split=split)
    if train and split_weight is None:
        raise InputError("Training splits quads by their weights, and none are given.")
    size, shape, origin = grid_of(voxel_size, grid_size, aabb)
    device = array_api_compat.device(dual_vertices)
    vertices = xp.astype(coords, xp.float32) + xp.astype(dual_vertices, xp.float32)
    vertices = vertices * xp.asarray(size, device=device) + xp.asarray(origin, device=device)
    quads = _quads(coords, intersected, shape)
    if split_weight is None:
        return vertices, xp.astype(_split_by_shape(vertices, quads, split), xp.int32)
    weights = xp.reshape(xp.astype(split_weight, xp.float32), (-1,))
    if weights.shape[0] != count:
        raise InputError("There must be one split weight for each voxel.")
    if train:
        return _fans(vertices, quads, weights)
    corner = [weights[quads[:, number]] for number in range(4)]
    first = corner[0] * corner[2] > corner[1] * corner[3]
    return vertices, xp.astype(_triangles(quads, first), xp.int32)


def _host(value: Any) -> Any:
    """What numpy can read, from wherever a tensor is."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _quads(coords: Array, intersected: Array, shape: Sequence[int]) -> Array:
    """(Q, 4) int64 vertex numbers of the whole quads: by voxel, then by axis."""
    xp = array_api_compat.array_namespace(coords, intersected)
    device = array_api_compat.device(coords)
    index = VoxelIndex(coords, shape)
    last = coords >= xp.asarray(shape, dtype=coords.dtype, device=device) - 1
    beyond = xp.stack([last[:, 1] | last[:, 2], last[:, 2] | last[:, 0], last[:, 0] | last[:, 1]], axis=1)
    flagged = xp.nonzero(xp.reshape((intersected != 0) & ~beyond, (-1,)))[0]
    corners = xp.asarray(_CORNERS, dtype=xp.int64, device=device)
    found = []
    for start in range(0, flagged.shape[0], _CHUNK):
        part = flagged[start : start + _CHUNK]
        voxel, axis = part // 3, part % 3
        base = xp.astype(coords[voxel, :], xp.int64)
        quad = [voxel]
        for number in range(1, 4):
            place = base + corners[axis, number]
            quad.append(index.inside(place[:, 0], place[:, 1], place[:, 2]))
        rows = xp.stack(quad, axis=1)
        found.append(rows[xp.all(rows >= 0, axis=1)])
    return xp.concat(found, axis=0) if found else xp.zeros((0, 4), dtype=xp.int64, device=device)


def _triangles(quads: Array, first: Array) -> Array:
    """(2 Q, 3) triangles, each quad cut along diagonal A where `first` says so, else along B."""
    xp = array_api_compat.array_namespace(quads)
    device = array_api_compat.device(quads)
    a = quads[:, xp.asarray(_DIAGONAL_A, device=device)]
    b = quads[:, xp.asarray(_DIAGONAL_B, device=device)]
    return xp.reshape(xp.where(first[:, None], a, b), (-1, 3))


def _split_by_shape(vertices: Array, quads: Array, split: str) -> Array:
    xp = array_api_compat.array_namespace(vertices)
    corner = [vertices[quads[:, number]] for number in range(4)]
    normal = _cross(corner[1] - corner[0], corner[2] - corner[0])
    if split == "reference":
        return _triangles(quads, xp.any(normal != 0, axis=1))
    across = _agreement(normal, _cross(corner[2] - corner[0], corner[3] - corner[0]))
    other = _agreement(
        _cross(corner[1] - corner[0], corner[3] - corner[0]), _cross(corner[1] - corner[3], corner[2] - corner[3])
    )
    return _triangles(quads, across > other)


def _agreement(a: Array, b: Array) -> Array:
    """The cosine between normals, -1 where one of them has no length: no triangle without area is chosen."""
    xp = array_api_compat.array_namespace(a)
    length = xp.sqrt(xp.sum(a * a, axis=1) * xp.sum(b * b, axis=1))
    good = length > 0
    return xp.where(good, xp.sum(a * b, axis=1) / xp.where(good, length, length + 1), 0 * length - 1)


def _cross(a: Array, b: Array) -> Array:
    xp = array_api_compat.array_namespace(a)
    return xp.stack(
        [
            a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
            a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
            a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        ],
        axis=1,
    )


def _fans(vertices: Array, quads: Array, weights: Array) -> tuple[Array, Array]:
    """All vertices with one more per quad, between its two diagonals by their weights, and four triangles round it."""
    xp = array_api_compat.array_namespace(vertices)
    device = array_api_compat.device(vertices)
    corner = [vertices[quads[:, number]] for number in range(4)]
    weight = [weights[quads[:, number]] for number in range(4)]
    a, b = (weight[0] * weight[2])[:, None], (weight[1] * weight[3])[:, None]
    middle = (a * (corner[0] + corner[2]) / 2 + b * (corner[1] + corner[3]) / 2) / (a + b)
    count = vertices.shape[0]
    centre = xp.arange(count, count + quads.shape[0], dtype=xp.int64, device=device)
    rim = xp.reshape(quads[:, xp.asarray(_FAN, device=device)], (-1, 4, 2))
    tips = xp.broadcast_to(centre[:, None, None], (quads.shape[0], 4, 1))
    faces = xp.reshape(xp.concat([rim, tips], axis=2), (-1, 3))
    return xp.concat([vertices, middle], axis=0), faces
