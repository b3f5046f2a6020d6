"""Cleaning a raw mesh without changing its shape: the way that keeps the original topology."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.progress import Progress
from . import kernels
from .dust import large_components
from .holes import fill_holes
from .kernels import run
from .orient import consistent, flip, flipped_half_edges, outward
from .split import separated, split_vertices, with_new
from .topology import (
    I32,
    I64,
    Bool,
    Edges,
    TriMesh,
    bounds,
    compact,
    distinct_faces,
    in_order,
    twin_groups,
    used_vertices,
    weld,
    without_repeats,
)
from .twins import crowded_vertices, junctions, likely_pairs, opposite_pairs

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
    mesh, edges = _sound(mesh)
    if not len(mesh.faces):
        return TriMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    report.update("clean", 0.3)
    flips, patch, _ = consistent(mesh.faces, edges.with_count(2))
    report.update("clean", 0.45)
    areas = mesh.areas()
    links = flipped_half_edges(likely_pairs(mesh, edges), flips)
    mesh = TriMesh(mesh.vertices, flip(mesh.faces, flips))
    turned = outward(mesh, patch, links, areas)
    mesh = TriMesh(mesh.vertices, flip(mesh.faces, turned))
    edges = Edges(flipped_half_edges(edges.order, flips ^ turned), edges.first, edges.counts)
    report.update("clean", 0.6)

    twin = opposite_pairs(mesh, edges)
    loose = junctions(edges, twin)
    crowded = crowded_vertices(mesh, edges, loose)
    del edges
    _, component = twin_groups(twin)
    report.update("clean", 0.75)
    area = np.bincount(component, areas).astype(np.float64)
    low, _ = bounds(mesh.vertices)

    def voxels(rows: I64) -> NDArray[np.float32]:
        return (mesh.vertices[mesh.faces[rows, 0]] - low) * np.float32(resolution)

    kept = large_components(voxels, component, area * float(resolution**2), dust_voxels)
    if not kept.all():
        area, number = area[kept], np.cumsum(kept, dtype=np.int32) - np.int32(1)
        rows = np.flatnonzero(kept[component])
        mesh, twin, loose = _with_faces(mesh, twin, loose, rows)
        component = number[component[rows]]
    mesh = split_vertices(mesh, twin)
    if hole_perimeter > 0:
        solid = len(mesh.faces)
        mesh, twin = fill_holes(mesh, twin, hole_perimeter, loose, component, area)
        crowded = with_new(crowded, mesh)
        crowded[mesh.faces[solid:]] = True
    report.update("clean", 0.9)
    crowded = with_new(crowded, mesh)[used_vertices(mesh)]
    mesh = separated(compact(mesh), twin, crowded, _APART / resolution)
    report.update("clean", 1.0)
    return mesh


def _sound(mesh: TriMesh) -> tuple[TriMesh, Edges]:
    """Without faces on vertices that are not numbers, on repeated corners, or on another face's corners; its edges."""
    finite = np.isfinite(mesh.vertices)
    if not finite.all():
        mesh = TriMesh(mesh.vertices, mesh.faces[finite.all(1)[mesh.faces].all(1)])
    mesh = in_order(without_repeats(weld(compact(mesh))))
    edges = Edges.of(mesh.faces)
    distinct = distinct_faces(mesh.faces, edges)
    if not distinct.all():
        mesh = TriMesh(mesh.vertices, mesh.faces[distinct])
        edges = Edges.of(mesh.faces)
    return mesh, edges


def _with_faces(mesh: TriMesh, twin: I32, loose: Bool, rows: I64) -> tuple[TriMesh, I32, Bool]:
    """Everything for some faces only; these hang together, so no twin is lost."""
    number = np.empty(len(mesh.faces), np.int32)
    number[rows] = np.arange(len(rows), dtype=np.int32)
    left = np.empty((len(rows), 3), np.int32)
    run(kernels.renumber_twins, len(rows), twin, rows, number, left.reshape(-1))
    return TriMesh(mesh.vertices, mesh.faces[rows]), left.reshape(-1), loose.reshape(-1, 3)[rows].reshape(-1)
