"""What lies on a textured mesh, read for every voxel at the closest point of the surface.

Unlike the reference's way, nothing is read outside of a triangle, transparent texels do not colour their
neighbours, and a colour factor multiplies light, as glTF means it, not the coded values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.progress import Progress
from ...formats.glb.textured_mesh import SurfaceMaterial, Texture, TexturedMesh
from ...images.srgb import linear_to_srgb, srgb_to_linear
from ..voxels.index import VoxelIndex
from .closest import ClosestOnTriangles
from .fit import fitted
from .overlap import overlaps
from .scan import Float, Int, corner_voxels, scan
from .texels import Pyramid, stretch

CHANNELS = 6  # base colour, metallic, roughness, alpha
DETAIL = -1.0  # in levels: texels half as large as a voxel, for trilinear reading blurs what is kept
MASK_SLOPE = 4.0  # of the alpha of cut-out materials at their edge


def surface_attributes(
    mesh: TexturedMesh,
    corners: Float,
    coords: NDArray[Any],
    resolution: int,
    *,
    fit: bool = True,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """(L, 6) in 0..1 for the voxels `coords` (L, 3): base colour (sRGB), metallic, roughness, alpha.

    `corners` (F, 3, 3) are the mesh's triangles in voxels, from the grid's lower corner. With `fit` the values
    are sharpened against the whole surface, for trilinear reading.
    """
    progress = progress or Progress()
    triangle, weights = nearest_points(corners, coords, resolution, progress.part(0.0, 0.4))
    pyramids: dict[tuple[int, str], Pyramid] = {}

    def read(triangle: Int, weights: Float) -> NDArray[np.float32]:
        out = np.empty((len(triangle), CHANNELS), np.float32)
        ids = mesh.ids[triangle]
        for number, material in enumerate(mesh.materials):
            progress.check()
            rows = np.flatnonzero(ids == number)
            if len(rows):
                out[rows] = _of_material(mesh, material, corners, triangle[rows], weights[rows], pyramids)
        return out

    values = read(triangle, weights)
    progress.update("colours", 0.6)
    if fit:
        values = fitted(values, coords, resolution, corners, read, progress=progress.part(0.6, 1.0))
    return values


def nearest_points(
    corners: Float, coords: NDArray[Any], resolution: int, progress: Progress | None = None
) -> tuple[Int, Float]:
    """The triangle (L,) closest to each voxel's centre, of those in or at the voxel, and barycentrics (L, 3) there."""
    progress = progress or Progress()
    shape, size = (resolution,) * 3, np.ones(3)
    index = VoxelIndex(coords, shape)
    closest = ClosestOnTriangles(corners)
    count = len(coords)
    least = np.full(count, np.inf)
    chosen = np.zeros(count, np.int64)
    place = np.zeros((count, 2))

    def consider(row: Int, triangle: Int) -> None:
        square, where = closest.find(coords[row] + 0.5, triangle)
        np.minimum.at(least, row, square)
        won = np.flatnonzero(square == least[row])
        chosen[row[won]], place[row[won]] = triangle[won], where[won]

    for triangle, voxel in overlaps(corners, size, shape):
        progress.update("colours", 0.2)
        row = index.inside(*voxel.T)
        there = np.flatnonzero(row >= 0)
        consider(row[there], triangle[there])
    if not np.isfinite(least).all():  # a voxel that the surface meets in no more than an edge
        left = ~np.isfinite(least)
        for found in scan(corners, size, shape, closed=True):
            for voxel in corner_voxels(found):
                row = index.inside(*voxel.T)
                there = np.flatnonzero((row >= 0) & left[row])
                consider(row[there], found.triangle[there])
    return chosen, np.concatenate([1 - place.sum(1, keepdims=True), place], axis=1)


def _of_material(
    mesh: TexturedMesh,
    material: SurfaceMaterial,
    corners: Float,
    triangle: Int,
    weights: Float,
    pyramids: dict[tuple[int, str], Pyramid],
) -> NDArray[np.float32]:
    """(M, 6) at points given by triangles (M,) and barycentrics (M, 3)."""

    def read(texture: Texture | None) -> Float | None:
        if texture is None:
            return None
        sets = mesh.uvs_1 if texture.uv_set == 1 else mesh.uvs
        if sets is None:
            return None
        key = (id(texture.pixels), material.alpha_mode)  # of arrays that the mesh holds on to
        if key not in pyramids:
            pyramids[key] = Pyramid(_weighted(texture.pixels, material.alpha_mode))
        return _read(texture, pyramids[key], sets, corners, triangle, weights)

    count = len(triangle)
    factor = np.broadcast_to(np.array(material.base_colour_factor, np.float64), (count, 4))
    if mesh.colours is not None:
        factor = factor * np.einsum("mk,mkc->mc", weights, mesh.colours[triangle].astype(np.float64))
    out = np.empty((count, CHANNELS), np.float32)
    base = read(material.base_colour)
    if base is None:
        out[:, :3], alpha = linear_to_srgb(factor[:, :3]), factor[:, 3]
    else:
        colour, alpha = _unweighted(base, material.alpha_mode)
        tinted = ~(factor[:, :3] == 1).all(1)
        if bool(tinted.any()):
            colour[tinted] = linear_to_srgb(srgb_to_linear(colour[tinted]) * factor[tinted, :3])
        out[:, :3], alpha = colour, alpha * factor[:, 3]
    rough = read(material.metallic_roughness)
    metallic, roughness = material.metallic_factor, material.roughness_factor
    out[:, 3] = metallic if rough is None else metallic * rough[:, 2 if rough.shape[1] > 2 else 0]
    out[:, 4] = roughness if rough is None else roughness * rough[:, 1 if rough.shape[1] > 2 else 0]
    out[:, 5] = _alpha(alpha, material)
    return np.clip(out, 0, 1)


def _alpha(alpha: Float, material: SurfaceMaterial) -> Float | float:
    """What is seen of the surface. A cut-out's edge stays where it is: the cut-off value becomes one half."""
    if material.alpha_mode == "OPAQUE":
        return 1.0
    if material.alpha_mode == "BLEND":
        return alpha
    cut = min(max(material.alpha_cutoff, 1e-3), 1 - 1e-3)
    level = np.where(alpha < cut, 0.5 * alpha / cut, 0.5 + 0.5 * (alpha - cut) / (1 - cut))
    return np.asarray(np.clip(0.5 + (level - 0.5) * MASK_SLOPE, 0, 1))


def _read(
    texture: Texture, pyramid: Pyramid, sets: NDArray[np.float32], corners: Float, triangle: Int, weights: Float
) -> Float:
    """(M, C) in 0..1 from the level at which a texel is about as large as a voxel."""
    used, row = np.unique(triangle, return_inverse=True)
    uv = sets[used].astype(np.float64)
    if texture.transform is not None:
        uv = uv @ texture.transform[:, :2].T + texture.transform[:, 2]
    height, width = texture.pixels.shape[:2]
    with np.errstate(divide="ignore"):
        level = DETAIL + np.log2(np.sqrt(height * width) / stretch(corners[used], uv, 1e-12))
    place = np.einsum("mk,mkc->mc", weights, uv[row.reshape(-1)])
    return pyramid.read(place[:, 0], place[:, 1], level[row.reshape(-1)], texture.wrap, texture.linear) / 255


def _weighted(pixels: NDArray[np.uint8], alpha_mode: str) -> NDArray[Any]:
    """Colours times alpha where alpha counts, so that what is not seen weighs nothing in a mean."""
    if alpha_mode == "OPAQUE" or pixels.shape[2] != 4:
        return pixels
    alpha = np.maximum(pixels[:, :, 3:], 1).astype(np.float32)  # an unseen texel keeps its colour among its like
    return np.concatenate([pixels[:, :, :3] * (alpha / 255), alpha], axis=2)


def _unweighted(base: Float, alpha_mode: str) -> tuple[Float, Float]:
    """Colour (M, 3) and alpha (M,), both in 0..1, of what `_weighted` was read at."""
    if base.shape[1] < 3:
        base = np.concatenate([np.repeat(base[:, :1], 3, axis=1), base[:, 1:]], axis=1)
    alpha = base[:, 3] if base.shape[1] == 4 else np.ones(len(base))
    if alpha_mode == "OPAQUE" or base.shape[1] != 4:
        return base[:, :3].copy(), alpha
    return base[:, :3] / np.maximum(alpha, 1e-6)[:, None], alpha
