"""Sheets whose two sides look different: one surface has one look, so such a sheet becomes two, back to back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..mesh.topology import TriMesh, face_groups, joined

F32 = NDArray[np.float32]

_SHARE = 0.05  # of a sheet's surface that has another look from behind: what has less has one look
_NEAR = 1.5  # voxels
_APART = 0.1  # voxels between the two


def with_backs(mesh: TriMesh, places: F32, voxel: float) -> TriMesh:
    """The mesh, with a second sheet behind each of its open parts that passes such `places` (S, 3)."""
    if not len(places) or not len(mesh.faces):
        return mesh
    count, part = face_groups(mesh.faces)
    open_ = np.zeros(count, bool)
    open_[part[_on_border(mesh)]] = True
    if not open_.any():
        return mesh
    points, face = _strewn(mesh, voxel)
    near = cKDTree(places).query(points, distance_upper_bound=_NEAR * voxel)[0] < np.inf
    total = np.bincount(part[face], minlength=count)
    chosen = (open_ & (np.bincount(part[face], near, count) > _SHARE * total))[part]
    if not chosen.any():
        return mesh
    away = np.float32(_APART / 2 * voxel) * _vertex_normals(mesh)
    one, two = mesh.vertices.copy(), mesh.vertices - away
    rows = np.unique(mesh.faces[chosen])
    one[rows] += away[rows]
    used = np.zeros(len(one), np.int32)
    used[rows] = np.arange(len(rows))
    return joined([TriMesh(one, mesh.faces), TriMesh(two[rows], used[mesh.faces[chosen][:, ::-1]])])


def _on_border(mesh: TriMesh) -> NDArray[np.bool_]:
    ends = np.sort(np.stack([mesh.faces, np.roll(mesh.faces, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    keys = ends[:, 0].astype(np.int64) * len(mesh.vertices) + ends[:, 1]
    _, which, times = np.unique(keys, return_inverse=True, return_counts=True)
    return np.asarray((times[which.reshape(-1)] == 1).reshape(-1, 3).any(1))


def _strewn(mesh: TriMesh, voxel: float) -> tuple[F32, NDArray[np.int64]]:
    """Points on the surface, about one for each voxel and one on each face, and their faces."""
    areas = mesh.areas()
    each = np.clip(areas / voxel**2, 1, 100).astype(np.int64)
    face = np.repeat(np.arange(len(areas)), each)
    weights = np.random.default_rng(0).dirichlet((1.0, 1.0, 1.0), len(face)).astype(np.float32)
    return np.einsum("nk,nkc->nc", weights, mesh.vertices[mesh.faces[face]]), face


def _vertex_normals(mesh: TriMesh) -> F32:
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    out = np.zeros((len(mesh.vertices), 3))
    for slot in range(3):
        np.add.at(out, mesh.faces[:, slot], normals)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-300), np.float32)
