"""Edge collapses by quadrics (Garland and Heckbert 1997) that keep a mesh a manifold and stop at an error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..mesh.kernels import run
from ..mesh.topology import I32, Bool, Edges, TriMesh, compact, used_vertices
from . import collapse_kernels as kernels

# The smallest angle that a collapse may make, in degrees.
LEAST_ANGLE = 5.5
# Another round is not worth its time that takes less than a fiftieth away.
_STUCK = 0.98
# What lies beyond a plane by so much of the whole, at the worst, is on average this much nearer.
_MEAN = 0.8
# With more than so many times the faces that are wanted the cheapest third of all edges goes at once, while it can.
_MANY, _FEW, _CHEAP = 3, 20_000, 0.35


def collapsed(
    mesh: TriMesh, target: int, bound: float = 0.0, *, held: Bool | None = None, least_angle: float = LEAST_ANGLE
) -> tuple[TriMesh, I32]:
    """The mesh with `target` faces or fewer: below that for as long as the surface moves by less than about `bound`.

    Also each vertex's (N,) number in the result, -1 for those that no face used. `bound` is in the mesh's units; `held`
    (N,) vertices stay as they are. The mesh must be two-manifold and wound one way; it stays so, and no border closes.
    No face turns over, and none gets an angle below `least_angle` degrees where there was none, so more faces than
    `target` may be left.
    """
    number = _numbers(mesh)
    held = np.zeros(len(mesh.vertices), np.bool_) if held is None else held
    mesh, held = compact(mesh), held[number >= 0]
    quadrics: _Quadrics | None = None
    sweeping = True
    while len(mesh.faces) > 4:
        before = len(mesh.faces)
        sweep = sweeping and before > _MANY * max(target, _FEW)
        mesh, fresh, quadrics = _once(
            mesh, _MANY * target if sweep else target, bound, held, least_angle, quadrics, sweep
        )
        number = np.where(number >= 0, fresh[number], np.int32(-1))
        kept = np.zeros(len(mesh.vertices), np.bool_)
        kept[fresh[held]] = True
        held = kept
        if sweep:
            sweeping = len(mesh.faces) < _STUCK * before
            continue
        # What was refused may be allowed once its surroundings have changed.
        if len(mesh.faces) > _STUCK * before or (bound <= 0 and len(mesh.faces) <= target):
            break
    return mesh, number


@dataclass(frozen=True)
class _Quadrics:
    """What is summed up at the vertices: `planes` (N, 10) and the areas that these stand for, `weight` (N,)."""

    planes: NDArray[np.float64]
    weight: NDArray[np.float64]


def _once(
    mesh: TriMesh, target: int, bound: float, held: Bool, least_angle: float, quadrics: _Quadrics | None, sweep: bool
) -> tuple[TriMesh, I32, _Quadrics]:
    number, count = len(mesh.vertices), len(mesh.faces)
    edges = Edges.of(mesh.faces)
    faces = mesh.faces.reshape(-1).copy()
    half = edges.order[edges.first]
    ends = np.stack([faces[half], faces[half - half % 3 + (half + 1) % 3]], axis=1)
    border, rim = np.zeros(len(faces), np.bool_), np.zeros(number, np.bool_)
    border[half[edges.counts == 1]] = True
    rim[ends[edges.counts == 1]] = True
    del edges, half
    vertices = mesh.vertices.astype(np.float64)
    if quadrics is None:
        quadrics = _Quadrics(np.zeros((number, 10)), np.zeros(number))
        run(kernels.add_faces, 1, faces, vertices, border, quadrics.planes, quadrics.weight)
    head, after = np.full(number, -1, np.int32), np.full(len(faces), -1, np.int32)
    run(kernels.list_corners, 1, faces, head, after)
    into, left = np.arange(number, dtype=np.int32), np.array([count], np.int32)
    sine = float(np.sin(np.radians(least_angle)))
    mark = np.zeros(number, np.int32)
    common = faces, vertices, rim, quadrics.planes, quadrics.weight, head, after, mark
    ends = np.ascontiguousarray(ends)
    if sweep:
        cost = np.empty(len(ends), np.float32)
        run(kernels.middle_costs, len(ends), vertices, quadrics.planes, quadrics.weight, ends, cost)
        some = cost[:: max(len(cost) // 100_000, 1)]
        most = float(np.quantile(some, _CHEAP))
        run(kernels.sweep, 1, *common, held.copy(), into, ends, cost, most, int(target), sine, left)
    else:
        room = 2 * len(ends) + 64
        heap = np.empty(room, np.float32), np.empty((room, 3), np.int32)
        stamp = np.zeros(number, np.int32)
        run(
            kernels.collapse,
            1,
            *common,
            stamp,
            np.ascontiguousarray(held),
            into,
            ends,
            *heap,
            int(target),
            float(_MEAN * bound),
            sine,
            left,
        )
    while (into != into[into]).any():
        into = into[into]
    kept = faces.reshape(-1, 3)
    result = TriMesh(vertices.astype(np.float32), np.ascontiguousarray(kept[kept[:, 0] >= 0]))
    used = used_vertices(result)
    return compact(result), _numbers(result)[into], _Quadrics(quadrics.planes[used], quadrics.weight[used])


def _numbers(mesh: TriMesh) -> I32:
    """(N,) the vertices' numbers after `compact`, -1 for those that no face uses."""
    used = used_vertices(mesh)
    return np.where(used, np.cumsum(used, dtype=np.int32) - np.int32(1), np.int32(-1))
