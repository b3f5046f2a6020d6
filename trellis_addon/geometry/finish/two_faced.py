"""Sheets whose two sides look different: one surface has one look, so such a sheet becomes two, back to back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ...formats.glb.tangents import vertex_normals
from ..mesh.topology import Edges, TriMesh, face_groups, joined

F32 = NDArray[np.float32]

_SHARE = 0.05  # of a sheet's surface that has another look from behind: what has less has one look
_NEAR = 1.5  # voxels
_APART = 0.1  # voxels between the two


def with_backs(mesh: TriMesh, places: F32, voxel: float) -> TriMesh:
    """The mesh, with a second sheet behind each of its open parts that passes such `places` (S, 3)."""
    if not len(places) or not len(mesh.faces):
        return mesh
    edges = Edges.of(mesh.faces)
    count, part = face_groups(mesh.faces, edges)
    open_ = np.zeros(count, bool)
    open_[part[edges.with_count(1)[:, 0] // 3]] = True
    if not open_.any():
        return mesh
    points, face = _strewn(mesh, voxel)
    near = cKDTree(places).query(points, distance_upper_bound=_NEAR * voxel)[0] < np.inf
    total = np.bincount(part[face], minlength=count)
    chosen = (open_ & (np.bincount(part[face], near, count) > _SHARE * total))[part]
    if not chosen.any():
        return mesh
    away = np.float32(_APART / 2 * voxel) * vertex_normals(mesh.vertices, mesh.faces)
    one, two = mesh.vertices.copy(), mesh.vertices - away
    rows = np.unique(mesh.faces[chosen])
    one[rows] += away[rows]
    used = np.zeros(len(one), np.int32)
    used[rows] = np.arange(len(rows))
    return joined([TriMesh(one, mesh.faces), TriMesh(two[rows], used[mesh.faces[chosen][:, ::-1]])])


def _strewn(mesh: TriMesh, voxel: float) -> tuple[F32, NDArray[np.int64]]:
    """Points on the surface, about one for each voxel and one on each face, and their faces."""
    areas = mesh.areas()
    each = np.clip(areas / voxel**2, 1, 100).astype(np.int64)
    face = np.repeat(np.arange(len(areas)), each)
    weights = np.random.default_rng(0).dirichlet((1.0, 1.0, 1.0), len(face)).astype(np.float32)
    return np.einsum("nk,nkc->nc", weights, mesh.vertices[mesh.faces[face]]), face
