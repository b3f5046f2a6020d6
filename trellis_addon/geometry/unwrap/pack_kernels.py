# Kernels are not Python to a type checker, and in them int(0) is a variable where 0 is a constant.
# mypy: ignore-errors
"""The packer's inner loops, as Warp kernels for the CPU: shapes on a grid of cells, and their places in a strip, each
of which depends on those before it.

`spans` are a shape's rows as runs of cells (row, first, end). `run` holds, for each cell of the strip, how many free
cells there are from it to the right, or minus how many occupied ones: a shape that does not fit is moved past what
it met in one step.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

OUTLINE = wp.constant(1)
RIM = wp.constant(2)
RIM_CELLS = wp.constant(2)  # room around a shape's box for its rim


@wp.kernel
def draw_shapes(
    points: wp.array(dtype=wp.vec2),
    faces: wp.array2d(dtype=wp.int32),
    chart: wp.array(dtype=wp.int32),
    turn: wp.array2d(dtype=wp.vec2),
    low: wp.array2d(dtype=wp.vec2),
    start: wp.array2d(dtype=wp.int64),
    size: wp.array2d(dtype=wp.vec2i),
    cells: wp.array(dtype=wp.uint8),
) -> None:
    """Marks the cells that a triangle touches with OUTLINE, and those next to them with RIM, for every turn."""
    f, r = wp.tid()
    c = chart[f]
    t = turn[c, r]
    o = low[c, r]
    a = points[faces[f, 0]]
    b = points[faces[f, 1]]
    d = points[faces[f, 2]]
    a = wp.vec2(t[0] * a[0] - t[1] * a[1] - o[0], t[1] * a[0] + t[0] * a[1] - o[1])
    b = wp.vec2(t[0] * b[0] - t[1] * b[1] - o[0], t[1] * b[0] + t[0] * b[1] - o[1])
    d = wp.vec2(t[0] * d[0] - t[1] * d[1] - o[0], t[1] * d[0] + t[0] * d[1] - o[1])
    if (b[0] - a[0]) * (d[1] - a[1]) - (b[1] - a[1]) * (d[0] - a[0]) < 0.0:
        e = b
        b = d
        d = e
    ab = b - a
    bd = d - b
    da = a - d
    # How far inside an edge's line a cell's centre is when the cell's nearest corner is on it.
    m0 = 0.5 * (wp.abs(ab[0]) + wp.abs(ab[1]))
    m1 = 0.5 * (wp.abs(bd[0]) + wp.abs(bd[1]))
    m2 = 0.5 * (wp.abs(da[0]) + wp.abs(da[1]))
    x0 = int(wp.floor(wp.min(a[0], wp.min(b[0], d[0]))))
    x1 = int(wp.floor(wp.max(a[0], wp.max(b[0], d[0]))))
    y0 = int(wp.floor(wp.min(a[1], wp.min(b[1], d[1]))))
    y1 = int(wp.floor(wp.max(a[1], wp.max(b[1], d[1]))))
    width = size[c, r][0]
    for y in range(y0 - 1, y1 + 2):
        py = float(y) + 0.5
        at = start[c, r] + wp.int64((y + RIM_CELLS) * width + RIM_CELLS)
        for x in range(x0 - 1, x1 + 2):
            px = float(x) + 0.5
            e0 = ab[0] * (py - a[1]) - ab[1] * (px - a[0])
            e1 = bd[0] * (py - b[1]) - bd[1] * (px - b[0])
            e2 = da[0] * (py - d[1]) - da[1] * (px - d[0])
            if e0 >= -3.0 * m0 and e1 >= -3.0 * m1 and e2 >= -3.0 * m2:
                mark = wp.uint8(RIM)
                inner = x >= x0 and x <= x1 and y >= y0 and y <= y1
                if inner and e0 >= -m0 and e1 >= -m1 and e2 >= -m2:
                    mark = wp.uint8(OUTLINE + RIM)
                i = at + wp.int64(x)
                cells[i] = cells[i] | mark


@wp.kernel
def count_spans(
    cells: wp.array(dtype=wp.uint8),
    start: wp.array2d(dtype=wp.int64),
    size: wp.array2d(dtype=wp.vec2i),
    counts: wp.array3d(dtype=wp.int32),
    area: wp.array2d(dtype=wp.int32),
) -> None:
    """How many runs of OUTLINE (0) and of RIM (1) cells each shape has, and its RIM cells."""
    c, r = wp.tid()
    total = size[c, r][0] * size[c, r][1]
    before = wp.uint8(0)
    for k in range(total):
        now = cells[start[c, r] + wp.int64(k)]
        begun = now & ~before
        if (begun & wp.uint8(OUTLINE)) != wp.uint8(0):
            counts[c, r, 0] = counts[c, r, 0] + 1
        if (begun & wp.uint8(RIM)) != wp.uint8(0):
            counts[c, r, 1] = counts[c, r, 1] + 1
        if (now & wp.uint8(RIM)) != wp.uint8(0):
            area[c, r] = area[c, r] + 1
        before = now


@wp.kernel
def list_spans(
    cells: wp.array(dtype=wp.uint8),
    start: wp.array2d(dtype=wp.int64),
    size: wp.array2d(dtype=wp.vec2i),
    first: wp.array3d(dtype=wp.int32),
    spans: wp.array(dtype=wp.vec3i),
    longest: wp.array2d(dtype=wp.int32),
) -> None:
    """Fills in the runs from `first` on; `longest` is the longest RIM run: the first to be tried."""
    c, r, kind = wp.tid()
    width = size[c, r][0]
    bit = wp.uint8(OUTLINE)
    if kind == 1:
        bit = wp.uint8(RIM)
    at = first[c, r, kind]
    most = int(0)
    for y in range(size[c, r][1]):
        row = start[c, r] + wp.int64(y * width)
        begun = int(-1)
        for x in range(width):  # the last cell of a row is never set
            inside = (cells[row + wp.int64(x)] & bit) != wp.uint8(0)
            if inside and begun < 0:
                begun = x
            if not inside and begun >= 0:
                spans[at] = wp.vec3i(y, begun, x)
                if kind == 1 and x - begun > most:
                    most = x - begun
                    longest[c, r] = at
                begun = int(-1)
                at += 1


@wp.func
def obstacle(run: wp.array2d(dtype=wp.int32), span: wp.vec3i, x: int, y: int) -> int:
    """How far a shape at (x, y) must move to the right for this span to be past what it meets; 0 where it fits."""
    room = run[y + span[0], x + span[1]]
    if room < 0:
        return -room
    if room < span[2] - span[1]:
        return room - run[y + span[0], x + span[1] + room]
    return 0


@wp.func
def leftmost(
    run: wp.array2d(dtype=wp.int32),
    spans: wp.array(dtype=wp.vec3i),
    longest: int,
    first: int,
    end: int,
    widest: wp.array(dtype=wp.int32),
    width: int,
    y: int,
) -> int:
    """The first x at which a shape fits in row y, -1 where it does not."""
    key = spans[longest]
    if widest[y + key[0]] < key[2] - key[1]:
        return -1
    lead = int(longest)
    x = int(0)
    while x + width <= run.shape[1]:
        jump = obstacle(run, spans[lead], x, y)
        k = int(first)
        while jump == 0 and k < end:
            jump = obstacle(run, spans[k], x, y)
            if jump > 0:
                lead = k
            k += 1
        if jump == 0:
            return x
        x += jump
    return -1


@wp.func
def size_class(cells: int) -> int:
    """Sizes within a sixth of each other are one class."""
    return wp.min(int(wp.log(float(cells)) * 6.0), 63)


@wp.kernel
def place_shapes(
    order: wp.array(dtype=wp.int32),
    patience: int,
    stride: int,
    turns: int,
    first: wp.array3d(dtype=wp.int32),
    end: wp.array3d(dtype=wp.int32),
    spans: wp.array(dtype=wp.vec3i),
    longest: wp.array2d(dtype=wp.int32),
    size: wp.array2d(dtype=wp.vec2i),
    reach: wp.array2d(dtype=wp.float32),
    run: wp.array2d(dtype=wp.int32),
    widest: wp.array(dtype=wp.int32),
    floor: wp.array2d(dtype=wp.int32),
    places: wp.array(dtype=wp.vec3i),
) -> None:
    """One thread: each shape in turn goes where y + `reach` is least, then furthest left; `places` are (x, y, turn).

    The first `patience` shapes look everywhere, later ones not below where others of their size were placed.

    Rims keep clear of outlines, and may lie on each other. A shape that finds no place gets turn -1.
    """
    strip = run.shape[1]
    for n in range(order.shape[0]):
        c = order[n]
        best = float(1.0e9)
        found = wp.vec3i(-1, -1, -1)
        for r in range(turns):
            width = size[c, r][0]
            height = size[c, r][1]
            class_w = size_class(width)
            class_h = size_class(height)
            y = int(0)
            if n >= patience:
                # A shape of about this size found nothing below: nor, most likely, will this one.
                y = int(floor[class_w, class_h])
            # Up in strides to the first fit, then down from there by single cells.
            x = int(-1)
            while x < 0 and width <= strip and y + height <= run.shape[0] and float(y) + reach[c, r] < best:
                x = leftmost(run, spans, longest[c, r], first[c, r, 1], end[c, r, 1], widest, width, y)
                y += stride
            if x >= 0:
                y -= stride
                lower = int(1)
                while lower < stride and y > 0:
                    below = leftmost(run, spans, longest[c, r], first[c, r, 1], end[c, r, 1], widest, width, y - 1)
                    if below >= 0:
                        x = below
                        y -= 1
                        lower += 1
                    else:
                        lower = stride
                best = float(y) + reach[c, r]
                found = wp.vec3i(x, y, r)
                floor[class_w, class_h] = y
        places[c] = found
        if found[2] >= 0:
            for k in range(first[c, found[2], 0], end[c, found[2], 0]):
                occupy(run, found[1] + spans[k][0], found[0] + spans[k][1], found[0] + spans[k][2])
            for row in range(size[c, found[2]][1]):
                widest[found[1] + row] = widest_run(run, found[1] + row)


@wp.func
def occupy(run: wp.array2d(dtype=wp.int32), y: int, x0: int, x1: int) -> None:
    """Cells x0 up to x1 of a row are taken; what lies to the left is told."""
    value = int(0)
    if x1 < run.shape[1]:
        value = wp.min(run[y, x1], 0)
    x = x1 - 1
    while x >= x0:
        value -= 1
        run[y, x] = value
        x -= 1
    if x >= 0:
        if run[y, x] < 0:
            while x >= 0 and run[y, x] < 0:
                value -= 1
                run[y, x] = value
                x -= 1
        else:
            value = int(0)
            while x >= 0 and run[y, x] > 0:
                value += 1
                run[y, x] = value
                x -= 1


@wp.func
def widest_run(run: wp.array2d(dtype=wp.int32), y: int) -> int:
    """The most free cells next to each other in a row."""
    most = int(0)
    x = int(0)
    while x < run.shape[1]:
        cells = run[y, x]
        most = wp.max(most, cells)
        x += wp.abs(cells)
    return most
