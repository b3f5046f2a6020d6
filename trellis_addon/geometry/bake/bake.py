"""Baking: every texel takes its look from the place of the dense surface, or of a source, that is seen there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...core.machine.parallel import on_all_cores, slices
from ...core.progress import Progress
from ...formats.glb.tangents import face_normals, unit
from ..arrays import each_part
from ..unwrap.charts import connected_faces
from ..unwrap.raster import Raster, rasterise, texel_places
from ..voxelise.attributes import linear_to_srgb
from .distant import matched_gutters
from .gutter import nearest_filled
from .maps import U8, Textures
from .occlusion import Occlusion
from .painter import Canvas, Painter
from .reading import Look

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# Texels at a time: on a device so many that it is never idle, on the processor so few that all cores have some.
_CHUNK_ON_DEVICE, _CHUNK = 1 << 20, 1 << 16
_FIRST = 1 << 10  # that one core begins with: what all share is made then
_MOST_MATCHED = 4096  # texels a side: of larger textures it would take more memory than all else
_BRIGHTEST = 60_000.0  # half precision goes a little further


@dataclass(frozen=True)
class Baked:
    """`parts` (S, S) are numbers among the look's parts, -1 where nothing is painted; None where it has none.
    `flipped` (P,) is for each part the share of its texels that only a surface seen from behind was found for."""

    textures: Textures
    raster: Raster
    parts: I32 | None = None
    flipped: F32 | None = None


def bake(
    canvas: Canvas,
    detail: Look,
    texture_size: int,
    *,
    normal_map: bool | None = True,
    occlusion_rays: int = 0,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Baked:
    """Textures of `texture_size` texels a side; a `normal_map` of None is one where it lowers the error of shading.

    Values are rounded, not cut; base colour stays sRGB-encoded as it is read. Texels next to a chart are
    painted as its surface goes on beyond the border, the rest take the nearest texel's values, base colour such that
    seams do not show from afar.
    """
    progress = progress or Progress()
    progress.update("bake", 0.0)
    raster = canvas.raster
    if raster is None or len(raster.owner) != texture_size:
        raster = rasterise(canvas.uvs, canvas.faces, texture_size, device)
    texels = raster.texels()
    count = texture_size * texture_size
    density = _density(canvas, texture_size)
    with_normals = normal_map is not False
    colours = np.zeros((count, 6), np.uint8)
    normals = np.zeros((count, 3), np.uint8) if with_normals else None
    openness: U8 | None = None
    glow: NDArray[np.float16] | None = None
    parts = np.full(count, -1, np.int32) if detail.parts else None
    flipped = np.zeros(len(detail.parts))
    painter = Painter(canvas, device)

    def paint(chosen: slice) -> NDArray[np.int64] | None:
        """Paint some of the texels, which nobody else does; how many of each part are flipped."""
        nonlocal openness, glow
        part = texels[chosen]
        owner, weights = texel_places(raster, part, canvas.uvs, canvas.faces, device)
        places = painter.places(owner, weights)
        seen = detail.read(places, painter.directions(owner, weights), density, owner, normals=with_normals)
        colours[part] = np.rint(seen.values * 255.0).astype(np.uint8)
        if normals is not None and seen.normals is not None:
            normals[part] = painter.tangent_space(owner, weights, seen.normals)
        if seen.occlusion is not None:
            openness = np.full(count, 255, np.uint8) if openness is None else openness
            openness[part] = np.rint(np.clip(seen.occlusion, 0.0, 1.0) * 255.0).astype(np.uint8)
        if seen.emission is not None:
            glow = np.zeros((count, 3), np.float16) if glow is None else glow
            glow[part] = np.minimum(seen.emission, _BRIGHTEST)
        if parts is None or seen.parts is None:
            return None
        parts[part] = seen.parts
        return None if seen.flipped is None else np.bincount(seen.parts[seen.flipped], minlength=len(flipped))

    is_on_cpu = device == "cpu"
    for found in on_all_cores(
        slices(len(texels), *((_CHUNK, _FIRST) if is_on_cpu else (_CHUNK_ON_DEVICE,))),
        paint,
        lambda share: progress.update("bake", 0.05 + 0.85 * share),
        None if is_on_cpu else 1,
        first_alone=True,
    ):
        if found is not None:
            flipped += found
    progress.update("bake", 0.9)
    if occlusion_rays:
        openness = np.full(count, 255, np.uint8)
        openness[texels] = _openness(canvas, raster, texels, painter, occlusion_rays, device)
    source = nearest_filled(raster.owner >= 0, device).reshape(-1)
    base_colour, surface = np.empty((count, 4), np.uint8), np.full((count, 3), 255, np.uint8)

    def fill(rows: slice) -> None:
        found = colours[source[rows]]
        base_colour[rows, :3], base_colour[rows, 3] = found[:, :3], found[:, 5]
        surface[rows, 1], surface[rows, 2] = found[:, 4], found[:, 3]

    each_part(count, fill)
    _match(base_colour, canvas, texture_size, device)
    if openness is not None:
        surface[:, 0] = openness[source]
    emission, strength = (None, 1.0) if glow is None else _encoded_glow(glow[source])

    def square(image: U8) -> U8:
        return image.reshape(texture_size, texture_size, -1)

    textures = Textures(
        square(base_colour),
        square(surface),
        None if normals is None else square(normals[source]),
        openness is not None,
        None if emission is None else square(emission),
        strength,
    )
    if normal_map is None and not painter.normal_map_helps(canvas, detail, textures, density):
        textures = replace(textures, normal=None)
    if parts is None:
        return Baked(textures, raster)
    flipped /= np.maximum(np.bincount(parts[texels], minlength=len(flipped)), 1)
    return Baked(textures, raster, parts.reshape(texture_size, texture_size), flipped.astype(np.float32))


def _match(base_colour: U8, canvas: Canvas, texture_size: int, device: str) -> None:
    """The colours between charts such that both sides of a seam look alike from afar."""
    if texture_size > _MOST_MATCHED:
        return
    inside = rasterise(canvas.uvs, canvas.faces, texture_size, device, borders=False).owner >= 0
    shown = np.ascontiguousarray(base_colour[:, :3]).reshape(texture_size, texture_size, 3)
    matched = matched_gutters(shown, inside, canvas.vertices, canvas.faces, canvas.uvs)
    base_colour[:, :3] = matched.reshape(-1, 3)


def _density(canvas: Canvas, texture_size: int) -> float:
    """How many texels go to a unit of length, in the mean over the surface."""
    area = float(np.linalg.norm(face_normals(canvas.vertices, canvas.faces), axis=1).sum())
    one, two = (canvas.uvs[canvas.faces[:, k]] - canvas.uvs[canvas.faces[:, 0]] for k in (1, 2))
    shown = float(np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]).sum())
    return texture_size * float(np.sqrt(shown / max(area, 1e-30)))


def _encoded_glow(glow: NDArray[np.float16]) -> tuple[U8 | None, float]:
    """(N, 3) sRGB-encoded light, and by how much it is to be multiplied: 1 at least. None where nothing glows."""
    most = float(glow.max(initial=0.0))
    if most < 1e-3:
        return None, 1.0
    strength = max(most, 1.0)
    return np.rint(linear_to_srgb(glow.astype(np.float32) / strength) * 255.0).astype(np.uint8), strength


def _openness(
    canvas: Canvas, raster: Raster, texels: NDArray[np.int64], painter: Painter, rays: int, device: str
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
