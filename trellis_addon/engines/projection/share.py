"""How much a picture has to say at each texel: as much as the surface faces it, is seen, and is well inside of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...geometry.projection.camera import Camera
from ...geometry.projection.raster import Seen
from ..draft.fields import F32, blur, sample, smoothstep

_SLANT, _SQUARE = 0.2, 0.55  # cosines: nothing is taken from what is more aslant, all from what is less
_BEHIND = 0.006  # of the object's size, that something must lie behind what is seen, not to be seen
_FEATHER = 2.0  # pixels at the outline, which still hold some of the background


def shares(
    points: F32, normals: F32, camera: Camera, seen: Seen, nearness: F32, alpha: F32
) -> tuple[NDArray[np.int64], F32, F32]:
    """Which of the points (N, 3) the picture shows, how much it has to say there (0..1), and where it shows them.

    `seen` is what the camera sees of the mesh, on the picture's own grid or a smaller one of its proportions, and
    `nearness` (P,) how near that is; `alpha` (H, W) is the picture's.
    """
    facing = (normals * camera.towards(points)).sum(1)
    towards = np.flatnonzero(facing > _SLANT)
    places, near = camera.project(points[towards])
    share = smoothstep(_SLANT, _SQUARE, facing[towards])
    share = share * _in_sight(places, near, seen, nearness, alpha.shape)
    share = share * sample(_inside(alpha)[..., None], places[:, 0], places[:, 1], beyond=0.0)[:, 0]
    kept = share > 0.002
    return towards[kept], share[kept], places[kept]


def _in_sight(places: F32, near: F32, seen: Seen, nearness: F32, shape: tuple[int, ...]) -> F32:
    """Whether nothing lies before each place, softly: what is close to an edge behind which it lies counts less."""
    rows, columns = seen.shape
    first = seen.spread(nearness, -np.inf)
    padded = np.pad(first, 1, constant_values=-np.inf)
    nearest = first.copy()
    for down in range(3):
        for along in range(3):
            np.maximum(nearest, padded[down : down + rows, along : along + columns], out=nearest)
    # Within one pixel a surface that is looked at aslant comes nearer as well: by as much as it does behind, too.
    furthest = np.where(np.isfinite(first), first, np.inf)
    padded = np.pad(furthest, 1, constant_values=np.inf)
    for down in range(3):
        for along in range(3):
            np.minimum(furthest, padded[down : down + rows, along : along + columns], out=furthest)
    column = np.clip(places[:, 0] * (columns / shape[1]), 0, columns - 1).astype(np.int64)
    row = np.clip(places[:, 1] * (rows / shape[0]), 0, rows - 1).astype(np.int64)
    here, before = first[row, column], nearest[row, column]
    slope = np.minimum(here - furthest[row, column], 3.0 * _BEHIND)
    clear = near >= here - _BEHIND - np.where(np.isfinite(slope), slope, 0.0)
    edge = smoothstep(_BEHIND, 4.0 * _BEHIND, np.where(np.isfinite(before), before - near, 1.0) - np.maximum(slope, 0))
    return np.asarray(clear * (1.0 - edge), np.float32)


def _inside(alpha: F32) -> F32:
    """1 well inside of the subject, 0 at its edge."""
    padded = np.pad(alpha, 8)
    return np.asarray(smoothstep(0.75, 0.99, blur(padded, _FEATHER))[8:-8, 8:-8] * (alpha > 0.9), np.float32)
