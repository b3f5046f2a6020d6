"""What a bake reads: the look of a surface at places on it, whatever that look is kept in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..mesh.closest import Surface

F32 = NDArray[np.float32]

DENSEST = 1e9  # texels to a unit of length: everything is read as fine as it is


@dataclass(frozen=True)
class Part:
    """How some of a mesh's faces are drawn: one material of the file. `transmission` and `unlit` as glTF has them."""

    alpha_mode: str = "OPAQUE"
    double_sided: bool = False
    transmission: float = 0.0
    unlit: bool = False


@dataclass(frozen=True)
class Reading:
    """The look of N places. `values` (N, 6) in 0..1: base colour (sRGB-encoded), metallic, roughness, alpha.

    `normals` (N, 3), of any length, are those that light falls on; `emission` (N, 3) is linear and may exceed 1,
    `occlusion` (N,) is 1 where nothing hides the sky; None where there is none at all. `parts` (N,) are numbers among
    the look's `parts`, and `flipped` (N,) the places that only a surface seen from behind was found for.
    """

    values: F32
    normals: F32 | None = None
    emission: F32 | None = None
    occlusion: F32 | None = None
    parts: NDArray[np.int32] | None = None
    flipped: NDArray[np.bool_] | None = None


class Look(Protocol):
    """Something to bake from. `surface` is where it lies, `parts` how it is drawn: empty where that is not known."""

    @property
    def surface(self) -> Surface: ...

    @property
    def parts(self) -> Sequence[Part]: ...

    def read(
        self, points: F32, directions: F32, density: float, on: NDArray[np.int32] | None = None, *, normals: bool = True
    ) -> Reading:
        """The look as seen from outside at `points` (N, 3) along unit `directions` (N, 3), which point outwards.

        `density` is how many texels of the result go to a unit of length: finer detail is averaged. `on` (N,) are the
        faces of the light mesh that the places lie on, for looks of which each face has its own.
        """
        ...
