# Kernels are not Python to a type checker, and in them int(0) is a variable where 0 is a constant.
# mypy: ignore-errors
"""Warp kernels of the rasteriser; they run on the CPU and on a GPU and give the same on both."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

NOBODY = wp.constant(2147483647)
_GRAIN = wp.constant(4096.0)  # steps of a texel that coordinates are rounded to


@wp.func
def grid(value: float, size: int) -> wp.int64:
    return wp.int64(wp.round(value * float(size) * _GRAIN))


@wp.func
def line(ax: wp.int64, ay: wp.int64, bx: wp.int64, by: wp.int64, x: wp.int64, y: wp.int64) -> wp.int64:
    """Positive to the left of a -> b (y up); 0 counts as inside only for left and top edges."""
    value = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
    dx = bx - ax
    dy = by - ay
    if value == wp.int64(0) and not (dy < wp.int64(0) or (dy == wp.int64(0) and dx > wp.int64(0))):
        value = wp.int64(-1)
    return value


@wp.kernel
def cover(
    uvs: wp.array(dtype=wp.vec2),
    faces: wp.array2d(dtype=wp.int32),
    size: int,
    top: int,
    bottom: int,
    count: wp.array2d(dtype=wp.int32),
    owner: wp.array2d(dtype=wp.int32),
    last: wp.array2d(dtype=wp.int32),
) -> None:
    """For each texel of rows `top`..`bottom`: how many triangles hold its centre, and the lowest and highest number of
    these."""
    f = wp.tid()
    a = uvs[faces[f, 0]]
    b = uvs[faces[f, 1]]
    c = uvs[faces[f, 2]]
    ax = grid(a[0], size)
    ay = grid(a[1], size)
    bx = grid(b[0], size)
    by = grid(b[1], size)
    cx = grid(c[0], size)
    cy = grid(c[1], size)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == wp.int64(0):
        return
    if area < wp.int64(0):
        tx = bx
        ty = by
        bx = cx
        by = cy
        cx = tx
        cy = ty
    unit = wp.int64(4096)
    half = wp.int64(2048)
    x0 = wp.max(int((wp.min(ax, wp.min(bx, cx)) - half) / unit), 0)
    x1 = wp.min(int((wp.max(ax, wp.max(bx, cx)) + half) / unit), size - 1)
    y0 = wp.max(int((wp.min(ay, wp.min(by, cy)) - half) / unit), top)
    y1 = wp.min(int((wp.max(ay, wp.max(by, cy)) + half) / unit), bottom - 1)
    for row in range(y0, y1 + 1):
        y = wp.int64(row) * unit + half
        for column in range(x0, x1 + 1):
            x = wp.int64(column) * unit + half
            if (
                line(ax, ay, bx, by, x, y) >= wp.int64(0)
                and line(bx, by, cx, cy, x, y) >= wp.int64(0)
                and line(cx, cy, ax, ay, x, y) >= wp.int64(0)
            ):
                wp.atomic_add(count, row, column, 1)
                wp.atomic_min(owner, row, column, f)
                wp.atomic_max(last, row, column, f)


@wp.func
def nearest_on_triangle(a: wp.vec2, b: wp.vec2, c: wp.vec2, p: wp.vec2) -> wp.vec3:
    """Barycentrics of the point of a triangle that is closest to p; p is outside, or the triangle has no area."""
    best = float(1.0e30)
    weights = wp.vec3(1.0, 0.0, 0.0)
    for k in range(3):
        s = a
        e = b
        if k == 1:
            s = b
            e = c
        if k == 2:
            s = c
            e = a
        d = e - s
        t = wp.clamp(wp.dot(p - s, d) / wp.max(wp.dot(d, d), 1.0e-30), 0.0, 1.0)
        r = p - s - t * d
        distance = wp.dot(r, r)
        if distance < best:
            best = distance
            if k == 0:
                weights = wp.vec3(1.0 - t, t, 0.0)
            if k == 1:
                weights = wp.vec3(0.0, 1.0 - t, t)
            if k == 2:
                weights = wp.vec3(t, 0.0, 1.0 - t)
    return weights


@wp.kernel
def reach(
    uvs: wp.array(dtype=wp.vec2),
    faces: wp.array2d(dtype=wp.int32),
    rim: wp.array(dtype=wp.int32),
    size: int,
    top: int,
    bottom: int,
    distance: float,
    owner: wp.array2d(dtype=wp.int32),
    nearest: wp.array2d(dtype=wp.int64),
) -> None:
    """For each texel of rows `top`..`bottom` that nobody owns: the nearest triangle within reach, of equally near ones
    that of the lower number."""
    f = rim[wp.tid()]
    scale = float(size)
    a = uvs[faces[f, 0]] * scale
    b = uvs[faces[f, 1]] * scale
    c = uvs[faces[f, 2]] * scale
    x0 = wp.max(int(wp.floor(wp.min(a[0], wp.min(b[0], c[0])) - distance - 0.5)), 0)
    x1 = wp.min(int(wp.ceil(wp.max(a[0], wp.max(b[0], c[0])) + distance - 0.5)), size - 1)
    y0 = wp.max(int(wp.floor(wp.min(a[1], wp.min(b[1], c[1])) - distance - 0.5)), top)
    y1 = wp.min(int(wp.ceil(wp.max(a[1], wp.max(b[1], c[1])) + distance - 0.5)), bottom - 1)
    for row in range(y0, y1 + 1):
        for column in range(x0, x1 + 1):
            if owner[row, column] == NOBODY:
                p = wp.vec2(float(column) + 0.5, float(row) + 0.5)
                w = nearest_on_triangle(a, b, c, p)
                r = p - (w[0] * a + w[1] * b + w[2] * c)
                far = wp.dot(r, r)
                if far <= distance * distance:
                    rank = (wp.int64(far * 1048576.0) << wp.int64(32)) | wp.int64(f)
                    wp.atomic_min(nearest, row, column, rank)


@wp.kernel
def place(
    uvs: wp.array(dtype=wp.vec2),
    faces: wp.array2d(dtype=wp.int32),
    owner: wp.array(dtype=wp.int32),
    texels: wp.array(dtype=wp.int64),
    size: int,
    weights: wp.array(dtype=wp.vec3),
) -> None:
    """Barycentrics of texel centres in their triangles, continued a little outside of these."""
    i = wp.tid()
    f = owner[i]
    scale = float(size)
    a = uvs[faces[f, 0]] * scale
    b = uvs[faces[f, 1]] * scale
    c = uvs[faces[f, 2]] * scale
    n = wp.int64(size)
    p = wp.vec2(float(texels[i] % n) + 0.5, float(texels[i] / n) + 0.5)
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if wp.abs(area) > 1.0e-3:
        v = ((p[0] - a[0]) * (c[1] - a[1]) - (p[1] - a[1]) * (c[0] - a[0])) / area
        w = ((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])) / area
        u = 1.0 - v - w
        if wp.min(u, wp.min(v, w)) >= -1.0:
            weights[i] = wp.vec3(u, v, w)
            return
    weights[i] = nearest_on_triangle(a, b, c, p)
