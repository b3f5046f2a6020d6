"""The outline of a mesh from a side, over the picture that is to show it from there: for the eye, and as a number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .scan import hits

if TYPE_CHECKING:
    from PIL.Image import Image

Bool = NDArray[np.bool_]

ROOM = 0.06  # of the side, around what is shown
_STRETCH = 1.25  # by which a picture is made wider or narrower at most, as the draft does to bring it onto a mesh
_SMALL = 3.0  # pixels: faces of no longer edges leave no gap between their corners that is not closed
_LARGE = 9.0  # pixels: ... nor of these between dots in thirds
_LATTICE = np.array(
    [[a, b, 3 - a - b] for a in range(4) for b in range(4 - a) if max(a, b, 3 - a - b) < 3], np.float32
) / np.float32(3.0)
_LINE = (255, 150, 30)
_EDGE = (20, 20, 20)


@dataclass(frozen=True)
class Solid:
    """A surface to be looked at from several sides: `points` (V, 3) about their middle, z up, the front towards -y;
    `faces` (F, 3), the one with the longest edge first, whose `lengths` (F,) they are."""

    points: NDArray[np.float32]
    faces: NDArray[np.int64]
    lengths: NDArray[np.float32]

    @classmethod
    def of(cls, points: NDArray[np.floating], faces: NDArray[np.integer]) -> Solid:
        """Of `points` (V, 3), all of which are part of it, and `faces` (F, 3); without faces they are but points."""
        own = (points - points.mean(0)).astype(np.float32)
        lengths = np.zeros(len(faces), np.float32)
        for one, two in ((0, 1), (1, 2), (2, 0)):
            edges = own[faces[:, one]] - own[faces[:, two]]
            np.maximum(lengths, np.einsum("nk,nk->n", edges, edges), out=lengths)
        order = np.argsort(-lengths)
        return cls(own, np.asarray(faces[order], np.int64), np.sqrt(lengths[order]))


def silhouette(solid: Solid, yaw: float, side: int, room: float = ROOM) -> Bool:
    """What of a picture of `side` pixels a mesh covers, seen level and from far away.

    It fills the picture but for `room`, a share of the side, around it.
    `yaw` is in degrees, counter-clockwise from above: 0 looks at the front, 90 at the right. Small faces are as good
    as dots, which makes meshes of many faces quick.
    """
    turn = math.radians(yaw)
    axes = np.array([[math.cos(turn), 0.0], [math.sin(turn), 0.0], [0.0, -1.0]], np.float32)
    flat = solid.points @ axes
    low, high = flat.min(0), flat.max(0)
    scale = side * (1.0 - 2.0 * room) / max(float((high - low).max()), 1e-30)
    places = (flat - (low + high) / 2.0) * np.float32(scale) + np.float32(side / 2.0)
    found = np.zeros(side * side, bool)
    large, middling = (int(np.searchsorted(-solid.lengths * scale, -limit)) for limit in (_LARGE, _SMALL))
    _dot(found, places, side)
    for shares in _LATTICE if middling > large else ():
        _dot(found, np.einsum("nck,c->nk", places[solid.faces[large:middling]], shares), side)
    mask = found.reshape(side, side)
    mask = mask | _eroded(_eroded(_around(_around(mask))))  # between the dots
    for _, pixels, _ in hits(places[solid.faces[:large]], (side, side)):
        mask.reshape(-1)[pixels] = True
    return mask


def _dot(found: Bool, places: NDArray[np.float32], side: int) -> None:
    at = np.clip(places.astype(np.int64), 0, side - 1)
    found[at[:, 1] * side + at[:, 0]] = True


def overlap(mask: Bool, picture: Image) -> float:
    """Of the mesh's outline, as of `silhouette`, and that of the RGBA picture over it, the share that both cover."""
    cover = np.asarray(laid_over(mask, picture))[..., 3] >= 128
    return float((mask & cover).sum()) / max(float((mask | cover).sum()), 1.0)


def laid_over(mask: Bool, picture: Image) -> Image:
    """The RGBA picture over the outline as texturing brings it there: as tall, or as wide where that fits better.

    Where it does not fit into the square it is cut off.
    """
    from PIL import Image as PILImage

    side = len(mask)
    out = PILImage.new("RGBA", (side, side))
    box = picture.getchannel("A").point(lambda value: 255 if value >= 128 else 0).getbbox()
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if box is None or not len(rows):
        return out
    left, top, wide, tall = columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
    subject = picture.crop(box)
    ratio = (subject.width / subject.height) / (wide / tall)
    shapes = [(wide, tall)]
    if not 1.0 / _STRETCH <= ratio <= _STRETCH:
        shapes = [(tall * subject.width / subject.height, tall), (wide, wide * subject.height / subject.width)]
    best = -1.0
    for width, height in shapes:
        size = max(1, min(round(width), 4 * side)), max(1, min(round(height), 4 * side))
        tried = PILImage.new("RGBA", (side, side))
        place = round(left + (wide - size[0]) / 2), round(top + (tall - size[1]) / 2)
        small = subject.resize(size, PILImage.Resampling.BILINEAR)
        tried.alpha_composite(small.crop(_seen(size, place, side)), (max(place[0], 0), max(place[1], 0)))
        cover = np.asarray(tried)[..., 3] >= 128
        both = float((mask & cover).sum()) / max(float((mask | cover).sum()), 1.0)
        if both > best:
            best, out = both, tried
    return out


def _seen(size: tuple[int, int], place: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    """The part of something of that size at that place that lies in the square."""
    x, y = place
    return max(-x, 0), max(-y, 0), max(min(size[0], side - x), 1), max(min(size[1], side - y), 1)


def is_cut_off(mask: Bool, picture: Image) -> bool:
    """Whether the picture over the outline reaches beyond the square."""
    seen = np.asarray(laid_over(mask, picture))[..., 3] >= 128
    return bool(seen[0].any() or seen[-1].any() or seen[:, 0].any() or seen[:, -1].any())


def outlined(mask: Bool, picture: Image | None) -> NDArray[np.uint8]:
    """(side, side, 4): the picture on chequered ground, and the mesh's outline drawn over it."""
    side = len(mask)
    y, x = np.indices(mask.shape) // max(side // 16, 1)
    ground = np.where((x + y) % 2 == 0, 70.0, 96.0)[..., None].repeat(3, -1)
    if picture is not None:
        laid = np.asarray(laid_over(mask, picture), np.float32)
        share = laid[..., 3:] / 255.0
        ground = ground * (1.0 - share) + laid[..., :3] * share
    else:
        ground = np.where(mask[..., None], 150.0, ground)
    line = _around(mask) & ~mask
    wide = _around(_around(mask)) & ~mask
    ground[wide] = _EDGE
    ground[_inner(mask)] = _EDGE
    ground[line | (mask & ~_eroded(mask))] = _LINE
    out = np.full((side, side, 4), 255, np.uint8)
    out[..., :3] = np.rint(ground)
    return out


def _around(mask: Bool) -> Bool:
    """The mask, a pixel wider."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out


def _eroded(mask: Bool) -> Bool:
    return ~_around(~mask)


def _inner(mask: Bool) -> Bool:
    """A line within the outline, which it is seen by on bright pictures."""
    once = _eroded(mask)
    return once & ~_eroded(once)
