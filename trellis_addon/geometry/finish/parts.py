"""Which faces are drawn how: what is solid, what is cut out, what is seen through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..bake.bake import Baked
from ..bake.maps import SOLID, U8, alpha_mode
from ..bake.reading import Part

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# Of 255: below it a texel of a source is not wholly solid; its alpha is as exact as its own texture.
_WHOLE = 250
_LEAST_SHARE = 0.02  # of a face's texels that must be see-through for the face to be drawn so
# Of a see-through part's texels: where more were only found from behind, one sheet has become two walls.
_SHEET = 0.25


def parts_by_alpha(baked: Baked, uvs: F32, faces: I32, mode: str | None, is_open: bool) -> tuple[tuple[Part, ...], I32]:
    """The parts and the number of each face's (F,), where only the texels tell, or one `mode` is known for all.

    With "BLEND" the faces that are solid are drawn as such, which spares renderers the sorting.
    """
    colour, owner = baked.textures.base_colour, baked.raster.owner
    mode = mode or alpha_mode(colour, owner >= 0)
    if mode != "BLEND":
        return (Part(mode, is_open),), np.zeros(len(faces), np.int32)
    clear = _see_through(colour, owner, uvs, faces)
    return (Part("OPAQUE", is_open), Part("BLEND", is_open)), clear.astype(np.int32)


def parts_of_source(
    baked: Baked, parts: Sequence[Part], uvs: F32, faces: I32, is_open: bool
) -> tuple[tuple[Part, ...], I32]:
    """The parts and the number of each face's (F,), by the parts that its texels were read from.

    A face with see-through texels is drawn as most of these are, any other as most of its texels are, but as solid
    where it is. `baked.parts` are the numbers for each texel.
    """
    assert baked.parts is not None and baked.flipped is not None
    owner, alpha, number = (
        image.reshape(-1) for image in (baked.raster.owner, baked.textures.base_colour[..., 3], baked.parts)
    )
    texel = np.flatnonzero(owner >= 0)
    face, number, clear = owner[texel], number[texel], alpha[texel] < _WHOLE
    lost = np.setdiff1d(np.arange(len(faces)), face)
    if len(lost):  # too small for any texel: the one at their middle counts
        size = len(baked.raster.owner)
        column, row = np.clip((uvs[faces[lost]].mean(1) * size).astype(np.int64), 0, size - 1).T
        at = np.where((middle := baked.parts[row, column]) >= 0)[0]
        face = np.concatenate([face, lost[at].astype(face.dtype)])
        number = np.concatenate([number, middle[at]])
        clear = np.concatenate([clear, baked.textures.base_colour[row[at], column[at], 3] < _WHOLE])
    see_through = np.array([part.alpha_mode != "OPAQUE" for part in parts])
    through = np.array([part.transmission > 0 for part in parts])
    count = len(parts)
    table = np.bincount(face.astype(np.int64) * count + number, minlength=len(faces) * count).reshape(-1, count)
    counted = (clear & see_through[number]) | through[number]
    seen = np.bincount(face[counted].astype(np.int64) * count + number[counted], minlength=len(faces) * count)
    seen = seen.reshape(-1, count)
    total = table.sum(1)
    # Of what could be seen through but is solid, the same without: one more part for each that has some.
    solid = [
        replace(part, alpha_mode="OPAQUE", double_sided=False) if part.alpha_mode != "OPAQUE" else part
        for part in parts
    ]
    every = list(dict.fromkeys([*parts, *solid]))
    solid_number = np.array([every.index(part) for part in solid])
    chosen = np.where(seen.sum(1) > _LEAST_SHARE * total, seen.argmax(1), solid_number[table.argmax(1)])
    final = []
    for place, part in enumerate(every):
        one_sheet = place < count and baked.flipped[place] > _SHEET
        final.append(replace(part, double_sided=is_open or (part.double_sided and not one_sheet)))
    numbers = [list(dict.fromkeys(final)).index(part) for part in final]
    return tuple(dict.fromkeys(final)), np.array(numbers, np.int32)[chosen]


def crisp(base_colour: U8, baked: Baked, parts: Sequence[Part], of_source: Sequence[Part], part_of: I32) -> None:
    """Cut-outs whose faces are blended, because something of these is glass, get their edges into their alpha."""
    assert baked.parts is not None
    cut = np.array([part.alpha_mode == "MASK" for part in of_source] + [False])
    blended = np.array([part.alpha_mode == "BLEND" for part in parts])[part_of]
    texel = (baked.raster.owner >= 0) & cut[baked.parts]
    texel[texel] = blended[baked.raster.owner[texel]]
    base_colour[..., 3][texel] = np.where(base_colour[..., 3][texel] >= 128, 255, 0)


def _see_through(base_colour: U8, owner: I32, uvs: F32, faces: I32) -> NDArray[np.bool_]:
    """(F,): faces with a texel that is not solid; of those too small to have any, the texel at their middle counts."""
    clear = base_colour[..., 3] < SOLID
    drawn = owner >= 0
    own = np.bincount(owner[drawn], minlength=len(faces)) > 0
    out = np.bincount(owner[drawn & clear], minlength=len(faces)) > 0
    size = len(owner)
    column, row = np.clip((uvs[faces[~own]].mean(1) * size).astype(np.int64), 0, size - 1).T
    out[~own] = clear[row, column]
    return out
