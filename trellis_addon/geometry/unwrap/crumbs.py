"""Charts of few faces folded out onto a neighbour: turned about the border that they share, as a flap of paper is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .pack import triangle_areas

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

FEWEST = 10  # faces of a chart; those with fewer look for a neighbour
_SHARE = 0.3  # of its area on the surface that each face must keep when the flap is moved onto its border
_MOST = 3.0  # and how many times that it may have
_SQUEEZED = 0.05  # the same of one that is squeezed


def folded_out(
    faces: I32,
    pairs: I64,
    corners: F64,
    area: F64,
    charts: I64,
    refused: I64,
    tiny: float = 0.0,
    height: float = 0.2,
) -> tuple[F64, I64, NDArray[np.bool_]]:
    """The corners (F, 3, 2) and charts (F,) when crumbs lie beside a neighbour, and which faces (F,) were moved.

    `pairs` (E, 2) are faces that share an edge, `corners` the flat triangles of `charts`, `area` (F,) those on the
    surface, `refused` (F,) how many of its neighbours a face's crumb has been refused by already: those with the
    longest borders come first. With `tiny` only crumbs of less area are laid, and squeezed against the border, to a
    `height` of 1 or less: there is more room for that. What lies on what is for the caller to see.
    """
    count = int(charts.max()) + 1
    sizes = np.bincount(charts, minlength=count)
    corners, merged, moved = corners.copy(), charts.copy(), np.zeros(len(faces), bool)
    members = np.argsort(charts, kind="stable")
    first = np.searchsorted(charts[members], np.arange(count + 1))
    across = np.concatenate([pairs, pairs[:, ::-1]])
    ends = charts[across]
    across = across[(sizes[ends[:, 0]] < FEWEST) & (ends[:, 0] != ends[:, 1])]
    across = across[np.argsort(charts[across[:, 0]], kind="stable")]
    bounds = np.searchsorted(charts[across[:, 0]], np.arange(count + 1))
    points: dict[int, set[int]] = {}  # the vertices of charts that something was to be laid at
    held = np.zeros(count, bool)  # charts that something lies at already, or that have gone
    for number in np.argsort(sizes, kind="stable")[: int((sizes < FEWEST).sum())]:
        own, borders = members[first[number] : first[number + 1]], across[bounds[number] : bounds[number + 1]]
        if tiny and area[own].sum() >= tiny:
            continue
        target = charts[borders[:, 1]]
        neighbours, lengths = np.unique(target, return_counts=True)
        neighbours = neighbours[np.argsort(-(lengths + 1000 * (sizes[neighbours] >= FEWEST)), kind="stable")]
        for best in neighbours[refused[own].max() :]:
            if (
                held[number]
                or sizes[best] < sizes[number]
                or (sizes[best] < FEWEST and merged[members[first[best]]] != best)
            ):
                continue
            edge = borders[target == best]
            if best not in points:
                points[best] = set(faces[members[first[best] : first[best + 1]]].reshape(-1).tolist())
            if not _fits(faces, own, edge, points[best]):
                continue
            laid = (
                _squeezed(faces, corners, area, own, edge, height)
                if tiny
                else onto_border(faces, corners, own, _on_border(faces, corners, edge))
            )
            if laid is None or not is_sound(laid, area[own], bool(tiny)):
                continue
            corners[own], merged[own], moved[own] = laid, best, True
            held[best] |= sizes[best] < FEWEST
            points[best] |= set(faces[own].reshape(-1).tolist())
            break
    return corners, np.unique(merged, return_inverse=True)[1].reshape(-1).astype(np.int64), moved


def with_neighbours(pairs: I64, some: I64, least: int, avoided: I64) -> I64:
    """Faces `some` and those around, by edges `pairs` (E, 2), ring by ring until there are `least`; none `avoided`."""
    while len(some) < least:
        near = np.setdiff1d(pairs[np.isin(pairs, some).any(1)], np.concatenate([some, avoided]))
        if not len(near):
            break
        some = np.concatenate([some, near])
    return some


def is_sound(laid: F64, area: F64, is_squeezed: bool = False) -> bool:
    """Whether no face is turned over, and each has about its area, or enough of it."""
    size = -triangle_areas(laid.reshape(-1, 2), np.arange(3 * len(laid), dtype=np.int32).reshape(-1, 3))
    least = _SQUEEZED if is_squeezed else _SHARE
    return not (size < 0).any() and not ((size < least * area) | (size > _MOST * area))[area > 0].any()


def _fits(faces: I32, own: I64, borders: I64, there: set[int]) -> bool:
    """Whether a crumb meets a chart of these vertices in nothing but their border: each has one place in a chart."""
    inner = faces[borders[:, 0]]
    shared = inner[(inner[:, :, None] == faces[borders[:, 1]][:, None, :]).any(2)]
    return not (set(faces[own].reshape(-1).tolist()) - set(shared.tolist())) & there


def _on_border(faces: I32, corners: F64, borders: I64) -> dict[int, F64]:
    """Where the vertices of a border lie in the chart beyond it."""
    there: dict[int, F64] = {}
    for inner, outer in borders:
        for vertex in np.intersect1d(faces[inner], faces[outer]):
            there[int(vertex)] = corners[outer, np.flatnonzero(faces[outer] == vertex)[0]]
    return there


def _squeezed(faces: I32, corners: F64, area: F64, own: I64, borders: I64, share: float) -> F64 | None:
    """(f, 3, 2): the triangles of a crumb's faces, each a low one on a side that lies already."""
    placed = _on_border(faces, corners, borders)
    laid: dict[int, list[F64]] = {}
    while len(laid) < len(own):
        known = {int(face): [int(vertex) in placed for vertex in faces[face]] for face in own if int(face) not in laid}
        face = next((face for face, known_ in known.items() if sum(known_) >= 2), None)
        if face is None:
            return None
        names = faces[face].tolist()
        if False in known[face]:
            free = known[face].index(False)
            start, end = placed[names[free - 2]], placed[names[free - 1]]
            along = end - start
            height = 2 * area[face] / max(float(along @ along), 1e-300)  # in lengths of that side
            placed[names[free]] = (start + end) / 2 + share * height * np.array([along[1], -along[0]])
        laid[face] = [placed[name] for name in names]
    return np.array([laid[int(face)] for face in own])


def onto_border(faces: I32, corners: F64, own: I64, there: dict[int, F64]) -> F64:
    """(f, 3, 2): the triangles of a crumb's faces turned and shifted so that its vertices come to lie `there`, as
    nearly as may be, and set onto it."""
    names = faces[own].reshape(-1)
    flat = corners[own].reshape(-1, 2)
    shared = np.flatnonzero(np.isin(names, list(there)))
    wanted = np.array([there[int(name)] for name in names[shared]])
    here, away = flat[shared].mean(0), wanted.mean(0)
    one, two = flat[shared] - here, wanted - away
    turn = complex((one * two).sum(), (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]).sum())
    turn /= max(abs(turn), 1e-300)
    out = (flat - here) @ np.array([[turn.real, turn.imag], [-turn.imag, turn.real]]) + away
    out[shared] = wanted
    return np.asarray(out.reshape(-1, 3, 2))
