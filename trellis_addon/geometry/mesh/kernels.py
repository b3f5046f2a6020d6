# Kernels are not Python to a type checker, and in them int(0) is a variable where 0 is a constant.
# mypy: ignore-errors
"""Warp kernels of edges, corners and places, for the CPU: those of one thread walk along whole arrays, in order, and
the rest would wait longer for the way to a device and back than for their work.

Half-edges are numbered as in `topology`; `faces` (M, 3) come flat, as (3 M,).
"""

from __future__ import annotations

import numpy as np
import warp as wp

from .closest_warp import start_warp

wp.set_module_options({"enable_backward": False})


def run(kernel: wp.Kernel, threads: int, *values: np.ndarray | float | tuple[int, ...]) -> None:
    """Launches a kernel on the CPU, on the memory of NumPy arrays: what it writes stands in them afterwards."""
    start_warp()
    inputs = [wp.array(value, copy=False, device="cpu") if isinstance(value, np.ndarray) else value for value in values]
    wp.launch(kernel, threads, inputs=inputs, device="cpu")


@wp.func
def next_corner(h: int) -> int:
    """The corner where half-edge h ends; also the half-edge after it."""
    if h % 3 == 2:
        return h - 2
    return h + 1


# --- edges ---


@wp.kernel
def count_ends(faces: wp.array(dtype=wp.int32), lower: wp.array(dtype=wp.int32), upper: wp.array(dtype=wp.int32)):
    """One thread: how many half-edges have each vertex (N,) as the lower and as the upper of their two."""
    for h in range(faces.shape[0]):
        a = faces[h]
        b = faces[next_corner(h)]
        lower[wp.min(a, b)] += 1
        upper[wp.max(a, b)] += 1


@wp.kernel
def sort_half_edges(
    faces: wp.array(dtype=wp.int32),
    lower: wp.array(dtype=wp.int32),
    upper: wp.array(dtype=wp.int32),
    by_upper: wp.array(dtype=wp.int32),
    order: wp.array(dtype=wp.int32),
):
    """One thread: half-edges by their lower, then by their upper vertex, by counting.

    `lower` and `upper` (N,) are where each vertex's places start, and are moved on.
    """
    for h in range(faces.shape[0]):
        v = wp.max(faces[h], faces[next_corner(h)])
        by_upper[upper[v]] = h
        upper[v] += 1
    for i in range(faces.shape[0]):
        h = by_upper[i]
        v = wp.min(faces[h], faces[next_corner(h)])
        order[lower[v]] = h
        lower[v] += 1


@wp.kernel
def list_edges(
    faces: wp.array(dtype=wp.int32),
    order: wp.array(dtype=wp.int32),
    first: wp.array(dtype=wp.int32),
    number: wp.array(dtype=wp.int32),
):
    """One thread: where in `order` (3 M,) another edge starts; `number` (1,) gets how many there are."""
    last_low = int(-1)
    last_high = int(-1)
    edges = int(0)
    for i in range(order.shape[0]):
        a = faces[order[i]]
        b = faces[next_corner(order[i])]
        low = wp.min(a, b)
        high = wp.max(a, b)
        if low != last_low or high != last_high:
            first[edges] = i
            edges += 1
            last_low = low
            last_high = high
    number[0] = edges


@wp.kernel
def mark_doubles(
    faces: wp.array(dtype=wp.int32),
    order: wp.array(dtype=wp.int32),
    first: wp.array(dtype=wp.int32),
    counts: wp.array(dtype=wp.int32),
    kept: wp.array(dtype=wp.bool),
):
    """A thread for each edge: of its faces with the same third corner only the first one is kept."""
    e = wp.tid()
    for i in range(first[e] + 1, first[e] + counts[e]):
        # The corner across a half-edge is the one after its end.
        tip = faces[next_corner(next_corner(order[i]))]
        for j in range(first[e], i):
            if faces[next_corner(next_corner(order[j]))] == tip:
                kept[wp.max(order[i], order[j]) / 3] = False


@wp.kernel
def join_opposite(
    faces: wp.array(dtype=wp.int32),
    order: wp.array(dtype=wp.int32),
    first: wp.array(dtype=wp.int32),
    counts: wp.array(dtype=wp.int32),
    twin: wp.array(dtype=wp.int32),
):
    """A thread for each edge: where it has two half-edges that run against each other, they are twins."""
    e = wp.tid()
    if counts[e] == 2:
        one = order[first[e]]
        other = order[first[e] + 1]
        if faces[one] != faces[other]:
            twin[one] = other
            twin[other] = one


@wp.kernel
def flip_half_edges(which: wp.array(dtype=wp.bool), half_edges: wp.array(dtype=wp.int32)):
    """A thread for each: its number once the second and third corner of the faces `which` (M,) are exchanged."""
    i = wp.tid()
    h = half_edges[i]
    if which[h / 3]:
        half_edges[i] = 2 * (h - h % 3) + 2 - h


@wp.kernel
def renumber_twins(
    twin: wp.array(dtype=wp.int32),
    kept: wp.array(dtype=wp.int64),
    number: wp.array(dtype=wp.int32),
    out: wp.array(dtype=wp.int32),
):
    """A thread for each face that is kept: its half-edges' twins, with the kept faces' new numbers."""
    f = wp.tid()
    for k in range(3):
        t = twin[3 * int(kept[f]) + k]
        if t >= 0:
            t = 3 * number[t / 3] + t % 3
        out[3 * f + k] = t


# --- corners and places ---


@wp.kernel
def mark_used(faces: wp.array(dtype=wp.int32), used: wp.array(dtype=wp.bool)):
    """A thread for each corner."""
    used[faces[wp.tid()]] = True


@wp.kernel
def last_corners(faces: wp.array(dtype=wp.int32), degree: wp.array(dtype=wp.int32), corner: wp.array(dtype=wp.int32)):
    """One thread: how many corners each vertex (N,) has, and the last of these."""
    for h in range(faces.shape[0]):
        degree[faces[h]] += 1
        corner[faces[h]] = h


@wp.kernel
def closed_fans(
    twin: wp.array(dtype=wp.int32),
    degree: wp.array(dtype=wp.int32),
    corner: wp.array(dtype=wp.int32),
    closed: wp.array(dtype=wp.bool),
):
    """A thread for each vertex: whether a walk round it comes back when it has seen all of its faces."""
    v = wp.tid()
    at = int(corner[v])
    steps = int(0)
    walking = bool(degree[v] > 0)
    while walking:
        at = twin[next_corner(next_corner(at))]
        steps += 1
        walking = at >= 0 and at != corner[v] and steps < degree[v]
    closed[v] = degree[v] == 0 or (at == corner[v] and steps == degree[v])


@wp.kernel
def double_areas(
    vertices: wp.array2d(dtype=wp.float32), faces: wp.array(dtype=wp.int32), out: wp.array(dtype=wp.float64)
):
    """A thread for each face: twice its area."""
    f = wp.tid()
    a = faces[3 * f]
    b = faces[3 * f + 1]
    c = faces[3 * f + 2]
    origin = wp.vec3d(wp.float64(vertices[a, 0]), wp.float64(vertices[a, 1]), wp.float64(vertices[a, 2]))
    one = wp.vec3d(wp.float64(vertices[b, 0]), wp.float64(vertices[b, 1]), wp.float64(vertices[b, 2])) - origin
    other = wp.vec3d(wp.float64(vertices[c, 0]), wp.float64(vertices[c, 1]), wp.float64(vertices[c, 2])) - origin
    out[f] = wp.length(wp.cross(one, other))


@wp.kernel
def cell_keys(
    vertices: wp.array2d(dtype=wp.float32),
    low: wp.array(dtype=wp.float64),
    scale: wp.float64,
    side: wp.int64,
    keys: wp.array(dtype=wp.int64),
):
    """A thread for each vertex: the number of its cell, in a grid of `side` cells in each direction."""
    v = wp.tid()
    key = wp.int64(0)
    for axis in range(3):
        cell = wp.rint((wp.float64(vertices[v, axis]) - low[axis]) * scale)
        key = key * side + wp.int64(cell)
    keys[v] = key


@wp.kernel
def count_lowest(faces: wp.array(dtype=wp.int32), count: wp.array(dtype=wp.int32), unsorted: wp.array(dtype=wp.bool)):
    """One thread: how many faces have each vertex (N,) as their lowest; `unsorted` (1,): whether that ever falls."""
    last = int(-1)
    for f in range(faces.shape[0] / 3):
        v = wp.min(faces[3 * f], wp.min(faces[3 * f + 1], faces[3 * f + 2]))
        count[v] += 1
        if v < last:
            unsorted[0] = True
        last = v


@wp.kernel
def sort_faces(faces: wp.array(dtype=wp.int32), first: wp.array(dtype=wp.int32), out: wp.array(dtype=wp.int32)):
    """One thread: faces by their lowest vertex; `first` (N,) are where each vertex's start, and are moved on."""
    for f in range(faces.shape[0] / 3):
        v = wp.min(faces[3 * f], wp.min(faces[3 * f + 1], faces[3 * f + 2]))
        at = first[v]
        first[v] = at + 1
        for k in range(3):
            out[3 * at + k] = faces[3 * f + k]
