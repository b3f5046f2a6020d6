"""A mesh while its edges are collapsed: what is summed up at its vertices, what an edge costs, and what is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..mesh.kernels import run
from ..mesh.topology import I32, Bool, Edges, TriMesh, compact, used_vertices
from . import collapse_kernels as kernels

# What lies beyond a plane by so much of the whole, at the worst, is on average this much nearer.
_MEAN = 0.8


@dataclass(frozen=True)
class Quadrics:
    """What is summed up at the vertices: `planes` (N, 10) and the areas that these stand for, `weight` (N,)."""

    planes: NDArray[np.float64]
    weight: NDArray[np.float64]

    @staticmethod
    def none(vertices: int) -> Quadrics:
        return Quadrics(np.zeros((vertices, 10)), np.zeros(vertices))


class Round:
    """A mesh, two-manifold and wound one way, for one way of collapsing its edges; `held` (N,) vertices stay."""

    def __init__(self, mesh: TriMesh, held: Bool, quadrics: Quadrics | None = None) -> None:
        self.mesh, self.held = mesh, held
        number = len(mesh.vertices)
        edges = Edges.of(mesh.faces)
        self._faces = mesh.faces.reshape(-1).copy()
        half = edges.order[edges.first]
        self._ends = np.stack([self._faces[half], self._faces[half - half % 3 + (half + 1) % 3]], axis=1)
        alone = edges.counts == 1
        self.borders, self.border_ends = half[alone], self._ends[alone]
        """Half-edges (B,) without another face, and their vertices (B, 2)."""
        self._rim = np.zeros(number, np.bool_)
        self._rim[self.border_ends] = True
        self._vertices = mesh.vertices.astype(np.float64)
        self.quadrics = quadrics
        self._into = np.arange(number, dtype=np.int32)

    def sum_up(self, borders: I32) -> None:
        """Start the quadrics from the faces, and from the planes across these of the half-edges."""
        quadrics = Quadrics.none(len(self.mesh.vertices))
        border = np.zeros(len(self._faces), np.bool_)
        border[borders] = True
        run(kernels.add_faces, 1, self._faces, self._vertices, border, quadrics.planes, quadrics.weight)
        self.quadrics = quadrics

    def costs(self) -> NDArray[np.float32]:
        """(E,) about what each edge costs, quickly told."""
        quadrics = self._summed()
        cost = np.empty(len(self._ends), np.float32)
        run(kernels.middle_costs, len(cost), self._vertices, quadrics.planes, quadrics.weight, self._ends, cost)
        return cost

    def sweep(self, cost: NDArray[np.float32], most: float, target: int, least_angle: float) -> None:
        """Collapse edges that cost no more than `most`, in the order they come in, until so many faces are left."""
        values = self._common()
        left = np.array([len(self.mesh.faces)], np.int32)
        limits = most, int(target), _sine(least_angle)
        run(kernels.sweep, 1, *values, self.held.copy(), self._into, self._ends, cost, *limits, left)

    def collapse(self, target: int, bound: float, least_angle: float) -> None:
        """Collapse the cheapest edge first until so many faces are left, then all that stay within `bound`."""
        values = self._common()
        room = 2 * len(self._ends) + 64
        heap = np.empty(room, np.float32), np.empty((room, 3), np.int32)
        stamp = np.zeros(len(self.mesh.vertices), np.int32)
        held, left = np.ascontiguousarray(self.held), np.array([len(self.mesh.faces)], np.int32)
        limits = int(target), float(_MEAN * bound), _sine(least_angle)
        run(kernels.collapse, 1, *values, stamp, held, self._into, self._ends, *heap, *limits, left)

    def left(self) -> tuple[TriMesh, I32, Quadrics]:
        """What is left, each vertex's (N,) number in it, and what is summed up at its vertices."""
        quadrics = self._summed()
        into = self._into
        while (into != into[into]).any():
            into = into[into]
        kept = self._faces.reshape(-1, 3)
        left = TriMesh(self._vertices.astype(np.float32), np.ascontiguousarray(kept[kept[:, 0] >= 0]))
        used = used_vertices(left)
        return compact(left), numbers(left)[into], Quadrics(quadrics.planes[used], quadrics.weight[used])

    def _summed(self) -> Quadrics:
        if self.quadrics is None:
            self.sum_up(self.borders)
        assert self.quadrics is not None
        return self.quadrics

    def _common(self) -> tuple[NDArray, ...]:
        quadrics = self._summed()
        number = len(self.mesh.vertices)
        head, after = np.full(number, -1, np.int32), np.full(len(self._faces), -1, np.int32)
        run(kernels.list_corners, 1, self._faces, head, after)
        mark = np.zeros(number, np.int32)
        return self._faces, self._vertices, self._rim, quadrics.planes, quadrics.weight, head, after, mark


def numbers(mesh: TriMesh) -> I32:
    """(N,) the vertices' numbers after `compact`, -1 for those that no face uses."""
    used = used_vertices(mesh)
    return np.where(used, np.cumsum(used, dtype=np.int32) - np.int32(1), np.int32(-1))


def followed(number: I32, fresh: I32) -> I32:
    """(N,) what vertices have become, -1 for nothing, after their `number` has become another."""
    return np.where(number >= 0, fresh[number], np.int32(-1))


def still_held(held: Bool, fresh: I32, mesh: TriMesh) -> Bool:
    """(N,) which of the mesh's vertices are what became of those that were held."""
    kept = np.zeros(len(mesh.vertices), np.bool_)
    kept[fresh[held]] = True
    return kept


def _sine(angle: float) -> float:
    return float(np.sin(np.radians(angle)))
