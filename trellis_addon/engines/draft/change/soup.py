"""Triangles that carry everything of their corners, split at planes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

CAP = -1  # the origin of what closes a cut


@dataclass(frozen=True)
class Soup:
    """`corners` (F, 3, 8) are places, normals and texture coordinates of triangles, `origin` (F,) the triangle that
    each was cut from, or `CAP`."""

    corners: F64
    origin: I64

    def __len__(self) -> int:
        return len(self.corners)

    def where(self, rows: NDArray[np.bool_] | I64) -> Soup:
        return Soup(self.corners[rows], self.origin[rows])

    @staticmethod
    def joined(*parts: Soup) -> Soup:
        return Soup(np.concatenate([p.corners for p in parts]), np.concatenate([p.origin for p in parts]))

    def turned(self) -> Soup:
        """The same triangles, seen from the other side."""
        corners = self.corners[:, ::-1].copy()
        corners[..., 3:6] *= -1.0
        return Soup(corners, self.origin)


@dataclass(frozen=True)
class Split:
    """What is before a plane, what is behind it, and the edges (E, 2, 8) of the first that lie in it, each from end to
    end as its triangle runs."""

    inside: Soup
    outside: Soup
    edges: F64


def split(soup: Soup, normal: F64, offset: float) -> Split:
    """Cut at the plane where normal . p = offset; inside is where it is more, and a corner in the plane."""
    sides = soup.corners[..., :3] @ normal - offset
    sides[np.abs(sides) < 1e-9] = 1e-9
    ahead = sides > 0
    count = ahead.sum(1)
    whole_in, whole_out = soup.where(count == 3), soup.where(count == 0)
    one, two = np.flatnonzero(count == 1), np.flatnonzero(count == 2)
    inside, outside, edges = [whole_in], [whole_out], []
    for rows, lone_is_in in ((one, True), (two, False)):
        if not len(rows):
            continue
        lone = np.argmax(ahead[rows] == lone_is_in, axis=1)
        order = (lone[:, None] + np.arange(3)) % 3
        corners = np.take_along_axis(soup.corners[rows], order[..., None], 1)
        side = np.take_along_axis(sides[rows], order, 1)
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        ab, ca = _between(a, b, side[:, 0], side[:, 1]), _between(a, c, side[:, 0], side[:, 2])
        origin = soup.origin[rows]
        tip = Soup(np.stack([a, ab, ca], 1), origin)
        base = Soup(
            np.concatenate([np.stack([ab, b, c], 1), np.stack([ab, c, ca], 1)]), np.concatenate([origin, origin])
        )
        (inside if lone_is_in else outside).append(tip)
        (outside if lone_is_in else inside).append(base)
        edges.append(np.stack([ab, ca] if lone_is_in else [ca, ab], 1))
    return Split(Soup.joined(*inside), Soup.joined(*outside), np.concatenate(edges) if edges else np.empty((0, 2, 8)))


def _between(one: F64, other: F64, side_one: F64, side_other: F64) -> F64:
    """Where the plane cuts the edges; the same, to the last bit, from whichever side one comes."""
    swap = _is_later(one[:, :3], other[:, :3])[:, None]
    first, second = np.where(swap, other, one), np.where(swap, one, other)
    side_first = np.where(swap[:, 0], side_other, side_one)
    side_second = np.where(swap[:, 0], side_one, side_other)
    share = (side_first / (side_first - side_second))[:, None]
    found = first + share * (second - first)
    length = np.linalg.norm(found[:, 3:6], axis=1, keepdims=True)
    found[:, 3:6] /= np.maximum(length, 1e-12)
    return np.asarray(found)


def _is_later(one: F64, other: F64) -> NDArray[np.bool_]:
    """Whether places come after others in the order of x, y and z."""
    x, y, z = (one[:, axis] - other[:, axis] for axis in range(3))
    return np.asarray((x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0)))))
