# Kernels are not Python to a type checker, and in them int(0) is a variable where 0 is a constant.
# mypy: ignore-errors
"""Warp kernels that find faces which cross each other, for the CPU: in float64, in which most cards are slow."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

# How far inside of a triangle and of an edge a crossing must lie, as a share of them: what only touches does not cross.
INSIDE = wp.constant(wp.float64(1.0e-6))


@wp.func
def corner(vertices: wp.array2d(dtype=wp.float64), v: int) -> wp.vec3d:
    return wp.vec3d(vertices[v, 0], vertices[v, 1], vertices[v, 2])


@wp.func
def one_of(v: int, i: int, j: int, k: int) -> int:
    if v == i or v == j or v == k:  # noqa: SIM109 - Warp knows no tuples here
        return 1
    return 0


@wp.func
def pierces(p: wp.vec3d, q: wp.vec3d, a: wp.vec3d, b: wp.vec3d, c: wp.vec3d) -> int:
    """Whether the edge from p to q passes through the triangle (Moeller and Trumbore 1997)."""
    way = q - p
    e1 = b - a
    e2 = c - a
    h = wp.cross(way, e2)
    det = wp.dot(e1, h)
    if wp.abs(det) <= wp.float64(1.0e-10) * wp.length(e1) * wp.length(e2) * wp.length(way):
        return 0
    s = p - a
    u = wp.dot(s, h) / det
    if u <= INSIDE or u >= wp.float64(1.0) - INSIDE:
        return 0
    t = wp.cross(s, e1)
    v = wp.dot(way, t) / det
    if v <= INSIDE or u + v >= wp.float64(1.0) - INSIDE:
        return 0
    far = wp.dot(e2, t) / det
    if far <= INSIDE or far >= wp.float64(1.0) - INSIDE:
        return 0
    return 1


@wp.kernel
def find_crossings(
    mesh: wp.uint64,
    faces: wp.array(dtype=wp.int32),
    vertices: wp.array2d(dtype=wp.float64),
    pairs: wp.array2d(dtype=wp.int32),
    number: wp.array(dtype=wp.int32),
):
    """A thread for each face: those of higher number that it crosses, without those it shares an edge with.

    `number` (1,) is how many there are, which may be more than `pairs` (P, 2) holds.
    """
    f = wp.tid()
    i = faces[3 * f]
    j = faces[3 * f + 1]
    k = faces[3 * f + 2]
    a = corner(vertices, i)
    b = corner(vertices, j)
    c = corner(vertices, k)
    low = wp.vec3(wp.min(a, wp.min(b, c)))
    high = wp.vec3(wp.max(a, wp.max(b, c)))
    query = wp.mesh_query_aabb(mesh, low, high)
    g = int(0)
    while wp.mesh_query_aabb_next(query, g):
        if g > f:
            x = faces[3 * g]
            y = faces[3 * g + 1]
            z = faces[3 * g + 2]
            shared = int(0)
            shared += one_of(x, i, j, k)
            shared += one_of(y, i, j, k)
            shared += one_of(z, i, j, k)
            if shared < 2:
                p = corner(vertices, x)
                q = corner(vertices, y)
                r = corner(vertices, z)
                hit = pierces(p, q, a, b, c) + pierces(q, r, a, b, c) + pierces(r, p, a, b, c)
                hit += pierces(a, b, p, q, r) + pierces(b, c, p, q, r) + pierces(c, a, p, q, r)
                if hit > 0:
                    at = wp.atomic_add(number, 0, 1)
                    if at < pairs.shape[0]:
                        pairs[at, 0] = f
                        pairs[at, 1] = g
