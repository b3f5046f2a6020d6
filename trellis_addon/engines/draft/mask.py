"""From the picture's alpha to the domain: what belongs to the subject, on which grid it is built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from ...core.errors import EngineError
from .fields import F32, Bool, Check, never, resample
from .quadtree import FRAME, fewest_triangles

# A component smaller than this share of the whole subject is dust.
_SPECK = 1.0 / 3000.0
# A hole smaller than this share is a flaw of the mask; the finest filigree has larger ones.
_PINHOLE = 1.0 / 15000.0
# Cells per pixel beyond which a finer grid has nothing left to show.
_CELLS_PER_PIXEL = 4.0
# The share of the triangles that the coarsest form on a grid may take.
_LEAST_SHARE = 0.8
# From this cover on a pixel may belong to a line: one that lies between two rows covers half of each.
_FAINT = 0.3


@dataclass(frozen=True)
class Subject:
    """The picture cropped to its subject.

    `colour` is (H, W, 3) sRGB in 0..1, not premultiplied; `alpha` (H, W) in 0..1 as in the picture;
    `cover` (H, W) is the same with dust removed, scaled so that the silhouette is at 0.5.
    """

    colour: F32
    alpha: F32
    cover: F32


@dataclass(frozen=True)
class Domain:
    """The subject on the grid that its surface is built on.

    `field` (rows, columns) is positive inside, negative outside, zero on the silhouette; its frame
    is negative. `cell` is the grid's spacing in pixels of the cropped picture, where a pixel's
    centre has half-whole coordinates.
    """

    field: F32
    cell: float

    @property
    def inside(self) -> Bool:
        return self.field > 0.0

    def sample(self, picture: F32, beyond: Literal["constant", "edge"] = "edge") -> F32:
        """A picture-sized field at the nodes; beyond the picture 0, or what its edge has."""
        height, width = picture.shape[:2]
        rows, columns = (n - 2 * FRAME for n in self.field.shape)
        # The grid reaches past the picture by less than a cell: room for it is added.
        pad_y = max(0, math.ceil(rows * self.cell - height))
        pad_x = max(0, math.ceil(columns * self.cell - width))
        flat = [(0, 0)] * (picture.ndim - 2)
        padded = np.pad(picture, [(0, pad_y), (0, pad_x), *flat], beyond)
        inner = resample(padded, (rows, columns), (0.0, 0.0, columns * self.cell, rows * self.cell))
        return np.pad(inner, [(FRAME, FRAME)] * 2 + flat, beyond)

    def to_picture(self, field: F32, shape: tuple[int, int]) -> F32:
        """A field on the grid at the cropped picture's pixels; `shape` is (height, width)."""
        far = tuple(FRAME + n / self.cell for n in shape)
        return resample(field, shape, (FRAME, FRAME, far[1], far[0]))

    def to_pixels(self, flat: F32) -> F32:
        """Places (column, row) on the grid as (x, y) in the cropped picture."""
        return np.asarray((flat + np.float32(0.5 - FRAME)) * np.float32(self.cell), np.float32)


def cut_out(image: Image.Image, largest: int, check: Check = never) -> Subject:
    """The picture's subject, without dust: where alpha is at least half of its largest value.

    Where there are wide, even areas of less than that, such as glass in a frame, half of theirs.
    A picture with a side longer than `largest` pixels is shrunk to it first.
    Raises `EngineError` when no pixel is visible.
    """
    image = image.convert("RGBA")
    check()
    if max(image.size) > largest:
        # Pillow weighs an RGBA picture's colours by their alpha when it resizes.
        shrink = largest / max(image.size)
        image = image.resize((max(1, round(image.width * shrink)), max(1, round(image.height * shrink))))
    check()
    alpha = np.asarray(image.getchannel("A"), np.float32) / 255.0
    peak = float(alpha.max(initial=0.0))
    if peak <= 0.0:
        raise EngineError(
            "The picture has no visible pixel, so there is nothing to make a form of; "
            "use a picture whose subject is not fully transparent."
        )
    cover = np.minimum(alpha / peak * (0.5 / _threshold(alpha / peak)), 1.0).astype(np.float32)
    check()
    solid = cover >= _FAINT
    dust = _small_parts(solid, _SPECK * solid.sum())
    check()
    if dust.any():
        # The soft fringe goes with its speck.
        solid &= ~dust
        cover = np.where(_dilate(dust, 2) & ~_dilate(solid, 1), 0.0, cover).astype(np.float32)
        # The largest alpha may have been a speck's.
        cover /= cover.max()
    # Inside, but little enough to leave the hole's own colour out of account.
    outside = np.pad(cover < 0.5, 1, constant_values=True)
    cover[_small_parts(outside, _PINHOLE * solid.sum())[1:-1, 1:-1]] = 0.7
    check()
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    # Two pixels of air keep the soft edge whole.
    top, left = max(0, rows[0] - 2), max(0, columns[0] - 2)
    bottom, right = min(alpha.shape[0], rows[-1] + 3), min(alpha.shape[1], columns[-1] + 3)
    colour = np.asarray(image.crop((left, top, right, bottom)), np.float32)[..., :3] / 255.0
    window = (slice(top, bottom), slice(left, right))
    return Subject(colour, alpha[window], cover[window])


def _threshold(share: F32) -> float:
    """The alpha, as a share of the largest, that separates the subject from nothing."""
    low = high = share
    for axis in (0, 1):
        low = np.minimum(np.minimum(low, np.roll(low, 2, axis)), np.roll(low, -2, axis))
        high = np.maximum(np.maximum(high, np.roll(high, 2, axis)), np.roll(high, -2, axis))
    # Even over five pixels: neither a soft edge nor the slope of a shadow.
    pane = (share > 0.12) & (share <= 0.55) & (high - low < 0.016)
    if pane.sum() < 0.08 * (share >= 0.5).sum():
        return 0.5
    return 0.5 * float(np.percentile(share[pane], 10.0))


def build_domain(subject: Subject, longest: int, triangles: int) -> Domain:
    """The finest grid of at most `longest` cells on the longer side of which `triangles` can be made.

    The coarsest form on it takes a part of them only: the others are for what the form shows.
    """
    height, width = subject.cover.shape
    cells = min(float(longest), max(32.0, _CELLS_PER_PIXEL * max(height, width)))
    while True:
        domain = _domain(subject.cover, max(height, width) / cells)
        needed = fewest_triangles(domain.inside)
        if 0 < needed <= _LEAST_SHARE * triangles:
            return domain
        if cells <= 2.0:
            if 0 < needed <= triangles:
                return domain
            raise EngineError("The form cannot be built of {triangles} triangles; allow more.", triangles=triangles)
        # The cells on the silhouette grow in step with the grid; a little less, for thin parts.
        step = (_LEAST_SHARE * triangles / needed) * 0.99 if needed else 0.9
        cells = max(2.0, cells * min(max(step, 0.6), 0.98))


def _domain(cover: F32, cell: float) -> Domain:
    height, width = cover.shape
    rows, columns = max(1, math.ceil(height / cell - 1e-6)), max(1, math.ceil(width / cell - 1e-6))
    blank = Domain(np.full((rows + 2 * FRAME, columns + 2 * FRAME), -0.5, np.float32), cell)
    coverage = blank.sample(cover, "constant")
    if cell > 0.8:
        thin = np.pad(_thin_parts(cover, cell, (rows, columns)), FRAME)
        coverage = np.maximum(coverage, 0.66 * thin)
    # Exactly on the threshold counts as outside, by a hair: no vertex falls onto another.
    field = coverage - np.float32(0.5)
    return Domain(np.where(np.abs(field) < 1e-4, np.float32(-1e-4), field), cell)


def _thin_parts(cover: F32, cell: float, shape: tuple[int, int]) -> F32:
    """1 in the cells that hold a part narrower than about a cell and a half, which averaging would lose."""
    factor = int(cell // 2)
    if factor > 1:  # first to about two pixels per cell, which is enough to tell what is thin
        rows, columns = (-(-n // factor) for n in cover.shape)
        padded = np.pad(cover, ((0, rows * factor - cover.shape[0]), (0, columns * factor - cover.shape[1])))
        cover = padded.reshape(rows, factor, columns, factor).max((1, 3))
        cell /= factor
    solid = cover >= _FAINT
    reach = max(1, round(0.6 * cell))
    opened = _dilate(~_dilate(~np.pad(solid, reach), reach), reach)[reach:-reach, reach:-reach]
    thin = solid & ~opened
    edges = [np.minimum((np.arange(n) * cell).astype(int), solid.shape[k] - 1) for k, n in enumerate(shape)]
    return np.maximum.reduceat(np.maximum.reduceat(thin.astype(np.float32), edges[0], 0), edges[1], 1)


def _dilate(mask: Bool, reach: int) -> Bool:
    """True within a square of half-width `reach` round anything that is true."""
    for axis in (0, 1):
        out = mask.copy()
        for k in range(1, reach + 1):
            ahead, behind = [slice(None)] * 2, [slice(None)] * 2
            ahead[axis], behind[axis] = slice(k, None), slice(None, -k)
            out[tuple(ahead)] |= mask[tuple(behind)]
            out[tuple(behind)] |= mask[tuple(ahead)]
        mask = out
    return mask


def _small_parts(mask: Bool, least: float) -> Bool:
    """The pixels of `mask` in connected components of less than `least` pixels; the largest is never among them."""
    rows, columns = mask.shape
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8).ravel()
    steps = np.diff(padded, prepend=np.int8(0))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)  # the rows' runs, end exclusive
    if len(starts) < 2:
        return np.zeros_like(mask)
    # Runs that touch: each run's overlaps in the row below are a contiguous range of runs.
    stride = columns + 2
    first = np.searchsorted(ends, starts + stride, "right")
    last = np.searchsorted(starts, ends + stride, "left")
    count = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), count)
    lower = np.arange(len(upper)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    label = np.arange(len(starts))
    while True:
        lower_label = np.minimum(label[upper], label[lower])
        new = label.copy()
        # Hooking a whole tree by its root, then halving its depth, ends after about log n rounds.
        np.minimum.at(new, label[upper], lower_label)
        np.minimum.at(new, label[lower], lower_label)
        new = new[new]
        if np.array_equal(new, label):
            break
        label = new
    area = np.bincount(label, weights=ends - starts, minlength=len(label))
    small = area[label] < min(least, area.max())
    marks = np.zeros(len(padded) + 1, np.int32)
    marks[starts[small]] += 1
    marks[ends[small]] -= 1
    return np.asarray(np.cumsum(marks)[:-1].reshape(rows, stride)[:, 1:-1] > 0)
