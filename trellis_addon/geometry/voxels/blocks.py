"""Occupied voxels as a mesh of blocks: what a rough shape looks like from all sides, and can be looked at anywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...formats.glb.write import Material, Mesh

GREY = Material("Rough Shape", colour_factor=(0.6, 0.6, 0.6, 1.0), metallic_factor=0.0, roughness_factor=0.8)


def blocks(coords: NDArray[np.integer], side: int, name: str = "Rough Shape") -> Mesh:
    """The outer faces of voxels (N, 3) = (x, y, z) of a grid of `side`, Z up and front -Y, as a GLB has them.

    The grid is the cube [-0.5, 0.5]^3; the faces have corners of their own, for flat normals. N is 1 at least.
    """
    filled = np.zeros((side + 2,) * 3, bool)
    filled[tuple(np.asarray(coords, np.int64).T + 1)] = True
    corners, normals = [], []
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3  # in this order they turn counter-clockwise about the axis
        for towards in (-1, 1):
            bare = np.argwhere(filled & ~np.roll(filled, -towards, axis)) - 1
            around = np.zeros((4, 3))
            around[:, axis] = (towards + 1) / 2
            around[:, first] = (0, 1, 1, 0) if towards > 0 else (0, 0, 1, 1)
            around[:, second] = (0, 0, 1, 1) if towards > 0 else (0, 1, 1, 0)
            corners.append((bare[:, None] + around).reshape(-1, 3))
            normal = np.zeros(3)
            normal[axis] = towards
            normals.append(np.repeat(normal[None], 4 * len(bare), 0))
    places, facing = np.concatenate(corners) / side - 0.5, np.concatenate(normals)
    quads = np.arange(len(places), dtype=np.uint32).reshape(-1, 4)
    faces = quads[:, (0, 1, 2, 0, 2, 3)].reshape(-1, 3)
    return Mesh(_upright(places), faces, _upright(facing), name=name)


def _upright(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Z up to Y up."""
    return np.ascontiguousarray(vectors[:, (0, 2, 1)] * (1, 1, -1), np.float32)
