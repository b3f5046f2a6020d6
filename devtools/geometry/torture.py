"""Meshes as bad as people's are, made of nothing but numpy: what finishing is tried on, by tests and by the benchmark.

`build(name)` gives any of `CASES`. Each is about 2 across and stands somewhere near the origin, Y up. What is right for
each stands beside it: whether it is solid, and how many parts it has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trellis_addon.formats.glb.textured_mesh import SurfaceMaterial, TexturedMesh

F = NDArray[np.float64]
I = NDArray[np.int64]  # noqa: E741
Mesh = tuple[F, I]
Place = tuple[float, float, float]


@dataclass(frozen=True)
class Case:
    """`solid` is whether it should come out closed; `parts` the most parts that are right."""

    make: Callable[[], Mesh]
    solid: bool = True
    parts: int = 1


# --- shapes ---


def patch(shape: Callable[[F, F], F], across: int, along: int, *, round_: bool = False) -> Mesh:
    """A grid of squares over the unit square, cut into triangles; with `round_` its sides u = 0 and u = 1 are one."""
    u, v = np.meshgrid(np.linspace(0, 1, across + 1), np.linspace(0, 1, along + 1), indexing="ij")
    if round_:
        u, v = u[:-1], v[:-1]
    number = np.arange(u.size).reshape(u.shape)
    after = np.roll(number, -1, axis=0) if round_ else number[1:]
    here = number if round_ else number[:-1]
    a, b, c, d = here[:, :-1], after[:, :-1], after[:, 1:], here[:, 1:]
    faces = np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3)
    return shape(u, v).reshape(-1, 3), faces


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *[len(vertices) for vertices, _ in meshes]])
    faces = [part + start for (_, part), start in zip(meshes, starts[:-1], strict=True)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


def moved(mesh: Mesh, by: tuple[float, float, float] = (0, 0, 0), scale: float = 1.0, turn: float = 0.0) -> Mesh:
    """Scaled, turned about z and then x by `turn`, moved."""
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return mesh[0] * scale @ matrix.T + by, mesh[1]


def flipped(mesh: Mesh) -> Mesh:
    return mesh[0], mesh[1][:, ::-1]


def loose(mesh: Mesh) -> Mesh:
    """Every triangle with corners of its own."""
    return mesh[0][mesh[1]].reshape(-1, 3), np.arange(3 * len(mesh[1])).reshape(-1, 3)


def sphere(radius: float = 1.0, low: float = 0.0, high: float = 1.0, rings: int = 32) -> Mesh:
    """From the south pole (0) to the north pole (1), or the belt between two latitudes."""

    def shape(u: F, v: F) -> F:
        around, up = 2 * np.pi * u, np.pi * (low + (high - low) * v - 0.5)
        return radius * np.stack([np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)], axis=-1)

    return patch(shape, 2 * rings, rings, round_=True)


def block(size: tuple[float, float, float] = (1, 1, 1), cuts: int = 1) -> Mesh:
    """A closed box of these half sizes, each side cut into `cuts` x `cuts` squares; corners are shared."""
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):

            def shape(u: F, v: F, axis: int = axis, sign: float = sign) -> F:
                out = np.empty((*u.shape, 3))
                out[..., axis] = sign
                out[..., (axis + 1) % 3], out[..., (axis + 2) % 3] = (2 * u - 1), (2 * v - 1) * sign
                return out

            sides.append(patch(shape, cuts, cuts))
    vertices, faces = joined(*sides)
    distinct, number = np.unique(vertices.round(9), axis=0, return_inverse=True)
    return distinct * size, number.reshape(-1)[faces]


def tube(start: Place, end: Place, radius: float, sides: int = 12, closed: bool = True, rings: int = 1) -> Mesh:
    """A rod with flat ends, or without."""
    low, high = np.asarray(start, np.float64), np.asarray(end, np.float64)
    along = (high - low) / np.linalg.norm(high - low)
    across: F = np.cross(along, np.eye(3)[2 if abs(along[2]) < 0.9 else 0])
    across = across / np.linalg.norm(across)
    other = np.cross(along, across)

    def shape(u: F, v: F) -> F:
        angle = 2 * np.pi * u[..., None]
        return low + v[..., None] * (high - low) + radius * (np.cos(angle) * across + np.sin(angle) * other)

    vertices, faces = patch(shape, sides, rings, round_=True)
    if not closed:
        return vertices, faces
    number = np.arange(len(vertices)).reshape(sides, rings + 1)
    after = np.roll(number, -1, axis=0)
    tips = len(vertices), len(vertices) + 1
    caps = [
        np.stack([after[:, 0], number[:, 0], np.full(sides, tips[0])], 1),
        np.stack([number[:, -1], after[:, -1], np.full(sides, tips[1])], 1),
    ]
    return np.concatenate([vertices, [low, high]]), np.concatenate([faces, *caps])


# --- cases ---


def _head() -> Mesh:
    """A shell with two round openings, and a ball in each, as Blender's monkey has eyes."""
    vertices, faces = sphere(rings=48)
    eyes = np.array([[0.85, 0.35, 0.35], [0.85, -0.35, 0.35]])
    eyes /= np.linalg.norm(eyes, axis=1, keepdims=True)
    middle = vertices[faces].mean(1)
    seen = (np.linalg.norm(middle[:, None] - eyes, axis=2) < 0.26).any(1)
    balls = [moved(sphere(0.24, rings=16), tuple(0.9 * eye)) for eye in eyes]
    return joined((vertices, faces[~seen]), *balls)


def _chair() -> Mesh:
    """Seat, back and legs of loose triangles with slits between them."""
    parts = [moved(block((0.6, 0.08, 0.6), 12), (0, 0, 0)), moved(block((0.6, 0.7, 0.06), 12), (0, 0.7, -0.55))]
    parts += [moved(block((0.06, 0.5, 0.06), 6), (x, -0.5, z)) for x in (-0.5, 0.5) for z in (-0.5, 0.5)]
    vertices, faces = loose(joined(*parts))
    corners = vertices[faces]
    corners = corners.mean(1, keepdims=True) + 0.98 * (corners - corners.mean(1, keepdims=True))
    return corners.reshape(-1, 3), faces


def _soup() -> Mesh:
    random = np.random.default_rng(0)
    corners = random.uniform(-0.8, 0.8, (100, 1, 3)) + random.normal(scale=0.25, size=(100, 3, 3))
    return corners.reshape(-1, 3), np.arange(300).reshape(-1, 3)


def _rod() -> Mesh:
    """A rod of 1/256 of the whole, aslant on a foot."""
    return joined(
        tube((-0.7, -0.7, -0.7), (0.8, 0.9, 0.65), 1 / 256), moved(block((0.3, 0.2, 0.3)), (-0.7, -0.75, -0.7))
    )


def _rods() -> Mesh:
    """The same rod by itself."""
    return tube((-0.7, -0.75, -0.7), (0.8, 0.9, 0.65), 1 / 256)


def _cap() -> Mesh:
    """A cap of three thin shells that cross each other, and a peak that sticks in them."""
    shells = [moved(sphere(1.0, 0.5, 1.0), (0, 0, 0)), moved(sphere(0.97, 0.45, 1.0), (0.05, 0, 0.02))]
    shells.append(moved(sphere(0.99, 0.48, 1.0), (0, 0.04, -0.02), turn=0.15))
    peak = patch(lambda u, v: np.stack([0.6 + 0.9 * u, 1.4 * (v - 0.5), 0.1 + 0 * u], -1), 8, 8)
    return joined(*shells, peak)


def _helmet() -> Mesh:
    """Open shells that overlap: a dome, its lining, a visor before its opening, a collar, open pipes, plates."""
    vertices, faces = sphere(1.0, 0.12, 1.0, rings=48)
    middle = vertices[faces].mean(1)
    opening = (middle[:, 0] > 0.55) & (np.abs(middle[:, 1]) < 0.55) & (np.abs(middle[:, 2]) < 0.4)
    dome = vertices, faces[~opening]
    visor = moved(sphere(1.02, 0.35, 0.66, rings=24), (0.03, 0, 0))
    middle = visor[0][visor[1]].mean(1)
    visor = visor[0], visor[1][(middle[:, 0] > 0.5) & (np.abs(middle[:, 1]) < 0.66)]
    collar = moved(sphere(0.5, 0.2, 0.75, rings=16), (0, 0, -0.85))
    pipes = [tube((-0.9, y, -0.4), (0.7, 1.4 * y, -0.75), 0.09, 16, closed=False, rings=12) for y in (-0.55, 0.55)]
    plate = patch(lambda u, v: np.stack([0.5 * u - 0.2, 0.4 * v - 0.2, 0 * u], -1), 6, 6)
    plates = [
        moved(plate, (0, 0, 1.0)),
        moved(plate, (0, 0.85, 0.3), turn=1.2),
        moved(plate, (0, -0.85, 0.3), turn=-1.2),
    ]
    ears = [moved(block((0.25, 0.1, 0.25), 2), (0, y, 0)) for y in (-1.0, 1.0)]
    fin = patch(
        lambda u, v: np.stack([0.9 * np.sin(2.4 * u - 1.2), 0 * u, (0.95 + 0.2 * v) * np.cos(2.4 * u - 1.2)], -1), 24, 3
    )
    return joined(dome, visor, collar, *pipes, *plates, *ears, fin)


def _mixed() -> Mesh:
    vertices, faces = sphere()
    turned = np.random.default_rng(0).random(len(faces)) < 0.5
    return vertices, np.where(turned[:, None], faces[:, ::-1], faces)


def _missing() -> Mesh:
    vertices, faces = moved(block(cuts=24), turn=0.4)
    return vertices, faces[np.random.default_rng(0).random(len(faces)) > 0.03]


def _missing_fine() -> Mesh:
    """The same on a form with curves, arms and larger faces."""
    ball, arm = sphere(0.8, rings=14), tube((0, 0, 0), (1.2, 0.3, 0.2), 0.25, 14, rings=10)
    vertices, faces = joined(ball, arm)
    return vertices, faces[np.random.default_rng(1).random(len(faces)) > 0.03]


def _doubled() -> Mesh:
    """A box whose walls are there twice, a little apart, with a large hole in both on one side."""
    outer, inner = block(cuts=16), moved(block(cuts=16), scale=0.975)
    kept = [(v, f[np.abs(v[f].mean(1) - (0, 0, s)).max(1) > 0.3]) for (v, f), s in ((outer, 1), (inner, 0.975))]
    return joined(*kept)


def _coplanar() -> Mesh:
    """A box with layers that lie on its sides, exactly and almost."""
    plate = patch(lambda u, v: np.stack([1.2 * u - 0.6, 1.2 * v - 0.6, 0 * u], -1), 4, 4)
    layers = [moved(plate, (0, 0, z)) for z in (1.0, 1.0, 1.0005, 1.002, -1.0)]
    return joined(block(), *layers)


def _moebius(steps: int = 120) -> Mesh:
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    across = np.array([-0.35, 0.35])
    radius, height = 1 + across * np.cos(angle / 2)[:, None], across * np.sin(angle / 2)[:, None]
    vertices = np.stack([radius * np.cos(angle)[:, None], radius * np.sin(angle)[:, None], height], -1).reshape(-1, 3)
    here = 2 * np.arange(steps)
    a, b, c, d = here, here + 1, here + 2, here + 3
    c[-1], d[-1] = 1, 0
    return vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])


def _leaf() -> Mesh:
    def shape(u: F, v: F) -> F:
        width = np.sin(np.pi * (0.05 + 0.9 * u)) * 0.5
        return np.stack([2 * u - 1, (2 * v - 1) * width, 0.25 * np.sin(3 * u) + 0.1 * (2 * v - 1) ** 2], -1)

    return patch(shape, 30, 10)


def _cloth() -> Mesh:
    """A cloth that hangs in folds."""
    return patch(lambda u, v: np.stack([2 * u - 1, 0.12 * np.sin(20 * u) * (1.2 - v), 2 * v - 1], -1), 80, 20)


def _bowl() -> Mesh:
    """Half a ball with a wall of a quarter of a voxel at 128."""
    inner = flipped(sphere(0.996, 0.0, 0.5))
    rim = patch(
        lambda u, v: (1 - 0.004 * v)[..., None] * np.stack([np.cos(2 * np.pi * u), np.sin(2 * np.pi * u), 0 * u], -1),
        64,
        1,
        round_=True,
    )
    return joined(sphere(1.0, 0.0, 0.5), inner, rim)


def _vase() -> Mesh:
    """A shell of a single layer with a narrow neck that is open."""

    def shape(u: F, v: F) -> F:
        radius = np.where(v < 0.6, np.sin(np.pi * np.clip(v, 0, 1) / 0.75) * 0.7, 0.7 * np.sin(np.pi * 0.8))
        radius = np.maximum(radius, np.where(v > 0.5, 0.3, 0.0))
        return np.stack([radius * np.cos(2 * np.pi * u), radius * np.sin(2 * np.pi * u), 2 * v - 1], -1)

    return patch(shape, 48, 48, round_=True)


def _plate() -> Mesh:
    """A plate with nine round holes, closed."""
    n = 60
    place = (np.arange(n) + 0.5) / n * 2 - 1
    x, y = np.meshgrid(place, place, indexing="ij")
    solid = np.ones((n, n), bool)
    for cx in (-0.6, 0.0, 0.6):
        for cy in (-0.6, 0.0, 0.6):
            solid &= np.hypot(x - cx, y - cy) > 0.18
    padded = np.pad(solid, 1)
    corners: list[tuple[float, ...]] = []
    faces: list[tuple[int, int, int]] = []

    def quad(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...], d: tuple[float, ...]) -> None:
        start = len(corners)
        corners.extend([a, b, c, d])
        faces.extend([(start, start + 1, start + 2), (start, start + 2, start + 3)])

    h, t = 1 / n, 0.06
    for i, j in np.argwhere(solid):
        a, b, c, d = x[i, j] - h, x[i, j] + h, y[i, j] - h, y[i, j] + h
        quad((a, c, t), (b, c, t), (b, d, t), (a, d, t))
        quad((a, d, -t), (b, d, -t), (b, c, -t), (a, c, -t))
        for open_, p, q in (
            (not padded[i, j + 1], (a, d), (a, c)),
            (not padded[i + 2, j + 1], (b, c), (b, d)),
            (not padded[i + 1, j], (a, c), (b, c)),
            (not padded[i + 1, j + 2], (b, d), (a, d)),
        ):
            if open_:
                quad((*p, -t), (*q, -t), (*q, t), (*p, t))
    vertices, number = np.unique(np.array(corners).round(9), axis=0, return_inverse=True)
    return vertices, number.reshape(-1)[np.array(faces)]


def _blades() -> Mesh:
    """A foot with blades of a quarter to four voxels at 128 and rods of a half to three."""
    parts = [moved(block((1.0, 0.08, 0.4)), (0, -0.6, 0))]
    for k, thick in enumerate((0.25, 0.5, 1, 2, 4)):
        parts.append(moved(block((thick / 128, 0.5, 0.25)), (-0.85 + 0.22 * k, -0.05, 0)))
    for k, thick in enumerate((0.5, 1, 2, 3)):
        x = 0.35 + 0.17 * k
        parts.append(tube((x, -0.6, 0.0), (x + 0.1, 0.6, 0.2), thick / 128))
    return joined(*parts)


def _spheres() -> Mesh:
    return joined(sphere(), moved(sphere(0.6)), flipped(sphere(0.3)))


def _crossing() -> Mesh:
    return joined(moved(block((1, 0.4, 0.4)), turn=0.3), moved(sphere(0.6), (0.5, 0.2, 0)), block((0.2, 0.2, 1)))


CASES: dict[str, Case] = {
    "head": Case(_head, parts=3),
    "helmet": Case(_helmet, parts=20),
    "chair": Case(_chair),
    "soup": Case(_soup, parts=12),
    "rod": Case(_rod),
    "rod alone": Case(_rods),
    "cap": Case(_cap, parts=4),
    "nested": Case(_spheres),
    "crossing": Case(_crossing),
    "inverted": Case(lambda: flipped(sphere())),
    "mixed winding": Case(_mixed),
    "3 % missing": Case(_missing),
    "missing, coarse": Case(_missing_fine),
    "doubled walls": Case(_doubled),
    "coplanar": Case(_coplanar),
    "vase": Case(_vase),
    "moebius": Case(_moebius, solid=False),
    "leaf": Case(_leaf, solid=False),
    "cloth": Case(_cloth, solid=False),
    "bowl": Case(_bowl, solid=False),
    "cube": Case(block),
    "rotated cube": Case(lambda: moved(block(), turn=0.5)),
    "plate": Case(_plate),
    "blades": Case(_blades),
}


def build(name: str) -> TexturedMesh:
    """One of `CASES`, without a texture."""
    vertices, faces = CASES[name].make()
    material = SurfaceMaterial(base_colour_factor=(0.6, 0.5, 0.4, 1.0))
    return TexturedMesh(vertices.astype(np.float32), faces, (material,))


def suzanne() -> TexturedMesh:
    """Blender's monkey, open at the eyes; needs `bpy`."""
    import bpy

    bpy.ops.mesh.primitive_monkey_add()
    made = bpy.context.object
    data = made.data
    data.calc_loop_triangles()
    vertices = np.array([vertex.co[:] for vertex in data.vertices], np.float32)
    faces = np.array([triangle.vertices[:] for triangle in data.loop_triangles], np.int64)
    bpy.data.objects.remove(made)
    bpy.data.meshes.remove(data)
    return TexturedMesh(vertices, faces, (SurfaceMaterial(),), up="Z")
