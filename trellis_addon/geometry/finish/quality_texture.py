"""How good the unwrapping and the baked colours are, in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...formats.glb.tangents import unit
from ..bake.maps import U8, look_up
from ..bake.reading import DENSEST, Look
from ..unwrap.unwrap import Unwrapped

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class UnwrapFigures:
    """`area_stretch_*`: texels per area of surface, relative to the mean over the surface, at the 1st, 50th and 99th
    percentile by area (1 everywhere is best). `angle_stretch_*`: how much longer a circle's image is than it is wide, 1
    is best. `atlas_use`: share of texels inside a chart. `overlapping_texels`: texels whose centre two triangles share.
    """

    charts: int
    area_stretch_p1: float
    area_stretch_p50: float
    area_stretch_p99: float
    angle_stretch_p50: float
    angle_stretch_p99: float
    atlas_use: float
    overlapping_texels: int


@dataclass(frozen=True)
class ColourFigures:
    """The textures as stored, looked up at random points of the surface, against what they were
    baked from: mean and 99th percentile of the difference in steps of 255, and the ratio of peak to noise in
    decibels (99 where there is no difference) for base colour, and the mean for metalness and roughness."""

    colour_error_mean: float
    colour_error_p99: float
    colour_psnr: float
    metallic_roughness_error_mean: float


def unwrap_figures(vertices: F32, flat: Unwrapped) -> UnwrapFigures:
    """`vertices` (V', 3) are those of the unwrapped mesh."""
    corners = vertices[flat.faces].astype(np.float64)
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = 0.5 * np.linalg.norm(np.cross(edge1, edge2), axis=1)
    # Each triangle in its own plane: x along its first edge.
    length = np.linalg.norm(edge1, axis=1)
    x2 = np.einsum("ij,ij->i", edge1, edge2) / np.maximum(length, 1e-30)
    y2 = 2.0 * area / np.maximum(length, 1e-30)
    uvs = flat.uvs[flat.faces].astype(np.float64)
    d1, d2 = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    along = d1 / np.maximum(length, 1e-30)[:, None]
    across = (d2 - x2[:, None] * along) / np.maximum(y2, 1e-30)[:, None]
    # Singular values of the map from the triangle's plane to the atlas.
    e, g = np.einsum("ij,ij->i", along, along), np.einsum("ij,ij->i", across, across)
    f = np.einsum("ij,ij->i", along, across)
    root = np.sqrt(np.maximum((e - g) ** 2 + 4.0 * f * f, 0.0))
    large, small = np.sqrt((e + g + root) / 2.0), np.sqrt(np.maximum((e + g - root) / 2.0, 0.0))
    sound = area > 1e-9 * area.mean()
    weight = area[sound]
    scale = large[sound] * small[sound]
    scale = scale / max(float((scale * weight).sum() / weight.sum()), 1e-300)
    ratio = large[sound] / np.maximum(small[sound], 1e-12)
    low, middle, high = _percentiles(scale, weight, (1, 50, 99))
    angle_middle, angle_high = _percentiles(ratio, weight, (50, 99))
    return UnwrapFigures(
        int(flat.charts.max()) + 1,
        low,
        middle,
        high,
        angle_middle,
        angle_high,
        flat.raster.covered / flat.raster.owner.size,
        flat.raster.overlapping,
    )


def colour_figures(
    vertices: F32, flat: Unwrapped, detail: Look, base_colour: U8, surface: U8, samples: int = 50_000
) -> ColourFigures:
    """`base_colour` (S, S, 3 or 4) and `surface` (S, S, 3: -, roughness, metalness) as a reader decodes them."""
    random = np.random.default_rng(0)
    corners = vertices[flat.faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    total = np.cumsum(area)
    # In order of faces: questions near each other are answered faster.
    at = np.sort(random.random(samples)) * total[-1]
    face = np.minimum(np.searchsorted(total, at, "right"), len(area) - 1)
    weights = random.dirichlet((1.0, 1.0, 1.0), samples)
    points = np.einsum("nk,nkc->nc", weights, corners[face]).astype(np.float32)
    uvs = np.einsum("nk,nkc->nc", weights, flat.uvs[flat.faces[face]].astype(np.float64))
    outwards = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))[face]
    truth = 255.0 * detail.read(points, outwards, DENSEST, face.astype(np.int32), normals=False).values
    colour = np.abs(look_up(base_colour[..., :3], uvs) - truth[:, :3])
    rough = np.abs(look_up(surface[..., 1:], uvs) - truth[:, [4, 3]])
    noise = float(np.square(colour).mean())
    return ColourFigures(
        float(colour.mean()),
        float(np.percentile(colour, 99)),
        min(99.0, 20.0 * math.log10(255.0) - 10.0 * math.log10(max(noise, 1e-12))),
        float(rough.mean()),
    )


def _percentiles(values: F64, weight: F64, shares: tuple[int, ...]) -> list[float]:
    order = np.argsort(values)
    passed = np.cumsum(weight[order])
    places = np.searchsorted(passed, np.array(shares) / 100.0 * passed[-1])
    return [float(values[order[min(place, len(values) - 1)]]) for place in places]
