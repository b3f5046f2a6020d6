"""Closest points on a triangle mesh, exactly, for millions of questions.

NVIDIA Warp's bounding volume hierarchy answers where it can be imported (on the CPU too); a k-d tree over
points strewn on the triangles does otherwise. Both give the same answers, the second more slowly.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core.errors import InputError
from .closest_exact import SampledTriangles

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


@dataclass(frozen=True)
class Closest:
    """What was found for Q points; where nothing lies within reach `faces` is -1 and `distances` infinite."""

    points: F32
    """(Q, 3) on the surface."""
    faces: I32
    """(Q,) triangle numbers."""
    barycentrics: F32
    """(Q, 3) weights of the triangle's three vertices, not negative, sum 1."""
    distances: F32
    """(Q,) in the mesh's units."""


class Surface:
    """A triangle mesh to ask for closest points: `vertices` (V, 3) and `faces` (F, 3).

    `device` is a Warp device (`"cpu"`, `"cuda:0"`); without Warp it is not used. `warp=False` takes the
    other way even where Warp is at hand. Raises `InputError` for a mesh without faces or with vertex
    numbers that do not exist. Vertices that are not finite make their faces unreachable.
    """

    def __init__(self, vertices: ArrayLike, faces: ArrayLike, *, device: str = "cpu", warp: bool | None = None) -> None:
        self.vertices: F32 = np.ascontiguousarray(vertices, np.float32).reshape(-1, 3)
        self.faces: I32 = np.ascontiguousarray(faces, np.int32).reshape(-1, 3)
        if not len(self.faces):
            raise InputError("The mesh has no faces, so nothing is closest on it; give a mesh with faces.")
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            raise InputError("The mesh's faces name vertices that it does not have; give a whole mesh.")
        # A vertex without a place would spoil the boxes that hold it; its faces are asked without it.
        numbers = np.isfinite(self.vertices)
        self._kept: NDArray[np.int64] | None = None
        used, places = self.faces, self.vertices
        if not numbers.all():
            self._kept = np.flatnonzero(numbers.all(1)[self.faces].all(1))
            used, places = self.faces[self._kept], np.where(numbers, self.vertices, np.float32(0))
            if not len(used):
                raise InputError("The mesh has no face whose vertices are all numbers; give a sound mesh.")
        self._engine: Any
        if has_warp() if warp is None else warp:
            from .closest_warp import WarpTriangles

            self._engine = WarpTriangles(places, used, device)
        else:
            self._engine = SampledTriangles(self.vertices, used)

    @property
    def warp_mesh(self) -> Any:
        """The `warp.Mesh` of the faces, for kernels of one's own. Raises `RuntimeError` where Warp is not used."""
        if not hasattr(self._engine, "mesh"):
            raise RuntimeError("this surface is not in Warp")
        return self._engine.mesh

    def closest(self, points: ArrayLike, max_distance: float = float("inf")) -> Closest:
        """The closest places to `points` (Q, 3) no further than `max_distance`."""
        asked = np.ascontiguousarray(points, np.float32).reshape(-1, 3)
        numbers = np.isfinite(asked)
        sound = bool(numbers.all())
        faces, weights = self._engine.closest(asked if sound else np.where(numbers, asked, np.float32(0)), max_distance)
        lost = faces < 0
        if self._kept is not None:
            faces = self._kept[faces].astype(np.int32)
        if not sound:
            lost |= ~numbers.all(1)
        some = bool(lost.any())
        if some:
            faces[lost], weights[lost] = -1, (1, 0, 0)
        places = np.einsum("qk,qkc->qc", weights, self.vertices[self.faces[faces]])
        if some:
            places[lost] = asked[lost]
        distances = np.sqrt(np.square(asked - places).sum(1))
        distances[lost] = np.inf
        return Closest(places, faces, weights, distances)


def has_warp() -> bool:
    """Whether Warp can be used here: it is installed, and its library can be loaded."""
    try:
        importlib.import_module("warp")
    except (ImportError, OSError):
        return False
    return True
