"""Cleaning a raw mesh without changing its shape: the way that keeps the original topology."""

from __future__ import annotations

import numpy as np

from ..progress import Progress
from .holes import fill_holes
from .orient import consistent, flip, flipped_half_edges, outward
from .topology import I32, I64, Bool, Edges, TriMesh, compact, groups, repeated_corners, weld
from .topology_dust import large_components
from .topology_split import likely_pairs, opposite_pairs, separated, split_vertices

# How far vertices that were one are moved apart, in voxels, so that a program that welds does not join them again.
_APART = 0.02


def clean(
    mesh: TriMesh,
    *,
    resolution: int = 512,
    hole_perimeter: float = 0.03,
    dust_voxels: float = 16.0,
    progress: Progress | None = None,
) -> TriMesh:
    """A two-manifold mesh, wound consistently and outward, without its dust and its small holes.

    Joins vertices at one place; drops faces with vertices that are not numbers, with repeated corners, and all
    but one of those on the same three vertices. The surface between edges with more than two faces is wound so
    that its front is what is seen from outside; such edges, and vertices with more than one fan, are split.
    Components of less than `dust_voxels` square voxels (a voxel is 1/`resolution`) that lie by themselves are
    dropped. Border loops shorter than `hole_perimeter` (in the mesh's units; 0 for none) are closed.
    The result may be empty, and may have borders: open surfaces stay open.
    """
    report = progress or Progress()
    report.update("clean", 0.0)
    mesh = _sound(mesh)
    if not len(mesh.faces):
        return TriMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    report.update("clean", 0.15)
    edges = Edges.of(mesh.faces)
    flips, patch, _ = consistent(mesh.faces, edges.with_count(2))
    report.update("clean", 0.4)
    links = flipped_half_edges(likely_pairs(mesh, edges), flips)
    mesh = TriMesh(mesh.vertices, flip(mesh.faces, flips))
    turned = outward(mesh, patch, links)
    mesh = TriMesh(mesh.vertices, flip(mesh.faces, turned))
    report.update("clean", 0.6)

    order = flipped_half_edges(flipped_half_edges(edges.order, flips), turned)
    edges = Edges(order, edges.first, edges.counts)
    twin = opposite_pairs(mesh, edges)
    junctions = (twin < 0) & (_faces_at(edges) > 1)
    known = np.flatnonzero(twin >= 0)
    _, component = groups(len(mesh.faces), np.stack([known, twin[known]], axis=1) // 3)
    report.update("clean", 0.75)
    middles = (mesh.vertices[mesh.faces[:, 0]] - mesh.vertices.min(0)) * np.float32(resolution)
    size = np.bincount(component, mesh.areas()) * float(resolution**2)
    kept = large_components(middles, component, size, dust_voxels)
    mesh, twin, junctions, component = _keep(mesh, twin, junctions, component, kept)
    mesh = split_vertices(mesh, twin)
    if hole_perimeter > 0:
        mesh, twin = fill_holes(mesh, twin, hole_perimeter, junctions, component)
    report.update("clean", 0.9)
    mesh = separated(compact(mesh), twin, _APART / resolution)
    report.update("clean", 1.0)
    return mesh


def _faces_at(edges: Edges) -> I64:
    """(3 M,) how many faces there are at each half-edge's edge."""
    counts = np.empty(len(edges.order), np.int64)
    counts[edges.order] = np.repeat(edges.counts, edges.counts)
    return counts


def _sound(mesh: TriMesh) -> TriMesh:
    """Without faces on vertices that are not numbers, on repeated corners, or on another face's corners."""
    finite = np.isfinite(mesh.vertices).all(1)
    if not finite.all():
        mesh = TriMesh(mesh.vertices, mesh.faces[finite[mesh.faces].all(1)])
    mesh = weld(compact(mesh))
    faces = mesh.faces[~repeated_corners(mesh.faces)]
    return TriMesh(mesh.vertices, faces[distinct_faces(faces, len(mesh.vertices))])


def distinct_faces(faces: I32, vertices: int) -> Bool:
    """(M,) all but one of the faces that have the same corners in any order."""
    low, high = faces.min(1).astype(np.int64), faces.max(1).astype(np.int64)
    middle = faces.sum(1, dtype=np.int64) - low - high
    # Two keys, as three vertex numbers of a large mesh do not fit in 64 bits.
    order = np.lexsort((high, low * vertices + middle)) if vertices >= 1 << 21 else None
    if order is None:
        key = (low * vertices + middle) * vertices + high
        order = np.argsort(key)
        same = key[order[1:]] == key[order[:-1]]
    else:
        same = np.ones(max(len(order) - 1, 0), np.bool_)
        for part in (low, middle, high):
            same &= part[order[1:]] == part[order[:-1]]
    kept = np.ones(len(faces), np.bool_)
    kept[order[1:][same]] = False
    return kept


def _keep(mesh: TriMesh, twin: I32, junctions: Bool, component: I32, kept: Bool) -> tuple[TriMesh, I32, Bool, I32]:
    """Everything for the faces of the kept components only; these hang together, so no twin is lost."""
    if kept.all():
        return mesh, twin, junctions, component
    faces = kept[component]
    corners = np.repeat(faces, 3)
    number = np.cumsum(corners, dtype=np.int32) - np.int32(1)
    twin = twin[corners]
    twin = np.where(twin >= 0, number[twin], -1).astype(np.int32)
    again = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    return TriMesh(mesh.vertices, mesh.faces[faces]), twin, junctions[corners], again[component[faces]]
