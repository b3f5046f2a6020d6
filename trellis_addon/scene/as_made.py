"""Where an asset's mesh has what its GLB has: the object may have been turned, mirrored or stretched, and its transform
applied, since it came in."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from ..core.errors import TrellisError
from ..formats.glb.read import read_glb
from .importing.placement import bounds, positions

_NEAR = 1e-3  # of the mesh's longest side: a place that a map finds
_ALIKE = 0.02  # what the three sides of a mesh that was edited may differ by, where it is still this asset


def map_of(path: Path, mesh: bpy.types.Mesh, name: str) -> Matrix:
    """What takes the places of a GLB, in Blender's axes, to those of the mesh that was imported from it.

    Found by its triangles, also where some of them were moved. Where there are others by now it is told by the mesh's
    bounds; raises `TrellisError` where these are not the asset's any more.
    """
    file = read_glb(path)
    turned = np.stack([file.vertices[:, 0], -file.vertices[:, 2], file.vertices[:, 1]], 1).astype(np.float64)
    corners = turned[file.faces]
    found = _by_triangles(corners.mean(1), _middles(mesh))
    if found is not None:
        return found
    low, high = corners.min((0, 1)), corners.max((0, 1))
    now_low, now_high = (np.asarray(corner, np.float64) for corner in bounds(mesh))
    scale = float((now_high - now_low).max() / (high - low).max())
    if np.abs((now_high - now_low) - scale * (high - low)).max() > _ALIKE * (now_high - now_low).max():
        raise TrellisError(
            'The mesh of "{name}" has not the form any more that the asset was made in, so that nobody can say where '
            "its parts are: undo what was joined to it or cut from it, or bring the asset in again.",
            name=name,
        )
    return _as_matrix(np.diag([scale] * 3), now_low - scale * low)


def is_turned(placed: Matrix) -> bool:
    """Whether a mesh lies in other directions than its file, or was stretched."""
    linear = np.array(placed.to_3x3())
    return bool(np.abs(linear - np.eye(3) * linear.trace() / 3).max() > 1e-3 * np.abs(linear).max())


def move(mesh: bpy.types.Mesh, by: Matrix) -> None:
    """Move a mesh, and keep its outside outside where that mirrors it."""
    mesh.transform(by)
    if by.is_negative:
        mesh.flip_normals()
    mesh.update()


def _middles(mesh: bpy.types.Mesh) -> np.ndarray:
    mesh.calc_loop_triangles()
    corners = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("vertices", corners)
    return positions(mesh).astype(np.float64)[corners.reshape(-1, 3)].mean(1)


def _by_triangles(file: np.ndarray, mesh: np.ndarray) -> Matrix | None:
    """The affine map from one row of points (N, 3) to the other that holds for nearly all, or for most of them."""
    if len(file) != len(mesh) or len(file) < 8:
        return None
    size = float(np.ptp(mesh, axis=0).max())
    centre = file.mean(0)
    known = np.concatenate([file - centre, np.ones((len(file), 1))], 1)
    chosen = np.ones(len(file), bool)
    for _ in range(12):  # without those that fit worst, so that what was sculpted has no say
        found, _, rank, _ = np.linalg.lstsq(known[chosen], mesh[chosen], rcond=1e-9)
        if rank < 4:
            return None  # flat: nothing says what became of its thickness
        off = np.linalg.norm(known @ found - mesh, axis=1)
        if np.quantile(off, 0.6) < _NEAR * size:
            linear = found[:3].T
            return _as_matrix(linear, found[3] - linear @ centre)
        chosen = off <= np.quantile(off, 0.6)
    return None


def _as_matrix(linear: np.ndarray, offset: np.ndarray) -> Matrix:
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = linear, offset
    return Matrix(whole.tolist())
