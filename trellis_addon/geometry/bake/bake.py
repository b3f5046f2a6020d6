"""Baking: every texel takes its colour and its normal from the closest point of the dense surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ...core.progress import Progress
from ...formats.glb.tangents import face_normals, unit
from ..arrays import on_device
from ..mesh.closest import Closest, Surface
from ..unwrap.charts import connected_faces
from ..unwrap.raster import Raster, rasterise, texel_places
from .gutter import nearest_filled
from .kernels import add_normals, make_unit, positions, tangent_space
from .maps import U8, Textures
from .occlusion import Occlusion
from .volume import Volume

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Canvas:
    """The mesh that textures are painted for: `vertices`, `normals` (V, 3), `tangents` (V, 4), `uvs` (V, 2) with v
    down, `faces` (F, 3). Vertices are split where charts meet."""

    vertices: F32
    faces: I32
    normals: F32
    tangents: F32
    uvs: F32
    raster: Raster | None = None
    """The atlas as drawn at the texture's size, where that is known already."""


@dataclass(frozen=True)
class Detail:
    """What is painted from: the dense surface, its smooth normals (V, 3), and the voxels."""

    surface: Surface
    normals: F32
    volume: Volume

    @classmethod
    def of(cls, vertices: F32, faces: I32, volume: Volume, device: str = "cpu") -> Detail:
        return cls(Surface(vertices, faces, device=device), _smooth_normals(vertices, faces, device), volume)


@dataclass(frozen=True)
class Baked:
    textures: Textures
    raster: Raster


def bake(
    canvas: Canvas,
    detail: Detail,
    texture_size: int,
    *,
    normal_map: bool = True,
    occlusion_rays: int = 0,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Baked:
    """Textures of `texture_size` texels a side.

    Values are rounded, not cut; base colour stays sRGB-encoded as the voxels hold it. Texels next to a chart are
    painted as its surface goes on beyond the border, the rest take the nearest texel's values.
    """
    progress = progress or Progress()
    progress.update("bake", 0.0)
    raster = canvas.raster
    if raster is None or len(raster.owner) != texture_size:
        raster = rasterise(canvas.uvs, canvas.faces, texture_size, device)
    texels = raster.texels()
    count = texture_size * texture_size
    colours = np.zeros((count, 6), np.uint8)
    normals = np.zeros((count, 3), np.uint8) if normal_map else None
    painter = _Painter(canvas, detail, device)
    for start in range(0, len(texels), _CHUNK):
        progress.update("bake", 0.05 + 0.85 * start / len(texels))
        part = texels[start : start + _CHUNK]
        owner, weights = texel_places(raster, part, canvas.uvs, canvas.faces, device)
        closest = detail.surface.closest(painter.places(owner, weights))
        colours[part] = np.rint(detail.volume.sample(closest.points) * 255.0).astype(np.uint8)
        if normals is not None:
            normals[part] = painter.normals(owner, weights, closest)
    progress.update("bake", 0.9)
    source = nearest_filled(raster.owner >= 0, device).reshape(-1)
    base_colour, surface = np.empty((count, 4), np.uint8), np.full((count, 3), 255, np.uint8)
    for channel, value in enumerate((0, 1, 2, 5)):
        base_colour[:, channel] = colours[source, value]
    surface[:, 1], surface[:, 2] = colours[source, 4], colours[source, 3]
    del colours
    if occlusion_rays:
        openness = np.full(count, 255, np.uint8)
        openness[texels] = _openness(canvas, raster, texels, painter, occlusion_rays, device)
        surface[:, 0] = openness[source]
    if normals is not None:
        normals = normals[source]

    def square(image: U8) -> U8:
        return image.reshape(texture_size, texture_size, -1)

    textures = Textures(
        square(base_colour), square(surface), None if normals is None else square(normals), occlusion_rays > 0
    )
    return Baked(textures, raster)


def _smooth_normals(vertices: F32, faces: I32, device: str) -> F32:
    """(V, 3): the mean of the faces' normals by area, of length 1; 0 where there is none."""
    total = wp.zeros(len(vertices), dtype=wp.vec3, device=device)
    # Areas are tiny against 1: in units of a voxel or so nothing is lost to rounding.
    inputs = [on_device(vertices * np.float32(1024.0), wp.vec3, device), on_device(faces, wp.int32, device), total]
    wp.launch(add_normals, len(faces), inputs=inputs, device=device)
    wp.launch(make_unit, len(vertices), inputs=[total], device=device)
    return np.asarray(total.numpy())


def _openness(
    canvas: Canvas, raster: Raster, texels: NDArray[np.int64], painter: _Painter, rays: int, device: str
) -> U8:
    """Ambient occlusion of the texels, 255 where nothing hides the sky."""
    charts = connected_faces(canvas.faces)[raster.owner.reshape(-1)[texels]]
    occlusion = Occlusion(texels, charts, len(raster.owner))
    owner, weights = texel_places(raster, occlusion.samples, canvas.uvs, canvas.faces, device)
    np.maximum(weights, 0.0, out=weights)
    weights /= weights.sum(1, keepdims=True)
    normals = unit(face_normals(canvas.vertices, canvas.faces))[owner]
    share = occlusion.cast(canvas.vertices, canvas.faces, painter.places(owner, weights), normals, rays, device)
    return np.rint(occlusion.spread(share, texels, charts, device) * 255.0).astype(np.uint8)


class _Painter:
    """The two meshes on the device."""

    def __init__(self, canvas: Canvas, detail: Detail, device: str) -> None:
        self._device = device
        self._vertices = on_device(canvas.vertices, wp.vec3, self._device)
        self._faces = on_device(canvas.faces, wp.int32, self._device)
        self._normals = on_device(canvas.normals, wp.vec3, self._device)
        self._tangents = on_device(canvas.tangents, wp.vec4, self._device)
        self._dense_faces = on_device(detail.surface.faces, wp.int32, self._device)
        self._dense_normals = on_device(detail.normals, wp.vec3, self._device)

    def places(self, owner: I32, weights: F32) -> F32:
        out = wp.empty(len(owner), dtype=wp.vec3, device=self._device)
        inputs = [
            self._vertices,
            self._faces,
            on_device(owner, wp.int32, self._device),
            on_device(weights, wp.vec3, self._device),
        ]
        wp.launch(positions, len(owner), inputs=inputs, outputs=[out], device=self._device)
        return np.asarray(out.numpy())

    def normals(self, owner: I32, weights: F32, closest: Closest) -> U8:
        out = wp.empty((len(owner), 3), dtype=wp.uint8, device=self._device)
        inputs = [
            self._vertices,
            self._faces,
            self._normals,
            self._tangents,
            on_device(owner, wp.int32, self._device),
            on_device(weights, wp.vec3, self._device),
            self._dense_faces,
            self._dense_normals,
            on_device(closest.faces, wp.int32, self._device),
            on_device(closest.barycentrics, wp.vec3, self._device),
        ]
        wp.launch(tangent_space, len(owner), inputs=inputs, outputs=[out], device=self._device)
        return np.asarray(out.numpy())
