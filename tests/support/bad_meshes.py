"""Dual grids and meshes for the tests of finishing: shapes made here, and the ways in which real ones are bad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trellis_addon.geometry.mesh.topology import TriMesh
from trellis_addon.geometry.voxels.dual_grid import dual_grid_to_mesh

Field = Callable[[np.ndarray], np.ndarray]
"""Signed distances (n,) of places (n, 3), negative inside, in the units of the cube [-0.5, 0.5]^3."""

_BLOCK = 8


@dataclass(frozen=True)
class Grid:
    """A dual grid: voxels (L, 3), voxel-local vertices (L, 3), flags (L, 3), and voxels a side."""

    coords: np.ndarray
    vertices: np.ndarray
    flags: np.ndarray
    resolution: int

    def mesh(self) -> TriMesh:
        """The raw mesh: half of its faces are flipped, every voxel is a vertex."""
        return TriMesh.of(
            *dual_grid_to_mesh(self.coords, self.vertices, self.flags, grid_size=self.resolution, split="flat")
        )

    def without(self, voxels: np.ndarray) -> Grid:
        """The grid without some voxels (a mask): their neighbours' quads are lost."""
        return Grid(self.coords[~voxels], self.vertices[~voxels], self.flags[~voxels], self.resolution)

    def joined(self, other: Grid) -> Grid:
        """Both grids' surfaces in one; where both have a voxel its vertex lies between theirs."""
        keys = [_key(grid.coords, self.resolution) for grid in (self, other)]
        both, place = np.unique(np.concatenate(keys), return_inverse=True)
        count = np.bincount(place)
        vertices = np.zeros((len(both), 3))
        np.add.at(vertices, place, np.concatenate([self.vertices, other.vertices]))
        flags = np.zeros((len(both), 3), bool)
        np.logical_or.at(flags, place, np.concatenate([self.flags, other.flags]))
        coords = np.stack([both // self.resolution**2, both // self.resolution % self.resolution], 1)
        coords = np.concatenate([coords, both[:, None] % self.resolution], 1).astype(np.int32)
        return Grid(coords, (vertices / count[:, None]).astype(np.float32), flags, self.resolution)


def grid_of(field: Field, resolution: int) -> Grid:
    """The dual grid of a field's zero set, with vertices where the tangent planes of its crossings meet best."""
    places, values = _near(field, resolution)
    n = _BLOCK
    found = []
    corner = values.reshape(-1, n + 1, n + 1, n + 1) < 0
    low = corner[:, :n, :n, :n]
    mixed = np.zeros_like(low)
    for x in (0, 1):
        for y in (0, 1):
            for z in (0, 1):
                mixed |= corner[:, x : x + n, y : y + n, z : z + n] != low
    block, *local = np.nonzero(mixed)
    coords = places[block] + np.stack(local, 1)
    x, y, z = local
    at = {d: corner[block, x + d[0], y + d[1], z + d[2]] for d in _OFFSETS}
    flags = np.stack(
        [at[a] != at[b] for a, b in (((0, 1, 1), (1, 1, 1)), ((1, 0, 1), (1, 1, 1)), ((1, 1, 0), (1, 1, 1)))], 1
    )
    for start in range(0, len(coords), 1 << 18):
        found.append(_vertices(field, coords[start : start + (1 << 18)], resolution))
    vertices = np.concatenate(found) if found else np.zeros((0, 3), np.float32)
    return Grid(coords.astype(np.int32), vertices, flags, resolution)


_OFFSETS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
_EDGES = [(a, b) for a in _OFFSETS for b in _OFFSETS if a < b and sum(p != q for p, q in zip(a, b, strict=True)) == 1]


def _near(field: Field, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of voxels near the surface: their first voxels, and the field at their corners."""
    side = -(-resolution // _BLOCK)
    block = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3) * _BLOCK
    middle = (block + _BLOCK / 2) / resolution - 0.5
    reach = 1.5 * _BLOCK * 3**0.5 / 2 / resolution
    near = np.concatenate([np.abs(field(middle[i : i + 65536])) < reach for i in range(0, len(middle), 65536)])
    block = block[near]
    local = np.stack(np.meshgrid(*[np.arange(_BLOCK + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    values = [
        field(((block[i : i + 512, None] + local) / resolution - 0.5).reshape(-1, 3)).astype(np.float32)
        for i in range(0, len(block), 512)
    ]
    return block, np.concatenate(values) if values else np.zeros(0, np.float32)


def _vertices(field: Field, coords: np.ndarray, resolution: int) -> np.ndarray:
    h = 1e-3 / resolution
    total = np.zeros((len(coords), 3))
    count = np.zeros(len(coords))
    ata = np.zeros((len(coords), 3, 3))
    atb = np.zeros((len(coords), 3))
    corner = {o: field((coords + np.array(o)) / resolution - 0.5) for o in _OFFSETS}
    for a, b in _EDGES:
        rows = np.flatnonzero((corner[a] < 0) != (corner[b] < 0))
        low, high = np.zeros(len(rows)), np.ones(len(rows))
        first = corner[a][rows] < 0
        begin, step = coords[rows] + np.array(a), np.array(b) - np.array(a)
        for _ in range(10):
            middle = (low + high) / 2
            same = (field((begin + middle[:, None] * step) / resolution - 0.5) < 0) == first
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        crossing = np.array(a) + ((low + high) / 2)[:, None] * step
        world = (coords[rows] + crossing) / resolution - 0.5
        normal = np.stack([field(world + h * e) - field(world - h * e) for e in np.eye(3)], 1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-30)[:, None]
        total[rows] += crossing
        count[rows] += 1
        ata[rows] += normal[:, :, None] * normal[:, None, :]
        atb[rows] += normal * (normal * crossing).sum(1)[:, None]
    mean = total / np.maximum(count, 1)[:, None]
    weight = 0.02 * count
    ata += weight[:, None, None] * np.eye(3) + 1e-9 * np.eye(3)
    atb += weight[:, None] * mean
    return np.clip(np.linalg.solve(ata, atb[..., None])[..., 0], 0, 1).astype(np.float32)


def _key(coords: np.ndarray, resolution: int) -> np.ndarray:
    coords = coords.astype(np.int64)
    return (coords[:, 0] * resolution + coords[:, 1]) * resolution + coords[:, 2]


# Fields


def ball(radius: float = 0.3, centre: tuple[float, float, float] = (0.013, 0.007, -0.011)) -> Field:
    return lambda p: np.linalg.norm(p - np.array(centre), axis=1) - radius


def torus(major: float = 0.3, minor: float = 0.11) -> Field:
    return lambda p: np.hypot(np.hypot(p[:, 0], p[:, 1]) - major, p[:, 2] - 0.003) - minor


def box(
    size: tuple[float, float, float] = (0.3, 0.3, 0.3),
    turn: float = 0.4,
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Field:
    """A box of these half sizes, turned about two axes."""
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])

    def field(p: np.ndarray) -> np.ndarray:
        q = np.abs((p - np.array(centre)) @ matrix) - np.array(size)
        return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0)

    return field


def rod(start: tuple[float, float, float], end: tuple[float, float, float], radius: float) -> Field:
    a, d = np.array(start), np.array(end) - np.array(start)
    return lambda p: np.linalg.norm(p - a - np.clip((p - a) @ d / (d @ d), 0, 1)[:, None] * d, axis=1) - radius


def union(*fields: Field) -> Field:
    return lambda p: np.minimum.reduce([field(p) for field in fields])


def minus(field: Field, other: Field) -> Field:
    return lambda p: np.maximum(field(p), -other(p))


def shell(field: Field, thickness: float) -> Field:
    """The wall between a shape and the same shape offset inward."""
    return lambda p: np.maximum(field(p), -field(p) - thickness)


def noisy(field: Field, height: float = 0.01, frequency: float = 40.0) -> Field:
    def bumped(p: np.ndarray) -> np.ndarray:
        q = p * frequency
        wave = np.sin(q[:, 0] + 2 * np.sin(q[:, 1] / 2)) * np.sin(q[:, 1] * 1.1) * np.sin(q[:, 2] + q[:, 0] / 3)
        return field(p) + height * wave

    return bumped


def body() -> Field:
    """Something like a generated asset: a bumpy body, a ring round it, thin rods."""
    return union(
        noisy(ball(0.27), 0.012),
        lambda p: np.hypot(np.hypot(p[:, 0], p[:, 1]) - 0.38, p[:, 2] - 0.003) - 0.03,
        rod((-0.45, -0.3, -0.3), (0.4, 0.42, 0.35), 0.011),
        rod((0.4, -0.35, 0.3), (-0.38, 0.42, -0.35), 0.008),
    )


# Open surfaces and things that no field makes


def sheet(resolution: int, bend: float = 0.08, half: float = 0.35) -> Grid:
    """A bent open sheet z = f(x, y) over a square."""

    def field(p: np.ndarray) -> np.ndarray:
        return p[:, 2] - bend * np.sin(5 * p[:, 0]) * np.cos(4 * p[:, 1])

    grid = grid_of(field, resolution)
    world = (grid.coords + 1) / resolution - 0.5
    inside = (np.abs(world[:, :2]) < half).all(1)
    flags = grid.flags & inside[:, None]
    used = np.zeros(len(grid.coords), bool)
    kept = Grid(grid.coords, grid.vertices, flags, resolution)
    faces = dual_grid_to_mesh(kept.coords, kept.vertices, kept.flags, grid_size=resolution)[1]
    used[faces] = True
    return kept.without(~used)


def random_grid(seed: int, resolution: int = 8, share: float = 0.3) -> Grid:
    """Voxels and flags thrown at random: every ambiguous and non-manifold case there is."""
    rng = np.random.default_rng(seed)
    active = rng.random((resolution,) * 3) < 0.9
    coords = np.argwhere(active).astype(np.int32)
    vertices = rng.uniform(0.2, 0.8, (len(coords), 3)).astype(np.float32)
    return Grid(coords, vertices, rng.random((len(coords), 3)) < share, resolution)


def random_solid(seed: int, resolution: int = 8, share: float = 0.4) -> Grid:
    """The boundary of lattice corners chosen at random: closed, with every ambiguous cell."""
    rng = np.random.default_rng(seed)
    inside = np.zeros((resolution + 1,) * 3, bool)
    inside[1:-1, 1:-1, 1:-1] = rng.random((resolution - 1,) * 3) < share
    n = resolution
    flags = np.stack(
        [
            inside[:-1, 1:, 1:] != inside[1:, 1:, 1:],
            inside[1:, :-1, 1:] != inside[1:, 1:, 1:],
            inside[1:, 1:, :-1] != inside[1:, 1:, 1:],
        ],
        -1,
    ).reshape(-1, 3)
    coords = np.argwhere(np.ones((n, n, n), bool)).astype(np.int32)
    vertices = rng.uniform(0.3, 0.7, (n**3, 3)).astype(np.float32)
    return Grid(coords, vertices, flags, n)


def moebius(steps: int = 60) -> TriMesh:
    """A strip with one side only."""
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    across = np.array([-0.1, 0.1])
    radius = 0.3 + across[None] * np.cos(angle / 2)[:, None]
    height = across[None] * np.sin(angle / 2)[:, None]
    vertices = np.stack([radius * np.cos(angle)[:, None], radius * np.sin(angle)[:, None], height], -1).reshape(-1, 3)
    faces = []
    for i in range(steps):
        a, b = 2 * i, 2 * i + 1
        c, d = (2 * i + 2, 2 * i + 3) if i + 1 < steps else (1, 0)
        faces += [(a, b, c), (b, d, c)]
    return TriMesh.of(vertices, np.array(faces))


def cube_mesh(size: float = 0.3) -> TriMesh:
    """Eight vertices, twelve faces, wound outward."""
    vertices = np.array(_OFFSETS) * 2.0 * size - size
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return TriMesh.of(vertices, np.array(faces))
