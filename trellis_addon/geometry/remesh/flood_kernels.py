# Kernels are not Python to a type checker, and in them int(0) is a variable where 0 is a constant.
# mypy: ignore-errors
"""Warp kernels that fill space from several places at once, for the CPU: one thread each, in a fixed order, on which
it depends who gets what lies between two places."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.kernel
def fill_from_deep(
    depth: wp.array(dtype=wp.uint8),
    side: wp.vec3i,
    label: wp.array(dtype=wp.uint8),
    after: wp.array(dtype=wp.int32),
    first: wp.array(dtype=wp.int32),
    last: wp.array(dtype=wp.int32),
):
    """Labels spread over a grid (`side` cells along x, y, z) from the labelled cells, the deepest cells first.

    So they meet where the way between them is narrowest (a watershed). `after` (cells,) is a scratch list, `first` and
    `last` (256,) are -1.
    """
    for i in range(label.shape[0]):
        if label[i] != wp.uint8(0):
            level = int(depth[i])
            after[i] = -1
            if first[level] < 0:
                first[level] = i
            else:
                after[last[level]] = i
            last[level] = i
    level = int(255)
    while level >= 0:
        i = first[level]
        if i < 0:
            level -= 1
        else:
            first[level] = after[i]
            z = i % side[2]
            y = (i / side[2]) % side[1]
            x = i / (side[2] * side[1])
            for way in range(6):
                near = int(-1)
                if way == 0 and x > 0:
                    near = i - side[2] * side[1]
                if way == 1 and x + 1 < side[0]:
                    near = i + side[2] * side[1]
                if way == 2 and y > 0:
                    near = i - side[2]
                if way == 3 and y + 1 < side[1]:
                    near = i + side[2]
                if way == 4 and z > 0:
                    near = i - 1
                if way == 5 and z + 1 < side[2]:
                    near = i + 1
                if near >= 0 and label[near] == wp.uint8(0):
                    label[near] = label[i]
                    at = wp.min(level, int(depth[near]))
                    after[near] = -1
                    if first[at] < 0:
                        first[at] = near
                    else:
                        after[last[at]] = near
                    last[at] = near


@wp.kernel
def fill_corners(
    crossed: wp.array(dtype=wp.uint8),
    near: wp.array2d(dtype=wp.int32),
    blocks: int,
    stride: int,
    label: wp.array(dtype=wp.uint8),
    queue: wp.array(dtype=wp.int32),
):
    """Labels spread over the stored corners of a `Lattice` from the labelled ones, at one pace, never past the surface.

    `crossed` and `label` are flat as the lattice's are; `near` (blocks, 6) are the rows of each block's neighbours
    along -x, +x, -y, +y, -z, +z; `queue` is as long as `label`.
    """
    tail = int(0)
    for cell in range(64):
        for block in range(blocks):
            i = cell * stride + block
            if label[i] != wp.uint8(0):
                queue[tail] = i
                tail += 1
    head = int(0)
    while head < tail:
        i = queue[head]
        head += 1
        cell = i / stride
        block = i % stride
        for way in range(6):
            axis = way / 2
            shift = 4 - 2 * axis
            here = (cell >> shift) & 3
            other = int(-1)
            passed = int(0)
            if way % 2 == 1:
                passed = int(crossed[i]) >> axis & 1
                if here < 3:
                    other = i + (1 << shift) * stride
                elif near[block, way] < blocks:
                    other = (cell - (3 << shift)) * stride + near[block, way]
            else:
                if here > 0:
                    other = i - (1 << shift) * stride
                elif near[block, way] < blocks:
                    other = (cell + (3 << shift)) * stride + near[block, way]
                if other >= 0:
                    passed = int(crossed[other]) >> axis & 1
            if other >= 0 and passed == 0 and label[other] == wp.uint8(0):
                label[other] = label[i]
                queue[tail] = other
                tail += 1
