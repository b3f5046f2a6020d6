"""Fewer faces for the same shape: quadric edge collapses, and no face through another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.errors import FieldError
from ...core.progress import Progress
from ..mesh.crossings import crossing_faces
from ..mesh.topology import I32, Bool, TriMesh, in_order, least_angles, vertex_groups
from .collapse import LEAST_ANGLE, collapsed
from .untangle import untangled

# Where faces cross the mesh is simplified once more, with what is there held as it was: at most so often.
_ROUNDS = 4
# Where that many faces of the target would be held, they are not.
_MOST_HELD = 0.5
# When a mesh cannot be made small enough without slivers, it is with them.
_ANY_ANGLE = 0.1
# With more slivers than this share they go, at an error of so many bounds or of such a share of their length.
_FEW_SLIVERS = 0.001
_SLIVER_BOUND, _SLIVER_SHARE = 4.0, 0.03
# Edges under this share of the median are none that anybody wants: programs take their faces for ones without area.
_SHORT = 1e-3
# Nor are steps of so many bounds: they are below what is kept of the form, and strips of slivers run along them.
_NO_STEP = 0.5


def simplify(
    mesh: TriMesh,
    target_faces: int,
    *,
    bound: float = 0.0,
    shells: I32 | None = None,
    progress: Progress | None = None,
) -> TriMesh:
    """The mesh with at most `target_faces` faces; fewer where the surface moves by less than about `bound`.

    `bound` is in the mesh's units. Windings must agree, as `clean` and `remesh` leave them. What is closed stays closed
    and two-manifold, and borders keep their shape. No faces are made to cross, but for those of different `shells`: the
    number of each vertex's (N,). Of a mesh of more parts than can be had with so few faces, the
    smallest are dropped. Raises `FieldError` for a target below 4.
    """
    return simplify_levels(mesh, [target_faces], bound=bound, shells=shells, progress=progress)[0]


def simplify_levels(
    mesh: TriMesh,
    targets: Sequence[int],
    *,
    bound: float = 0.0,
    shells: I32 | None = None,
    progress: Progress | None = None,
) -> list[TriMesh]:
    """The mesh at several face counts, in the order of `targets`; each is made from the next larger one."""
    report = progress or Progress()
    for target in targets:
        if target < 4:
            raise FieldError("target_faces", target, "a closed form has at least 4 faces")
    made: dict[int, TriMesh] = {}
    current, shells = mesh, np.zeros(len(mesh.vertices), np.int32) if shells is None else shells
    for step, target in enumerate(sorted(set(targets), reverse=True)):
        part = report.part(step / len(targets), (step + 1) / len(targets))
        current, shells = _reduced(current, target, bound, shells, part)
        made[target] = current
    report.update("simplify", 1.0)
    return [made[target] for target in targets]


def _reduced(mesh: TriMesh, target: int, bound: float, shells: I32, report: Progress) -> tuple[TriMesh, I32]:
    """The simplified mesh and its vertices' shells."""
    report.update("simplify", 0.0)
    if len(mesh.faces) <= target and (bound <= 0 or not len(mesh.faces)):
        return mesh, shells
    dense = in_order(mesh)
    held = np.zeros(len(dense.vertices), np.bool_)
    best, least = (dense, shells), -1
    for attempt in range(_ROUNDS):
        report.update("simplify", attempt / _ROUNDS)
        made, number = collapsed(dense, target, bound, held=held)
        made, number = _without_slivers(made, number, bound)
        if len(made.faces) > target:
            made, number = _forced(made, number, target)
        own = np.zeros(len(made.vertices), np.int32)
        own[number[number >= 0]] = shells[number >= 0]
        crossed = _crossed(made, own)
        if least < 0 or crossed.sum() < least:
            best, least = (made, own), int(crossed.sum())
        if not crossed.any():
            break
        # What became of these vertices is held, and put in order where it was crossed before.
        fresh = (number >= 0) & crossed[number]
        dense = untangled(dense, fresh, shells)
        held |= fresh
        if held[dense.faces].any(1).sum() > _MOST_HELD * target:
            break
    best = _without_short_edges(*best, bound * _NO_STEP)
    return _without_short_edges(*best)


def _without_short_edges(mesh: TriMesh, shells: I32, least: float = 0.0) -> tuple[TriMesh, I32]:
    """The mesh without edges that have hardly any length, as far as it stays a manifold; and its vertices' shells.

    With `least` those under that length go, unless faces cross then, or more of them are slivers than before.
    """
    ends = np.stack([mesh.faces, np.roll(mesh.faces, -1, 1)], 2).reshape(-1, 2)
    lengths = np.linalg.norm(mesh.vertices[ends[:, 0]] - mesh.vertices[ends[:, 1]], axis=1)
    is_kept_as_good = least > 0
    least = least or (_SHORT * float(np.median(lengths)) if len(lengths) else 0.0)
    if not (lengths < least).any():
        return mesh, shells
    held = np.ones(len(mesh.vertices), np.bool_)
    held[ends[lengths < least]] = False
    made, number = collapsed(mesh, len(mesh.faces), least, held=held, least_angle=_ANY_ANGLE)
    own = np.zeros(len(made.vertices), np.int32)
    own[number[number >= 0]] = shells[number >= 0]
    if is_kept_as_good and (
        _slivers(made) > _slivers(mesh) or _crossed(made, own).sum() > _crossed(mesh, shells).sum()
    ):
        return mesh, shells
    return made, own


def _slivers(mesh: TriMesh) -> int:
    return int((least_angles(mesh) < np.radians(LEAST_ANGLE)).sum())


def _without_slivers(mesh: TriMesh, number: I32, bound: float) -> tuple[TriMesh, I32]:
    """The mesh without most of the slivers that it had before: edges between their corners are collapsed."""
    thin = least_angles(mesh) < np.radians(LEAST_ANGLE)
    if thin.sum() <= _FEW_SLIVERS * len(mesh.faces):
        return mesh, number
    held = np.ones(len(mesh.vertices), np.bool_)
    held[mesh.faces[thin]] = False
    corners = mesh.vertices[mesh.faces[thin]]
    length = float(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1).mean())
    made, fresh = collapsed(mesh, len(mesh.faces), max(_SLIVER_BOUND * bound, _SLIVER_SHARE * length), held=held)
    return made, np.where(number >= 0, fresh[number], np.int32(-1))


def _crossed(mesh: TriMesh, shells: I32) -> Bool:
    """(N,) vertices of faces that cross others of their shell."""
    crossed = np.zeros(len(mesh.vertices), np.bool_)
    crossed[mesh.faces[crossing_faces(mesh, shells).reshape(-1)]] = True
    return crossed


def _forced(mesh: TriMesh, number: I32, target: int) -> tuple[TriMesh, I32]:
    """With slivers where there must be; then without the smallest parts."""
    made, fresh = collapsed(mesh, target, least_angle=_ANY_ANGLE)
    number = np.where(number >= 0, fresh[number], np.int32(-1))
    if len(made.faces) <= target:
        return made, number
    count, label = vertex_groups(made.faces, len(made.vertices))
    part = label[made.faces[:, 0]]
    area = np.bincount(part, made.areas(), count)
    order = np.argsort(-area, kind="stable")
    size = np.bincount(part, minlength=count)
    kept = np.zeros(count, np.bool_)
    kept[order] = np.cumsum(size[order]) <= target
    kept[order[0]] = True
    left = kept[label]
    renumbered = np.where(left, np.cumsum(left) - 1, -1).astype(np.int32)
    return made.take(kept[part]), np.where(number >= 0, renumbered[number], np.int32(-1))
