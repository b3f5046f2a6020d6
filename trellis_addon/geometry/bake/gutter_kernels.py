# Kernels are not Python to a type checker, and in them int(0) is a variable where 0 is a constant.
# mypy: ignore-errors
"""Warp kernels of the gutters: the nearest filled texel by columns, then by rows among the columns' answers."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

_FAR = wp.constant(1 << 20)


@wp.kernel
def nearest_in_column(
    known: wp.array2d(dtype=wp.uint8),
    first: int,
    row: wp.array2d(dtype=wp.int32),
) -> None:
    """A thread for each column, from number `first` on."""
    x = wp.tid() + first
    height = known.shape[0]
    last = int(-_FAR)
    for y in range(height):
        if known[y, x] != wp.uint8(0):
            last = y
        row[y, x] = last
    last = 2 * _FAR
    for k in range(height):
        y = height - 1 - k
        if known[y, x] != wp.uint8(0):
            last = y
        if last - y < y - row[y, x]:
            row[y, x] = last


@wp.kernel
def nearest_in_row(
    row: wp.array2d(dtype=wp.int32),
    first: int,
    source: wp.array2d(dtype=wp.int32),
) -> None:
    """A thread for each texel, from row `first` on."""
    k, x = wp.tid()
    y = k + first
    width = row.shape[1]
    best_x = int(x)
    best_y = int(row[y, x])
    if best_y == y:
        source[y, x] = y * width + x
        return
    best = float(best_y - y) * float(best_y - y)
    step = int(1)
    while step < width and float(step) * float(step) < best:
        if x >= step:
            there = row[y, x - step]
            far = float(there - y) * float(there - y) + float(step) * float(step)
            if far < best:
                best = far
                best_x = x - step
                best_y = there
        if x + step < width:
            there = row[y, x + step]
            far = float(there - y) * float(there - y) + float(step) * float(step)
            if far < best:
                best = far
                best_x = x + step
                best_y = there
        step += 1
    source[y, x] = best_y * width + best_x
