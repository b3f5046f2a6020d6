"""A small shaded picture of voxels, or of a cloud of points: quick, with arrays alone, on transparent ground.

Seen as the previews of finished assets are, in parallel projection. What is nearest to the eye wins each pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...formats.early_picture import SIDE, to_png
from ...formats.glb.preview import ABOVE, AROUND

F32 = NDArray[np.float32]

_OVERSAMPLING = 2
_FILLS = 0.94  # of the picture's side
_MOST_POINTS = 600_000  # more would be seen no better at this size
_LIGHT = np.array([-0.35, 0.7, 0.62], np.float32)  # right, up, towards the eye
_STONE = np.array([0.80, 0.83, 0.88], np.float32)  # what has no colour as yet
_COVERAGE = 6.0  # pixels that all points together have for each of the picture: one half is behind the other
_STEEPEST = 4.0  # slope; at outlines the depth falls without an end


def voxels_picture(coords: NDArray[np.integer], side: int) -> bytes:
    """A PNG of occupied voxels (N, 3) = (x, y, z) of a grid of `side`, Z up, front -Y, as blocks.

    Empty where there are none, as for `points_picture`.
    """
    if not len(coords):
        return b""
    filled = np.zeros((side + 2,) * 3, bool)
    filled[tuple(np.asarray(coords, np.int64).T + 1)] = True
    axes = _axes()
    scale = _scale(np.asarray(coords, np.float32) @ axes.T)
    form = _soft_normals(filled) @ axes.T
    places, shades = [], []
    steps = int(np.ceil(scale)) + 1  # so that no pixel of a face stays empty
    offsets = (np.arange(steps, dtype=np.float32) + 0.5) / steps - 0.5
    for axis in range(3):
        towards = 1 if axes[2, axis] > 0 else -1
        bare = np.argwhere(filled & ~np.roll(filled, -towards, axis))
        normal = np.zeros(3, np.float32)
        normal[axis] = towards
        face = np.zeros((steps, steps, 3), np.float32)
        first, second = (other for other in range(3) if other != axis)
        face[..., first], face[..., second], face[..., axis] = offsets[:, None], offsets[None], 0.5 * towards
        places.append((bare[:, None] + face.reshape(-1, 3) - 1).reshape(-1, 3))
        # the block's own face, softened by the form around it, and darker where others stand close by
        light = 0.5 * _lit(normal @ axes.T) + 0.5 * _lit(form[tuple(bare.T)])
        shades.append(np.repeat(light * (1.0 - 0.07 * _crowded(filled, bare, axis, towards)), steps * steps))
    points = np.concatenate(places).astype(np.float32)
    canvas, shade = _nearest(points @ axes.T, np.concatenate(shades)[:, None], 1)[:2]
    return _finished(np.dstack([_STONE * np.clip(shade, 0, 1.1), canvas]))


def points_picture(points: F32, colours: F32 | None = None) -> bytes:
    """A PNG of points (N, 3), Z up and front -Y, close enough to each other to be a surface.

    `colours` (N, 3) are sRGB-coded, 0..1. Empty where there is nothing to see, or where the picture would be too large.
    """
    step = -(-len(points) // _MOST_POINTS) or 1
    points = np.asarray(points[::step], np.float32)
    if not len(points) or not np.isfinite(points).all():
        return b""
    colours = np.broadcast_to(_STONE, points.shape) if colours is None else np.clip(colours[::step], 0, 1)
    seen = points @ _axes().T
    fine = SIDE * _OVERSAMPLING
    width = int(np.clip(np.ceil(np.sqrt(_COVERAGE * fine * fine / len(points))), 1, 12))
    canvas, colour, depth = _nearest(seen, colours, width)
    return _finished(np.dstack([colour * _lit(_normals(depth, canvas > 0))[..., None], canvas]))


def _axes() -> F32:
    """Right, up and towards the eye, as rows, in a frame with Z up and front -Y."""
    right = np.array([np.cos(AROUND), np.sin(AROUND), 0.0])
    towards = np.array([np.sin(AROUND) * np.cos(ABOVE), -np.cos(AROUND) * np.cos(ABOVE), np.sin(ABOVE)])
    return np.stack([right, np.cross(towards, right), towards]).astype(np.float32)


def _scale(seen: F32) -> float:
    """Fine pixels for a unit; a voxel's own extent is part of what is seen."""
    extent = float(np.ptp(seen[:, :2], axis=0).max()) + 1.5
    return _FILLS * SIDE * _OVERSAMPLING / extent


def _nearest(seen: F32, values: F32, width: int) -> tuple[F32, F32, F32]:
    """What each fine pixel shows of points (N, 3) in the view, each a square of `width` pixels.

    Whether there is anything (H, W) as 0 or 1, the nearest one's `values` (N, C) as (H, W, C), and its depth in pixels.
    """
    fine = SIDE * _OVERSAMPLING
    low, high = seen.min(0), seen.max(0)
    scale = (_FILLS * fine - width) / max(float((high - low)[:2].max()), 1e-9)
    place = (seen[:, :2] - (low + high)[:2] / 2) * scale * (1, -1) + (fine - width) / 2
    column, row = np.floor(place).astype(np.int64).T
    depth = (seen[:, 2] - low[2]) * scale
    # the nearest is the largest number, whose lower half is who it is
    key = (depth * 64 + 1).astype(np.int64) << 32 | np.arange(len(seen))
    nearest = np.zeros(fine * fine, np.int64)
    for down in range(width):
        for across in range(width):
            np.maximum.at(nearest, (row + down) * fine + column + across, key)
    who = (nearest & 0xFFFFFFFF).reshape(fine, fine)
    canvas = (nearest > 0).reshape(fine, fine).astype(np.float32)
    return canvas, values[who] * canvas[..., None], depth[who].astype(np.float32)


def _lit(normals: F32) -> F32:
    """How bright a surface with these normals (..., 3) in the view is."""
    return (0.45 + 0.6 * np.clip(normals @ _LIGHT, -0.3, 1.0)).astype(np.float32)


def _soft_normals(filled: NDArray[np.bool_]) -> F32:
    """Normals (X, Y, Z, 3) of the form as a whole, from how full the neighbourhood is."""
    density = filled.astype(np.float32)
    for axis in (0, 1, 2) * 2:
        density = (np.roll(density, 1, axis) + 2 * density + np.roll(density, -1, axis)) / 4
    normals = -np.stack(np.gradient(density), -1)
    return (normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)).astype(np.float32)


def _crowded(filled: NDArray[np.bool_], bare: NDArray[np.int64], axis: int, towards: int) -> F32:
    """How many (0 to 8) of the voxels around the empty one before each face are filled."""
    first, second = (other for other in range(3) if other != axis)
    front = np.roll(filled, -towards, axis).astype(np.float32)
    around = sum(np.roll(front, (a, b), (first, second)) for a in (-1, 0, 1) for b in (-1, 0, 1)) - front
    found: F32 = around[tuple(bare.T)]
    return found


def _normals(depth: F32, is_there: NDArray[np.bool_]) -> F32:
    """Normals (H, W, 3) in the view of a surface of this depth, in pixels; averaged with those around."""
    total, count = np.where(is_there, depth, 0.0), is_there.astype(np.float32)
    for axis in (0, 1) * 2:
        total, count = (np.roll(each, 1, axis) + each + np.roll(each, -1, axis) for each in (total, count))
    smooth = total / np.maximum(count, 1.0)
    # beside an outline the step to nothing is none of the surface's
    smooth = np.where(is_there | (count > 0), smooth, 0.0)
    down, across = np.gradient(smooth)
    slopes = np.clip(np.dstack([-across, down]), -_STEEPEST, _STEEPEST)
    normals = np.dstack([slopes, np.ones_like(depth)])
    return (normals / np.linalg.norm(normals, axis=2, keepdims=True)).astype(np.float32)


def _finished(fine: F32) -> bytes:
    """The PNG of fine pixels (H, W, 4), colours times alpha, averaged down."""
    blocks = fine.reshape(SIDE, _OVERSAMPLING, SIDE, _OVERSAMPLING, 4).mean((1, 3))
    alpha = blocks[..., 3:]
    picture = np.concatenate([blocks[..., :3] / np.maximum(alpha, 1e-6), alpha], 2)
    return to_png((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
