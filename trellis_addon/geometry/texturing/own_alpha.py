"""What is seen through a mesh: its own alpha goes on, for it is a matter of the form, and no picture tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...formats.glb.pieces import Piece
from ...formats.glb.textured_mesh import Texture
from .scan import F32

Bool = NDArray[np.bool_]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class OwnAlpha:
    """The alpha of a sheet's vertices (V): `piece` (V,) is the place of each one's in `textures`, -1 where nothing is
    seen through it; `factor` (V,) multiplies what the texture has at `uvs` (V, 2)."""

    piece: I64
    factor: F32
    uvs: F32
    textures: tuple[Texture | None, ...]

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> OwnAlpha | None:
        """Of the vertices of pieces, one after the other; None where nothing is seen through any of them."""
        if all(piece.clear is None for piece in pieces):
            return None
        numbers, factors, uvs = [], [], []
        textures: list[Texture | None] = []
        for piece in pieces:
            count, clear = len(piece.points), piece.clear
            numbers.append(np.full(count, -1 if clear is None else len(textures)))
            factors.append(np.ones(count, np.float32) if clear is None else clear.factor)
            places = None if clear is None else clear.uvs
            uvs.append(np.zeros((count, 2), np.float32) if places is None else places)
            if clear is not None:
                textures.append(clear.texture)
        return cls(np.concatenate(numbers), np.concatenate(factors), np.concatenate(uvs), tuple(textures))

    def taken(self, vertices: I64) -> OwnAlpha:
        """Of vertices (W,) of these."""
        return OwnAlpha(self.piece[vertices], self.factor[vertices], self.uvs[vertices], self.textures)

    def is_clear(self, corners: I64) -> Bool:
        """Whether something is seen through triangles (N, 3) of the vertices."""
        return np.asarray(self.piece[corners[:, 0]] >= 0)

    def at(self, corners: I64, weights: NDArray[np.floating]) -> F32:
        """(N,) in 0..1: the alpha at places of triangles (N, 3) with barycentric weights (N, 3)."""
        out = np.einsum("nk,nk->n", weights, self.factor[corners]).astype(np.float32)
        piece = self.piece[corners[:, 0]]
        for number, texture in enumerate(self.textures):
            rows = np.flatnonzero(piece == number)
            if texture is not None and len(rows):
                places = np.einsum("nk,nkc->nc", weights[rows], self.uvs[corners[rows]].astype(np.float64))
                out[rows] *= _alpha_of(texture, places)
        return np.clip(out, 0.0, 1.0)


def _alpha_of(texture: Texture, uvs: NDArray[np.float64]) -> F32:
    """(N,) in 0..1: between texels as the texture has it, beyond the square too."""
    alpha = texture.pixels[..., -1]
    height, width = alpha.shape
    x, y = uvs[:, 0] * width - 0.5, uvs[:, 1] * height - 0.5
    if not texture.linear:
        x, y = np.round(x), np.round(y)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    across, down = x - left, y - top
    total = np.zeros(len(uvs))
    for step_y, part_y in ((0, 1.0 - down), (1, down)):
        row = _wrapped(top + step_y, height, texture.wrap[1])
        for step_x, part_x in ((0, 1.0 - across), (1, across)):
            column = _wrapped(left + step_x, width, texture.wrap[0])
            total += part_x * part_y * alpha[row, column]
    return np.asarray(total / 255.0, np.float32)


def _wrapped(texel: I64, count: int, way: str) -> I64:
    if way == "clamp":
        return np.clip(texel, 0, count - 1)
    if way == "repeat":
        return np.asarray(texel % count)
    turned = texel % (2 * count)
    return np.asarray(np.minimum(turned, 2 * count - 1 - turned))
