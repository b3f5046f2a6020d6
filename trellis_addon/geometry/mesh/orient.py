"""Winding: the same way within each component, and outward.

The winding of a raw dual-grid mesh follows the grid's axes, so about half of its faces are flipped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order

from . import group_kernels, kernels
from .kernels import run
from .topology import I32, I64, Bool, TriMesh, groups

# Directions to look from, each from both sides: along the axes.
_VIEWS = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
_PIXELS = 256
# A face seen at a steeper angle than this (its cosine) may be seen through a gap between others.
_LEAST_COSINE = 0.15
_SAMPLES = 1 << 19
# What is seen of a patch must be this clearly its front or its back.
_CLEAR = 0.3
_ROUNDS = 100


def consistent(faces: I32, pairs: I32) -> tuple[Bool, I32, I32]:
    """Which faces (M,) to flip so that `pairs` (P, 2) of half-edges run against each other.

    Also each face's component, and the pairs that can hold: those of a surface with one side only (a
    Moebius strip) cannot all, and the ones to cut are left out.
    """
    count = len(faces)
    flipped, component = _two_sided(faces, pairs)
    one_sided = flipped < 0
    if not one_sided.any():
        return flipped == 1, component, pairs
    inside = np.flatnonzero(one_sided[pairs[:, 0] // 3])
    flips = np.where(one_sided, _by_tree(count, pairs[inside], _alike(faces, pairs[inside]), component), flipped == 1)
    holds = _alike(faces, pairs) == (flips[pairs[:, 0] // 3] ^ flips[pairs[:, 1] // 3])
    kept = pairs[holds]
    _, component = groups(count, kept // 3)
    return flips.astype(np.bool_), component, kept


def outward(mesh: TriMesh, patch: I32, links: I32, areas: NDArray[np.float64]) -> Bool:
    """Which faces (M,) of `areas` (M,) to flip so that each patch shows its front where it is seen from outside.

    Patches are wound one way within; they are looked at along the axes from both sides. One that is not seen, or
    equally from both sides, goes by its neighbours: `links` (P, 2) are half-edges of faces that probably go on
    as one surface. What has none gets the winding that makes its volume positive.
    """
    number = int(patch.max(initial=-1)) + 1
    votes, seen = _seen_fronts(mesh, areas, patch, number)
    side = np.where(np.abs(votes) > _CLEAR * seen, np.sign(votes), 0)
    side = _spread(mesh.faces, patch, links, side)
    unknown = side == 0
    if unknown.any():
        rows = np.flatnonzero(unknown[patch])
        hidden = TriMesh(mesh.vertices, mesh.faces[rows])
        parts = np.einsum("ij,ij->i", hidden.vertices[hidden.faces[:, 0]], hidden.crosses())
        volume = np.bincount(patch[rows], parts, number)
        side = np.where(unknown, np.where(votes == 0, volume, votes), side)
    turned = side < 0
    return turned[patch] if turned.any() else np.zeros(len(patch), np.bool_)


def _spread(faces: I32, patch: I32, links: I32, side: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sides (C,), 1 or -1, with those that were 0 settled by their neighbours as far as that goes."""
    one, other = patch[links[:, 0] // 3], patch[links[:, 1] // 3]
    apart = one != other
    sign = np.where(_alike(faces, links), -1.0, 1.0)[apart]
    one, other = one[apart], other[apart]
    for _ in range(_ROUNDS):
        pull = np.bincount(one, sign * side[other], len(side)) + np.bincount(other, sign * side[one], len(side))
        fresh = (side == 0) & (pull != 0)
        if not fresh.any():
            break
        side = np.where(fresh, np.sign(pull), side)
    return side


def flip(faces: I32, which: Bool) -> I32:
    """Faces with the second and third corner of some exchanged."""
    if not which.any():
        return faces
    flipped = faces.copy()
    flipped[which, 1], flipped[which, 2] = faces[which, 2], faces[which, 1]
    return flipped


def flipped_half_edges(half_edges: I32, which: Bool) -> I32:
    """The numbers that half-edges (any shape) have after `flip`."""
    if not which.any():
        return half_edges
    flipped = half_edges.copy()
    run(kernels.flip_half_edges, flipped.size, which, flipped.reshape(-1))
    return flipped


def _alike(faces: I32, pairs: I32) -> Bool:
    """(P,) pairs whose half-edges run the same way, so that one of the two faces must be flipped."""
    starts = faces.reshape(-1)
    return starts[pairs[:, 0]] == starts[pairs[:, 1]]


def _two_sided(faces: I32, pairs: I32) -> tuple[NDArray[np.int8], I32]:
    """Flips (M,) 0 or 1, -1 in components with one side only, and components."""
    flips, component = np.empty(len(faces), np.int8), np.empty(len(faces), np.int32)
    above, torn = 2 * np.arange(len(faces), dtype=np.int32), np.zeros(len(faces), np.bool_)
    run(group_kernels.join_windings, 1, faces.reshape(-1), pairs, above, torn)
    run(group_kernels.number_windings, 1, above, torn, flips, component)
    return flips, component


def _by_tree(count: int, pairs: I32, alike: Bool, component: I32) -> Bool:
    """Flips (M,) along a spanning tree of each component that `pairs` join; others are not flipped."""
    flips = np.zeros(count, np.bool_)
    first, second = pairs.T.astype(np.int64) // 3
    _, roots = np.unique(component[first], return_index=True)
    # One more node, tied to every component, lets one walk reach them all.
    rows = np.concatenate([first, np.full(len(roots), count)])
    columns = np.concatenate([second, first[roots]])
    ones = np.ones(len(rows), np.bool_)
    graph = coo_matrix((ones, (rows, columns)), shape=(count + 1, count + 1)).tocsr()
    order, parent = breadth_first_order(graph, count, directed=False)
    key = np.minimum(first, second) * (count + 1) + np.maximum(first, second)
    sorter = np.argsort(key)
    child = order[1:].astype(np.int64)
    above = parent[child].astype(np.int64)
    wanted = np.minimum(child, above) * (count + 1) + np.maximum(child, above)
    place = np.minimum(np.searchsorted(key[sorter], wanted), len(key) - 1)
    turn = np.where(above == count, False, alike[sorter[place]])
    step = np.zeros(count + 1, np.bool_)
    step[child] = turn
    up = np.full(count + 1, count, np.int64)
    up[child] = above
    # Doubling the stride reaches the root in as many steps as the tree's depth has binary digits.
    while (up != count).any():
        step = step ^ step[up]
        up = up[up]
    flips[:] = step[:count]
    return flips


def _seen_fronts(
    mesh: TriMesh, areas: NDArray[np.float64], component: I32, number: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(number,) by how much more of a component's front than of its back is seen from outside, and how much in all."""
    # A mesh of few large faces is looked at more coarsely, as it takes many samples to cover these.
    extent = max(float(np.ptp(mesh.vertices, axis=0).max()), 1e-30)
    area = float(areas.sum()) / extent**2
    pixels = int(np.clip(np.sqrt(_SAMPLES / (4 * max(area, 1e-30))), 16, _PIXELS))
    places, owner, face = _samples(mesh, areas, 4 * (pixels / extent) ** 2)
    crosses = TriMesh(mesh.vertices, mesh.faces[face]).crosses()
    length = np.linalg.norm(crosses, axis=1)
    normals = crosses / np.where(length > 0, length, 1)[:, None]
    patch = component[face]
    pixel = np.minimum(((places - places.min(0)) * (pixels / extent)).astype(np.int64), pixels - 1)
    votes, total = np.zeros(number), np.zeros(number)
    for depth, across, up in _VIEWS:
        order = np.argsort(places[:, depth])
        flat = pixel[:, across] * pixels + pixel[:, up]
        for sign in (1.0, -1.0):
            seen = np.full(pixels * pixels, -1, np.int64)
            # Of several samples in a pixel the one nearest to the eye is written last.
            ranked = order if sign > 0 else order[::-1]
            seen[flat[ranked]] = ranked
            shown = owner[seen[seen >= 0]]
            cosine = sign * normals[shown, depth]
            cosine[np.abs(cosine) < _LEAST_COSINE] = 0
            votes += np.bincount(patch[shown], cosine, number)
            total += np.bincount(patch[shown], np.abs(cosine), number)
    return votes, total


def _samples(mesh: TriMesh, areas: NDArray[np.float64], density: float) -> tuple[NDArray[np.float32], I64, I64]:
    """Places (S, 3) on the mesh, and the faces (K,) that have any: `face[owner]` are the places'.

    `density` for each unit of area and one at least on each face. Of very many faces only some are taken, evenly:
    they are smaller than what is looked for.
    """
    vertices, faces = mesh.vertices, mesh.faces
    face = np.arange(0, len(faces), len(faces) // _SAMPLES + 1)
    counts = np.maximum(np.ceil(areas * density), 1).astype(np.int64) if len(face) == len(faces) else None
    if counts is None or counts.sum() == len(faces):
        return vertices[faces[face]].mean(1), np.arange(len(face)), face
    owner = np.repeat(face, counts)
    # A face's first sample is its centre; a low-discrepancy sequence (R2) strews the others.
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    u = (1 / 3 + nth * 0.7548776662466927) % 1
    v = (1 / 3 + nth * 0.5698402909980532) % 1
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    corners = vertices[faces[owner]]
    weights = np.stack([1 - u - v, u, v], axis=1).astype(np.float32)
    return np.einsum("sk,skc->sc", weights, corners), owner, face
