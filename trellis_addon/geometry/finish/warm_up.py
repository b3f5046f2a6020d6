"""Finishing something small, once: what is compiled for this computer is there before anybody waits for an asset.

Warp compiles its kernels when they first run, which takes some 12 s, and keeps them in its cache.
"""

from __future__ import annotations

import numpy as np

from ...formats.glb.textured_mesh import SurfaceMaterial, Texture, TexturedMesh

_RESOLUTION = 24
_FACES = 64
_TEXELS = 64


def warm_up() -> None:
    """Take a small block through voxels and both ways of finishing; raises what `round_trip` raises."""
    from .roundtrip import round_trip

    for remesh in (True, False):
        round_trip(_block(), resolution=_RESOLUTION, texture_size=_TEXELS, faces=_FACES, remesh=remesh)


def _block() -> TexturedMesh:
    """A cube with a picture on each side."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([[a, *pair] for a, b, c, d in sides for pair in ((b, c), (c, d))], np.int64)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    uvs = np.array([[square[0], square[i], square[i + 1]] for _ in sides for i in (1, 2)], np.float32)
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    return TexturedMesh(corners, faces, (SurfaceMaterial(base_colour=Texture(pixels)),), uvs=uvs)
