"""Volumetric attributes as TRELLIS.2 computes them, quirks included: to be compared with, not to be used.

The quirks: values are read where a voxel's centre falls on a triangle's plane, even outside of the triangle;
weights are one minus the signed distance to it; the base colour's linear factor multiplies sRGB values; and
emission is read through the roughness texture's smaller versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trellis_addon.geometry.voxelise.scan import Float, Int, corner_voxels, scan
from trellis_addon.geometry.voxelise.texels import Pyramid, stretch
from trellis_addon.geometry.voxels.dual_grid import grid_of


@dataclass(frozen=True)
class ReferenceMaterial:
    """Textures are (H, W) or (H, W, C) uint8 with row 0 at v = 1, or None; a fourth channel of `base` is alpha."""

    base: NDArray[np.uint8] | None = None
    metallic: NDArray[np.uint8] | None = None
    roughness: NDArray[np.uint8] | None = None
    emissive: NDArray[np.uint8] | None = None
    normal: NDArray[np.uint8] | None = None
    base_factor: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    metallic_factor: float = 1.0
    roughness_factor: float = 1.0
    emissive_factor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    alpha_mode: str = "OPAQUE"
    alpha_cutoff: float = 0.5


def reference_attributes(
    vertices: NDArray[Any],
    faces: NDArray[Any],
    uv: NDArray[Any],
    normals: NDArray[Any],
    material: ReferenceMaterial,
    *,
    voxel_size: Any = None,
    grid_size: Any = None,
    aabb: Any = ((-0.5,) * 3, (0.5,) * 3),
    wrap: tuple[str, str] = ("repeat", "repeat"),
) -> tuple[NDArray[np.int32], Mapping[str, NDArray[np.uint8]]]:
    """Coordinates (L, 3) sorted by x, y, z and base_color, metallic, roughness, emissive, alpha, normal (L, C) uint8.

    `uv` (V, 2) with v up and `normals` (V, 3) belong to the vertices, all of which are of one material.
    """
    size, shape, origin = grid_of(voxel_size, grid_size, aabb)
    wide = size.astype(np.float64)
    faces = np.asarray(faces).astype(np.int64)
    corners = (np.asarray(vertices, np.float32) - origin)[faces].astype(np.float64)
    triangle, key = _pairs(corners, wide, shape)
    unique, row = np.unique(key, return_inverse=True)
    row = row.reshape(-1)
    voxel = np.stack(np.unravel_index(key, shape), axis=1)
    weights, distance = _barycentrics(corners, (voxel + 0.5) * wide, triangle)
    uv_corners = np.asarray(uv, np.float64)[faces]
    place = np.einsum("mk,mkc->mc", weights, uv_corners[triangle])
    reach = size.max() / stretch(corners, uv_corners)[triangle]
    smooth = np.einsum("mk,mkc->mc", weights, np.asarray(normals, np.float64)[faces][triangle])
    values = _values(material, place, reach, smooth, wrap, corners, uv_corners, triangle)
    share = 1 - distance
    total = np.bincount(row, share, len(unique))
    coords = np.stack(np.unravel_index(unique, shape), axis=1).astype(np.int32)
    out = {}
    for name, value in values.items():
        mean = np.stack([np.bincount(row, share * part, len(unique)) for part in value.T], axis=1) / total[:, None]
        out[name] = np.clip(mean * 255, 0, 255).astype(np.uint8)
    return coords, out


def _pairs(corners: Float, size: Float, shape: tuple[int, int, int]) -> tuple[Int, Int]:
    """Every voxel round a crossed lattice edge with the triangle that crosses it, once: (triangle, flat number)."""
    volume = shape[0] * shape[1] * shape[2]
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    both = [
        found.triangle.astype(np.int64) * volume + voxel @ strides
        for found in scan(corners, size, shape)
        for voxel in corner_voxels(found)
    ]
    pairs = np.unique(np.concatenate(both)) if both else np.zeros(0, np.int64)
    return pairs // volume, pairs % volume


def _barycentrics(corners: Float, centre: Float, triangle: Int) -> tuple[Float, Float]:
    """Of the centres' (M, 3) feet on the triangles' planes, and the signed distances to these."""
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(e1, e2)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = normal / np.where(length > 0, length, 1)
    away = centre - corners[triangle, 0]
    distance = np.einsum("mc,mc->m", away, normal[triangle])
    e1, e2 = e1[triangle], e2[triangle]
    d11, d12, d22 = (np.einsum("mc,mc->m", a, b) for a, b in ((e1, e1), (e1, e2), (e2, e2)))
    d1, d2 = np.einsum("mc,mc->m", away, e1), np.einsum("mc,mc->m", away, e2)
    determinant = d11 * d22 - d12 * d12
    safe = np.where(determinant != 0, determinant, 1)
    v, w = (d22 * d1 - d12 * d2) / safe, (d11 * d2 - d12 * d1) / safe
    return np.stack([1 - v - w, v, w], axis=1), distance


def _values(
    material: ReferenceMaterial,
    place: Float,
    reach: Float,
    smooth: Float,
    wrap: tuple[str, str],
    corners: Float,
    uv: Float,
    triangle: Int,
) -> dict[str, Float]:
    def read(pixels: NDArray[np.uint8] | None, small: NDArray[np.uint8] | None = None) -> Float | None:
        """(M, C) in 0..1; `small` is the texture whose smaller versions are used in place of its own."""
        if pixels is None:
            return None
        pyramid = Pyramid(_channels(pixels), whole=True)
        if small is not None:
            pyramid.levels[1:] = Pyramid(_channels(small), whole=True).levels[1:]
        with np.errstate(divide="ignore"):
            level = np.log2(reach * pixels.shape[0])
        return pyramid.read(place[:, 0], 1 - place[:, 1], level, wrap) / 255

    count = len(place)
    base = read(material.base)
    colour = np.broadcast_to(np.array(material.base_factor[:3]), (count, 3))
    alpha = np.full((count, 1), material.base_factor[3])
    if base is not None:
        colour = colour * base[:, :3]
        alpha = alpha * base[:, 3:4] if base.shape[1] == 4 else alpha
    if material.alpha_mode == "OPAQUE":
        alpha = np.ones((count, 1))
    elif material.alpha_mode == "MASK":
        alpha = (alpha.astype(np.float32) >= np.float32(material.alpha_cutoff)).astype(np.float64)
    single = {}
    for name in ("metallic", "roughness"):
        texture, factor = read(getattr(material, name)), getattr(material, f"{name}_factor")
        single[name] = np.full((count, 1), factor) if texture is None else texture[:, :1] * factor
    emissive = np.broadcast_to(np.array(material.emissive_factor), (count, 3))
    glow = read(material.emissive, material.roughness)
    if glow is not None:
        emissive = emissive * glow[:, :3]
    bump = read(material.normal)
    if bump is not None:
        smooth = _bent(smooth, bump * 2 - 1, corners, uv, triangle)
    return {
        "base_color": colour,
        **single,
        "emissive": emissive,
        "alpha": alpha,
        "normal": smooth * 0.5 + 0.5,
    }


def _channels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _bent(smooth: Float, bump: Float, corners: Float, uv: Float, triangle: Int) -> Float:
    """The normal map's directions (M, 3) in the frame of tangent, bitangent and smooth normal."""
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    (du1, dv1), (du2, dv2) = (uv[:, 1] - uv[:, 0]).T, (uv[:, 2] - uv[:, 0]).T
    tangent = dv2[:, None] * e1 - dv1[:, None] * e2
    bitangent = du1[:, None] * e2 - du2[:, None] * e1
    frame = []
    for axis in (tangent, bitangent):
        length = np.linalg.norm(axis, axis=1, keepdims=True)
        frame.append((axis / np.where(length > 0, length, 1))[triangle])
    return bump[:, :1] * frame[0] + bump[:, 1:2] * frame[1] + bump[:, 2:3] * smooth
