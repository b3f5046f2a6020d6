"""Packing charts into a square, by their true shapes on a grid of cells.

Shapes go largest first to the lowest free place of a strip, in whichever of several turns reaches least high; a few
orders and widths of the strip are tried, and the densest wins. The same charts always get the same places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ...core.progress import Progress
from ..arrays import on_device
from ..mesh.closest_warp import start_warp
from .pack_kernels import RIM_CELLS, count_spans, draw_shapes, list_spans, place_shapes

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_TURNS = 4  # and twice as many where there are few charts
_FEW = 128
_PATIENCE = 256  # shapes that look for the very best place
_EFFORT = 800  # shapes placed in all tries
_STRIDES = 256  # rows looked at in a square before looking closer
_MOST_CELLS = 400_000_000  # of all shapes in all turns, a byte each
_DENSITY = 0.72  # what the first guess of the scale takes for granted


@dataclass(frozen=True)
class Packed:
    """`points` (V, 2) in [0, 1]; a length in the charts is `scale` times as long there. The charts were turned by
    `angles` (C,), in radians, and laid as the `rank` (C,) of each says into a strip `width` cells wide."""

    points: F64
    scale: float
    angles: F64
    rank: I64
    width: int


def pack(
    points: F64,
    faces: I32,
    charts: I64,
    cells: int,
    progress: Progress | None = None,
    *,
    former: tuple[Packed, I64] | None = None,
) -> Packed:
    """Charts placed beside each other in the unit square, all at one scale, turned but not mirrored.

    `points` (V, 2) lie in their charts' own planes, each in one chart only; `faces` is (F, 3), `charts` (F,) numbered
    from 0 without gaps. The square is about `cells` cells wide; between two charts at least one cell stays free.
    `former` are a packing and (C,) which of its charts each one is a part of: the largest parts go where the whole
    charts were, as nearly as may be, and the others where there is room left.
    """
    progress = progress or Progress()
    start_warp()
    area = max(float(np.abs(triangle_areas(points, faces)).sum()), 1e-300)
    scale = cells * np.sqrt(_DENSITY / area)
    # Long thin charts: none may be longer than the square, nor all boxes together larger than memory.
    _, members, first = _members(len(points), faces, charts)
    low, high = _extents(points[members], first)
    box = high - low
    scale = min(scale, cells / max(float(np.linalg.norm(box, axis=1).max()), 1e-300))
    scale = min(scale, np.sqrt(_MOST_CELLS / (2 * _TURNS * max(float(np.square(box).sum(1).sum()), 1e-300))))
    if former is not None:
        return _packed_again(points, scale, faces, charts, *former)
    turns = _TURNS if len(box) > _FEW else 2 * _TURNS
    choice = _upright_angles(points, faces, charts)[:, None] + np.arange(turns) * (2.0 * np.pi / turns)
    shapes = _Shapes(points * scale, faces, charts, choice)
    tries = int(np.clip(_EFFORT // len(box), 4, 24))
    best: _Placed | None = None
    width = int(np.sqrt(shapes.total / 0.8))
    for attempt in range(tries):
        progress.update("unwrap", attempt / tries)
        placed = shapes.place(shapes.order(attempt), max(width, shapes.narrowest))
        if best is None or placed.side < best.side:
            best = placed
        # Towards a square at first, then each order is tried in a square a little smaller than the best so far.
        width = round(np.sqrt(placed.width * placed.top)) if attempt < 2 else int(best.side * 0.995)
    assert best is not None
    return _packed(shapes, best, choice, scale)


def _packed_again(points: F64, scale: float, faces: I32, charts: I64, packed: Packed, whole: I64) -> Packed:
    """In the former order, each chart turned as it was: so that they find the places they had."""
    choice = packed.angles[whole][:, None]
    shapes = _Shapes(points * scale, faces, charts, choice)
    by_size = np.argsort(-shapes.rims[:, 0], kind="stable")
    largest = by_size[np.unique(whole[by_size], return_index=True)[1]]
    rank = packed.rank[whole] + len(packed.rank)
    rank[largest] -= len(packed.rank)
    placed = shapes.place(np.argsort(rank, kind="stable").astype(np.int32), max(packed.width, shapes.narrowest))
    return _packed(shapes, placed, choice, scale)


def _packed(shapes: _Shapes, placed: _Placed, choice: F64, scale: float) -> Packed:
    rank = np.empty(len(placed.order), np.int64)
    rank[placed.order] = np.arange(len(rank))
    angles = choice[np.arange(len(choice)), placed.places[:, 2]]
    return Packed(shapes.laid_out(placed.places) / placed.side, scale / placed.side, angles, rank, placed.width)


@dataclass(frozen=True)
class _Placed:
    """`places` (C, 3) are each shape's corner and turn in a strip `width` wide, filled up to `top` in an `order`."""

    order: I32
    places: I32
    width: int
    top: int

    @property
    def side(self) -> int:
        return max(self.width, self.top)


def triangle_areas(points: F64, faces: I32) -> F64:
    """Signed areas (F,) of triangles in the plane; positive where x turns to y."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    ab, ac = b - a, c - a
    return np.asarray(0.5 * (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]))


class _Shapes:
    """The charts on the grid in every turn; `size` (C, T, 2) are their boxes with the rims, in cells."""

    def __init__(self, points: F64, faces: I32, charts: I64, angles: F64) -> None:
        self.points = points
        self.turns = angles.shape[1]
        self.turn = np.stack([np.cos(angles), np.sin(angles)], 2)
        self.chart_of, self._members, self._first_member = _members(len(points), faces, charts)
        self.low = np.empty((len(angles), self.turns, 2))
        self.size = np.empty((len(angles), self.turns, 2), np.int32)
        sorted_points, sorted_chart = points[self._members], self.chart_of[self._members]
        for turn in range(self.turns):
            cosine, sine = self.turn[sorted_chart, turn].T
            low, high = _extents(_turned(sorted_points, cosine, sine), self._first_member)
            self.low[:, turn] = low
            self.size[:, turn] = np.floor(high - low + 1e-3).astype(np.int32) + 1 + 2 * RIM_CELLS
        self._draw(faces, charts)
        self.narrowest = int(self.size[..., 0].min(1).max())

    def _draw(self, faces: I32, charts: I64) -> None:
        counts = self.size.prod(2, dtype=np.int64)
        shape = counts.shape
        start = np.concatenate([[0], np.cumsum(counts)[:-1]]).reshape(shape)
        cells = wp.zeros(int(counts.sum()), dtype=wp.uint8, device="cpu")
        self._size = on_device(self.size, wp.vec2i, "cpu")
        places = on_device(start, wp.int64, "cpu")
        wp.launch(
            draw_shapes,
            (len(faces), self.turns),
            inputs=[
                on_device(self.points.astype(np.float32), wp.vec2, "cpu"),
                on_device(faces, wp.int32, "cpu"),
                on_device(charts.astype(np.int32), wp.int32, "cpu"),
                on_device(self.turn.astype(np.float32), wp.vec2, "cpu"),
                on_device(self.low.astype(np.float32), wp.vec2, "cpu"),
                places,
                self._size,
                cells,
            ],
            device="cpu",
        )
        spans = wp.zeros((*shape, 2), dtype=wp.int32, device="cpu")
        rims = wp.zeros(shape, dtype=wp.int32, device="cpu")
        wp.launch(count_spans, shape, inputs=[cells, places, self._size, spans, rims], device="cpu")
        self.rims = rims.numpy()
        # What a place costs: its height, half by the shape's top and half by its centre of gravity.
        cost = 0.5 * (self.size[..., 1] + self._centres(faces, charts))
        self._height = on_device(cost.astype(np.float32), wp.float32, "cpu")
        self.total = int(self.rims.min(1).sum())
        ends = np.cumsum(spans.numpy().reshape(-1), dtype=np.int64)
        firsts = np.concatenate([[0], ends[:-1]])
        self._first = on_device(firsts.reshape(*shape, 2).astype(np.int32), wp.int32, "cpu")
        self._end = on_device(ends.reshape(*shape, 2).astype(np.int32), wp.int32, "cpu")
        self._spans = wp.zeros(int(ends[-1]), dtype=wp.vec3i, device="cpu")
        self._longest = on_device(firsts.reshape(*shape, 2)[..., 1].astype(np.int32), wp.int32, "cpu")
        wp.launch(
            list_spans,
            (*shape, 2),
            inputs=[cells, places, self._size, self._first, self._spans, self._longest],
            device="cpu",
        )

    def _centres(self, faces: I32, charts: I64) -> F64:
        """(C, T): how high the centre of gravity lies in each box."""
        area = np.abs(triangle_areas(self.points, faces))
        middle = self.points[faces].mean(1)
        total = np.maximum(np.bincount(charts, area), 1e-300)
        x, y = (np.bincount(charts, area * middle[:, k]) / total for k in range(2))
        return self.turn[..., 1] * x[:, None] + self.turn[..., 0] * y[:, None] - self.low[..., 1] + RIM_CELLS

    def order(self, attempt: int) -> I32:
        """Which shape goes first: by the larger side, by area, or by a mixture of these that `attempt` names."""
        sides = self.size[:, 0].max(1).astype(np.float64)
        area = np.sqrt(self.rims[:, 0].astype(np.float64))
        if attempt < 3:
            measure = sides
        elif attempt == 3:
            measure = area
        else:
            mixture = np.random.default_rng(attempt)
            measure = np.sqrt(sides * area) * mixture.uniform(0.8, 1.25, len(sides))
        return np.argsort(-measure, kind="stable").astype(np.int32)

    def place(self, order: I32, width: int) -> _Placed:
        height = int(2.5 * self.total / width) + 2 * int(self.size.max())
        while True:
            run = np.repeat(np.arange(width, 0, -1, dtype=np.int32)[None], height, 0)
            places = wp.zeros(len(order), dtype=wp.vec3i, device="cpu")
            wp.launch(
                place_shapes,
                1,
                inputs=[
                    on_device(order, wp.int32, "cpu"),
                    _PATIENCE,
                    max(1, width // _STRIDES),
                    self.turns,
                    self._first,
                    self._end,
                    self._spans,
                    self._longest,
                    self._size,
                    self._height,
                    on_device(run, wp.int32, "cpu"),
                    wp.full(height, width, dtype=wp.int32, device="cpu"),
                    wp.zeros((64, 64), dtype=wp.int32, device="cpu"),
                    places,
                ],
                device="cpu",
            )
            found = np.asarray(places.numpy(), np.int32)
            if (found[:, 2] >= 0).all():
                rows = np.arange(len(found))
                return _Placed(order, found, width, int((found[:, 1] + self.size[rows, found[:, 2], 1]).max()))
            height *= 2

    def laid_out(self, places: I32) -> F64:
        """All points, in cells, where their shapes are."""
        rows = np.arange(len(places))
        turn = self.turn[rows, places[:, 2]]
        shift = places[:, :2] + RIM_CELLS - self.low[rows, places[:, 2]]
        chart = self.chart_of
        return _turned(self.points, turn[chart, 0], turn[chart, 1]) + shift[chart]


def _turned(points: F64, cosine: F64, sine: F64) -> F64:
    x, y = points[:, 0], points[:, 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], 1)


def _members(count: int, faces: I32, charts: I64) -> tuple[I64, I64, I64]:
    """The chart of each point, the points in order of charts, and where in these each chart starts."""
    chart_of = np.zeros(count, np.int64)
    chart_of[faces.reshape(-1)] = np.repeat(charts, 3)
    members = np.argsort(chart_of, kind="stable")
    return chart_of, members, np.searchsorted(chart_of[members], np.arange(int(charts.max()) + 1))


def _extents(points: F64, first: I64) -> tuple[F64, F64]:
    return np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)


def _upright_angles(points: F64, faces: I32, charts: I64) -> F64:
    """For each chart the angle, in steps of 5 degrees, at which its box is smallest."""
    _, members, first = _members(len(points), faces, charts)
    steps = np.radians(np.arange(0.0, 90.0, 5.0))
    areas = []
    for angle in steps:
        low, high = _extents(_turned(points[members], np.cos(angle), np.sin(angle)), first)
        areas.append((high - low).prod(1))
    return steps[np.argmin(np.stack(areas), axis=0)]
