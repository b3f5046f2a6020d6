"""Crumbs unfolded as a sheet of paper is: hinged on a run of edges that they share with a neighbour, and cut along the
rest of the border. The corners of a box, where a vertex comes to lie at several places of one chart, need that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .crumbs import FEWEST, is_sound, onto_border

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_TRIES = 10  # hinges of one crumb
_BENT = 0.1  # of an edge's length
_TOUCH = 1e-5  # of a crumb's size: what still counts as touching

# Where the two vertices of a hinge lie in the chart beyond it.
Hinge = dict[int, F64]


def unfolded(
    faces: I32, pairs: I64, corners: F64, area: F64, charts: I64, refused: I64, apart: float
) -> tuple[F64, I64, NDArray[np.bool_]]:
    """The corners (F, 3, 2) and charts (F,) with crumbs hinged on neighbours, and which faces (F,) were moved.

    As `folded_out`, but a crumb keeps `apart` from all that it is not hinged on, and lies on nothing.
    """
    corners, merged, moved = corners.copy(), charts.copy(), np.zeros(len(faces), bool)
    order = np.argsort(charts, kind="stable")
    ends = np.searchsorted(charts[order], np.arange(int(charts.max()) + 2))
    members = {number: order[ends[number] : ends[number + 1]] for number in range(len(ends) - 1)}
    sizes = np.diff(ends)
    across = np.concatenate([pairs, pairs[:, ::-1]])
    across = across[(sizes[charts[across[:, 0]]] < FEWEST) & (charts[across[:, 0]] != charts[across[:, 1]])]
    for number in np.argsort(sizes, kind="stable")[: int((sizes < FEWEST).sum())].tolist():
        own = members[number]
        if len(own) >= FEWEST:
            continue
        borders = across[np.isin(across[:, 0], own)]
        borders = borders[merged[borders[:, 1]] != number]
        tries = _hinges(faces, corners, borders, merged, members)[refused[own].max() :][:_TRIES]
        laid_out = [(target, hinge, onto_border(faces, corners, own, hinge)) for target, hinge in tries]
        # At first those that change no length to speak of.
        laid_out.sort(key=lambda each: _changed(corners[own], each[2]) > _BENT)
        for target, hinge, laid in laid_out:
            if not is_sound(laid, area[own]) or _lies_on(laid, corners[members[target]], hinge, apart):
                continue
            corners[own], merged[own], moved[own] = laid, target, True
            members[target] = np.concatenate([members[target], own])
            del members[number]
            break
    return corners, np.unique(merged, return_inverse=True)[1].reshape(-1).astype(np.int64), moved


def _hinges(faces: I32, corners: F64, borders: I64, charts: I64, members: dict[int, I64]) -> list[tuple[int, Hinge]]:
    """Charts to hinge on, and where: whole runs of edges and each edge alone, the largest charts' and longest first."""
    runs: list[tuple[int, float, Hinge]] = []
    for inner, outer in borders:
        target, hinge = int(charts[outer]), Hinge()
        for slot in range(3):
            if faces[outer, slot] in faces[inner]:
                hinge[int(faces[outer, slot])] = corners[outer, slot]
        if len(hinge) != 2:
            continue  # a face that names a vertex twice, or the same three
        one, two = hinge.values()
        length = float(np.hypot(*(one - two)))
        runs.append((target, length, hinge))
    single = len(runs)
    for number in range(single):
        target, length, hinge = runs[number]
        grown = True
        used = {number}
        while grown:  # by edges that begin where this run ends
            grown = False
            for other in range(single):
                further = runs[other][2]
                if other in used or runs[other][0] != target or not any(key in hinge for key in further):
                    continue
                if all(key not in hinge or (hinge[key] == place).all() for key, place in further.items()):
                    hinge, length, grown = {**hinge, **further}, length + runs[other][1], True
                    used.add(other)
        if len(used) > 1 and number == min(used):
            runs.append((target, length, hinge))
    runs.sort(key=lambda run: (len(members[run[0]]) < FEWEST, -run[1]))
    return [(target, hinge) for target, _, hinge in runs]


def _changed(before: F64, after: F64) -> float:
    """By how much of its length an edge has changed, at most, of triangles (f, 3, 2)."""
    one, two = (np.linalg.norm(np.roll(corners, -1, 1) - corners, axis=2) for corners in (before, after))
    return float(np.abs(two / np.maximum(one, 1e-300) - 1.0).max())


def _lies_on(laid: F64, there: F64, hinge: Hinge, apart: float) -> bool:
    """Whether triangles (k, 3, 2) lie on any of (m, 3, 2), or nearer than `apart` to one without a corner on the
    hinge."""
    low, high = laid.min((0, 1)) - apart, laid.max((0, 1)) + apart
    there = there[(there.min(1) <= high).all(1) & (there.max(1) >= low).all(1)]
    if not len(there):
        return False
    places = np.array(list(hinge.values()))
    hinged = (there[:, :, None] == places).all(3).any((1, 2))
    touch = _TOUCH * float((high - low).max())
    gap = np.where(hinged, -touch, apart)
    parted = _parted(laid[:, None], there[None], gap) | _parted(there[None], laid[:, None], gap)
    return not parted.all()


def _parted(one: F64, two: F64, gap: F64) -> NDArray[np.bool_]:
    """Whether a side of a triangle of `one` has all of `two` beyond it, by a `gap`: all (..., 3, 2), turning as charts
    do."""
    side = np.roll(one, -1, -2) - one
    out = np.stack([-side[..., 1], side[..., 0]], -1)
    out = out / np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-300)
    beyond = np.einsum("...ic,...ijc->...ij", out, two[..., None, :, :] - one[..., :, None, :]).min(-1)
    return np.asarray((beyond >= gap[..., None]).any(-1))


def lie_on_each_other(corners: F64, faces: I32) -> bool:
    """Whether any two of triangles (f, 3, 2), of `faces` (f, 3), lie on each other."""
    one, two = np.triu_indices(len(faces), 1)
    touch = np.full(len(one), -_TOUCH * float(np.ptp(corners)))
    parted = _parted(corners[one], corners[two], touch) | _parted(corners[two], corners[one], touch)
    return not parted.all()
