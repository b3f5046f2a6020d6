"""How a surface hangs together, in numbers: fast enough to follow every import, with nothing but numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SurfaceFacts:
    """A mesh, its vertices counted by where they are: a file cuts them along its UV seams, the surface is not cut.

    `open_edges` have one face, `non_manifold_edges` more than two; at `flipped_edges` two neighbours point
    opposite ways. `uv_area` is the faces' area in the UV square (overlaps count twice), None without UVs.
    """

    triangles: int
    vertices: int
    components: int
    open_edges: int
    non_manifold_edges: int
    flipped_edges: int
    uv_area: float | None

    @property
    def is_closed(self) -> bool:
        """Whether every edge has two faces, wound against each other."""
        return bool(self.triangles) and not (self.open_edges or self.non_manifold_edges or self.flipped_edges)


@dataclass(frozen=True)
class MeshArrays:
    """A mesh as arrays, which any thread may work on: `positions` (V, 3) float32, `corners` (L,) the vertex of
    each corner, `starts` (F,) each face's first corner, `uv` (L, 2) or None."""

    positions: np.ndarray
    corners: np.ndarray
    starts: np.ndarray
    uv: np.ndarray | None


def measure_surface(mesh: MeshArrays) -> SurfaceFacts:
    """The numbers of a surface; needs no `bpy`."""
    totals = np.diff(mesh.starts, append=len(mesh.corners))
    triangles = int(np.maximum(totals - 2, 0).sum())
    used, welded = _weld(mesh.positions, mesh.corners)
    first, second = welded, _next_corner(welded, mesh.starts, totals)
    keep = first != second
    if not keep.all():
        # a face that the weld has made a line of is not part of the surface
        corners_left = np.add.reduceat(keep, mesh.starts, dtype=np.int32)
        keep &= np.repeat(corners_left >= 3, totals)
        first, second = first[keep], second[keep]
    low, high = np.minimum(first, second).astype(np.int64), np.maximum(first, second)
    # one sort serves both questions: which edge it is, and which way round the face runs along it
    keys = np.sort(((low * used + high) << 1) | (first > second))
    edges, uses = _runs(keys >> 1)
    backwards = np.add.reduceat(keys & 1, edges) if len(edges) else uses
    pairs = keys[edges] >> 1
    return SurfaceFacts(
        triangles=triangles,
        vertices=used,
        components=_components(pairs // used, pairs % used, used) if used else 0,
        open_edges=int((uses == 1).sum()),
        non_manifold_edges=int((uses > 2).sum()),
        flipped_edges=int(((uses == 2) & (backwards != 1)).sum()),
        uv_area=_uv_area(mesh.uv, mesh.starts, totals) if mesh.uv is not None else None,
    )


def _weld(positions: np.ndarray, corners: np.ndarray) -> tuple[int, np.ndarray]:
    """How many places the corners use, and the number of each corner's place.

    Places are the same where their floats are, as they are along a seam: a distance would close what is open.
    """
    bits = (positions + np.float32(0)).view(np.uint32)  # the sum makes -0 a 0
    keys = np.zeros(len(bits), np.uint64)
    for column, factor in enumerate((0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)):
        keys = (keys ^ bits[:, column]) * np.uint64(factor)
        keys ^= keys >> np.uint64(29)
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    if not (bits[first[place]] == bits).all():  # two places with one key: once in a blue moon
        _, place = np.unique(bits, axis=0, return_inverse=True)
        place = place.reshape(-1)
    occupied = np.zeros(len(positions) + 1, bool)
    occupied[place[corners]] = True
    number = np.cumsum(occupied) - 1
    return int(occupied.sum()), number[place[corners]]


def _next_corner(corners: np.ndarray, starts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """For each corner, what stands at the one after it in its face."""
    following = np.roll(corners, -1)
    following[starts + totals - 1] = corners[starts]
    return following


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of equal values begins in a sorted array, and how long it is."""
    begins = np.flatnonzero(np.diff(values, prepend=-1))
    return begins, np.diff(begins, append=len(values))


def _components(a: np.ndarray, b: np.ndarray, count: int) -> int:
    """Connected components of a graph with edges a-b: roots hang themselves under smaller neighbours until none has."""
    parent = np.arange(count)
    while len(a):
        low, high = np.minimum(a, b), np.maximum(a, b)
        parent[high] = low  # of several, any: it is smaller, so there are no circles
        while not np.array_equal(above := parent[parent], parent):
            parent = above
        a, b = parent[low], parent[high]
        apart = a != b
        a, b = a[apart], b[apart]
    return int((parent == np.arange(count)).sum())


def _uv_area(uv: np.ndarray, starts: np.ndarray, totals: np.ndarray) -> float:
    if not len(starts):
        return 0.0
    u, v = uv[:, 0].astype(np.float64), uv[:, 1].astype(np.float64)
    cross = u * _next_corner(v, starts, totals) - v * _next_corner(u, starts, totals)
    return float(np.abs(np.add.reduceat(cross, starts)).sum() / 2)
