"""Doing what a `Correction` says to a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .correction import Correction
from .frame import subject_square
from .limits import MAX_SIDE

if TYPE_CHECKING:
    from PIL.Image import Image


def framed(rgba: Image, correction: Correction) -> Image:
    """What lies in the square, of at most 2048 pixels a side."""
    from PIL import Image as PILImage

    left, top, right, bottom = subject_square(np.asarray(rgba.getchannel("A")))
    side = right - left
    middle = (left + right) / 2 + correction.right * side, (top + bottom) / 2 - correction.up * side
    size = max(round(side * (1.0 + 2.0 * correction.margin)), 8) | 1  # of an odd square the model's crop is all of it
    x, y = round(middle[0] - size / 2), round(middle[1] - size / 2)
    found = rgba.crop((x, y, x + size, y + size))
    if size > MAX_SIDE:
        found = found.resize((MAX_SIDE - 1, MAX_SIDE - 1), PILImage.Resampling.LANCZOS, reducing_gap=3.0)
    return found


def grown(rgba: Image, share: float, *, is_original: bool) -> Image:
    """The picture with its outline moved; `is_original`: what comes to light is the picture's own.

    Elsewhere the colours under transparency are anybody's: then the outline's own are carried on.
    """
    from PIL import Image as PILImage

    left, _, right, _ = subject_square(np.asarray(rgba.getchannel("A")))
    steps = share * (right - left)
    reach = math.ceil(abs(steps))
    room = reach if share > 0 else 0
    wide = rgba.crop((-room, -room, rgba.width + room, rgba.height + room))
    pixels = np.asarray(wide).astype(np.float32)
    alpha, colours = pixels[..., 3], pixels[..., :3]
    moved = _moved(alpha, steps)
    if share > 0:
        is_known = alpha > 0
        if is_original:
            is_known = np.zeros(alpha.shape, bool)
            is_known[room : room + rgba.height, room : room + rgba.width] = True
        colours = _carried_on(colours, is_known, alpha if not is_original else None, reach + 1)
    found = PILImage.fromarray((np.concatenate([colours, moved[..., None]], -1) + 0.5).astype(np.uint8), "RGBA")
    inner = (room, room, room + rgba.width, room + rgba.height)
    box = found.getchannel("A").getbbox()
    if box is None:
        return found.crop(inner)
    is_within = min(box[:2]) >= room and box[2] <= inner[2] and box[3] <= inner[3]
    return found.crop(inner) if is_within else found


def _moved(alpha: NDArray[np.float32], steps: float) -> NDArray[np.float32]:
    """The alpha with its outline so many pixels further out, or in: by turns over the four and the eight neighbours,
    which makes octagons of dots; a part of a step is a part of the way."""
    values = alpha if steps > 0 else 255.0 - alpha
    whole, part = divmod(abs(steps), 1.0)
    for number in range(int(whole)):
        values = _spread(values, diagonal=number % 2 == 1)
    if part:
        values = values + part * (_spread(values, diagonal=False) - values)
    return values if steps > 0 else 255.0 - values


def _spread(values: NDArray[np.float32], *, diagonal: bool) -> NDArray[np.float32]:
    """The largest of each pixel and its neighbours."""
    across = values.copy()
    across[:, 1:] = np.maximum(across[:, 1:], values[:, :-1])
    across[:, :-1] = np.maximum(across[:, :-1], values[:, 1:])
    base = across if diagonal else values
    found = across.copy()
    found[1:] = np.maximum(found[1:], base[:-1])
    found[:-1] = np.maximum(found[:-1], base[1:])
    return found


def _carried_on(
    colours: NDArray[np.float32], is_known: NDArray[np.bool_], alpha: NDArray[np.float32] | None, reach: int
) -> NDArray[np.float32]:
    """The colours, beyond what is known those of the nearest known pixel as far as `reach`.

    Of a soft outline the more opaque pixels say more: with `alpha` colours start from those that are mostly opaque.
    """
    is_sure = is_known if alpha is None else alpha > 127
    rows, columns = np.nonzero(is_sure)
    if not len(rows):
        return colours
    box = (
        slice(max(rows.min() - reach, 0), rows.max() + reach + 1),
        slice(max(columns.min() - reach, 0), columns.max() + reach + 1),
    )
    found, there = colours[box].copy(), is_sure[box].copy()
    for _ in range(reach + 2):
        more = there.copy()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            before = np.roll(there, step, axis)
            edge: list[Any] = [slice(None)] * 2
            edge[axis] = 0 if step > 0 else -1
            before[tuple(edge)] = False
            new = before & ~more
            if new.any():
                found[new] = np.roll(found, step, axis)[new]
                more |= new
        if (more == there).all():
            break
        there = more
    result = colours.copy()
    keep = ~is_known[box] if alpha is None else ~(alpha[box] >= 250)
    # what is fully opaque keeps its own
    part = result[box]
    part[keep & there] = found[keep & there]
    return result
