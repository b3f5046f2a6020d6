"""Six textured models made of nothing but numpy, to test finishing on: `python benchmarks/geometry/models.py FOLDER`.

Each is a list of patches: a patch maps the unit square to space, is cut into a grid of triangles, and owns a
tile of its material's texture, whose texels are painted by what is at their place in space. Y is up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import itertools

from devtools.geometry.glb_write import write_glb_scene
from trellis_addon.formats.glb.textured_mesh import SurfaceMaterial, Texture, TexturedMesh

F = NDArray[np.float64]
Shape = Callable[[F, F], F]  # (s, t) in about 0..1 -> (..., 3)
# positions (..., 3) -> base colour sRGB 0..1 (..., 3 or 4), metallic and roughness (...)
Paint = Callable[[F], tuple[F, F, F]]

_GUTTER = 4


@dataclass
class Patch:
    """`shape` over the unit square, cut into `across` x `along` squares; patches of one `tile` share their texels."""

    shape: Shape
    across: int
    along: int
    tile: str = ""
    flip: bool = False


@dataclass
class Part:
    """Patches of one material; without `paint` the material's factors are all there is."""

    material: SurfaceMaterial
    patches: list[Patch] = field(default_factory=list)
    paint: Paint | None = None


# --- from patches to a mesh -------------------------------------------------------------------------------


def assemble(parts: list[Part], texture: int) -> TexturedMesh:
    """One mesh of all parts, with textures of `texture` texels a side."""
    return TexturedMesh.join([_part(part, texture) for part in parts])


def _part(part: Part, texture: int) -> TexturedMesh:
    tiles = {}
    for number, patch in enumerate(part.patches):
        tiles.setdefault(patch.tile or f"#{number}", (len(tiles), patch))
    side = int(np.ceil(np.sqrt(len(tiles))))
    step = texture // side
    vertices, faces, uvs, normals = [], [], [], []
    start = 0
    for number, patch in enumerate(part.patches):
        place, _ = tiles[patch.tile or f"#{number}"]
        corner = np.array([place % side, place // side]) * step + _GUTTER
        s, t = np.meshgrid(np.linspace(0, 1, patch.across + 1), np.linspace(0, 1, patch.along + 1), indexing="ij")
        points = patch.shape(s, t)
        normal = _normals(patch, s, t)
        uv = (corner + np.stack([s, t], -1) * max(step - 2 * _GUTTER, 1)) / texture
        grid = np.arange(s.size).reshape(s.shape)
        a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
        cut = np.stack([a, b, c, a, c, d], -1).reshape(-1, 3)
        if patch.flip:
            cut = cut[:, ::-1]
        corners = points.reshape(-1, 3)[cut]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        cut = cut[area > 1e-14]
        vertices.append(points.reshape(-1, 3))
        faces.append(cut + start)
        uvs.append(uv.reshape(-1, 2)[cut])
        normals.append(normal.reshape(-1, 3)[cut])
        start += s.size
    material = part.material
    if part.paint is not None:
        material = _painted(part, tiles, side, step, texture)
    return TexturedMesh(
        vertices=np.concatenate(vertices).astype(np.float32),
        faces=np.concatenate(faces).astype(np.int64),
        materials=(material,),
        uvs=np.concatenate(uvs).astype(np.float32),
        normals=np.concatenate(normals).astype(np.float32),
    )


def _normals(patch: Patch, s: F, t: F) -> F:
    """By differences over the shape, which goes on beyond its square: patches that meet smoothly agree."""
    h = 1e-4
    du, dv = patch.shape(s + h, t) - patch.shape(s - h, t), patch.shape(s, t + h) - patch.shape(s, t - h)
    normal = np.cross(du, dv) * (-1.0 if patch.flip else 1.0)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return normal / np.where(length > 1e-15, length, 1.0)


def _painted(part: Part, tiles: dict[str, tuple[int, Patch]], side: int, step: int, texture: int) -> SurfaceMaterial:
    """The material with its textures: every tile painted to its very edge, so that no seam shows."""
    assert part.paint is not None
    base: NDArray[np.uint8] | None = None
    rough = np.zeros((texture, texture, 3), np.uint8)
    for place, patch in tiles.values():
        left, top = (place % side) * step, (place // side) * step
        at = (np.arange(step) + 0.5 - _GUTTER) / max(step - 2 * _GUTTER, 1)
        s, t = np.meshgrid(at, at, indexing="xy")
        colour, metallic, roughness = part.paint(patch.shape(s, t))
        if base is None:
            base = np.zeros((texture, texture, colour.shape[-1]), np.uint8)
        here = (slice(top, top + step), slice(left, left + step))
        base[here] = np.rint(np.clip(colour, 0, 1) * 255)
        rough[(*here, 1)] = np.rint(np.clip(roughness, 0, 1) * 255)
        rough[(*here, 2)] = np.rint(np.clip(metallic, 0, 1) * 255)
    assert base is not None
    m = part.material
    return SurfaceMaterial(
        name=m.name,
        base_colour_factor=m.base_colour_factor,
        metallic_factor=1.0,
        roughness_factor=1.0,
        base_colour=Texture(base, ("clamp", "clamp")),
        metallic_roughness=Texture(rough, ("clamp", "clamp")),
        alpha_mode=m.alpha_mode,
        alpha_cutoff=m.alpha_cutoff,
        double_sided=m.double_sided,
    )


# --- shapes -----------------------------------------------------------------------------------------------


def quad(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...], d: tuple[float, ...]) -> Shape:
    """The bilinear patch a (0, 0), b (1, 0), c (1, 1), d (0, 1); it faces where a, b, c run counter-clockwise."""
    p = [np.array(corner, np.float64) for corner in (a, b, c, d)]

    def shape(s: F, t: F) -> F:
        s, t = s[..., None], t[..., None]
        return (1 - s) * (1 - t) * p[0] + s * (1 - t) * p[1] + s * t * p[2] + (1 - s) * t * p[3]

    return shape


_SIDES = (  # outward axis, then s and t with s x t pointing outward
    (0, 1, 2, 1),
    (1, 2, 0, 1),
    (2, 0, 1, 1),
    (0, 2, 1, -1),
    (1, 0, 2, -1),
    (2, 1, 0, -1),
)


def cube_sides(half: tuple[float, float, float], centre: tuple[float, float, float] = (0, 0, 0)) -> list[Shape]:
    """The six sides of a box, facing outward."""
    shapes = []
    for axis, first, second, sign in _SIDES:

        def shape(s: F, t: F, axis: int = axis, first: int = first, second: int = second, sign: int = sign) -> F:
            out = np.empty((*s.shape, 3))
            out[..., axis] = sign * half[axis]
            out[..., first] = (2 * s - 1) * half[first]
            out[..., second] = (2 * t - 1) * half[second]
            return out + centre

        shapes.append(shape)
    return shapes


def ball(radius: Callable[[F], F], centre: tuple[float, float, float] = (0, 0, 0)) -> list[Shape]:
    """Six patches of a closed surface, seen from `centre` at `radius(direction)` in every direction."""

    def blown(side: Shape) -> Shape:
        def shape(s: F, t: F) -> F:
            # Equal angles: the squares come out more alike than equal steps on the cube would make them.
            bent = [(np.tan((2 * v - 1) * np.pi / 4) + 1) / 2 for v in (s, t)]
            direction = side(bent[0], bent[1])
            direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
            return direction * radius(direction)[..., None] + centre

        return shape

    return [blown(side) for side in cube_sides((1, 1, 1))]


def tube(start: F, end: F, radius: float, bend: F | None = None) -> Shape:
    """A closed rod from `start` to `end`, with round caps: s runs round it, t along it."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    middle = (start + end) / 2 + (0 if bend is None else np.asarray(bend))
    along = (end - start) / np.linalg.norm(end - start)
    helper = np.array([0.0, 1.0, 0.0]) if abs(along[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    across = np.cross(along, helper)
    across /= np.linalg.norm(across)
    other = np.cross(along, across)
    cap = min(0.2, radius / np.linalg.norm(end - start))

    def shape(s: F, t: F) -> F:
        t = np.clip(t, 0, 1)
        low, high = np.clip(t / cap, 0, 1), np.clip((1 - t) / cap, 0, 1)
        width = radius * np.sqrt(np.clip(1 - (1 - np.minimum(low, high)) ** 2, 0, 1))
        tt = t[..., None]
        line = start * (1 - tt) * (1 - tt) + 2 * middle * tt * (1 - tt) + end * tt * tt
        angle = 2 * np.pi * s
        return line + width[..., None] * (np.cos(angle)[..., None] * across + np.sin(angle)[..., None] * other)

    return shape


def ring(centre: tuple[float, float, float], big: float, small: float, axis: int = 2) -> Shape:
    """A torus round `axis`."""
    u, v = (axis + 1) % 3, (axis + 2) % 3

    def shape(s: F, t: F) -> F:
        a, b = 2 * np.pi * s, 2 * np.pi * t
        out = np.empty((*np.broadcast_shapes(s.shape, t.shape), 3))
        out[..., u] = (big + small * np.cos(b)) * np.cos(a)
        out[..., v] = (big + small * np.cos(b)) * np.sin(a)
        out[..., axis] = small * np.sin(b)
        return out + np.array(centre)

    return shape


def profile(points: list[tuple[float, float]], centre: tuple[float, float, float] = (0, 0, 0)) -> list[Shape]:
    """A turned body round Y: one patch for each straight piece (radius, height), from the bottom up, sharp between."""
    shapes = []
    for (r0, y0), (r1, y1) in itertools.pairwise(points):

        def shape(s: F, t: F, r0: float = r0, y0: float = y0, r1: float = r1, y1: float = y1) -> F:
            radius, angle = np.maximum(r0 + (r1 - r0) * t, 0), -2 * np.pi * s
            at = np.stack([radius * np.cos(angle), y0 + (y1 - y0) * t + 0 * s, radius * np.sin(angle)], -1)
            return at + np.array(centre)

        shapes.append(shape)
    return shapes


# --- paint ------------------------------------------------------------------------------------------------


def noise(points: F, scale: float, seed: int = 0, octaves: int = 4) -> F:
    """Value noise in about 0..1 that halves in size and strength from octave to octave."""
    total, strength, sum_of = np.zeros(points.shape[:-1]), 1.0, 0.0
    for octave in range(octaves):
        total += strength * _lattice(points * scale * 2**octave + 17.3 * octave, seed + octave)
        sum_of += strength
        strength *= 0.55
    return total / sum_of


def _lattice(points: F, seed: int) -> F:
    base = np.floor(points)
    part = points - base
    part = part * part * (3 - 2 * part)
    cell = base.astype(np.int64)
    out = np.zeros(points.shape[:-1])
    for corner in range(8):
        offset = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        at = cell + offset
        mixed = (at[..., 0] * 73856093) ^ (at[..., 1] * 19349663) ^ (at[..., 2] * 83492791) ^ (seed * 2654435761)
        mixed = (mixed ^ (mixed >> 13)) * 1274126177 & 0x7FFFFFFF
        value = ((mixed ^ (mixed >> 16)) & 0xFFFF) / 65535.0
        out += value * np.prod(np.where(offset, part, 1 - part), axis=-1)
    return out


def mix(a: tuple[float, ...], b: tuple[float, ...], share: F) -> F:
    share = np.clip(share, 0, 1)[..., None]
    return np.array(a) * (1 - share) + np.array(b) * share


def step(value: F, soft: float) -> F:
    """0 below 0, 1 above, over a width of `soft`."""
    return np.clip(value / soft + 0.5, 0, 1)


def wood(p: F) -> tuple[F, F, F]:
    rings = np.hypot(p[..., 0] * 1.3 + 0.25 * noise(p, 3, 1), p[..., 2] + 0.2 * noise(p, 2, 2)) * 28
    grain = 0.5 + 0.5 * np.sin(rings + 5 * noise(p * [1, 0.15, 1], 14, 3))
    colour = mix((0.36, 0.20, 0.09), (0.72, 0.48, 0.25), grain * 0.8 + 0.2 * noise(p * [1, 0.1, 1], 60, 4))
    plank = np.abs((p[..., 1] * 5.0) % 1.0 - 0.5)
    gap = step(0.035 - (0.5 - plank), 0.02)
    stamp = step(0.16 - np.hypot(p[..., 0] - 0.05, p[..., 1]), 0.008) * step(np.sin(40 * p[..., 0]) + 0.4, 0.3)
    colour = colour * (1 - 0.75 * gap[..., None])
    colour = colour * (1 - stamp[..., None]) + np.array([0.08, 0.10, 0.30]) * stamp[..., None]
    return colour, np.zeros(p.shape[:-1]), 0.55 + 0.35 * noise(p, 20, 5) - 0.15 * grain


def iron(p: F) -> tuple[F, F, F]:
    rust = step(noise(p, 9, 11, 5) - 0.52, 0.12)
    dirt = noise(p, 70, 12, 3)
    colour = mix((0.33, 0.34, 0.37), (0.45, 0.21, 0.09), rust) * (0.75 + 0.35 * dirt)[..., None]
    return colour, 1 - 0.9 * rust, 0.3 + 0.55 * rust + 0.1 * dirt


def hide(p: F) -> tuple[F, F, F]:
    spots = step(noise(p, 7, 21, 2) - 0.55, 0.05)
    scales = 0.5 + 0.5 * np.sin(55 * p[..., 0] + 6 * noise(p, 9, 22)) * np.sin(55 * p[..., 1]) * np.sin(55 * p[..., 2])
    colour = mix((0.20, 0.42, 0.16), (0.72, 0.66, 0.30), step(0.1 * noise(p, 5, 25) - p[..., 1] - 0.12, 0.12))
    colour = colour * (1 - spots[..., None]) + np.array([0.10, 0.16, 0.24]) * spots[..., None]
    eyes = np.minimum(
        np.linalg.norm(p - np.array([0.13, 0.32, 0.36]), axis=-1),
        np.linalg.norm(p - np.array([-0.13, 0.32, 0.36]), axis=-1),
    )
    white, pupil = step(0.085 - eyes, 0.006)[..., None], step(0.045 - eyes, 0.006)[..., None]
    colour = (colour * (0.8 + 0.3 * scales[..., None])) * (1 - white) + 0.95 * white
    return colour * (1 - pupil) + 0.02 * pupil, np.zeros(p.shape[:-1]), 0.75 - 0.35 * scales * (1 - pupil[..., 0])


def enamel(p: F) -> tuple[F, F, F]:
    stripe = step(np.sin(60 * (p[..., 0] + p[..., 1])), 0.25)
    colour = mix((0.75, 0.08, 0.07), (0.93, 0.90, 0.82), stripe) * (0.85 + 0.2 * noise(p, 40, 31))[..., None]
    return colour, np.full(p.shape[:-1], 0.1), 0.25 + 0.3 * noise(p, 25, 32)


def rubber(p: F) -> tuple[F, F, F]:
    angle = np.arctan2(p[..., 1], np.abs(p[..., 0]) - 0.55)
    tread = 0.5 + 0.5 * np.sign(np.sin(angle * 60)) * (np.abs(p[..., 2]) < 0.02)
    letter = step(0.3 * np.sin(angle * 12) + 0.4 * np.sin(angle * 31) - 0.2, 0.1) * (np.abs(p[..., 2]) > 0.021)
    colour = mix((0.07, 0.07, 0.08), (0.2, 0.2, 0.21), tread) + 0.6 * letter[..., None]
    return colour, np.zeros(p.shape[:-1]), 0.8 - 0.2 * tread


def cloth(p: F) -> tuple[F, F, F]:
    warp, weft = np.sin(p[..., 0] * 260), np.sin(p[..., 2] * 260)
    tartan = 0.5 * (np.sin(p[..., 0] * 24) > 0.3) + 0.5 * (np.sin(p[..., 2] * 24) > 0.3)
    thin = (np.abs((p[..., 0] * 6) % 1 - 0.5) < 0.04) | (np.abs((p[..., 2] * 6) % 1 - 0.5) < 0.04)
    colour = mix((0.55, 0.07, 0.12), (0.08, 0.20, 0.34), tartan) * (0.85 + 0.1 * warp * weft)[..., None]
    colour = np.where(thin[..., None], np.array([0.93, 0.82, 0.35]), colour)
    return colour, np.zeros(p.shape[:-1]), np.full(p.shape[:-1], 0.9)


def leaf_paint(p: F) -> tuple[F, F, F]:
    vein = np.abs(np.sin((p[..., 0] * 3 + np.abs(p[..., 2]) * 4) * 10))
    middle = step(0.006 - np.abs(p[..., 2]), 0.004)
    colour = (
        mix((0.60, 0.72, 0.25), (0.12, 0.36, 0.08), step(vein - 0.15, 0.2)) * (0.8 + 0.4 * noise(p, 24, 41))[..., None]
    )
    return (
        colour * (1 - middle[..., None]) + np.array([0.75, 0.8, 0.4]) * middle[..., None],
        np.zeros(p.shape[:-1]),
        0.5 + 0.2 * noise(p, 30, 42),
    )


def glass(p: F) -> tuple[F, F, F]:
    angle = np.arctan2(p[..., 2], p[..., 0])
    pane = np.floor(angle / (np.pi / 4)) + np.floor(p[..., 1] * 4)
    tint = np.stack([0.5 + 0.5 * np.sin(pane * 2.1 + phase) for phase in (0.0, 2.1, 4.2)], -1)
    lead = step(0.02 - np.abs((p[..., 1] * 4) % 1 - 0.5) * 0.25 + 0.0, 0.01) + (np.abs(np.sin(angle * 4)) < 0.06)
    lead = np.clip(lead, 0, 1)
    alpha = 0.35 + 0.2 * noise(p, 8, 51) + 0.65 * lead
    colour = tint * (1 - lead[..., None]) + 0.1 * lead[..., None]
    return np.concatenate([colour, np.clip(alpha, 0, 1)[..., None]], -1), lead * 0.8, 0.1 + 0.4 * lead


def grille(p: F) -> tuple[F, F, F]:
    angle = np.arctan2(p[..., 2], p[..., 0])
    bars = np.maximum(np.abs(np.sin(angle * 12)), np.abs(np.sin(p[..., 1] * 60)))
    alpha = step(bars - 0.75, 0.2)
    colour = mix((0.5, 0.38, 0.12), (0.85, 0.7, 0.3), noise(p, 30, 61))
    return np.concatenate([colour, alpha[..., None]], -1), np.full(alpha.shape, 0.95), 0.25 + 0.3 * noise(p, 30, 62)


def brass(p: F) -> tuple[F, F, F]:
    worn = noise(p, 12, 71, 5)
    colour = mix((0.55, 0.40, 0.16), (0.92, 0.76, 0.38), worn) * (0.9 + 0.1 * np.sin(p[..., 1] * 180))[..., None]
    return colour, np.ones(p.shape[:-1]), 0.2 + 0.5 * (1 - worn)


def marble(p: F) -> tuple[F, F, F]:
    vein = np.abs(np.sin(8 * p[..., 0] + 5 * p[..., 1] + 9 * noise(p, 3, 81, 5)))
    colour = mix((0.25, 0.27, 0.32), (0.93, 0.92, 0.90), step(vein - 0.2, 0.4))
    return colour, np.zeros(p.shape[:-1]), 0.15 + 0.2 * noise(p, 15, 82)


def tiles_paint(p: F) -> tuple[F, F, F]:
    checker = (np.floor(p[..., 0] * 12) + np.floor(p[..., 1] * 12) + np.floor(p[..., 2] * 12)) % 2
    colour = mix((0.10, 0.35, 0.55), (0.90, 0.88, 0.80), checker) * (0.85 + 0.2 * noise(p, 50, 91))[..., None]
    return colour, np.zeros(p.shape[:-1]), 0.3 + 0.3 * checker


# --- the six ----------------------------------------------------------------------------------------------


def _cells(number: float, detail: float) -> int:
    return max(1, round(number * detail))


def _box(half: tuple[float, float, float], centre: tuple[float, float, float], cells: int) -> list[Patch]:
    return [Patch(side, cells, cells) for side in cube_sides(half, centre)]


def crate(detail: float = 1.0, texture: int = 1024) -> TexturedMesh:
    """Hard edges: a closed wooden crate with a recessed panel on every side, and iron corners as parts of their own."""
    h, rim, deep = 0.5, 0.36, 0.06
    patches = []
    for axis, first, second, sign in _SIDES:

        def at(
            u: float, v: float, w: float, axis: int = axis, first: int = first, second: int = second, sign: int = sign
        ):
            out = [0.0, 0.0, 0.0]
            out[axis], out[first], out[second] = sign * w, u, v
            return tuple(out)

        outer = [(-h, -h), (h, -h), (h, h), (-h, h)]
        inner = [(-rim, -rim), (rim, -rim), (rim, rim), (-rim, rim)]
        n = _cells(6, detail)
        for k in range(4):
            a, b = outer[k], outer[(k + 1) % 4]
            c, d = inner[(k + 1) % 4], inner[k]
            patches.append(Patch(quad(at(*a, h), at(*b, h), at(*c, h), at(*d, h)), n, n))
            patches.append(Patch(quad(at(*d, h), at(*c, h), at(*c, h - deep), at(*d, h - deep)), n, n))
        w = h - deep
        patches.append(Patch(quad(*(at(*corner, w) for corner in inner)), n, n))
    corners: list[Patch] = []
    for x in (-1, 1):
        for y in (-1, 1):
            for z in (-1, 1):
                corners += _box((0.07, 0.07, 0.07), (0.47 * x, 0.47 * y, 0.47 * z), _cells(2, detail))
    return assemble(
        [
            Part(SurfaceMaterial("Wood"), patches, wood),
            Part(SurfaceMaterial("Iron"), corners, iron),
        ],
        texture,
    )


def creature(detail: float = 1.0, texture: int = 1024) -> TexturedMesh:
    """Organic: one closed, smooth body with a head, feet, a tail and bumps."""
    lobes = (
        ((0.0, 0.55, 0.75), 0.36, 9.0),
        ((0.5, -0.75, 0.35), 0.22, 16.0),
        ((-0.5, -0.75, 0.35), 0.22, 16.0),
        ((0.5, -0.75, -0.35), 0.22, 16.0),
        ((-0.5, -0.75, -0.35), 0.22, 16.0),
        ((0.0, 0.05, -1.0), 0.42, 22.0),
        ((0.35, 0.95, 0.45), 0.16, 60.0),
        ((-0.35, 0.95, 0.45), 0.16, 60.0),
    )

    def radius(direction: F) -> F:
        r = np.full(direction.shape[:-1], 0.38)
        for toward, height, narrow in lobes:
            axis = np.array(toward) / np.linalg.norm(toward)
            r += height * np.exp(narrow * (direction @ axis - 1))
        return r + 0.012 * (noise(direction, 9, 201, 3) - 0.5)

    n = _cells(96, detail)
    return assemble([Part(SurfaceMaterial("Hide"), [Patch(side, n, n) for side in ball(radius)], hide)], texture)


def bicycle(detail: float = 1.0, texture: int = 1024) -> TexturedMesh:
    """Thin parts: tyres, spokes of 4 mm in a metre, a frame, a chain guard of sheet metal."""
    n, m = _cells(96, detail), _cells(12, detail)
    tyres, spokes = [], []
    for x in (-0.55, 0.55):
        tyres.append(Patch(ring((x, 0, 0), 0.33, 0.03), n, m))
        spokes.append(Patch(ring((x, 0, 0), 0.295, 0.008), n, m, "rim"))
        spokes.append(Patch(tube(np.array([x, 0, -0.05]), np.array([x, 0, 0.05]), 0.02), m, m, "hub"))
        for k in range(16):
            angle = 2 * np.pi * k / 16
            tip = np.array([x + 0.297 * np.cos(angle), 0.297 * np.sin(angle), 0])
            foot = np.array([x + 0.014 * np.cos(angle + 0.5), 0.014 * np.sin(angle + 0.5), 0.03 * (-1) ** k])
            spokes.append(Patch(tube(foot, tip, 0.004), max(5, m // 2), _cells(8, detail), f"spoke{k % 4}"))
    seat, crank, head = np.array([-0.2, 0.55, 0]), np.array([-0.1, -0.05, 0]), np.array([0.38, 0.5, 0])
    rods = [(seat, crank), (seat, head), (crank, head), (np.array([-0.55, 0, 0.06]), crank)]
    rods += [
        (np.array([-0.55, 0, -0.06]), crank),
        (np.array([-0.55, 0, 0.06]), seat),
        (np.array([-0.55, 0, -0.06]), seat),
    ]
    rods += [(np.array([0.55, 0, 0.06]), head), (np.array([0.55, 0, -0.06]), head)]
    rods += [(head, np.array([0.33, 0.66, 0])), (seat, np.array([-0.24, 0.66, 0]))]
    frame = [Patch(tube(a, b, 0.016), _cells(14, detail), _cells(24, detail)) for a, b in rods]
    bar = tube(np.array([0.33, 0.66, -0.25]), np.array([0.33, 0.66, 0.25]), 0.013, np.array([0.12, 0, 0]))
    frame.append(Patch(bar, _cells(14, detail), _cells(32, detail)))

    def saddle(direction: F) -> F:
        return 0.1 / np.sqrt(
            (direction[..., 0] / 1.4) ** 2 + (direction[..., 1] / 0.28) ** 2 + (direction[..., 2] / 0.7) ** 2
        )

    leather = [Patch(side, _cells(16, detail), _cells(16, detail)) for side in ball(saddle, (-0.24, 0.68, 0))]
    return assemble(
        [
            Part(SurfaceMaterial("Rubber"), tyres, rubber),
            Part(SurfaceMaterial("Spokes"), spokes, iron),
            Part(SurfaceMaterial("Enamel"), frame, enamel),
            Part(SurfaceMaterial("Leather"), leather, wood),
        ],
        texture,
    )


def sheets(detail: float = 1.0, texture: int = 1024) -> TexturedMesh:
    """Open sheets: a cloth in folds and three leaves, all without thickness and seen from both sides."""

    def fold(s: F, t: F) -> F:
        x, z = s - 0.5, t - 0.5
        y = 0.06 * np.sin(9 * x + 2 * np.sin(5 * z)) + 0.05 * np.cos(7 * z - 3 * x) - 0.5 * (x * x + z * z)
        return np.stack([x, y, z], -1)

    def leaf(centre: tuple[float, float, float], turn: float, size: float) -> Shape:
        def shape(s: F, t: F) -> F:
            along, side = s, 2 * t - 1
            width = 0.32 * np.sin(np.pi * np.clip(along, 0.001, 0.999)) ** 0.8
            x, z = along - 0.5, side * width
            y = 0.25 * x * x + 0.3 * z * z
            cos, sin = np.cos(turn), np.sin(turn)
            return size * np.stack([cos * x - sin * z, y, sin * x + cos * z], -1) + np.array(centre)

        return shape

    n, m = _cells(96, detail), _cells(40, detail)
    leaves = [leaf((0.1, 0.25, 0.0), 0.4, 0.6), leaf((-0.25, 0.38, 0.2), 2.2, 0.45), leaf((-0.1, 0.5, -0.25), 4.4, 0.5)]
    return assemble(
        [
            Part(SurfaceMaterial("Cloth", double_sided=True), [Patch(fold, n, n, "", True)], cloth),
            Part(
                SurfaceMaterial("Leaf", double_sided=True),
                [Patch(shape, m, m, "", True) for shape in leaves],
                leaf_paint,
            ),
        ],
        texture,
    )


def lantern(detail: float = 1.0, texture: int = 1024) -> TexturedMesh:
    """Transparent parts: blended stained glass, a masked grille round it, brass above and below, a flame inside."""
    n, m = _cells(96, detail), _cells(8, detail)
    base = [(0.0, -0.5), (0.34, -0.5), (0.34, -0.44), (0.28, -0.36), (0.0, -0.36)]
    roof = [(0.0, 0.3), (0.28, 0.3), (0.36, 0.32), (0.05, 0.52), (0.0, 0.52)]
    metal = [Patch(shape, n, m) for shape in profile(base) + profile(roof)]
    metal.append(Patch(ring((0, 0.6, 0), 0.08, 0.014), _cells(48, detail), _cells(12, detail)))
    panes = [Patch(shape, n, _cells(48, detail)) for shape in profile([(0.24, -0.355), (0.24, 0.295)])]
    cage = [Patch(shape, n, _cells(48, detail)) for shape in profile([(0.27, -0.35), (0.27, 0.29)])]

    def flame(direction: F) -> F:
        return 0.09 * (1 + 0.8 * np.clip(direction[..., 1], 0, 1) ** 3)

    light = [Patch(side, _cells(16, detail), _cells(16, detail)) for side in ball(flame, (0, -0.1, 0))]
    return assemble(
        [
            Part(SurfaceMaterial("Brass"), metal, brass),
            Part(SurfaceMaterial("Glass", alpha_mode="BLEND", double_sided=True), panes, glass),
            Part(SurfaceMaterial("Grille", alpha_mode="MASK", double_sided=True), cage, grille),
            Part(SurfaceMaterial("Flame", (1.0, 0.6, 0.12, 1.0), 0.0, 0.9), light),
        ],
        texture,
    )


def toolkit(detail: float = 1.0, texture: int = 1024) -> TexturedMesh:
    """Several materials and components, parts inside of others, parts that cut into each other."""
    n = _cells(24, detail)
    case = _box((0.5, 0.22, 0.3), (0, -0.2, 0), n)
    hidden = [Patch(side, n, n) for side in ball(lambda d: np.full(d.shape[:-1], 0.12), (0.2, -0.2, 0))]
    marbles = [Patch(side, n, n) for side in ball(lambda d: np.full(d.shape[:-1], 0.13), (-0.25, 0.15, 0.0))]
    handle = [Patch(ring((0.1, 0.02, 0), 0.16, 0.03), _cells(64, detail), _cells(16, detail))]
    hammer = [Patch(tube(np.array([-0.1, 0.12, -0.2]), np.array([0.42, 0.12, -0.12]), 0.03), _cells(16, detail), n)]
    heads = _box((0.05, 0.05, 0.11), (0.42, 0.12, -0.12), _cells(6, detail))
    return assemble(
        [
            Part(SurfaceMaterial("Tiles"), case, tiles_paint),
            Part(SurfaceMaterial("Marble"), hidden + marbles, marble),
            Part(SurfaceMaterial("Iron"), handle + heads, iron),
            Part(SurfaceMaterial("Wood"), hammer, wood),
            Part(
                SurfaceMaterial("Plain", (0.05, 0.6, 0.2, 1.0), 0.0, 0.35),
                _box((0.08, 0.04, 0.08), (0.3, 0.06, 0.18), _cells(6, detail)),
            ),
        ],
        texture,
    )


MODELS: dict[str, Callable[[float, int], TexturedMesh]] = {
    "crate": crate,
    "creature": creature,
    "bicycle": bicycle,
    "sheets": sheets,
    "lantern": lantern,
    "toolkit": toolkit,
}


def build(name: str, detail: float = 1.0, texture: int = 1024) -> TexturedMesh:
    """The model of that name; `detail` scales its cuts, `texture` is the side of its textures."""
    return MODELS[name](detail, texture)


def write_all(folder: Path, detail: float = 1.0, texture: int = 1024) -> list[Path]:
    """Every model as NAME.glb in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in MODELS:
        path = folder / f"{name}.glb"
        path.write_bytes(write_glb_scene(build(name, detail, texture), name))
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_all(Path(sys.argv[1] if len(sys.argv) > 1 else "models")):
        print(written, written.stat().st_size)
