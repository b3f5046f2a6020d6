"""Quads by Instant Field-Aligned Meshes (Jakob, Tarini, Panozzo, Sorkine-Hornung 2015), through pynanoinstantmeshes."""

from __future__ import annotations

import importlib.util

import numpy as np

from ...core.streams import unheard
from ..mesh.topology import TriMesh
from .fitting import Made, fitted

_CREASE = 30.0  # degrees, from which on an edge is one that quads are to follow
_TRIES, _CLOSE = 4, 0.03
_BRANCHES = 4  # it makes this many quads for each vertex that it is asked for, as it cuts each face at its centre


def is_here() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("pynanoinstantmeshes") is not None


def quads_of(mesh: TriMesh, count: int) -> Made | None:
    """About `count` quads of one part; None where nothing comes of it, as of a part with too little form."""
    return fitted(lambda vertices: _field_aligned(mesh, vertices), count, count / _BRANCHES, _TRIES, _CLOSE)


def _field_aligned(mesh: TriMesh, vertices: int) -> Made | None:
    import pynanoinstantmeshes

    with unheard():
        places, quads = pynanoinstantmeshes.remesh(
            np.ascontiguousarray(mesh.vertices, np.float32),
            np.ascontiguousarray(mesh.faces, np.uint32),
            vertices,
            creaseAngle=_CREASE,
            align_to_boundaries=True,
            deterministic=True,
        )
    places, quads = np.array(places, np.float32), np.array(quads).astype(np.int64)
    if not len(quads) or not np.isfinite(places).all() or quads.max() >= len(places):
        return None
    used, numbers = np.unique(quads, return_inverse=True)
    return places[used], numbers.reshape(quads.shape).astype(np.int32)
