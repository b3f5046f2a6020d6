"""A large mesh in pieces whose edges are collapsed at the same time, on all cores.

Vertices where pieces meet are held until the mesh is whole again. How it is cut depends on the mesh alone, and what is
decided for all pieces is decided from all of them in their order: the result is the same on any number of cores.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ...core.machine.parallel import on_all_cores
from ..arrays import by_rows
from ..mesh import kernels as mesh_kernels
from ..mesh.kernels import run
from ..mesh.topology import F32, I32, I64, Bool, TriMesh, bounds
from . import collapse_kernels
from .rounds import Quadrics, Round, followed, still_held

_LEAST_FACES = 400_000  # of a piece: with fewer, what is held for its neighbours is too much of it
_MOST = 16
_SAMPLES = 100_000  # edges whose costs stand for all


@dataclass
class _Piece:
    """Some of a mesh's faces: `source` (n,) are their vertices' numbers in it, `number` (n,) what these became."""

    mesh: TriMesh
    source: I64
    held: Bool
    number: I32
    quadrics: Quadrics | None = None
    begun: Round | None = None

    def round(self) -> Round:
        """The next one: that which has begun, if any."""
        return self.begun or Round(self.mesh, self.held, self.quadrics)

    def go_on(self, now: Round) -> None:
        """From what a round has left."""
        self.begun = None
        self.mesh, fresh, self.quadrics = now.left()
        self.number, self.held = followed(self.number, fresh), still_held(self.held, fresh, self.mesh)


class Pieces:
    """A mesh in which every vertex has a face, in one piece or more; `held` (N,) vertices stay as they are."""

    def __init__(self, mesh: TriMesh, held: Bool) -> None:
        self._vertices = mesh.vertices
        count = min(max(len(mesh.faces) // _LEAST_FACES, 1), _MOST)
        if count < 2:
            number = np.arange(len(mesh.vertices), dtype=np.int32)
            self._pieces = [_Piece(mesh, number.astype(np.int64), held, number)]
            return
        for kernel in (mesh_kernels.count_ends, collapse_kernels.add_faces):
            wp.load_module(kernel.module, "cpu")  # once, before several threads ask for it
        label = _slabs(mesh.vertices, count)
        of_face = by_rows(len(mesh.faces), lambda part: label[mesh.faces[part, 0]])
        order = np.argsort(of_face, kind="stable")
        edges = np.cumsum([0, *np.bincount(of_face, minlength=count)])
        parts = [order[low:high] for low, high in itertools.pairwise(edges) if low < high]
        cut = on_all_cores(parts, lambda rows: _part(mesh, rows))
        times = np.zeros(len(mesh.vertices), np.uint8)
        for _, source in cut:
            times[source] += 1
        self._pieces = [
            _Piece(part, source, held[source] | (times[source] > 1), np.arange(len(source), dtype=np.int32))
            for part, source in cut
        ]
        rounds = on_all_cores(self._pieces, _Piece.round)
        borders = _true_borders(self._pieces, rounds, times > 1)
        on_all_cores(range(len(rounds)), lambda which: rounds[which].sum_up(borders[which]))
        for piece, now in zip(self._pieces, rounds, strict=True):
            piece.begun, piece.quadrics = now, now.quadrics

    @property
    def several(self) -> bool:
        return len(self._pieces) > 1

    @property
    def faces(self) -> int:
        return sum(len(piece.mesh.faces) for piece in self._pieces)

    def sweep(self, share: float, target: int, least_angle: float) -> None:
        """Collapse about the cheapest `share` of all edges, no two at one vertex, until so many faces are left."""

        def look(piece: _Piece) -> tuple[Round, NDArray[np.float32]]:
            now = piece.round()
            return now, now.costs()

        looked = on_all_cores(self._pieces, look)
        step = max(sum(len(cost) for _, cost in looked) // _SAMPLES, 1)
        most = float(np.quantile(np.concatenate([cost[::step] for _, cost in looked]), share))
        cheap = [int(np.count_nonzero(cost <= most)) for _, cost in looked]
        more = max(self.faces - target, 0)

        def swept(which: int) -> None:
            piece, (now, cost) = self._pieces[which], looked[which]
            # Each gives up faces in proportion to its cheap edges.
            left = len(piece.mesh.faces) - more * cheap[which] // max(sum(cheap), 1)
            now.sweep(cost, most, left, least_angle)
            piece.go_on(now)

        on_all_cores(range(len(looked)), swept)

    def collapse(self, bound: float, least_angle: float) -> None:
        """Collapse the cheapest edges of each piece first, all that stay within `bound`."""

        def collapsed(piece: _Piece) -> None:
            now = piece.round()
            now.collapse(len(piece.mesh.faces), bound, least_angle)
            piece.go_on(now)

        on_all_cores(self._pieces, collapsed)

    def whole(self) -> tuple[TriMesh, I32, Quadrics | None]:
        """The whole mesh, each vertex's (N,) number in it, and what is summed up at its vertices."""
        if not self.several:
            (piece,) = self._pieces
            return piece.mesh, piece.number, piece.quadrics
        # Of the vertices that became one the first stands for it.
        stands = []
        for piece in self._pieces:
            first = np.empty(len(piece.mesh.vertices), np.int64)
            known = np.flatnonzero(piece.number >= 0)[::-1]
            first[piece.number[known]] = piece.source[known]
            stands.append(first)
        used = np.zeros(len(self._vertices), np.bool_)
        for first in stands:
            used[first] = True
        number = np.cumsum(used, dtype=np.int32) - np.int32(1)
        vertices = self._vertices[used]
        planes, weight = np.zeros((len(vertices), 10)), np.zeros(len(vertices))
        became = np.full(len(self._vertices), -1, np.int32)
        faces = []
        for piece, first in zip(self._pieces, stands, strict=True):
            here = number[first]
            vertices[here] = piece.mesh.vertices
            assert piece.quadrics is not None
            planes[here] += piece.quadrics.planes
            weight[here] += piece.quadrics.weight
            faces.append(here[piece.mesh.faces])
            left = piece.number >= 0
            became[piece.source[left]] = here[piece.number[left]]
        return TriMesh(vertices, np.concatenate(faces)), became, Quadrics(planes, weight)


def _slabs(vertices: F32, count: int) -> NDArray[np.uint8]:
    """(N,) which of `count` slabs across the longest side each vertex is in; of all slabs as many are in each."""
    low, high = bounds(vertices)
    along = vertices[:, int((high - low).argmax())]
    walls = np.quantile(along[:: max(len(along) // _SAMPLES, 1)], np.arange(1, count) / count)
    return by_rows(len(along), lambda part: np.searchsorted(walls, along[part]).astype(np.uint8))


def _part(mesh: TriMesh, rows: I64) -> tuple[TriMesh, I64]:
    """The mesh of some faces, and its vertices' numbers in the whole."""
    faces = mesh.faces[rows]
    used = np.zeros(len(mesh.vertices), np.bool_)
    run(mesh_kernels.mark_used, faces.size, faces.reshape(-1), used)
    source = np.flatnonzero(used)
    number = np.empty(len(used), np.int32)
    number[source] = np.arange(len(source), dtype=np.int32)
    return TriMesh(mesh.vertices[source], number[faces]), source


def _true_borders(pieces: list[_Piece], rounds: list[Round], is_cut: Bool) -> list[I32]:
    """Of each piece the half-edges on the mesh's own borders: those that no other piece has."""
    ends = [np.sort(piece.source[now.border_ends], axis=1) for piece, now in zip(pieces, rounds, strict=True)]
    keys = [low * len(is_cut) + high for low, high in (pair.T for pair in ends)]
    doubtful = [is_cut[pair].all(1) for pair in ends]
    distinct, times = np.unique(np.concatenate([k[d] for k, d in zip(keys, doubtful, strict=True)]), return_counts=True)
    shared = distinct[times > 1]
    return [now.borders[~np.isin(key, shared)] for now, key in zip(rounds, keys, strict=True)]
