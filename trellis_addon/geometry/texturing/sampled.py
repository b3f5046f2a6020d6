"""The material of voxels on a mesh's own sheets: every texel takes what the voxels say where it lies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...formats.glb.write import Material
from ..bake.gutter import nearest_filled
from ..bake.maps import Textures, alpha_mode, encode_textures
from ..bake.volume import Volume
from ..unwrap.raster import rasterise, texel_places
from .scan import F32, never
from .sheets import Sheet

Bool = NDArray[np.bool_]

_CHUNK = 1 << 20
_RUBBISH = 0.4  # of the texels that may be see-through before alpha is taken for noise
_CLEAR = 250  # of 255
CONSTANT = 0.02  # of 1: a texture that varies by less is of one colour


def sampled(
    sheet: Sheet,
    volume: Volume,
    matrix: NDArray[np.float64],
    check: Callable[[], None] = never,
    *,
    stays_solid: bool = False,
) -> tuple[Textures, str]:
    """The textures of a sheet, and the alpha mode of what is solid on it as the mesh has it.

    What is seen through keeps its own alpha, whatever the voxels say, and with `stays_solid` nothing else is seen
    through. `matrix` (4, 4) takes the sheet's points to the
    volume's cube.
    """
    size = sheet.size
    uvs, faces, source = _in_square(sheet)
    raster = rasterise(uvs, faces, size)
    texels = raster.texels()
    places = (sheet.points @ matrix[:3, :3].T + matrix[:3, 3])[source]
    found = np.zeros((size * size, 6), np.uint8)
    solid = raster.owner >= 0
    for start in range(0, len(texels), _CHUNK):
        check()
        part = texels[start : start + _CHUNK]
        owner, weights = texel_places(raster, part, uvs, faces)
        points = np.einsum("nk,nkc->nc", weights.astype(np.float64), places[faces[owner]])
        found[part] = np.rint(volume.sample(points.astype(np.float32)) * 255.0).astype(np.uint8)
        if sheet.clear is not None:
            corners = source[faces[owner]]
            clear = sheet.clear.is_clear(corners)
            solid.reshape(-1)[part[clear]] = False
            own = sheet.clear.at(corners[clear], weights[clear])
            found[part[clear], 5] = np.rint(own * 255.0).astype(np.uint8)
    mode = "OPAQUE" if stays_solid else shown_alpha(found.reshape(size, size, 6)[..., [0, 1, 2, 5]], solid)
    if mode == "OPAQUE":
        found.reshape(size, size, 6)[solid, 5] = 255
    shown = raster.owner >= 0
    everywhere = found[nearest_filled(shown).reshape(-1)].reshape(size, size, 6)
    surface = np.full((size, size, 3), 255, np.uint8)
    surface[..., 1], surface[..., 2] = everywhere[..., 4], everywhere[..., 3]
    return Textures(np.ascontiguousarray(everywhere[..., [0, 1, 2, 5]]), surface), mode


def material_of(textures: Textures, mode: str, name: str, texture_format: str) -> Material:
    """The textures of a sheet as a material of a file, `mode` being what alpha means where the mesh was solid."""
    is_opaque = bool((textures.base_colour[..., 3] == 255).all())
    encoded = encode_textures(textures, texture_format, is_opaque)
    return Material(name, encoded.base_colour, encoded.metallic_roughness, alpha_mode=mode)


def shown_alpha(base_colour: NDArray[np.uint8], shown: Bool) -> str:
    """The alpha mode; on meshes that are textured alpha is noise now and then, and then it does not count."""
    alpha = base_colour[..., 3][shown]
    if len(alpha) and float((alpha < _CLEAR).mean()) > _RUBBISH:
        return "OPAQUE"
    return alpha_mode(base_colour, shown)


def is_constant(colours: NDArray[np.uint8]) -> bool:
    """Whether colours (N, 3 or more) are all but one."""
    return not len(colours) or float((colours[:, :3] / 255.0).std(0).max()) <= CONSTANT


def _in_square(sheet: Sheet) -> tuple[F32, NDArray[np.int32], NDArray[np.int64]]:
    """The sheet's coordinates within the unit square, its faces, and which of its vertices each one is.

    Faces that leave the square come in from the other side: such are there once for each square that they touch.
    """
    if not sheet.wraps:
        return sheet.uvs, sheet.faces.astype(np.int32), np.arange(len(sheet.uvs))
    corners = sheet.uvs[sheet.faces].astype(np.float64)
    low, high = np.floor(corners.min(1)), np.ceil(corners.max(1))
    uvs, source = [], []
    for across in range(int(low[:, 0].min()), int(max(high[:, 0].max(), low[:, 0].min() + 1))):
        for down in range(int(low[:, 1].min()), int(max(high[:, 1].max(), low[:, 1].min() + 1))):
            square = np.array([across, down])
            there = ((corners.min(1) <= square + 1) & (corners.max(1) >= square)).all(1)
            uvs.append((corners[there] - square).reshape(-1, 2))
            source.append(sheet.faces[there].reshape(-1))
    count = sum(map(len, source))
    return (
        np.concatenate(uvs).astype(np.float32),
        np.arange(count, dtype=np.int32).reshape(-1, 3),
        np.concatenate(source),
    )
