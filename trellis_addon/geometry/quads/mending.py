"""What remeshers leave behind, mended: places that are no numbers, edges without length, small holes.

Faces are quads (Q, 4); a triangle among them is one whose last two corners are the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..mesh.closest import Surface
from ..mesh.topology import TriMesh
from .fitting import Made
from .pairs import quad_edges

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
Bool = NDArray[np.bool_]

_ROUNDS = 12
# Edges under this share of the median are drawn apart; what then still is under the second one is joined.
_SHORT, _NOTHING = 0.1, 2e-3
_MOST_CORNERS = 12  # of a hole that is closed


def mended(made: Made, source: TriMesh) -> Made:
    """The quads without what is unsound about them, near the surface that they were made of."""
    vertices, quads = made
    vertices = np.array(vertices, np.float32)
    quads = _closed(quads, vertices) if _is_closed(source) else quads
    vertices = _drawn_apart(vertices, quads, source)
    return _joined(vertices, quads)


def _is_closed(mesh: TriMesh) -> bool:
    ends = np.sort(np.stack([mesh.faces, np.roll(mesh.faces, -1, 1)], 2).reshape(-1, 2), axis=1)
    _, times = np.unique(ends, axis=0, return_counts=True)
    return bool((times == 2).all())


def _closed(quads: I32, vertices: F32) -> I32:
    """With faces in its small holes."""
    found = [quads]
    for loop in _loops(quads):
        if 3 <= len(loop) <= _MOST_CORNERS:
            found.append(_filled(loop, vertices))
    return np.concatenate(found).astype(np.int32)


def _loops(quads: I32) -> list[list[int]]:
    """The borders of holes, wound so that a face on them faces as its neighbours do."""
    ends = np.stack([quads, np.roll(quads, -1, 1)], 2).reshape(-1, 2)
    ends = ends[ends[:, 0] != ends[:, 1]]
    there = set(map(tuple, ends.tolist()))
    after: dict[int, list[int]] = {}
    for a, b in sorted(there):
        if (b, a) not in there:
            after.setdefault(b, []).append(a)
    found = []
    for start in list(after):
        loop, here = [start], start
        while after.get(here):
            here = after[here].pop()
            if here in loop:  # what comes before was a detour: only the ring is a hole
                loop = loop[loop.index(here) :]
                found.append(loop)
                break
            loop.append(here)
    return found


def _filled(loop: list[int], vertices: F32) -> I32:
    """A strip across the hole, begun where its rungs are shortest."""
    best: list[tuple[int, int, int, int]] = []
    least = np.inf
    for turn in range(len(loop)):
        ring = loop[turn:] + loop[:turn]
        last = len(ring) - 1
        steps = range((len(ring) - 1) // 2)
        rows = [(ring[i], ring[i + 1], ring[last - 1 - i], ring[last - i]) for i in steps]
        rungs = np.array([(row[1], row[2]) for row in rows])
        length = float(np.linalg.norm(vertices[rungs[:, 0]] - vertices[rungs[:, 1]], axis=1).sum())
        if not best or length < least:
            best, least = rows, length
    return np.array(best, np.int32)


def _drawn_apart(vertices: F32, quads: I32, source: TriMesh) -> F32:
    """Corners without a place, and those of edges with hardly any length, go to the middle of their neighbours."""
    edges = quad_edges(quads)
    if not len(edges):
        return vertices
    lost = ~np.isfinite(vertices).all(1)
    vertices[lost] = np.nan
    surface: Surface | None = None
    for _ in range(_ROUNDS):
        lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
        short = ~(lengths >= _SHORT * np.nanmedian(lengths))
        moved = np.zeros(len(vertices), np.bool_)
        moved[edges[short].reshape(-1)] = True
        moved &= lost if lost.any() else True
        if not moved.any():
            break
        vertices[moved] = _middles(vertices, edges)[moved]
        lost &= ~np.isfinite(vertices).all(1)
        moved &= np.isfinite(vertices).all(1)
        if moved.any():
            surface = surface or Surface(source.vertices, source.faces)
            vertices[moved] = surface.closest(vertices[moved]).points
    vertices[~np.isfinite(vertices).all(1)] = source.vertices.mean(0)
    return vertices


def _middles(vertices: F32, edges: I32) -> F32:
    """(V, 3) the mean of each corner's neighbours that have a place."""
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[np.isfinite(vertices[both[:, 1]]).all(1)]
    count = np.bincount(both[:, 0], minlength=len(vertices))
    sums = [np.bincount(both[:, 0], vertices[both[:, 1], axis], len(vertices)) for axis in range(3)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.stack(sums, 1) / count[:, None]).astype(np.float32)


def _joined(vertices: F32, quads: I32) -> Made:
    """Without edges that have no length still: their corners are one, and a quad loses one of its own by that."""
    edges = quad_edges(quads)
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    into = np.arange(len(vertices), dtype=np.int32)
    for a, b in edges[lengths < _NOTHING * np.median(lengths)].tolist():
        into[into == into[b]] = into[a]
    quads = without_repeats(into[quads])
    used, numbers = np.unique(quads, return_inverse=True)
    return vertices[used], numbers.reshape(quads.shape).astype(np.int32)


def without_repeats(quads: I32) -> I32:
    """Quads of which a corner stands twice as triangles, and without those that have fewer than three corners."""
    repeated = quads == np.roll(quads, -1, 1)  # the corner is the next one
    several = repeated.sum(1)
    first = repeated.argmax(1)
    # the repeated corner comes last: a triangle is (a, b, c, c)
    turned = quads[np.arange(len(quads))[:, None], (first[:, None] + np.array([2, 3, 4, 5])) % 4]
    turned[:, 3] = turned[:, 2]
    out = np.where((several == 1)[:, None], turned, quads)
    crossed = (out[:, 0] == out[:, 2]) | (out[:, 1] == out[:, 3]) & (out[:, 2] != out[:, 3])
    kept = (several <= 1) & ~crossed
    found: I32 = out[kept].astype(np.int32)
    return found
