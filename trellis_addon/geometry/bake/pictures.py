"""Pictures on a surface, read at millions of places, at the level of detail that the result can hold."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ...formats.glb.textured_mesh import WRAPS, Texture
from ..arrays import on_device
from .source_kernels import read_picture

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


class Picture:
    """A texture's `pixels` (H, W, 1 to 4) with ever smaller versions of it, down to one texel.

    Each is the mean of 2 x 2 texels of the one before; an odd last row or column is left out. With `by_alpha` colours
    count by their alpha, in the means and between the texels: what is not seen does not colour its neighbours.
    """

    def __init__(self, pixels: U8, *, by_alpha: bool = False, device: str = "cpu") -> None:
        self._by_alpha = by_alpha and pixels.shape[2] in (2, 4)
        self._device = device
        levels = _levels(_rgba(pixels), self._by_alpha)
        sizes = np.array([level.shape[1::-1] for level in levels], np.int32)
        firsts = np.concatenate([[0], np.cumsum(sizes.prod(1))[:-1]]).astype(np.int32)
        self._texels = on_device(np.concatenate([level.reshape(-1, 4) for level in levels]), wp.vec4ub, device)
        self._firsts = on_device(firsts, wp.int32, device)
        self._sizes = on_device(sizes, wp.vec2i, device)

    def read(self, uvs: F32, levels: F32, texture: Texture) -> F32:
        """(N, 4) in 0..1 at `uvs` (N, 2), v down, wrapped as the `texture` says, of which there may be several.

        `levels` (N,) are 0 for the picture itself, and 1 more for each halving.
        """
        out = wp.empty(len(uvs), dtype=wp.vec4, device=self._device)
        across, down = (WRAPS.index(way) for way in texture.wrap)
        inputs = [
            self._texels,
            self._firsts,
            self._sizes,
            on_device(uvs, wp.vec2, self._device),
            on_device(levels, wp.float32, self._device),
            across,
            down,
            int(texture.linear),
            int(self._by_alpha),
        ]
        wp.launch(read_picture, len(uvs), inputs=inputs, outputs=[out], device=self._device)
        return np.asarray(out.numpy())


def _rgba(pixels: U8) -> U8:
    """(H, W, 4) of 1 (grey), 2 (grey and alpha), 3 or 4 channels."""
    channels = pixels.shape[2]
    if channels == 4:
        return np.ascontiguousarray(pixels)
    colour = pixels if channels == 3 else np.repeat(pixels[..., :1], 3, axis=2)
    alpha = pixels[..., 1:] if channels == 2 else np.full((*pixels.shape[:2], 1), 255, np.uint8)
    return np.concatenate([colour, alpha], axis=2)


def _levels(pixels: U8, by_alpha: bool) -> list[U8]:
    levels = [pixels]
    exact = pixels.astype(np.float32)
    while max(exact.shape[:2]) > 1:
        weight = np.maximum(exact[..., 3:], 1.0) if by_alpha else np.ones((*exact.shape[:2], 1), np.float32)
        colour, weight, alpha = _halved(exact[..., :3] * weight), _halved(weight), _halved(exact[..., 3:])
        exact = np.concatenate([colour / weight, alpha], axis=2)
        levels.append(np.rint(exact).astype(np.uint8))
    return levels


def _halved(values: F32) -> F32:
    """The means of 2 x 2 texels; of a single row or column, of two."""
    for axis in (0, 1):
        if values.shape[axis] > 1:
            count = values.shape[axis] // 2 * 2
            one, two = (np.take(values, np.arange(start, count, 2), axis) for start in (0, 1))
            values = (one + two) / 2
    return values
