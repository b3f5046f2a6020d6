# Kernels are not Python to a type checker, and in them int(0) is a variable where 0 is a constant.
# mypy: ignore-errors
"""Warp kernels that collapse edges one by one, the cheapest first, for the CPU: each changes what the next one costs.

Corner `3 * f + k` is corner k of face f; `head` (N,) and `after` (3 M,) list each vertex's corners. Faces that are gone
have their first corner at -1. `quadric` (N, 10) are sums of squared distances from planes, weighted by areas: xx, xy,
xz, xd, yy, yz, yd, zz, zd, dd; `weight` (N,) are the areas. The heap's entries are a cost, the ends of an edge, and
the sum of the ends' `stamp` when it was put there: a vertex's stamp grows when it changes, so an entry with another sum
is out of date.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

# How strongly the middle of an edge pulls, and how much the length of an edge adds to its cost, as shares of the area.
PULL = wp.constant(wp.float64(2.0e-5))
LENGTH = wp.constant(wp.float64(1.0e-5))
# A border counts as a plane across the surface, this many times as heavy.
BORDER = wp.constant(wp.float64(4.0))
# The least cosine between a face's normals before and after.
TURN = wp.constant(wp.float64(0.4))


@wp.func
def place(vertices: wp.array2d(dtype=wp.float64), v: int) -> wp.vec3d:
    return wp.vec3d(vertices[v, 0], vertices[v, 1], vertices[v, 2])


@wp.func
def add_plane(
    quadric: wp.array2d(dtype=wp.float64),
    weight: wp.array(dtype=wp.float64),
    v: int,
    n: wp.vec3d,
    d: wp.float64,
    w: wp.float64,
):
    quadric[v, 0] += w * n[0] * n[0]
    quadric[v, 1] += w * n[0] * n[1]
    quadric[v, 2] += w * n[0] * n[2]
    quadric[v, 3] += w * n[0] * d
    quadric[v, 4] += w * n[1] * n[1]
    quadric[v, 5] += w * n[1] * n[2]
    quadric[v, 6] += w * n[1] * d
    quadric[v, 7] += w * n[2] * n[2]
    quadric[v, 8] += w * n[2] * d
    quadric[v, 9] += w * d * d


@wp.kernel
def list_corners(faces: wp.array(dtype=wp.int32), head: wp.array(dtype=wp.int32), after: wp.array(dtype=wp.int32)):
    """One thread: the corners of each vertex, last ones first; `head` is -1 everywhere."""
    for c in range(faces.shape[0]):
        v = faces[c]
        if v >= 0:
            after[c] = head[v]
            head[v] = c


@wp.kernel
def add_faces(
    faces: wp.array(dtype=wp.int32),
    vertices: wp.array2d(dtype=wp.float64),
    border: wp.array(dtype=wp.bool),
    quadric: wp.array2d(dtype=wp.float64),
    weight: wp.array(dtype=wp.float64),
):
    """One thread: each face's plane for its corners, and for half-edges on a `border` (3 M,) the plane across."""
    for f in range(faces.shape[0] / 3):
        a = place(vertices, faces[3 * f])
        b = place(vertices, faces[3 * f + 1])
        c = place(vertices, faces[3 * f + 2])
        cross = wp.cross(b - a, c - a)
        double = wp.length(cross)
        if double > wp.float64(0.0):
            n = cross / double
            area = double / wp.float64(6.0)
            for k in range(3):
                v = faces[3 * f + k]
                add_plane(quadric, weight, v, n, -wp.dot(n, a), area)
                weight[v] += area
            for k in range(3):
                if border[3 * f + k]:
                    v = faces[3 * f + k]
                    u = faces[3 * f + (k + 1) % 3]
                    along = place(vertices, u) - place(vertices, v)
                    across = wp.cross(along, n)
                    long = wp.length(along)
                    if long > wp.float64(0.0):
                        across = across / long
                        d = -wp.dot(across, place(vertices, v))
                        add_plane(quadric, weight, v, across, d, BORDER * long * long)
                        add_plane(quadric, weight, u, across, d, BORDER * long * long)


@wp.func
def error_at(q: wp.array2d(dtype=wp.float64), u: int, v: int, p: wp.vec3d) -> wp.float64:
    x = p[0]
    y = p[1]
    z = p[2]
    two = wp.float64(2.0)
    total = (q[u, 0] + q[v, 0]) * x * x + (q[u, 4] + q[v, 4]) * y * y + (q[u, 7] + q[v, 7]) * z * z
    total += two * ((q[u, 1] + q[v, 1]) * x * y + (q[u, 2] + q[v, 2]) * x * z + (q[u, 5] + q[v, 5]) * y * z)
    total += two * ((q[u, 3] + q[v, 3]) * x + (q[u, 6] + q[v, 6]) * y + (q[u, 8] + q[v, 8]) * z)
    total += q[u, 9] + q[v, 9]
    return wp.max(total, wp.float64(0.0))


@wp.func
def best_place(
    q: wp.array2d(dtype=wp.float64),
    weight: wp.array(dtype=wp.float64),
    vertices: wp.array2d(dtype=wp.float64),
    u: int,
    v: int,
) -> wp.vec3d:
    """Where the two vertices' quadric is least, drawn a little towards the middle of the edge."""
    m = (place(vertices, u) + place(vertices, v)) * wp.float64(0.5)
    pull = PULL * (weight[u] + weight[v])
    a = q[u, 0] + q[v, 0] + pull
    b = q[u, 1] + q[v, 1]
    c = q[u, 2] + q[v, 2]
    d = q[u, 4] + q[v, 4] + pull
    e = q[u, 5] + q[v, 5]
    f = q[u, 7] + q[v, 7] + pull
    # The gradient at the middle, so that what is solved for is the way from there.
    gx = a * m[0] + b * m[1] + c * m[2] + q[u, 3] + q[v, 3] - pull * m[0]
    gy = b * m[0] + d * m[1] + e * m[2] + q[u, 6] + q[v, 6] - pull * m[1]
    gz = c * m[0] + e * m[1] + f * m[2] + q[u, 8] + q[v, 8] - pull * m[2]
    ca = d * f - e * e
    cb = c * e - b * f
    cc = b * e - c * d
    det = a * ca + b * cb + c * cc
    scale = a + d + f
    if wp.abs(det) <= wp.float64(1.0e-12) * scale * scale * scale:
        return m
    cd = a * f - c * c
    ce = b * c - a * e
    cf = a * d - b * b
    step = wp.vec3d(
        -(ca * gx + cb * gy + cc * gz) / det,
        -(cb * gx + cd * gy + ce * gz) / det,
        -(cc * gx + ce * gy + cf * gz) / det,
    )
    # Never further away than the edge is long.
    far = wp.length(step)
    reach = wp.length(place(vertices, u) - place(vertices, v))
    if far > reach:
        step = step * (reach / far)
    return m + step


@wp.func
def cost_of(
    q: wp.array2d(dtype=wp.float64),
    weight: wp.array(dtype=wp.float64),
    vertices: wp.array2d(dtype=wp.float64),
    u: int,
    v: int,
) -> wp.float64:
    p = best_place(q, weight, vertices, u, v)
    along = place(vertices, u) - place(vertices, v)
    return error_at(q, u, v, p) + LENGTH * (weight[u] + weight[v]) * wp.dot(along, along)


@wp.func
def sink(
    cost: wp.array(dtype=wp.float32),
    ends: wp.array2d(dtype=wp.int32),
    start: int,
    size: int,
):
    """Entry `start` of the heap goes down to its place."""
    c = cost[start]
    u = ends[start, 0]
    v = ends[start, 1]
    s = ends[start, 2]
    i = int(start)
    going = int(1)
    while going == 1:
        child = 2 * i + 1
        if child >= size:
            going = 0
        else:
            if child + 1 < size and cost[child + 1] < cost[child]:
                child += 1
            if cost[child] < c:
                cost[i] = cost[child]
                ends[i, 0] = ends[child, 0]
                ends[i, 1] = ends[child, 1]
                ends[i, 2] = ends[child, 2]
                i = child
            else:
                going = 0
    cost[i] = c
    ends[i, 0] = u
    ends[i, 1] = v
    ends[i, 2] = s


@wp.func
def rise(cost: wp.array(dtype=wp.float32), ends: wp.array2d(dtype=wp.int32), start: int):
    c = cost[start]
    u = ends[start, 0]
    v = ends[start, 1]
    s = ends[start, 2]
    i = int(start)
    going = int(1)
    while going == 1:
        parent = (i - 1) / 2
        if i > 0 and c < cost[parent]:
            cost[i] = cost[parent]
            ends[i, 0] = ends[parent, 0]
            ends[i, 1] = ends[parent, 1]
            ends[i, 2] = ends[parent, 2]
            i = parent
        else:
            going = 0
    cost[i] = c
    ends[i, 0] = u
    ends[i, 1] = v
    ends[i, 2] = s


@wp.func
def sine_of_least_angle(a: wp.vec3d, b: wp.vec3d, c: wp.vec3d) -> wp.float64:
    """Of a triangle's smallest angle."""
    double = wp.length(wp.cross(b - a, c - a))
    ab = wp.length(b - a)
    bc = wp.length(c - b)
    ca = wp.length(a - c)
    product = ab * bc * ca / wp.max(wp.min(ab, wp.min(bc, ca)), wp.float64(1.0e-300))
    return double / wp.max(product, wp.float64(1.0e-300))


@wp.func
def mark_round(
    faces: wp.array(dtype=wp.int32),
    head: wp.array(dtype=wp.int32),
    after: wp.array(dtype=wp.int32),
    mark: wp.array(dtype=wp.int32),
    v: int,
    number: int,
):
    """Mark the vertices round v; corners of faces that are gone leave its list."""
    c = head[v]
    last = int(-1)
    while c >= 0:
        f = c / 3
        if faces[3 * f] < 0:
            if last < 0:
                head[v] = after[c]
            else:
                after[last] = after[c]
        else:
            mark[faces[3 * f + (c + 1) % 3]] = number
            mark[faces[3 * f + (c + 2) % 3]] = number
            last = c
        c = after[c]


@wp.func
def joinable(
    faces: wp.array(dtype=wp.int32),
    head: wp.array(dtype=wp.int32),
    after: wp.array(dtype=wp.int32),
    mark: wp.array(dtype=wp.int32),
    rim: wp.array(dtype=wp.bool),
    u: int,
    v: int,
    number: int,
) -> int:
    """Whether the surface stays a manifold when u and v become one (the link condition)."""
    mark_round(faces, head, after, mark, u, number)
    mark_round(faces, head, after, mark, v, number + 1)
    # Both are round u: marks of u's that v's have overwritten are those they have in common.
    tips = int(0)
    tip_a = int(-1)
    tip_b = int(-1)
    c = head[u]
    while c >= 0:
        f = c / 3
        x = faces[3 * f + (c + 1) % 3]
        y = faces[3 * f + (c + 2) % 3]
        if x == v or y == v:
            tips += 1
            tip = x
            if x == v:
                tip = y
            if tip_a < 0:
                tip_a = tip
            else:
                tip_b = tip
        c = after[c]
    if tips == 0 or tips > 2:
        return 0
    if tips == 2 and rim[u] and rim[v]:
        return 0
    # Neighbours in common, each counted once: their mark is the second number only if v has them too.
    mark[u] = number - 1
    mark[v] = number - 1
    common = int(0)
    capped = int(0)
    c = head[u]
    while c >= 0:
        f = c / 3
        x = faces[3 * f + (c + 1) % 3]
        y = faces[3 * f + (c + 2) % 3]
        if mark[x] == number + 1:
            common += 1
            mark[x] = number + 2
        if mark[y] == number + 1:
            common += 1
            mark[y] = number + 2
        if (x == tip_a and y == tip_b) or (x == tip_b and y == tip_a):
            capped += 1
        c = after[c]
    if common != tips:
        return 0
    c = head[v]
    while c >= 0:
        f = c / 3
        x = faces[3 * f + (c + 1) % 3]
        y = faces[3 * f + (c + 2) % 3]
        if (x == tip_a and y == tip_b) or (x == tip_b and y == tip_a):
            capped += 1
        c = after[c]
    if capped >= 2:
        return 0
    return 1


@wp.func
def keeps_shape(
    faces: wp.array(dtype=wp.int32),
    head: wp.array(dtype=wp.int32),
    after: wp.array(dtype=wp.int32),
    vertices: wp.array2d(dtype=wp.float64),
    u: int,
    v: int,
    p: wp.vec3d,
    least_sine: wp.float64,
) -> int:
    """Whether no face turns over, or becomes a sliver where there was none, when u and v become one at p."""
    worst = wp.float64(1.0)
    then_worst = wp.float64(1.0)
    for side in range(2):
        here = u
        other = v
        if side == 1:
            here = v
            other = u
        h = place(vertices, here)
        c = head[here]
        while c >= 0:
            f = c / 3
            x = faces[3 * f + (c + 1) % 3]
            y = faces[3 * f + (c + 2) % 3]
            a = place(vertices, x)
            b = place(vertices, y)
            worst = wp.min(worst, sine_of_least_angle(h, a, b))
            if x != other and y != other:
                before = wp.cross(a - h, b - h)
                then = wp.cross(a - p, b - p)
                size = wp.length(before)
                # A face without area has no side to turn from.
                sound = size > wp.float64(1.0e-4) * wp.max(wp.dot(a - b, a - b), wp.dot(a - h, a - h))
                if sound and wp.dot(before, then) < TURN * size * wp.length(then):
                    return 0
                then_worst = wp.min(then_worst, sine_of_least_angle(p, a, b))
            c = after[c]
    if then_worst < least_sine and then_worst < worst * wp.float64(1.05):
        return 0
    return 1


@wp.func
def push(
    cost: wp.array(dtype=wp.float32),
    ends: wp.array2d(dtype=wp.int32),
    head: wp.array(dtype=wp.int32),
    stamp: wp.array(dtype=wp.int32),
    size: int,
    c: wp.float64,
    u: int,
    v: int,
) -> int:
    """One more entry on the heap; how many there are then. Where there is no room, what is out of date goes first."""
    number = int(size)
    if number == cost.shape[0]:
        kept = int(0)
        for i in range(number):
            a = ends[i, 0]
            b = ends[i, 1]
            if head[a] >= 0 and head[b] >= 0 and stamp[a] + stamp[b] == ends[i, 2]:
                cost[kept] = cost[i]
                ends[kept, 0] = a
                ends[kept, 1] = b
                ends[kept, 2] = ends[i, 2]
                kept += 1
        number = kept
        for i in range(number / 2):
            sink(cost, ends, number / 2 - 1 - i, number)
    cost[number] = wp.float32(c)
    ends[number, 0] = u
    ends[number, 1] = v
    ends[number, 2] = stamp[u] + stamp[v]
    rise(cost, ends, number)
    return number + 1


@wp.func
def join(
    faces: wp.array(dtype=wp.int32),
    head: wp.array(dtype=wp.int32),
    after: wp.array(dtype=wp.int32),
    u: int,
    v: int,
) -> int:
    """v's faces become u's, those of both go; how many went."""
    gone = int(0)
    last = int(-1)
    c = head[v]
    while c >= 0:
        f = c / 3
        x = faces[3 * f + (c + 1) % 3]
        y = faces[3 * f + (c + 2) % 3]
        if x == u or y == u:
            faces[3 * f] = -1
            gone += 1
        else:
            faces[c] = u
        last = c
        c = after[c]
    if last >= 0:
        after[last] = head[u]
        head[u] = head[v]
    head[v] = -1
    return gone


@wp.func
def unite(
    vertices: wp.array2d(dtype=wp.float64),
    quadric: wp.array2d(dtype=wp.float64),
    weight: wp.array(dtype=wp.float64),
    u: int,
    v: int,
    p: wp.vec3d,
):
    """u goes to p and gets v's quadric too."""
    vertices[u, 0] = p[0]
    vertices[u, 1] = p[1]
    vertices[u, 2] = p[2]
    for k in range(10):
        quadric[u, k] += quadric[v, k]
    weight[u] += weight[v]


@wp.kernel
def middle_costs(
    vertices: wp.array2d(dtype=wp.float64),
    quadric: wp.array2d(dtype=wp.float64),
    weight: wp.array(dtype=wp.float64),
    edges: wp.array2d(dtype=wp.int32),
    cost: wp.array(dtype=wp.float32),
):
    """A thread for each edge: about what it costs, quickly told."""
    e = wp.tid()
    u = edges[e, 0]
    v = edges[e, 1]
    along = place(vertices, u) - place(vertices, v)
    m = (place(vertices, u) + place(vertices, v)) * wp.float64(0.5)
    area = weight[u] + weight[v]
    cost[e] = wp.float32(error_at(quadric, u, v, m) + LENGTH * area * wp.dot(along, along))


@wp.kernel
def sweep(
    faces: wp.array(dtype=wp.int32),
    vertices: wp.array2d(dtype=wp.float64),
    rim: wp.array(dtype=wp.bool),
    quadric: wp.array2d(dtype=wp.float64),
    weight: wp.array(dtype=wp.float64),
    head: wp.array(dtype=wp.int32),
    after: wp.array(dtype=wp.int32),
    mark: wp.array(dtype=wp.int32),
    held: wp.array(dtype=wp.bool),
    into: wp.array(dtype=wp.int32),
    edges: wp.array2d(dtype=wp.int32),
    cost: wp.array(dtype=wp.float32),
    most: wp.float32,
    target: int,
    least_sine: wp.float64,
    count: wp.array(dtype=wp.int32),
):
    """One thread: collapse edges that cost no more than `most` in the order they come in, no two at one vertex.

    For a mesh with many more faces than are wanted: which of its cheap edges go first makes no difference.
    """
    number = int(1)
    for e in range(edges.shape[0]):
        u = edges[e, 0]
        v = edges[e, 1]
        free = into[u] == u and into[v] == v and not held[u] and not held[v]
        if cost[e] <= most and free and count[0] > target:
            p = best_place(quadric, weight, vertices, u, v)
            fits = joinable(faces, head, after, mark, rim, u, v, number)
            number += 4
            if fits == 1:
                fits = keeps_shape(faces, head, after, vertices, u, v, p, least_sine)
            if fits == 1:
                count[0] -= join(faces, head, after, u, v)
                unite(vertices, quadric, weight, u, v, p)
                rim[u] = rim[u] or rim[v]
                held[u] = True
                into[v] = u


@wp.kernel
def collapse(
    faces: wp.array(dtype=wp.int32),
    vertices: wp.array2d(dtype=wp.float64),
    rim: wp.array(dtype=wp.bool),
    quadric: wp.array2d(dtype=wp.float64),
    weight: wp.array(dtype=wp.float64),
    head: wp.array(dtype=wp.int32),
    after: wp.array(dtype=wp.int32),
    mark: wp.array(dtype=wp.int32),
    stamp: wp.array(dtype=wp.int32),
    held: wp.array(dtype=wp.bool),
    into: wp.array(dtype=wp.int32),
    edges: wp.array2d(dtype=wp.int32),
    cost: wp.array(dtype=wp.float32),
    ends: wp.array2d(dtype=wp.int32),
    target: int,
    bound: wp.float64,
    least_sine: wp.float64,
    count: wp.array(dtype=wp.int32),
):
    """One thread: collapse `edges` (E, 2) until `count` (1,) faces are no more than `target`, then all that stay within
    `bound` of the surface (root mean square). `rim` (N,) are vertices on borders, `held` (N,) those that stay as they
    are; `into` (N,), at first everybody's own number, is what each became one with. `cost` and `ends` have room for 2 E
    entries or more; `mark` and `stamp` are 0.
    """
    size = int(0)
    for i in range(edges.shape[0]):
        u = edges[i, 0]
        v = edges[i, 1]
        if not held[u] and not held[v]:
            cost[size] = wp.float32(cost_of(quadric, weight, vertices, u, v))
            ends[size, 0] = u
            ends[size, 1] = v
            ends[size, 2] = 0
            size += 1
    for i in range(size / 2):
        sink(cost, ends, size / 2 - 1 - i, size)
    number = int(1)
    while size > 0 and (count[0] > target or bound > wp.float64(0.0)):
        u = ends[0, 0]
        v = ends[0, 1]
        s = ends[0, 2]
        size -= 1
        if size > 0:
            cost[0] = cost[size]
            ends[0, 0] = ends[size, 0]
            ends[0, 1] = ends[size, 1]
            ends[0, 2] = ends[size, 2]
            sink(cost, ends, 0, size)
        if head[u] >= 0 and head[v] >= 0 and stamp[u] + stamp[v] == s:
            p = best_place(quadric, weight, vertices, u, v)
            fits = int(1)
            if count[0] <= target and error_at(quadric, u, v, p) >= bound * bound * (weight[u] + weight[v]):
                fits = 0
            if fits == 1:
                fits = joinable(faces, head, after, mark, rim, u, v, number)
                number += 4
            if fits == 1:
                fits = keeps_shape(faces, head, after, vertices, u, v, p, least_sine)
            if fits == 1:
                count[0] -= join(faces, head, after, u, v)
                into[v] = u
                unite(vertices, quadric, weight, u, v, p)
                rim[u] = rim[u] or rim[v]
                stamp[u] = wp.max(stamp[u], stamp[v]) + 1
                # Each neighbour once, by its mark.
                c = head[u]
                while c >= 0:
                    f = c / 3
                    if faces[3 * f] >= 0:
                        for k in range(2):
                            w = faces[3 * f + (c + 1 + k) % 3]
                            if mark[w] != number and not held[w]:
                                mark[w] = number
                                far = cost_of(quadric, weight, vertices, u, w)
                                size = push(cost, ends, head, stamp, size, far, u, w)
                    c = after[c]
                number += 4
