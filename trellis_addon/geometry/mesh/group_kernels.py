# Kernels are not Python to a type checker, and in them int(0) is a variable where 0 is a constant.
# mypy: ignore-errors
"""Warp kernels that find what hangs together (R. Tarjan, "Efficiency of a good but not linear set union algorithm",
1975), for the CPU and one thread: each join shortens the way of those after it.

Groups are trees: each node names one above it, and the root, which names itself, is the lowest of its tree.
"""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.func
def root_of(above: wp.array(dtype=wp.int32), node: int) -> int:
    at = int(node)
    while above[at] != at:
        above[at] = above[above[at]]
        at = above[at]
    return at


@wp.func
def join(above: wp.array(dtype=wp.int32), one: int, other: int) -> None:
    a = root_of(above, one)
    b = root_of(above, other)
    if a < b:
        above[b] = a
    else:
        above[a] = b


@wp.kernel
def join_links(links: wp.array2d(dtype=wp.int32), above: wp.array(dtype=wp.int32)):
    """One thread."""
    for i in range(links.shape[0]):
        join(above, links[i, 0], links[i, 1])


@wp.kernel
def join_twins(twin: wp.array(dtype=wp.int32), above: wp.array(dtype=wp.int32)):
    """One thread: faces on both sides of a half-edge."""
    for h in range(twin.shape[0]):
        if twin[h] > h:
            join(above, h / 3, twin[h] / 3)


@wp.kernel
def join_faces(faces: wp.array(dtype=wp.int32), above: wp.array(dtype=wp.int32)):
    """One thread: the vertices of each face."""
    for f in range(faces.shape[0] / 3):
        join(above, faces[3 * f], faces[3 * f + 1])
        join(above, faces[3 * f], faces[3 * f + 2])


@wp.kernel
def join_edges(
    order: wp.array(dtype=wp.int32),
    first: wp.array(dtype=wp.int32),
    counts: wp.array(dtype=wp.int32),
    above: wp.array(dtype=wp.int32),
):
    """One thread: the faces at each edge."""
    for e in range(first.shape[0]):
        for i in range(first[e] + 1, first[e] + counts[e]):
            join(above, order[i - 1] / 3, order[i] / 3)


@wp.kernel
def number_groups(above: wp.array(dtype=wp.int32), label: wp.array(dtype=wp.int32), number: wp.array(dtype=wp.int32)):
    """One thread: groups (N,) numbered by their lowest node; `number` (1,) gets how many there are."""
    groups = int(0)
    for i in range(above.shape[0]):
        root = root_of(above, i)
        if root == i:
            label[i] = groups
            groups += 1
        else:
            label[i] = label[root]
    number[0] = groups


# For windings a face names twice the one above it, and 1 more if the two are wound differently.


@wp.func
def turned_root_of(above: wp.array(dtype=wp.int32), face: int) -> int:
    """Twice the root, and 1 if the face is wound differently."""
    at = int(face)
    turn = int(0)
    while above[at] >> 1 != at:
        step = above[at]
        further = above[step >> 1]
        step = (further & -2) | ((step ^ further) & 1)
        above[at] = step
        turn = turn ^ (step & 1)
        at = step >> 1
    return 2 * at + turn


@wp.kernel
def join_windings(
    faces: wp.array(dtype=wp.int32),
    pairs: wp.array2d(dtype=wp.int32),
    above: wp.array(dtype=wp.int32),
    torn: wp.array(dtype=wp.bool),
):
    """One thread: faces of half-edges that should run against each other; `torn` (M,) marks roots where one cannot."""
    for i in range(pairs.shape[0]):
        one = turned_root_of(above, pairs[i, 0] / 3)
        other = turned_root_of(above, pairs[i, 1] / 3)
        a = one >> 1
        b = other >> 1
        turn = (one ^ other) & 1
        if faces[pairs[i, 0]] == faces[pairs[i, 1]]:
            turn = turn ^ 1
        if a < b:
            above[b] = 2 * a + turn
            torn[a] = torn[a] or torn[b]
        elif b < a:
            above[a] = 2 * b + turn
            torn[b] = torn[b] or torn[a]
        elif turn == 1:
            torn[a] = True


@wp.kernel
def number_windings(
    above: wp.array(dtype=wp.int32),
    torn: wp.array(dtype=wp.bool),
    flips: wp.array(dtype=wp.int8),
    label: wp.array(dtype=wp.int32),
):
    """One thread: 1 for faces (M,) wound differently from the lowest of their group, -1 in torn ones; and the group."""
    groups = int(0)
    for f in range(above.shape[0]):
        root = turned_root_of(above, f)
        if root >> 1 == f:
            label[f] = groups
            groups += 1
        else:
            label[f] = label[root >> 1]
        flips[f] = wp.int8(root & 1)
        if torn[root >> 1]:
            flips[f] = wp.int8(-1)
