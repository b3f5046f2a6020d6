"""Which parts of a mesh become a shell of their own: glass is not melted into what it stands on, or holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...formats.glb.textured_mesh import TexturedMesh
from ..mesh.closest import Surface
from ..mesh.topology import face_groups
from ..voxelise.voxelise import welded

F32 = NDArray[np.float32]

# A see-through part whose middle lies nearer to something solid, in voxels, is a layer on that, and goes with it.
_ON_IT = 0.4


def shells(mesh: TexturedMesh, vertices: F32, voxel: float) -> list[NDArray[np.bool_]]:
    """Faces (F,) of each shell: what is solid with all layers on it, and what is seen through, as far as there is any.

    `vertices` (V, 3) are the mesh's, in the frame in which a voxel is `voxel` wide.
    """
    glass = np.array([material.alpha_mode == "BLEND" or material.transmission > 0 for material in mesh.materials])
    clear = glass[mesh.ids]
    if clear.all() or not clear.any():
        return [np.ones(len(mesh.faces), bool)]
    _, faces = welded(vertices, mesh.faces)
    surface = Surface(vertices, mesh.faces[~clear])
    own = np.flatnonzero(clear)
    _, part = face_groups(faces[own].astype(np.int32))
    far = surface.closest(vertices[mesh.faces[own]].mean(1)).distances
    corners = vertices[mesh.faces[own]].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    near = np.bincount(part, area * (far < _ON_IT * voxel)) > 0.5 * np.bincount(part, area)
    alone = np.zeros(len(mesh.faces), bool)
    alone[own] = ~near[part]
    return [~alone, alone] if alone.any() else [~alone]
