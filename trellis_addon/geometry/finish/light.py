"""The light mesh of a surface: simplified, and where that takes too much of its form made of coarser voxels first.

Simplifying keeps every hole and handle, and lets no faces cross. What cannot become simpler for that keeps its
triangles, and they are taken from whatever else there is, until a ball is a tetrahedron. Of very many
holes not even so few triangles can be reached. In coarser voxels small holes are closed, grooves are filled, and what
lies inside is gone: there the same triangles come nearer to the form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.progress import Progress
from ..mesh.closest import Surface
from ..mesh.crossings import crossing_faces
from ..mesh.topology import TriMesh, joined, vertex_groups
from ..remesh.remesh import Solidity, remesh
from ..simplify.simplify import simplify
from .two_faced import with_backs

_FAR = 1.0  # voxels that a light surface may lie off on average, before coarser voxels are tried
_COARSEST = 32  # voxels along the longest side
_LEAST = 8  # the same, where more holes are left than so many triangles can go around
_TRIES = 6  # to find what leaves room for the backs of sheets
_LEAST_SHEET = 2  # triangles
_FEW_CROSSINGS = 0.02  # of the faces: a thin wall of too few triangles passes through itself all over
_SAMPLES = 4_000  # points on a surface


class Lightener:
    """Light meshes of one surface, whose shells are in the cube of `resolution` voxels a side.

    With a resolution of 0 they are simplified as they are, whatever comes of it. `bound` as for `simplify`, `two_faced`
    as `with_backs` takes places.
    """

    def __init__(
        self,
        shells: Sequence[TriMesh],
        resolution: int,
        *,
        bound: float = 0.0,
        solidity: Solidity = "automatic",
        two_faced: NDArray[np.float32] | None = None,
    ) -> None:
        self._shells = shells
        self._two_faced = two_faced if resolution else None
        self._surface = joined(shells)
        self._resolution = resolution
        self._bound = bound
        self._solidity: Solidity = solidity
        self._coarse: dict[int, list[TriMesh]] = {}  # by resolution: several levels of detail share them

    def light(self, target: int, progress: Progress | None = None) -> TriMesh:
        """The surface as one mesh of at most `target` triangles."""
        progress = progress or Progress()
        found = self._light(target, progress)
        if self._two_faced is None or not len(self._two_faced):
            return found
        budget = target
        for _ in range(_TRIES):
            both = with_backs(found, self._two_faced, 1.0 / self._resolution)
            if len(both.faces) <= target or both is found:
                return both
            budget = min(budget - 1, budget * target // len(both.faces))
            if budget < _LEAST_SHEET:
                break
            found = self._light(budget, progress)
        return found

    def _light(self, target: int, progress: Progress) -> TriMesh:
        found = _simplified(self._shells, target, self._bound, progress.part(0.0, 0.5))
        resolution = self._resolution
        is_near = resolution and _off(self._surface, found) <= _FAR / resolution
        if not resolution or (is_near and not any(_faults(found, target))):
            return found
        least = *_faults(found, target), deviation(self._surface, found)
        while (resolution := resolution // 2) >= (_LEAST if least[0] else _COARSEST):
            progress.update("simplify", 0.5)
            tried = _simplified(self._coarser(resolution), target, self._bound, progress.part(0.5, 1.0))
            if not len(tried.faces):
                continue
            far = *_faults(tried, target), deviation(self._surface, tried)
            # what crosses itself is given up for what is as near, not for what has lost the form
            if far < least and (not is_near or least[0] or far[2] <= _FAR / self._resolution):
                found, least = tried, far
        return found

    def _coarser(self, resolution: int) -> list[TriMesh]:
        if resolution not in self._coarse:
            self._coarse[resolution] = [
                remesh(shell, resolution=resolution, solidity=self._solidity).mesh for shell in self._shells
            ]
        return self._coarse[resolution]


def deviation(one: TriMesh, other: TriMesh) -> float:
    """The distance between two surfaces: the root of the mean square over points on both, in the meshes' units."""
    return float(np.sqrt((_off(one, other) ** 2 + _off(other, one) ** 2) / 2))


def _excess(mesh: TriMesh, target: int) -> int:
    return max(len(mesh.faces) - target, 0)


def _faults(mesh: TriMesh, target: int) -> tuple[int, int]:
    """Triangles too many, and pairs of them that cross, where these are many."""
    pairs = len(crossing_faces(mesh, vertex_groups(mesh.faces, len(mesh.vertices))[1]))
    return _excess(mesh, target), pairs if pairs > _FEW_CROSSINGS * len(mesh.faces) else 0


def _off(of: TriMesh, on: TriMesh) -> float:
    """How far points of one surface lie off another: the root of the mean square."""
    distances = Surface(on.vertices, on.faces).closest(_points(of)).distances
    return float(np.sqrt(np.square(distances, dtype=np.float64).mean()))


def _simplified(shells: Sequence[TriMesh], target: int, bound: float, progress: Progress) -> TriMesh:
    number = np.repeat(np.arange(len(shells), dtype=np.int32), [len(shell.vertices) for shell in shells])
    return simplify(joined(shells), target, bound=bound, shells=number, progress=progress)


def _points(mesh: TriMesh) -> NDArray[np.float32]:
    """Points (N, 3) strewn over a surface, the same ones each time."""
    random = np.random.default_rng(0)
    until = np.cumsum(mesh.areas())
    rows = np.searchsorted(until, random.random(_SAMPLES) * until[-1], side="right").clip(max=len(until) - 1)
    root, along = np.sqrt(random.random((_SAMPLES, 1))), random.random((_SAMPLES, 1))
    a, b, c = (mesh.vertices[mesh.faces[rows, corner]] for corner in range(3))
    return ((1 - root) * a + root * (1 - along) * b + root * along * c).astype(np.float32)
