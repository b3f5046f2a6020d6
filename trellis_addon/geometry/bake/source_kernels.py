# Kernels are not Python to a type checker, and in them int(0) is a variable where 0 is a constant.
# mypy: ignore-errors
"""Warp kernels of reading a source: which of its layers a place shows, and pictures at levels of detail."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

LAYERS = wp.constant(4)
_AGREES = wp.constant(0.3)  # the least cosine of a layer with the direction that it is looked at along
_MOST_TURNED = wp.constant(0.5)  # cosine down to which a closest point counts as it is


@wp.func
def on_segment(p: wp.vec3, a: wp.vec3, b: wp.vec3) -> float:
    along = b - a
    square = wp.dot(along, along)
    if square <= 0.0:
        return 0.0
    return wp.clamp(wp.dot(p - a, along) / square, 0.0, 1.0)


@wp.func
def closest_on(p: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3) -> wp.vec3:
    """The weights of the triangle's closest place: the foot of the perpendicular, or the best of the three sides."""
    ab = b - a
    ac = c - a
    ap = p - a
    d11 = wp.dot(ab, ab)
    d12 = wp.dot(ab, ac)
    d22 = wp.dot(ac, ac)
    area = d11 * d22 - d12 * d12
    if area > 1.0e-12 * wp.max(d11, d22) * wp.max(d11, d22):
        d1 = wp.dot(ab, ap)
        d2 = wp.dot(ac, ap)
        v = (d22 * d1 - d12 * d2) / area
        w = (d11 * d2 - d12 * d1) / area
        if v >= 0.0 and w >= 0.0 and v + w <= 1.0:
            return wp.vec3(1.0 - v - w, v, w)
    s = on_segment(p, a, b)
    best = wp.vec3(1.0 - s, s, 0.0)
    least = wp.length_sq(a + s * ab - p)
    s = on_segment(p, b, c)
    square = wp.length_sq(b + s * (c - b) - p)
    if square < least:
        least = square
        best = wp.vec3(0.0, 1.0 - s, s)
    s = on_segment(p, c, a)
    square = wp.length_sq(c + s * (a - c) - p)
    if square < least:
        best = wp.vec3(s, 0.0, 1.0 - s)
    return best


@wp.func
def corner(mesh: wp.uint64, f: int, k: int) -> wp.vec3:
    return wp.mesh_get_point(mesh, 3 * f + k)


@wp.func
def closest_on_face(mesh: wp.uint64, f: int, p: wp.vec3) -> wp.vec3:
    return closest_on(p, corner(mesh, f, 0), corner(mesh, f, 1), corner(mesh, f, 2))


@wp.func
def place_on_face(mesh: wp.uint64, f: int, w: wp.vec3) -> wp.vec3:
    return w[0] * corner(mesh, f, 0) + w[1] * corner(mesh, f, 1) + w[2] * corner(mesh, f, 2)


@wp.func
def are_joined(mesh: wp.uint64, f: int, g: int) -> bool:
    for one in range(3):
        for two in range(3):
            if wp.length_sq(corner(mesh, f, one) - corner(mesh, g, two)) < 1.0e-14:
                return True
    return False


@wp.func
def is_listed(mesh: wp.uint64, heights: wp.vec4, faces: wp.vec4i, h: float, f: int) -> bool:
    """Whether the same surface was met at this height, on the edge of two triangles."""
    for k in range(LAYERS):
        if faces[k] >= 0 and wp.abs(heights[k] - h) < 1.0e-5 and are_joined(mesh, f, faces[k]):
            return True
    return False


@wp.func
def rank_of(heights: wp.vec4, h: float) -> int:
    rank = int(0)
    for k in range(LAYERS):
        if heights[k] > h:
            rank = k + 1
    return rank


@wp.func
def put_height(heights: wp.vec4, rank: int, h: float) -> wp.vec4:
    out = heights
    for k in range(1, LAYERS):
        if k > rank:
            out[k] = heights[k - 1]
    out[rank] = h
    return out


@wp.func
def put_face(faces: wp.vec4i, rank: int, f: int) -> wp.vec4i:
    out = faces
    for k in range(1, LAYERS):
        if k > rank:
            out[k] = faces[k - 1]
    out[rank] = f
    return out


@wp.func
def cost_of(square: float, turned: float, voxel: float) -> float:
    """Of a place by its squared distance and its cosine: being turned away costs as lying up to two voxels off does."""
    return square + 4.0 * voxel * voxel * wp.max(0.0, _MOST_TURNED - turned) / (1.0 + _MOST_TURNED)


@wp.kernel
def find_layers(
    mesh: wp.uint64,
    facing: wp.array(dtype=wp.vec3),
    clear: wp.array(dtype=wp.uint8),
    points: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    depths: wp.array(dtype=wp.float32),
    voxel: float,
    ahead: float,
    found: wp.array2d(dtype=wp.int32),
    weights: wp.array2d(dtype=wp.vec3),
) -> None:
    """For each place the layers that are seen along its direction, the front-most first, until one hides the rest.

    Those count that face the direction and lie within `ahead` of the closest point's distance, or behind the place no
    deeper than its depth. Where none does, the closest point whose normal agrees is the only one.
    """
    i = wp.tid()
    p = points[i]
    n = directions[i]
    nearest = wp.mesh_query_point_no_sign(mesh, p, 1.0e15)
    if not nearest.result:
        return
    away = wp.length(wp.mesh_eval_position(mesh, nearest.face, nearest.u, nearest.v) - p)
    reach = away + ahead
    front = p + reach * n
    end = p - wp.max(reach, depths[i]) * n
    thin = wp.vec3(1.0e-6, 1.0e-6, 1.0e-6)
    heights = wp.vec4(-1.0e30, -1.0e30, -1.0e30, -1.0e30)
    faces = wp.vec4i(-1, -1, -1, -1)
    f = int(0)
    along = wp.mesh_query_aabb(mesh, wp.min(front, end) - thin, wp.max(front, end) + thin)
    while wp.mesh_query_aabb_next(along, f):
        turned = wp.dot(facing[f], n)
        if turned > _AGREES:
            # Where the line along n meets the triangle's plane, and whether that is inside.
            h = wp.dot(corner(mesh, f, 0) - p, facing[f]) / turned
            if h <= reach and h >= -wp.max(reach, depths[i]):
                q = p + h * n
                # Of layers at one height what can be seen through is drawn over the other.
                h = h + wp.where(clear[f] != wp.uint8(0), 0.02 * voxel, 0.0)
                rank = rank_of(heights, h)
                if rank < LAYERS:
                    off = place_on_face(mesh, f, closest_on_face(mesh, f, q)) - q
                    if wp.length_sq(off) <= 1.0e-12 and not is_listed(mesh, heights, faces, h, f):
                        heights = put_height(heights, rank, h)
                        faces = put_face(faces, rank, f)
    if faces[0] < 0:
        chosen = int(nearest.face)
        if wp.dot(facing[chosen], n) < _MOST_TURNED:
            wide = away + voxel
            box = wp.vec3(wide, wide, wide)
            least = float(1.0e30)
            around = wp.mesh_query_aabb(mesh, p - box, p + box)
            while wp.mesh_query_aabb_next(around, f):
                square = wp.length_sq(place_on_face(mesh, f, closest_on_face(mesh, f, p)) - p)
                cost = cost_of(square, wp.dot(facing[f], n), voxel)
                if square <= wide * wide and cost < least:
                    least = cost
                    chosen = f
        found[i, 0] = chosen
        weights[i, 0] = closest_on_face(mesh, chosen, p)
        return
    for k in range(LAYERS):
        f = faces[k]
        if f >= 0:
            h = wp.dot(corner(mesh, f, 0) - p, facing[f]) / wp.dot(facing[f], n)
            found[i, k] = f
            weights[i, k] = closest_on_face(mesh, f, p + h * n)
            if clear[f] == wp.uint8(0):
                return


@wp.kernel
def empty_depths(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    gap: float,
    out: wp.array(dtype=wp.float32),
) -> None:
    """How far it is from each place against its direction to where the mesh has the next surface, less a `gap`."""
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, points[i] - gap * directions[i], -directions[i], 4.0)
    if hit.result:
        out[i] = hit.t
    else:
        out[i] = 0.0


@wp.func
def wrapped(place: int, count: int, way: int) -> int:
    if way == 1:
        return wp.clamp(place, 0, count - 1)
    if way == 2:
        there = place % (2 * count)
        if there < 0:
            there += 2 * count
        return wp.min(there, 2 * count - 1 - there)
    there = place % count
    if there < 0:
        there += count
    return there


@wp.func
def between_texels(
    texels: wp.array(dtype=wp.vec4ub),
    first: int,
    width: int,
    height: int,
    u: float,
    v: float,
    across: int,
    down: int,
    by_alpha: int,
) -> wp.vec4:
    x = u * float(width) - 0.5
    y = v * float(height) - 0.5
    left = wp.floor(x)
    top = wp.floor(y)
    total = wp.vec4()
    for k in range(4):
        dx = k & 1
        dy = k >> 1
        share = wp.where(dx == 1, x - left, 1.0 - x + left) * wp.where(dy == 1, y - top, 1.0 - y + top)
        column = wrapped(int(left) + dx, width, across)
        row = wrapped(int(top) + dy, height, down)
        texel = texels[first + row * width + column]
        alpha = float(texel[3])
        # What is not seen weighs nothing in a mean, but keeps its colour among its like.
        weight = share
        if by_alpha != 0:
            weight = share * wp.max(alpha, 1.0)
        total = total + wp.vec4(weight * float(texel[0]), weight * float(texel[1]), weight * float(texel[2]), weight)
    return total


@wp.func
def alpha_between(
    texels: wp.array(dtype=wp.vec4ub), first: int, width: int, height: int, u: float, v: float, across: int, down: int
) -> float:
    x = u * float(width) - 0.5
    y = v * float(height) - 0.5
    left = wp.floor(x)
    top = wp.floor(y)
    total = float(0.0)
    for k in range(4):
        dx = k & 1
        dy = k >> 1
        share = wp.where(dx == 1, x - left, 1.0 - x + left) * wp.where(dy == 1, y - top, 1.0 - y + top)
        column = wrapped(int(left) + dx, width, across)
        row = wrapped(int(top) + dy, height, down)
        total += share * float(texels[first + row * width + column][3])
    return total


@wp.kernel
def read_picture(
    texels: wp.array(dtype=wp.vec4ub),
    firsts: wp.array(dtype=wp.int32),
    sizes: wp.array(dtype=wp.vec2i),
    uvs: wp.array(dtype=wp.vec2),
    levels: wp.array(dtype=wp.float32),
    across: int,
    down: int,
    linear: int,
    by_alpha: int,
    out: wp.array(dtype=wp.vec4),
) -> None:
    """(N,) RGBA in 0..1 between the texels of two levels of detail; if not `linear` the nearest texel of the first."""
    i = wp.tid()
    u = uvs[i][0]
    v = uvs[i][1]
    if linear == 0:
        size = sizes[0]
        column = wrapped(int(wp.floor(u * float(size[0]))), size[0], across)
        row = wrapped(int(wp.floor(v * float(size[1]))), size[1], down)
        texel = texels[row * size[0] + column]
        out[i] = wp.vec4(float(texel[0]), float(texel[1]), float(texel[2]), float(texel[3])) / 255.0
        return
    last = firsts.shape[0] - 1
    level = wp.clamp(levels[i], 0.0, float(last))
    low = int(wp.floor(level))
    share = level - float(low)
    colour = wp.vec4()
    alpha = float(0.0)
    for k in range(2):
        number = wp.min(low + k, last)
        weight = wp.where(k == 1, share, 1.0 - share)
        if weight > 0.0:
            size = sizes[number]
            here = between_texels(texels, firsts[number], size[0], size[1], u, v, across, down, by_alpha)
            colour = colour + weight * here
            alpha += weight * alpha_between(texels, firsts[number], size[0], size[1], u, v, across, down)
    scale = 1.0 / (255.0 * wp.max(colour[3], 1.0e-6))
    out[i] = wp.vec4(colour[0] * scale, colour[1] * scale, colour[2] * scale, alpha / 255.0)
