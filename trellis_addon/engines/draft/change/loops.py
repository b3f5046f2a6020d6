"""The section of a closed form with a plane, as triangles that have no corners but those of its edges.

Ears are cut off one by one, after holes have been joined to what is around them (G. Meisters, "Polygons have ears",
1975; D. Eberly, "Triangulation by ear clipping", 2002).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

_SAME = 1e-7  # units that two ends may be apart and be one place


def filled(edges: F64, normal: F64) -> F64:
    """Triangles (T, 3, C) that close a form whose edges (E, 2, C) lie in a plane; they look along -`normal`.

    The edges run as the form's triangles do, so that the closing ones run against them.
    """
    if not len(edges):
        return np.empty((0, 3, edges.shape[2]))
    along = np.cross(normal, [1.0, 0.0, 0.0] if abs(normal[0]) < 0.9 else [0.0, 1.0, 0.0])
    along /= np.linalg.norm(along)
    down = np.cross(normal, along)
    rings = _rings(edges)
    flat = [np.stack([ring[:, :3] @ down, ring[:, :3] @ along], 1) for ring in rings]
    areas = [_area(places) for places in flat]
    found = []
    outer = [k for k, area in enumerate(areas) if area > 0]
    holes = [k for k, area in enumerate(areas) if area < 0]
    mine: dict[int, list[int]] = {k: [] for k in outer}
    for hole in holes:
        around = [k for k in outer if areas[k] > -areas[hole] and _is_in(flat[hole][0], flat[k])]
        if around:
            mine[min(around, key=lambda k: areas[k])].append(hole)
    for k in outer:
        ring, places = rings[k], flat[k]
        for hole in sorted(mine[k], key=lambda h: -flat[h][:, 0].max()):
            ring, places = _joined(ring, places, rings[hole], flat[hole])
        found.append(ring[_ears(places)])
    return np.concatenate(found) if found else np.empty((0, 3, edges.shape[2]))


def _rings(edges: F64) -> list[F64]:
    """The edges end to end, against the direction in which they run: (N, C) each."""
    keys = np.rint(edges[..., :3] / _SAME).astype(np.int64)
    known: dict[tuple[int, ...], int] = {}
    ends = np.array([[known.setdefault(tuple(key), len(known)) for key in pair] for pair in keys.tolist()])
    places: dict[int, F64] = {}
    goes: dict[int, list[int]] = {}
    for (start, end), (first, last) in zip(ends.tolist(), edges, strict=True):
        places.setdefault(start, first)
        places.setdefault(end, last)
        if start != end:
            goes.setdefault(end, []).append(start)
    rings = []
    while goes:
        begin = next(iter(goes))
        path = [begin]
        while True:
            here = path[-1]
            if here not in goes:
                path = []
                break
            following = goes[here].pop()
            if not goes[here]:
                del goes[here]
            if following == begin:
                break
            path.append(following)
        if len(path) > 2:
            rings.append(np.array([places[node] for node in path]))
    return rings


def _area(places: F64) -> float:
    x, y = places.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2.0)


def _is_in(point: F64, ring: F64) -> bool:
    x, y = ring.T
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    crosses = (y > point[1]) != (y_next > point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x + (point[1] - y) / (y_next - y) * (x_next - x)
    return bool((crosses & (at > point[0])).sum() % 2)


def _joined(ring: F64, places: F64, hole: F64, hole_places: F64) -> tuple[F64, F64]:
    """The ring with the hole joined to it by an edge that is walked twice."""
    start = int(hole_places[:, 0].argmax())
    point = hole_places[start]
    x, y = places.T
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    crosses = (y > point[1]) != (y_next > point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.where(crosses, x + (point[1] - y) / (y_next - y) * (x_next - x), np.inf)
    at[at < point[0]] = np.inf
    edge = int(at.argmin())
    ahead = edge if x[edge] > x_next[edge] else (edge + 1) % len(places)
    # What juts into the triangle between the two would be crossed: the nearest of these in angle is seen first.
    corner = np.array([at[edge], point[1]]) if np.isfinite(at[edge]) else places[ahead]
    inside = _in_triangle(places, point, corner, places[ahead])
    inside[ahead] = False
    if inside.any():
        rows = np.flatnonzero(inside)
        away = places[rows] - point
        steep = np.abs(away[:, 1]) / np.maximum(np.linalg.norm(away, axis=1), 1e-12)
        ahead = int(rows[np.lexsort((np.linalg.norm(away, axis=1), steep))[0]])
    turn = np.r_[np.arange(start, len(hole)), np.arange(start + 1)]
    order = (np.r_[np.arange(ahead + 1)], np.r_[np.arange(ahead, len(ring))])
    return (
        np.concatenate([ring[order[0]], hole[turn], ring[order[1]]]),
        np.concatenate([places[order[0]], hole_places[turn], places[order[1]]]),
    )


def _in_triangle(points: F64, a: F64, b: F64, c: F64) -> NDArray[np.bool_]:
    def side(p: F64, q: F64) -> F64:
        return np.asarray((q[0] - p[0]) * (points[:, 1] - p[1]) - (q[1] - p[1]) * (points[:, 0] - p[0]))

    one, two, three = side(a, b), side(b, c), side(c, a)
    return np.asarray(((one >= 0) & (two >= 0) & (three >= 0)) | ((one <= 0) & (two <= 0) & (three <= 0)))


def _ears(places: F64) -> NDArray[np.int64]:
    """The triangles (T, 3) of a ring that runs counter-clockwise."""
    left = list(range(len(places)))
    found = []
    at = waited = 0
    while len(left) > 3 and waited < len(left):
        count = len(left)
        before, here, after = left[(at - 1) % count], left[at % count], left[(at + 1) % count]
        a, b, c = places[before], places[here], places[after]
        turn = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        is_ear = False
        if turn > 0:
            others = np.array([k for k in left if k not in (before, here, after)])
            ring = places[others]
            touches = (ring == a).all(1) | (ring == b).all(1) | (ring == c).all(1)
            is_ear = not bool((_in_triangle(ring, a, b, c) & ~touches).any())
        elif turn == 0:
            is_ear = True  # a corner in a straight edge
        if is_ear:
            found.append((before, here, after))
            left.pop(at % count)
            at, waited = max(at % count - 1, 0), 0
        else:
            at, waited = at + 1, waited + 1
    if waited:  # a ring that crosses itself: what is left is closed all the same
        found += [(left[0], left[k], left[k + 1]) for k in range(1, len(left) - 1)]
    else:
        found.append((left[0], left[1], left[2]))
    return np.array(found, np.int64)
