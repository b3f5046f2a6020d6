"""Filling holes: loops of border edges, closed by faces wound like their neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .topology import I32, I64, TriMesh, groups

# A loop that could hold this share of its component's surface is a leaf's own border and no hole in it.
_LEAF = 0.5


def fill_holes(
    mesh: TriMesh,
    twin: I32,
    perimeter: float,
    junctions: NDArray[np.bool_],
    component: I32,
    area: NDArray[np.floating],
) -> tuple[TriMesh, I32]:
    """The mesh with its border loops shorter than `perimeter` (in the mesh's units) closed, and its `twin`.

    `twin` (3 M,) names the half-edge across each, -1 at a border; vertices must have one fan each and windings
    must agree (see `topology_split`). `junctions` marks half-edges where a surface only ends because others go
    on without it: loops through these are no holes. `component` (M,) are the faces' and `area` (C,) the components'
    areas. Three edges get one face, four get two, longer loops a fan round their middle.
    """
    border = np.flatnonzero(twin < 0)
    if not len(border):
        return mesh, twin
    loops = _loops(mesh, border)
    loops = [loop for loop in loops if not junctions[border[loop]].any()]
    starts = mesh.faces.reshape(-1)[border]
    places = mesh.vertices[starts].astype(np.float64)
    middles, faces = [], []
    number = len(mesh.vertices)
    for loop in loops:
        corner = places[loop]
        sides = np.linalg.norm(np.roll(corner, -1, axis=0) - corner, axis=1)
        round_ = sides.sum()
        if round_ >= perimeter or round_**2 / (4 * np.pi) > _LEAF * area[component[border[loop[0]] // 3]]:
            continue
        ring = starts[loop]
        # A loop is walked as its faces are wound; the new faces run against it.
        if len(ring) == 3:
            faces.append(ring[None, ::-1])
        elif len(ring) == 4:
            faces.append(_two_faces(ring, corner))
        else:
            weights = sides + np.roll(sides, 1)
            middles.append((corner * weights[:, None]).sum(0) / weights.sum())
            faces.append(np.stack([np.roll(ring, -1), ring, np.full(len(ring), number)], axis=1))
            number += 1
    if not faces:
        return mesh, twin
    added = np.asarray(middles, np.float32).reshape(-1, 3)
    filled = TriMesh(
        np.concatenate([mesh.vertices, added]), np.concatenate([mesh.faces, *faces]).astype(np.int32, copy=False)
    )
    return filled, _with_new(filled, twin, border)


def _with_new(mesh: TriMesh, twin: I32, border: I64) -> I32:
    """Twins for a mesh with faces added at its end, which lie along half-edges of `border` and along each other."""
    loose = np.concatenate([border, np.arange(len(twin), mesh.faces.size)])
    flat = mesh.faces.reshape(-1).astype(np.int64)
    start, end = flat[loose], flat[loose - loose % 3 + (loose + 1) % 3]
    key = np.minimum(start, end) * len(mesh.vertices) + np.maximum(start, end)
    order = np.lexsort((start < end, key))
    key, loose, rises = key[order], loose[order], (start < end)[order]
    both = np.flatnonzero((key[1:] == key[:-1]) & (rises[1:] != rises[:-1]))
    grown = np.concatenate([twin, np.full(mesh.faces.size - len(twin), -1, np.int32)])
    # An edge that more than two of them share stays open there.
    _, times = np.unique(key, return_counts=True)
    both = both[np.repeat(times, times)[both] == 2]
    grown[loose[both]] = loose[both + 1]
    grown[loose[both + 1]] = loose[both]
    return grown


def _loops(mesh: TriMesh, border: I64) -> list[I64]:
    """Rows of `border` in the order of each closed loop, for loops of three edges and more."""
    flat = mesh.faces.reshape(-1)
    starts = flat[border]
    ends = flat[border - border % 3 + (border + 1) % 3]
    row_at = np.full(len(mesh.vertices), -1, np.int64)
    row_at[starts] = np.arange(len(border))
    after = row_at[ends]
    known = after >= 0
    _, label = groups(len(border), np.stack([np.flatnonzero(known), after[known]], axis=1))
    # One edge leaves and one reaches each vertex of a loop; anything else is left as it is.
    reached = np.bincount(after[known], minlength=len(border))
    whole = np.bincount(label, weights=(~known) | (reached != 1)) == 0
    sizes = np.bincount(label)
    loops = []
    members = np.argsort(label, kind="stable")
    offsets = np.cumsum(sizes) - sizes
    for loop in np.flatnonzero(whole & (sizes >= 3)):
        row = members[offsets[loop]]
        walk = np.empty(sizes[loop], np.int64)
        for step in range(sizes[loop]):
            walk[step] = row
            row = after[row]
        loops.append(walk)
    return loops


def _two_faces(ring: NDArray, corner: NDArray[np.float64]) -> NDArray:
    """Two faces over four corners, cut along the shorter diagonal."""
    a, b, c, d = ring[::-1]
    place = corner[::-1]
    if ((place[0] - place[2]) ** 2).sum() <= ((place[1] - place[3]) ** 2).sum():
        return np.array([[a, b, c], [a, c, d]])
    return np.array([[b, c, d], [b, d, a]])
