# Kernels are not Python to a type checker, and in them int(0) is a variable where 0 is a constant.
# mypy: ignore-errors
"""Warp kernels of the bake: where a texel lies on the mesh, the dense surface's normal as that place sees it, sparse
trilinear sampling, and ambient occlusion."""

from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

CHANNELS = 6
ROW = wp.types.vector(length=CHANNELS, dtype=wp.float32)
BLOCK = wp.constant(8)


@wp.func
def blend(values: wp.array(dtype=wp.vec3), faces: wp.array2d(dtype=wp.int32), f: int, w: wp.vec3) -> wp.vec3:
    return w[0] * values[faces[f, 0]] + w[1] * values[faces[f, 1]] + w[2] * values[faces[f, 2]]


@wp.kernel
def add_normals(
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int32),
    total: wp.array(dtype=wp.vec3),
) -> None:
    """Each face's normal, as long as twice its area, is added to those of its corners."""
    f = wp.tid()
    a = vertices[faces[f, 0]]
    normal = wp.cross(vertices[faces[f, 1]] - a, vertices[faces[f, 2]] - a)
    for k in range(3):
        wp.atomic_add(total, faces[f, k], normal)


@wp.kernel
def make_unit(vectors: wp.array(dtype=wp.vec3)) -> None:
    i = wp.tid()
    vectors[i] = wp.normalize(vectors[i])


@wp.kernel
def creased_normals(
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int32),
    first: wp.array(dtype=wp.int32),
    around: wp.array(dtype=wp.int32),
    found: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.vec3),
    least: float,
    out: wp.array(dtype=wp.vec3),
) -> None:
    """The smooth normal at places of a surface, where each corner's is the mean, by area, of those faces `around` it
    that turn away from the place's own face by no more than a cosine of `least`: broken at creases."""
    i = wp.tid()
    f = found[i]
    if f < 0:
        return
    a = vertices[faces[f, 0]]
    own = wp.normalize(wp.cross(vertices[faces[f, 1]] - a, vertices[faces[f, 2]] - a))
    total = wp.vec3()
    for k in range(3):
        v = faces[f, k]
        corner = wp.vec3()
        for j in range(first[v], first[v + 1]):
            g = around[j]
            b = vertices[faces[g, 0]]
            normal = wp.cross(vertices[faces[g, 1]] - b, vertices[faces[g, 2]] - b)
            if wp.dot(wp.normalize(normal), own) >= least:
                corner = corner + normal
        total = total + weights[i][k] * wp.normalize(corner)
    out[i] = total


@wp.kernel
def mixed_vectors(
    vectors: wp.array(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int32),
    owner: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=wp.vec3),
) -> None:
    """Unit vectors between those at a triangle's corners, of the nearest place on it."""
    i = wp.tid()
    w = weights[i]
    w = wp.vec3(wp.max(w[0], 0.0), wp.max(w[1], 0.0), wp.max(w[2], 0.0))
    out[i] = wp.normalize(blend(vectors, faces, owner[i], w))


@wp.kernel
def positions(
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int32),
    owner: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=wp.vec3),
) -> None:
    i = wp.tid()
    out[i] = blend(vertices, faces, owner[i], weights[i])


@wp.kernel
def tangent_space(
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int32),
    normals: wp.array(dtype=wp.vec3),
    tangents: wp.array(dtype=wp.vec4),
    owner: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.vec3),
    true_normals: wp.array(dtype=wp.vec3),
    out: wp.array2d(dtype=wp.uint8),
) -> None:
    """The true normal n in the frame (T, B, N) that a renderer builds here, so that x T + y B + z N points along n.

    N and T are mixed linearly over the triangle and not made unit, B = cross(N, T) w: as MikkTSpace has it.
    """
    i = wp.tid()
    f = owner[i]
    w = weights[i]
    # Texels outside their triangle borrow the frame of the nearest place on it.
    w = wp.vec3(wp.max(w[0], 0.0), wp.max(w[1], 0.0), wp.max(w[2], 0.0))
    w = w / (w[0] + w[1] + w[2])
    normal = blend(normals, faces, f, w)
    t0 = tangents[faces[f, 0]]
    t1 = tangents[faces[f, 1]]
    t2 = tangents[faces[f, 2]]
    mixed = w[0] * t0 + w[1] * t1 + w[2] * t2
    tangent = wp.vec3(mixed[0], mixed[1], mixed[2])
    bitangent = wp.cross(normal, tangent) * t0[3]
    a = vertices[faces[f, 0]]
    flat = wp.cross(vertices[faces[f, 1]] - a, vertices[faces[f, 2]] - a)
    x = float(0.0)
    y = float(0.0)
    z = float(1.0)
    n = true_normals[i]
    # The volume of the three: 0 where the frame has collapsed.
    volume = wp.dot(tangent, wp.cross(bitangent, normal))
    if wp.dot(n, flat) > 0.0 and wp.dot(n, normal) > 0.0 and wp.abs(volume) > 1.0e-6:
        x = wp.dot(n, wp.cross(bitangent, normal)) / volume
        y = wp.dot(n, wp.cross(normal, tangent)) / volume
        z = wp.dot(n, wp.cross(tangent, bitangent)) / volume
        length = wp.sqrt(x * x + y * y + z * z)
        x = x / length
        y = y / length
        z = z / length
    # 127.5 and not 127: 128, which stands for 0, is then half a step off; it is what glTF's decoding expects.
    out[i, 0] = wp.uint8(wp.clamp(wp.round(x * 127.5 + 127.5), 0.0, 255.0))
    out[i, 1] = wp.uint8(wp.clamp(wp.round(y * 127.5 + 127.5), 0.0, 255.0))
    out[i, 2] = wp.uint8(wp.clamp(wp.round(z * 127.5 + 127.5), 0.0, 255.0))


@wp.kernel
def sample_volume(
    table: wp.array3d(dtype=wp.int32),
    rows: wp.array2d(dtype=wp.int32),
    values: wp.array(dtype=ROW),
    resolution: int,
    points: wp.array(dtype=wp.vec3),
    out: wp.array(dtype=ROW),
    weights: wp.array(dtype=wp.float32),
) -> None:
    i = wp.tid()
    q = (points[i] + wp.vec3(0.5, 0.5, 0.5)) * float(resolution) - wp.vec3(0.5, 0.5, 0.5)
    x0 = int(wp.floor(q[0]))
    y0 = int(wp.floor(q[1]))
    z0 = int(wp.floor(q[2]))
    fx = q[0] - float(x0)
    fy = q[1] - float(y0)
    fz = q[2] - float(z0)
    total = ROW()
    weight = float(0.0)
    for k in range(8):
        dx = k >> 2
        dy = (k >> 1) & 1
        dz = k & 1
        x = x0 + dx
        y = y0 + dy
        z = z0 + dz
        if x >= 0 and y >= 0 and z >= 0 and x < resolution and y < resolution and z < resolution:
            slot = table[x / BLOCK, y / BLOCK, z / BLOCK]
            if slot >= 0:
                row = rows[slot, (x % BLOCK) * 64 + (y % BLOCK) * 8 + z % BLOCK]
                if row >= 0:
                    w = wp.where(dx == 1, fx, 1.0 - fx) * wp.where(dy == 1, fy, 1.0 - fy)
                    w = w * wp.where(dz == 1, fz, 1.0 - fz)
                    total = total + w * values[row]
                    weight = weight + w
    out[i] = total / wp.max(weight, 1.0e-12)
    weights[i] = weight


@wp.kernel
def cast_rays(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    rays: int,
    distance: float,
    first: int,
    out: wp.array(dtype=wp.float32),
) -> None:
    """A thread for each point, from number `first` on."""
    i = wp.tid() + first
    n = normals[i]
    across = wp.vec3(1.0, 0.0, 0.0)
    if wp.abs(n[0]) > 0.6:
        across = wp.vec3(0.0, 1.0, 0.0)
    u = wp.normalize(wp.cross(across, n))
    v = wp.cross(n, u)
    start = points[i] + n * 0.001
    state = wp.rand_init(7, i)
    turn = wp.randf(state)
    hidden = float(0.0)
    for k in range(rays):
        # A spiral of equal areas on the disc below the hemisphere: rays come as densely as light of their slope counts.
        share = (float(k) + 0.5) / float(rays)
        radius = wp.sqrt(share)
        angle = 6.2831853 * (float(k) * 0.61803399 + turn)
        ray = radius * wp.cos(angle) * u + radius * wp.sin(angle) * v + wp.sqrt(1.0 - share) * n
        hit = wp.mesh_query_ray(mesh, start, ray, distance)
        if hit.result:
            hidden += 1.0 - hit.t / distance
    out[i] = 1.0 - hidden / float(rays)


@wp.kernel
def spread_samples(
    start: wp.array(dtype=wp.int32),
    chart: wp.array(dtype=wp.int32),
    values: wp.array(dtype=wp.float32),
    blocks: int,
    size: int,
    texels: wp.array(dtype=wp.int64),
    charts: wp.array(dtype=wp.int32),
    out: wp.array(dtype=wp.float32),
) -> None:
    i = wp.tid()
    n = wp.int64(size)
    x = (float(texels[i] % n) + 0.5) / 4.0 - 0.5
    y = (float(texels[i] / n) + 0.5) / 4.0 - 0.5
    x0 = int(wp.floor(x))
    y0 = int(wp.floor(y))
    total = float(0.0)
    weight = float(0.0)
    for k in range(4):
        dx = k & 1
        dy = k >> 1
        bx = x0 + dx
        by = y0 + dy
        if bx >= 0 and by >= 0 and bx < blocks and by < blocks:
            w = wp.where(dx == 1, x - float(x0), 1.0 - x + float(x0)) * wp.where(
                dy == 1, y - float(y0), 1.0 - y + float(y0)
            )
            for s in range(start[by * blocks + bx], start[by * blocks + bx + 1]):
                if chart[s] == charts[i]:
                    total += w * values[s]
                    weight += w
    out[i] = total / wp.max(weight, 1.0e-6)
