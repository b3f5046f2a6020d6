"""Faces that cross each other."""

from __future__ import annotations

import numpy as np
import warp as wp

from ..arrays import on_device
from . import crossing_kernels
from .kernels import run
from .topology import I32, TriMesh

_ROOM = 4096


def crossing_faces(mesh: TriMesh, shells: I32 | None = None) -> I32:
    """(P, 2) pairs of faces of which an edge of one passes through the other, in order; neighbours at an edge are none.

    With `shells` (N,), numbers of the vertices, only those within one. Faces that lie in one plane, and those that only
    touch, do not cross.
    """
    if not len(mesh.faces):
        return np.zeros((0, 2), np.int32)
    vertices = mesh.vertices.astype(np.float64)
    tree = wp.Mesh(
        points=on_device(mesh.vertices, wp.vec3, "cpu"), indices=on_device(mesh.faces.reshape(-1), wp.int32, "cpu")
    )
    room = _ROOM
    while True:
        pairs, number = np.zeros((room, 2), np.int32), np.zeros(1, np.int32)
        faces = np.ascontiguousarray(mesh.faces).reshape(-1)
        run(crossing_kernels.find_crossings, len(mesh.faces), tree.id, faces, vertices, pairs, number)
        found = int(number[0])
        if found <= room:
            pairs = pairs[:found]
            if shells is not None:
                own = shells[mesh.faces[:, 0]]
                pairs = pairs[own[pairs[:, 0]] == own[pairs[:, 1]]]
            return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        room = found
