"""Which triangle each texel of an atlas belongs to, exactly and without gaps at the charts' borders.

A texel whose centre is inside a triangle is that triangle's. Centres on shared edges belong to one of the two (the
top-left rule on coordinates of 1/4096 texel, in integers), so a texel counted twice is a true overlap. Texels just
outside a chart go to the nearest triangle of a border, for a bilinear look-up near the border reads them too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ...core.machine.parallel import on_all_cores, slices
from ..arrays import each_part, launch_parts, on_device
from ..mesh.closest_warp import start_warp
from .raster_kernels import NOBODY, cover, place, reach

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# How far outside a chart texels are at least painted as its continuation, in texels: a bilinear look-up
# at the border reads centres up to sqrt(2) / 2 away; one more serves half-size mip levels and filters.
REACH = 1.5
_TILE = 16
_ROWS = 64  # of texels at a time
_NONE_NEAR = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Raster:
    """`owner` (S, S) int32 is each texel's triangle, -1 where there is none; `covered` counts texels whose centre is
    inside a triangle, `overlapping` those inside more than one, `crowded` (K, 2) are two of the triangles in each."""

    owner: I32
    covered: int
    overlapping: int
    crowded: I32

    def texels(self) -> NDArray[np.int64]:
        """The flat numbers of the texels that have an owner, tile by tile: neighbours stay near in memory."""
        size = len(self.owner)
        flat = self.owner.reshape(-1)
        if size % _TILE:
            return np.flatnonzero(flat >= 0)
        tiles = size // _TILE
        rows = np.arange(size * size, dtype=np.int64).reshape(tiles, _TILE, tiles, _TILE)
        walk = rows.transpose(0, 2, 1, 3).reshape(-1)
        return walk[flat[walk] >= 0]


def rasterise(
    uvs: F32, faces: I32, size: int, device: str = "cpu", *, borders: bool = True, reach_texels: float = REACH
) -> Raster:
    """`uvs` (V, 2) in [0, 1] with v down, `faces` (F, 3), `size` texels a side; no `borders`: only what is inside."""
    start_warp()
    points = on_device(np.ascontiguousarray(uvs, np.float32), wp.vec2, device)
    corners = on_device(np.ascontiguousarray(faces, np.int32), wp.int32, device)
    count = wp.zeros((size, size), dtype=wp.int32, device=device)
    owner = wp.full((size, size), NOBODY, dtype=wp.int32, device=device)
    last = wp.full((size, size), -1, dtype=wp.int32, device=device)

    def cover_rows(top: int, bottom: int) -> None:
        inputs = [points, corners, size, top, bottom, count, owner, last]
        wp.launch(cover, len(faces), inputs=inputs, device=device)

    launch_parts(cover, size, cover_rows, device)
    times, first, final = count.numpy(), owner.numpy(), last.numpy()
    owners = np.empty((size, size), np.int32)

    def settle(rows: slice) -> tuple[int, I32]:
        """The texels' owners in some rows; how many have one, and of those with more two each."""
        here = times[rows]
        inside, double = here > 0, here > 1
        owners[rows] = np.where(inside, first[rows], -1)
        return int(np.count_nonzero(inside)), np.stack([first[rows][double], final[rows][double]], 1)

    settled = on_all_cores(slices(size, _ROWS), settle)
    crowds = np.concatenate([crowd for _, crowd in settled])
    crowded = np.unique(crowds, axis=0)
    if borders:
        rim = on_device(border_faces(faces), wp.int32, device)
        nearest = wp.full((size, size), _NONE_NEAR, dtype=wp.int64, device=device)

        def reach_rows(top: int, bottom: int) -> None:
            inputs = [points, corners, rim, size, top, bottom, reach_texels, owner, nearest]
            wp.launch(reach, len(rim), inputs=inputs, device=device)

        launch_parts(reach, size, reach_rows, device)
        near = nearest.numpy()

        def take(rows: slice) -> None:
            found = near[rows] != _NONE_NEAR
            owners[rows][found] = (near[rows][found] & 0xFFFFFFFF).astype(np.int32)

        each_part(size, take, _ROWS)
    return Raster(owners, sum(covered for covered, _ in settled), len(crowds), crowded)


def texel_places(
    raster: Raster, texels: NDArray[np.int64], uvs: F32, faces: I32, device: str = "cpu"
) -> tuple[I32, F32]:
    """For flat texel numbers (N,): the owning triangles (N,) and barycentrics (N, 3) of the texels' centres.

    Outside the triangle they continue it, so some are negative; they never leave it by more than its own size.
    """
    start_warp()
    size = len(raster.owner)
    owner = raster.owner.reshape(-1)[texels]
    weights = wp.empty(len(texels), dtype=wp.vec3, device=device)
    wp.launch(
        place,
        len(texels),
        inputs=[
            on_device(np.ascontiguousarray(uvs, np.float32), wp.vec2, device),
            on_device(np.ascontiguousarray(faces, np.int32), wp.int32, device),
            on_device(owner, wp.int32, device),
            on_device(texels, wp.int64, device),
            size,
        ],
        outputs=[weights],
        device=device,
    )
    return owner, weights.numpy()


def border_faces(faces: I32) -> I32:
    """The triangles that touch a border of the mesh as it is indexed, with an edge or a vertex."""
    start = faces.astype(np.int64).reshape(-1)
    end = np.roll(faces, -1, 1).astype(np.int64).reshape(-1)
    key = np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)
    order = np.argsort(key)
    ordered = key[order]
    single = np.concatenate([[True], ordered[1:] != ordered[:-1]]) & np.concatenate(
        [ordered[1:] != ordered[:-1], [True]]
    )
    half = order[single]
    touched = np.zeros(int(faces.max()) + 1, bool)
    touched[start[half]] = touched[end[half]] = True
    return np.flatnonzero(touched[faces].any(1)).astype(np.int32)
