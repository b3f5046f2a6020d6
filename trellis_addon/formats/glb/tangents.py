"""Normals and tangents of a triangle mesh, as renderers of glTF expect them.

Tangents follow MikkTSpace (M. Mikkelsen, "Simulation of wrinkled surfaces revisited", 2008), which glTF names as the
default: each corner's direction of growing u, laid into the plane of the vertex normal, averaged by the corner's angle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def face_normals(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> F64:
    """(F, 3): normals as long as twice their triangles' areas."""
    corners = vertices[faces].astype(np.float64)
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def vertex_normals(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> F32:
    """(V, 3) unit normals, the mean of the faces' by area; +Z for a vertex without a face that has an area."""
    return unit(_summed(face_normals(vertices, faces), faces, len(vertices)))


def tangents(vertices: F32, faces: NDArray[np.integer], normals: F32, uvs: F32) -> F32:
    """(V, 4): unit tangents at right angles to `normals`, and +1 or -1 for the side of the bitangent.

    `uvs` run down the image, and the bitangent, cross(normal, tangent) * w, points up in it, as glTF has it. Every
    vertex must have its faces unwrapped to one side only (mirrored ones apart), as vertices split by charts have.
    """
    corners = vertices[faces].astype(np.float64)
    flat = uvs[faces].astype(np.float64)
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    du1, du2 = flat[:, 1, 0] - flat[:, 0, 0], flat[:, 2, 0] - flat[:, 0, 0]
    dv1, dv2 = flat[:, 0, 1] - flat[:, 1, 1], flat[:, 0, 1] - flat[:, 2, 1]
    area = du1 * dv2 - du2 * dv1
    side = np.where(area < 0, -1.0, 1.0)
    along = (edge1 * dv2[:, None] - edge2 * dv1[:, None]) * side[:, None]
    along[np.abs(area) < 1e-20] = 0.0
    total = np.zeros((len(vertices), 3))
    signs = np.zeros(len(vertices))
    for k in range(3):
        vertex = faces[:, k]
        normal = normals[vertex].astype(np.float64)
        direction = _in_plane(along, normal)
        first = _in_plane(corners[:, (k + 1) % 3] - corners[:, k], normal)
        second = _in_plane(corners[:, (k + 2) % 3] - corners[:, k], normal)
        angle = np.arccos(np.clip(np.einsum("ij,ij->i", first, second), -1.0, 1.0))
        for axis in range(3):
            total[:, axis] += np.bincount(vertex, direction[:, axis] * angle, len(vertices))
        signs += np.bincount(vertex, side * (np.abs(area) >= 1e-20), len(vertices))
    tangent = _in_plane(total, normals.astype(np.float64))
    lost = np.linalg.norm(tangent, axis=1) < 0.5
    if lost.any():
        tangent[lost] = _some_tangent(normals[lost].astype(np.float64))
    return np.concatenate([tangent, np.where(signs < 0, -1.0, 1.0)[:, None]], 1).astype(np.float32)


def unit(vectors: NDArray[np.floating]) -> F32:
    """The vectors at length 1, +Z where there is none."""
    length = np.linalg.norm(vectors, axis=1)
    sound = length > 1e-30
    out = np.zeros((len(vectors), 3), np.float32)
    out[:, 2] = 1.0
    out[sound] = vectors[sound] / length[sound, None]
    return out


def _summed(values: F64, faces: NDArray[np.integer], count: int) -> F64:
    total = np.zeros((count, 3))
    for k in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(faces[:, k], values[:, axis], count)
    return total


def _in_plane(vectors: F64, normals: F64) -> F64:
    """Unit vectors without their part along the normals; 0 where nothing is left."""
    rest = vectors - np.einsum("ij,ij->i", vectors, normals)[:, None] * normals
    length = np.linalg.norm(rest, axis=1)
    return np.asarray(np.where(length > 1e-30, 1.0, 0.0)[:, None] * rest / np.maximum(length, 1e-30)[:, None])


def _some_tangent(normals: F64) -> F64:
    other = np.where(np.abs(normals[:, :1]) < 0.6, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    return _in_plane(np.broadcast_to(other, normals.shape), normals)
