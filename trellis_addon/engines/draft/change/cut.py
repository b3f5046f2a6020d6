"""A closed form within the box around a region, and what is left of another one outside of it; both closed."""

from __future__ import annotations

import numpy as np

from ....task.region import Region
from ..fields import Check
from .loops import filled
from .soup import CAP, F64, Soup, split

Plane = tuple[F64, float]

_ON = 1e-9  # units from an edge, within which a point lies on it


def planes_of(region: Region) -> list[Plane]:
    """The planes of the box around a region, on whose inner side normal . p > offset: that is what a draft changes."""
    low, high = region.bounds()
    found: list[Plane] = []
    for axis in range(3):
        way = np.zeros(3)
        way[axis] = 1.0
        found += [(way, float(low[axis])), (-way, float(-high[axis]))]
    return found


def within(soup: Soup, planes: list[Plane], check: Check) -> Soup:
    """What of a closed form lies inside of all planes, closed where they cut it."""
    for normal, offset in planes:
        check()
        cut = split(soup, normal, offset)
        lid = filled(cut.edges, normal)
        if len(lid):
            lid[..., 3:6] = -normal
            lid[..., 6:8] = lid[:, :1, 6:8]  # one colour, of the edge: between two charts there is none
        soup = Soup.joined(cut.inside, Soup(lid, np.full(len(lid), CAP, np.int64)))
    return soup


def without(soup: Soup, inner: Soup, planes: list[Plane], check: Check) -> tuple[Soup, Soup]:
    """What of a closed form lies outside of the planes: the triangles that they leave whole, and the pieces of the
    others, closed by what closes `inner`, which is the same form within the planes."""
    touched = np.unique(inner.origin[inner.origin != CAP])
    is_touched = np.isin(soup.origin, touched)
    whole, rest = soup.where(~is_touched), soup.where(is_touched)
    out = rest.where(np.zeros(len(rest), bool))
    for normal, offset in planes:
        check()
        # What is outside already is split as well: else its neighbours would have corners on its edges.
        beyond, cut_in = split(out, normal, offset), split(rest, normal, offset)
        out, rest = Soup.joined(beyond.inside, beyond.outside, cut_in.outside), cut_in.inside
    lids = inner.where(inner.origin == CAP)
    cut = out
    whole, met = _met(whole, soup.where(is_touched), cut, check)
    return whole, Soup.joined(cut, met, lids.turned())


def _met(whole: Soup, touched: Soup, pieces: Soup, check: Check) -> tuple[Soup, Soup]:
    """The whole triangles, and apart from them those beside a cut one, with the corners that the cut has put on their
    common edges."""
    known = {place.tobytes() for place in touched.corners[..., :3].reshape(-1, 3)}
    points = np.unique(pieces.corners[..., :3].reshape(-1, 3), axis=0)
    points = np.array([point for point in points if point.tobytes() not in known]).reshape(-1, 3)
    shared = np.array([[corner.tobytes() in known for corner in three] for three in whole.corners[..., :3]], bool)
    beside = np.flatnonzero(shared.reshape(-1, 3).sum(1) >= 2)
    split_up: list[F64] = []
    origins: list[int] = []
    changed = np.zeros(len(whole), bool)
    for row in beside:
        check()
        parts = [whole.corners[row]]
        near = points[_close(points, parts[0])]
        for point in near:
            parts = [piece for part in parts for piece in _with_corner(part, point)]
        if len(parts) > 1:
            changed[row] = True
            split_up += parts
            origins += [int(whole.origin[row])] * len(parts)
    met = Soup(np.array(split_up).reshape(-1, 3, whole.corners.shape[2]), np.array(origins, np.int64))
    return whole.where(~changed), met


def _close(points: F64, corners: F64) -> F64:
    """Which points may lie on an edge of a triangle."""
    low, high = corners[:, :3].min(0) - _ON, corners[:, :3].max(0) + _ON
    return np.asarray(((points >= low) & (points <= high)).all(1))


def _with_corner(corners: F64, point: F64) -> list[F64]:
    """The triangle (3, C), in two where the point lies on one of its edges."""
    for k in range(3):
        a, b, c = corners[k], corners[(k + 1) % 3], corners[(k + 2) % 3]
        along = b[:3] - a[:3]
        length = float(along @ along)
        share = float((point - a[:3]) @ along) / max(length, 1e-30)
        if not 1e-9 < share < 1.0 - 1e-9 or np.abs(a[:3] + share * along - point).max() > _ON:
            continue
        new = a + share * (b - a)
        new[:3] = point
        return [np.stack([a, new, c]), np.stack([new, b, c])]
    return [corners]
