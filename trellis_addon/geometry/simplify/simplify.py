"""Fewer faces for the same shape: quadric edge collapses (Garland and Heckbert 1997), and a sound mesh afterwards.

`fast-simplification` collapses in passes, each up to a larger error. It holds no border in place, so borders get a
skirt across the surface for as long as it works: what would round off a corner then costs as much as at an edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import fast_simplification
import numpy as np
from numpy.typing import NDArray

from ...core.errors import FieldError
from ...core.progress import Progress
from ..mesh.split import manifold
from ..mesh.topology import F32, I32, Edges, TriMesh, compact, distinct_faces, in_order, repeated_corners, vertex_groups
from .flips import flip_diagonals

# Its errors are in the mesh's units and its passes are limited, so meshes are scaled: to this mean
# length of an edge at first, smaller by this factor when that is not enough. Found by trying: larger is slower
# and no better, smaller is worse.
_EDGE = 0.008
_FACTOR = 4.0
_SCALINGS = 8
_ROUGHLY = 1.5
# How fast the error grows from pass to pass; the package's own default of 7 is several times as far off.
_AGGRESSIVENESS = 3.0
# On exact planes the best place for a vertex is undetermined and the package's comes out at random, far off; this
# share of an edge's length is enough to settle it.
_SHAKE = 0.001
# Components of so few faces are left as they are, unless all of them together take more than this share of the target.
_TINY = 24
_TINY_SHARE = 0.25
# How far a diagonal may be from the other one that it takes the place of, as a share of an edge's length at first.
_FLAT = 0.05
_NEAR_ENOUGH = 0.005
_CORRECTIONS = 6
_STUCK = 0.995


def simplify(mesh: TriMesh, target_faces: int, *, progress: Progress | None = None) -> TriMesh:
    """The mesh with `target_faces` faces, within 1 % where the shape allows; as it is when it has no more.

    Windings must agree, as `clean` and `remesh` leave them. What is closed stays closed and two-manifold, and borders
    keep their shape. Components too small to go on are not dropped, so a mesh of very many of them may keep
    more. Raises `FieldError` for a target below 4.
    """
    return simplify_levels(mesh, [target_faces], progress=progress)[0]


def simplify_levels(mesh: TriMesh, targets: Sequence[int], *, progress: Progress | None = None) -> list[TriMesh]:
    """The mesh at several face counts, in the order of `targets`; each is made from the next larger one."""
    report = progress or Progress()
    for target in targets:
        if target < 4:
            raise FieldError("target_faces", target, "a closed form has at least 4 faces")
    made: dict[int, TriMesh] = {}
    current = mesh
    for step, target in enumerate(sorted(set(targets), reverse=True)):
        current = _reduced(current, target, report.part(step / len(targets), (step + 1) / len(targets)))
        made[target] = current
    report.update("simplify", 1.0)
    return [made[target] for target in targets]


def _reduced(mesh: TriMesh, target: int, report: Progress) -> TriMesh:
    report.update("simplify", 0.0)
    if len(mesh.faces) <= target:
        return mesh
    mesh, tiny = _tiny_parts(in_order(compact(mesh)), target)
    if len(tiny.faces):
        return _joined(_reduced(mesh, max(target - len(tiny.faces), 4), report), tiny)
    length = _mean_edge(mesh)
    scale = _EDGE / max(length, 1e-30)
    skirted = _with_skirts(mesh)
    roughly = round(_ROUGHLY * target)
    if len(skirted.faces) > len(mesh.faces) > roughly:
        # How many of the skirts' faces will be left is only known afterwards: better found out on fewer faces.
        rough, rough_scale = _to(skirted, _with_spare(roughly, mesh, skirted), scale)
        if len(rough.faces) > target:
            mesh, scale = rough, rough_scale
            skirted = _with_skirts(mesh)
        report.update("simplify", 0.5)
    aim = _with_spare(target, mesh, skirted)
    best = mesh
    low, high = 3, len(skirted.faces)
    for attempt in range(_CORRECTIONS):
        result, scale = _to(skirted, aim, scale)
        report.update("simplify", 0.6 + 0.4 * attempt / _CORRECTIONS)
        missed = target - len(result.faces)
        if abs(missed) < abs(target - len(best.faces)):
            best = result
        if abs(missed) <= _NEAR_ENOUGH * target:
            break
        if len(result.faces) > aim:
            # Either it cannot be made smaller, or parts that came apart have been closed again with more faces.
            if len(result.faces) > _STUCK * len(mesh.faces):
                break
            mesh, skirted = result, _with_skirts(result)
            aim, low, high = _with_spare(target, mesh, skirted), 3, len(skirted.faces)
            continue
        low, high = (aim, high) if missed > 0 else (low, aim)
        aim = round(aim + missed * aim / max(len(result.faces), 1))
        if not low < aim < high:
            aim = (low + high) // 2
        if aim == low:
            break
    return flip_diagonals(best, _FLAT * length)


def _tiny_parts(mesh: TriMesh, target: int) -> tuple[TriMesh, TriMesh]:
    """The mesh without its components of very few faces, and these: collapses would make them vanish.

    All of it and nothing where they are too many to be spared.
    """
    count, label = vertex_groups(mesh.faces, len(mesh.vertices))
    size = np.bincount(label[mesh.faces[:, 0]], minlength=count)
    tiny = (size <= _TINY)[label[mesh.faces[:, 0]]]
    number = int(tiny.sum())
    if not 0 < number <= min(_TINY_SHARE * target, len(mesh.faces) - 1):
        tiny[:] = False
    return (mesh.take(~tiny), mesh.take(tiny)) if tiny.any() else (mesh, mesh.take(tiny))


def _joined(mesh: TriMesh, other: TriMesh) -> TriMesh:
    return TriMesh(
        np.concatenate([mesh.vertices, other.vertices]),
        np.concatenate([mesh.faces, other.faces + np.int32(len(mesh.vertices))]),
    )


def _with_spare(target: int, mesh: TriMesh, skirted: TriMesh) -> int:
    """How many faces to aim at so that about `target` are left without skirts: borders shrink as the root of areas."""
    extra = len(skirted.faces) - len(mesh.faces)
    return target + round(extra * (target / len(mesh.faces)) ** 0.5)


def _to(skirted: TriMesh, target: int, scale: float) -> tuple[TriMesh, float]:
    """A skirted mesh collapsed to `target` faces, skirts counted, without these; also the scale that this took."""
    result = skirted
    for _ in range(_SCALINGS):
        result = _collapsed(result, target, scale)
        if len(result.faces) <= target * (1 + _NEAR_ENOUGH):
            break
        scale /= _FACTOR
    return _sound(_without_skirts(result)), scale


def _collapsed(mesh: TriMesh, target: int, scale: float) -> TriMesh:
    if len(mesh.faces) <= target:
        return mesh
    centre = mesh.vertices.mean(0)
    shaken = np.random.default_rng(0).normal(scale=_SHAKE * _mean_edge(mesh), size=mesh.vertices.shape)
    vertices, faces = fast_simplification.simplify(
        ((mesh.vertices - centre + shaken) * scale).astype(np.float32),
        mesh.faces,
        target_count=int(target),
        agg=_AGGRESSIVENESS,
    )
    return TriMesh.of(vertices / scale + centre, faces)


def _sound(mesh: TriMesh) -> TriMesh:
    """Without what collapses leave behind: faces on one line of vertices, leaves of two faces, touching sheets."""
    faces = mesh.faces[~repeated_corners(mesh.faces)]
    double = ~distinct_faces(faces, Edges.of(faces))
    if double.any():
        faces = faces[~_folded(faces, double)]
    mesh = compact(TriMesh(mesh.vertices, faces))
    return manifold(mesh, 0.01 * _mean_edge(mesh)) if len(faces) else mesh


def _folded(faces: I32, double: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pairs of faces on the same three vertices that lie back to back: both go, and what is round them stays joined."""
    triples = np.sort(faces, axis=1)
    wanted = {tuple(row) for row in triples[double]}
    near = np.isin(triples[:, 0], triples[double, 0])
    folded = np.zeros(len(faces), np.bool_)
    waiting: dict[tuple[tuple[int, ...], bool], int] = {}
    for row in np.flatnonzero(near):
        triple = tuple(triples[row])
        if triple not in wanted:
            continue
        place = int(np.argmin(faces[row]))
        upright = bool(faces[row, (place + 1) % 3] == triple[1])
        other = waiting.pop((triple, not upright), None)
        if other is None:
            waiting[triple, upright] = row
        else:
            folded[[row, other]] = True
    return folded


def _with_skirts(mesh: TriMesh) -> TriMesh:
    """The mesh with a strip of faces across it along each border, as high as the border's edges are long."""
    edges = Edges.of(mesh.faces)
    border = edges.with_count(1)[:, 0]
    if not len(border):
        return mesh
    flat = mesh.faces.reshape(-1)
    start, end = flat[border], flat[border - border % 3 + (border + 1) % 3]
    count = len(mesh.vertices)
    crosses = mesh.crosses()[border // 3]
    normal = np.zeros((count, 3))
    for vertex in (start, end):
        normal += np.stack([np.bincount(vertex, crosses[:, axis], count) for axis in range(3)], axis=1)
    rim = np.unique(np.concatenate([start, end]))
    normal = normal[rim] / np.maximum(np.linalg.norm(normal[rim], axis=1), 1e-30)[:, None]
    height = float(np.linalg.norm(mesh.vertices[start] - mesh.vertices[end], axis=1).mean())
    outer = np.zeros(count, np.int32)
    outer[rim] = count + np.arange(len(rim), dtype=np.int32)
    raised: F32 = (mesh.vertices[rim] + height * normal).astype(np.float32)
    strip = np.stack([end, start, outer[start], end, outer[start], outer[end]], axis=1).reshape(-1, 3)
    return TriMesh(np.concatenate([mesh.vertices, raised]), np.concatenate([mesh.faces, strip]).astype(np.int32))


def _without_skirts(mesh: TriMesh) -> TriMesh:
    """Without the faces that touch a border: borders are the skirts' free sides, which never merge with the rest.

    A skirted mesh has no other borders.
    """
    edges = Edges.of(mesh.faces)
    border = edges.with_count(1)[:, 0]
    flat = mesh.faces.reshape(-1)
    free = np.zeros(len(mesh.vertices), np.bool_)
    free[flat[border]] = True
    free[flat[border - border % 3 + (border + 1) % 3]] = True
    return TriMesh(mesh.vertices, mesh.faces[~free[mesh.faces].any(1)])


def _mean_edge(mesh: TriMesh) -> float:
    some = mesh.faces[:: max(len(mesh.faces) // 20_000, 1)]
    return float(np.linalg.norm(mesh.vertices[some[:, 0]] - mesh.vertices[some[:, 1]], axis=1).mean())
