"""Faces that cross each other are moved apart: towards a smoother surface, only there."""

from __future__ import annotations

import numpy as np

from ..mesh.crossings import crossing_faces
from ..mesh.topology import I32, Bool, TriMesh

_STEPS = 12
_SHARE = 0.5


def untangled(mesh: TriMesh, near: Bool, shells: I32) -> TriMesh:
    """The mesh with crossings among the faces at `near` (N,) vertices undone where smoothing does it.

    Those of faces of different `shells` (N,) stay.
    """
    rows = np.flatnonzero(near[mesh.faces].any(1))
    if not len(rows):
        return mesh
    vertices = mesh.vertices.copy()
    faces = mesh.faces[rows]
    used, flat = np.unique(faces, return_inverse=True)
    faces = flat.reshape(-1, 3).astype(np.int32)
    places, own = vertices[used], shells[used]
    # Only vertices with all their faces here may move: those at the rim have others that are not looked at.
    inner = np.ones(len(used), np.bool_)
    outside = np.ones(len(mesh.faces), np.bool_)
    outside[rows] = False
    inner[np.isin(used, mesh.faces[outside])] = False
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ends = np.unique(np.sort(ends, axis=1), axis=0)
    ends = np.concatenate([ends, ends[:, ::-1]])
    degree = np.maximum(np.bincount(ends[:, 0], minlength=len(used)), 1)[:, None]
    for _ in range(_STEPS):
        pairs = crossing_faces(TriMesh(places, faces), own)
        if not len(pairs):
            break
        moved = np.zeros(len(used), np.bool_)
        moved[faces[pairs.reshape(-1)]] = True
        moved &= inner
        mean = np.stack([np.bincount(ends[:, 0], places[ends[:, 1], k], len(used)) for k in range(3)], axis=1) / degree
        places[moved] += (_SHARE * (mean - places)[moved]).astype(np.float32)
    vertices[used] = places
    return TriMesh(vertices, mesh.faces)
