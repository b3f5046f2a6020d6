"""From pictures of several sides to mesh and textures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....core.errors import EngineError
from ....core.progress import Progress
from ....formats.glb.write import Material, Mesh
from ....geometry.voxels.picture import points_picture
from ....task.views import FRONT, yaw_of
from ..back import back_colours
from ..fields import F32, fill, resample
from ..mask import Subject, cut_out
from ..material import encode, plain_material, surface_quality
from ..texture import own_colours
from ..variation import Variation
from .carve import Volume, aligned, carve, roundness_seen
from .charts import lay_out
from .outlines import Outline, opposite, outline_of
from .paint import painted
from .surface import HullSurface, surface_of
from .texels import texels_of

if TYPE_CHECKING:
    from PIL.Image import Image

_LARGEST = 1536  # pixels on the longer side of what is worked on
_CELLS_PER_RESOLUTION = 1.0 / 8.0
_FIRST_LOOK = 40  # cells, to find out how many triangles a cell makes
_ROUNDNESS = 2.6  # the exponent of the sections; a seed changes it


def tell_more(views: Mapping[str, Image]) -> bool:
    """Whether the pictures, with the front, tell more than one outline: one and its mirror image are the same."""
    return any(yaw_of(name) % 180.0 for name in views)


def build_hull(
    front: Subject,
    views: Mapping[str, Image],
    variation: Variation,
    *,
    resolution: int,
    triangles: int,
    texture_size: int,
    lossless: bool,
    textured: bool,
    progress: Progress,
) -> tuple[Mesh, Material]:
    """The hull of the front and the views, at most `triangles` of it, longest side 1, front +Z, up +Y."""
    check = progress.check
    subjects = {FRONT: front}
    for name, image in views.items():
        subjects[name] = cut_out(image, _LARGEST, check)
    progress.update("mask", 0.1)
    given = [outline_of(name, subject, layers_of(subject)) for name, subject in subjects.items()]
    given = aligned(given, check)
    progress.update("height", 0.2)
    cells = round(resolution * _CELLS_PER_RESOLUTION)
    roundness = roundness_seen(given, _ROUNDNESS * variation.depth, check)
    surface = _light_enough(given, cells, triangles, max(roundness, 2.0), progress)
    progress.picture(lambda: points_picture(surface.points))
    progress.update("mesh", 0.45)
    charts = lay_out(surface, given, texture_size, check)
    progress.update("texture", 0.55)
    if textured:
        texels = texels_of(surface, charts, check)
        progress.update("texture", 0.65)
        layers = painted(texels, [*given, *_made_up(given, subjects, variation, progress)], check)
        progress.update("texture", 0.8)
        material = material_of(layers, texels.index, texture_size, lossless, progress)
    else:
        material = plain_material("Hull")

    low, high = surface.points.min(0), surface.points.max(0)
    places = (surface.points - (low + high) / 2.0) / (high - low).max()
    mesh = Mesh(
        _to_gltf(places)[charts.source],
        charts.faces.astype(np.uint32),
        _to_gltf(surface.normals)[charts.source],
        np.asarray(charts.texels / texture_size, np.float32),
        name="Hull",
    )
    return mesh, material


def layers_of(subject: Subject) -> F32:
    """Colour, roughness and metalness of a picture, continued beyond its outline: (H, W, 5)."""
    colour = own_colours(subject)
    extent = float(np.sqrt((subject.cover >= 0.5).sum()))
    quality = surface_quality(colour, extent)
    return np.dstack([colour, quality[..., 1:]]).astype(np.float32)


def _light_enough(
    outlines: list[Outline], cells: int, triangles: int, roundness: float, progress: Progress
) -> HullSurface:
    """The finest surface, of at most so many cells and triangles."""
    look = _FIRST_LOOK
    first = surface_of(carve(outlines, look, roundness, progress.check))
    if not len(first.faces):  # thin as a sheet
        look = cells
        first = surface_of(carve(outlines, look, roundness, progress.check))
    if not len(first.faces):
        raise EngineError(
            "The views have nothing in common: no form fits into all of their outlines; check that they show the "
            "same object, and that each is in its own place."
        )
    cells = min(cells, int(look * np.sqrt(triangles / len(first.faces))))
    while True:
        volume: Volume = carve(outlines, max(cells, 8), roundness, progress.check)
        surface = surface_of(volume, progress.check)
        if len(surface.faces) <= triangles or cells <= 8:
            return surface
        cells = int(cells * 0.96)


def _made_up(
    given: list[Outline], subjects: Mapping[str, Subject], variation: Variation, progress: Progress
) -> list[Outline]:
    """What stands for sides that no picture shows: of the front a back as the draft makes one, else a mirror image."""
    found = []
    yaws = {outline.yaw for outline in given}
    for outline, (name, subject) in zip(given, subjects.items(), strict=True):
        if (outline.yaw + 180.0) % 360.0 in yaws or outline.yaw % 90.0:
            continue
        progress.check()
        if name != FRONT:
            found.append(opposite(outline))
            continue
        extent = float(min(subject.cover.shape))
        depth = np.ones(subject.cover.shape, np.float32)
        back = back_colours(outline.layers[..., :3], subject.cover, depth, extent, variation, progress.check)
        found.append(opposite(outline, np.dstack([back, outline.layers[..., 3:]])))
    return found


def material_of(layers: F32, index: NDArray[np.int64], size: int, lossless: bool, progress: Progress) -> Material:
    """The layers (T, 5) of the texels `index` of a square as textures, continued over the rest of it; (T, 6) where some
    are seen through, with their alpha last."""
    square = np.zeros((size * size, layers.shape[1]), np.float32)
    square[index] = layers
    known = np.zeros(size * size, np.float32)
    known[index] = 1.0
    picture = fill(square.reshape(size, size, -1), known.reshape(size, size), progress.check)
    progress.update("material", 0.9)
    is_clear = picture.shape[2] > 5
    shown = picture[..., [0, 1, 2, 5]] if is_clear else picture[..., :3]
    colour = encode(_bytes(shown), lossless=lossless or is_clear)  # a JPEG has no alpha
    half = resample(np.ascontiguousarray(picture[..., 3:5]), (size // 2, size // 2))
    quality = np.dstack([np.ones(half.shape[:2], np.float32), half])
    return Material("Hull", colour, encode(_bytes(quality), lossless=True))


def _bytes(field: F32) -> NDArray[np.uint8]:
    return np.rint(np.clip(field, 0.0, 1.0) * 255.0).astype(np.uint8)


def _to_gltf(vectors: F32) -> F32:
    """From z up and the front towards -y to y up and the front towards +z."""
    return np.ascontiguousarray(np.stack([vectors[:, 0], vectors[:, 2], -vectors[:, 1]], 1), np.float32)
