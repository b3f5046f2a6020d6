"""Where the grid may be coarser: a quadtree over its cells, fine where the form bends.

A block of 2^k x 2^k cells is one large cell where it lies inside the silhouette and the form over it is nearly
flat. The tree is balanced: cells that share a side differ by one level at most, so a large cell has at most one
node in the middle of each side (B. Von Herzen and A. Barr, "Accurate triangulations of deformed, intersecting
surfaces", 1987). Cells on the silhouette stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fields import F32, Bool

# Rows and columns of nodes round the grid that are always outside; blocks begin behind them.
FRAME = 2
# No cell is wider than about this share of the longer side: nobody wants to work on a form of one huge triangle.
_WIDEST = 1.0 / 60.0
# The search for a tolerance, in cells, begins here, and how many steps it takes at most.
_FINEST = 1e-4
_HALVINGS = 24


@dataclass(frozen=True)
class Tree:
    """`merged[k]` (rows, columns) of blocks of 2^k cells: whether one is a cell of the tree, or part of a larger one.

    Level 0 has every cell whose corners are all inside. The first block's first node is (`FRAME`, `FRAME`), and the
    last blocks may reach beyond the grid.
    """

    merged: tuple[Bool, ...]

    def cells(self, level: int) -> Bool:
        """The blocks of a level that are cells of the tree."""
        mine = self.merged[level]
        if level + 1 == len(self.merged):
            return mine
        return mine & ~self.merged[level + 1].repeat(2, 0).repeat(2, 1)

    def split_sides(self, level: int) -> tuple[Bool, Bool, Bool, Bool]:
        """For the cells of a level above 0: whether the top, right, bottom, left side has a node in its middle."""
        finer = np.pad(~self.merged[level], 1, constant_values=True)
        cells = self.cells(level)
        return (
            cells & finer[:-2, 1:-1],
            cells & finer[1:-1, 2:],
            cells & finer[2:, 1:-1],
            cells & finer[1:-1, :-2],
        )

    def triangles(self) -> int:
        """How many triangles one side of the form has over the tree's cells; see `mesh.triangulate`."""
        total = 2 * int(self.cells(0).sum())
        for level in range(1, len(self.merged)):
            total += 2 * int(self.cells(level).sum()) + sum(int(side.sum()) for side in self.split_sides(level))
        return total


def fewest_triangles(inside: Bool) -> int:
    """How many triangles front and back together have over the tree of the fewest cells."""
    coarsest = _merge(_whole(inside), [np.zeros((1, 1), np.float32)] * _levels(inside), 0.0)
    return 2 * (coarsest.triangles() + border_triangles(inside))


def border_triangles(inside: Bool) -> int:
    """How many triangles one side of the form has in the cells that the silhouette crosses."""
    corners = _corners(inside)
    return int(np.array([0, 1, 2, 3, 0])[corners].sum())


def fit(inside: Bool, places: F32, triangles: int) -> Tree:
    """The finest tree with which front and back together have at most `triangles`.

    `places` (channels, rows, columns) are where the nodes lie, in cells: blocks are merged where every channel is
    next to linear, one measure for all. If even the coarsest tree has too many triangles, it is returned.
    """
    whole = _whole(inside)
    room = triangles // 2 - border_triangles(inside)
    errors = _errors(places, whole.shape, _levels(inside))
    tree = _merge(whole, errors, -1.0)
    if tree.triangles() <= room:
        return tree
    low, high = _FINEST, float(max(places.shape[1:]))
    tree = _merge(whole, errors, high)
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        tried = _merge(whole, errors, middle)
        if (count := tried.triangles()) <= room:
            tree, high = tried, middle
            if count > 0.995 * room:
                break
        else:
            low = middle
    return tree


def _levels(inside: Bool) -> int:
    """How often cells may be merged, four into one."""
    return max(2, int(np.log2(_WIDEST * max(inside.shape))))


def _corners(inside: Bool) -> np.ndarray:
    a = inside.astype(np.int8)
    return np.asarray(a[:-1, :-1] + a[:-1, 1:] + a[1:, :-1] + a[1:, 1:])


def _whole(inside: Bool) -> Bool:
    """The cells inside, on a grid of a whole number of the largest blocks."""
    whole = _corners(inside)[FRAME:, FRAME:] == 4
    largest = 2 ** _levels(inside)
    return np.pad(whole, [(0, -n % largest) for n in whole.shape])


def _merge(whole: Bool, errors: list[F32], tolerance: float) -> Tree:
    merged = [whole]
    for level, error in enumerate(errors, 1):
        below = merged[-1]
        rows = below[0::2] & below[1::2]
        here = rows[:, 0::2] & rows[:, 1::2]
        if level > 1:
            # The neighbours across each side may be finer by one level only.
            columns = below[:, 0::2] & below[:, 1::2]
            here = (
                here
                & np.pad(rows[:, 1::2], ((0, 0), (1, 0)))[:, :-1]
                & np.pad(rows[:, 0::2], ((0, 0), (0, 1)))[:, 1:]
                & np.pad(columns[1::2], ((1, 0), (0, 0)))[:-1]
                & np.pad(columns[0::2], ((0, 1), (0, 0)))[1:]
            )
        merged.append(here & (error <= tolerance))
    return Tree(tuple(merged))


def _errors(places: F32, cells: tuple[int, ...], levels: int) -> list[F32]:
    """For each level from 1 on, how far the nodes in the middles lie from between the corners, at most."""
    rows, columns = cells
    places = places[:, FRAME:, FRAME:]
    nodes = np.pad(places, ((0, 0), (0, rows + 1 - places.shape[1]), (0, columns + 1 - places.shape[2])), "edge")
    errors: list[F32] = []
    for level in range(1, levels + 1):
        a = nodes[:, :: 2 ** (level - 1), :: 2 ** (level - 1)]
        corner = a[:, ::2, ::2]
        along = np.abs(a[:, ::2, 1::2] - 0.5 * (corner[:, :, :-1] + corner[:, :, 1:])).max(0)
        down = np.abs(a[:, 1::2, ::2] - 0.5 * (corner[:, :-1] + corner[:, 1:])).max(0)
        middle = 0.25 * (corner[:, :-1, :-1] + corner[:, :-1, 1:] + corner[:, 1:, :-1] + corner[:, 1:, 1:])
        error = np.abs(a[:, 1::2, 1::2] - middle).max(0)
        for side in (along[:-1], along[1:], down[:, :-1], down[:, 1:]):
            error = np.maximum(error, side)
        if errors:
            finer = errors[-1]
            for child in (finer[0::2, 0::2], finer[0::2, 1::2], finer[1::2, 0::2], finer[1::2, 1::2]):
                error = np.maximum(error, child)
        errors.append(error)
    return errors
