"""What is done to the pixels of a picture as an array: colours as people see them, areas grown, shrunk and joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def to_lab(rgb: Floats) -> Floats:
    """CIE L*a*b* (D65) of sRGB colours in 0..1, shape (..., 3); IEC 61966-2-1 and CIE 15."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0) + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
        dtype=np.float32,
    )
    white = np.array([0.95047, 1.0, 1.08883], dtype=np.float32)
    xyz = (linear @ to_xyz.T) / white
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16.0 / 116.0)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    ).astype(np.float32)


def connected(seeds: Mask, candidate: Mask) -> Mask:
    """The candidates reachable from the seeds through candidates (4-connected)."""
    reached = seeds & candidate
    while True:
        before = int(reached.sum())
        # sweep a whole row or column at a time in the four directions: few rounds even around corners
        for axis in (0, 1):
            for step in (1, -1):
                _sweep(reached, candidate, axis, step)
        if int(reached.sum()) == before:
            return reached


def _sweep(reached: Mask, candidate: Mask, axis: int, step: int) -> None:
    lines, allowed = np.moveaxis(reached, axis, 0)[::step], np.moveaxis(candidate, axis, 0)[::step]
    for i in range(1, len(lines)):
        lines[i] |= lines[i - 1] & allowed[i]


def grown(mask: Mask, pixels: int) -> Mask:
    return strongest(mask, pixels)


def strongest(values: Any, pixels: int) -> Any:
    """The largest of the values (H, W), none negative, in a square of so many pixels around each."""
    window = 2 * pixels + 1
    for axis in (0, 1):
        lines = np.moveaxis(values, axis, 0)
        lines = np.pad(lines, ((pixels, pixels), (0, 0)))
        reach = 1  # how many lines each one stands for by now
        while reach < window:
            step = min(reach, window - reach)
            lines = np.maximum(lines[:-step], lines[step:])
            reach += step
        values = np.moveaxis(lines, 0, axis)
    return values


def shrunk(mask: Mask, pixels: int) -> Mask:
    return ~grown(~mask, pixels)


def box_mean(values: Floats, radius: int) -> Floats:
    """The mean over a square of 2 * radius + 1 pixels, by running sums."""
    padded = np.pad(values.astype(np.float64), radius + 1, mode="edge")
    sums = padded.cumsum(0).cumsum(1)
    size = 2 * radius + 1
    total = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return (total[: values.shape[0], : values.shape[1]] / size**2).astype(np.float32)


@dataclass(frozen=True)
class Part:
    """A connected area: its pixels, and its box (left, top, right, bottom)."""

    area: int
    box: tuple[int, int, int, int]


def parts(mask: Mask) -> tuple[list[Part], NDArray[np.int32]]:
    """The connected areas of a mask (8-connected), and for every pixel which of them it is in: -1 for none.

    Row by row, by the runs of pixels in each: what touches a run of the row before is one with it.
    """
    height, width = mask.shape
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first_of_row = np.searchsorted(rows, np.arange(height + 1)).tolist()
    begin, end = starts.tolist(), ends.tolist()
    for row in range(1, height):
        above, stop_above = first_of_row[row - 1], first_of_row[row]
        run, stop = first_of_row[row], first_of_row[row + 1]
        while above < stop_above and run < stop:
            if begin[above] <= end[run] and begin[run] <= end[above]:
                parent[root(run)] = root(above)
            if end[above] < end[run]:
                above += 1
            else:
                run += 1
    roots = np.array([root(run) for run in range(len(rows))], np.int64)
    _, labels = np.unique(roots, return_inverse=True)
    count = int(labels.max()) + 1 if len(labels) else 0
    areas = np.bincount(labels, ends - starts, count)
    boxes = np.repeat(np.array([[width, height, 0, 0]]), count, axis=0)
    np.minimum.at(boxes[:, 0], labels, starts)
    np.minimum.at(boxes[:, 1], labels, rows)
    np.maximum.at(boxes[:, 2], labels, ends)
    np.maximum.at(boxes[:, 3], labels, rows + 1)
    # a run's label is written as a step up at its start and down at its end, and summed
    steps = np.zeros(height * width + 1, np.int32)
    np.add.at(steps, rows * width + starts, labels + 1)
    np.add.at(steps, rows * width + ends, -(labels + 1))
    flat = np.cumsum(steps, dtype=np.int32) - 1
    found = [Part(int(area), (b[0], b[1], b[2], b[3])) for area, b in zip(areas, boxes.tolist(), strict=True)]
    return found, flat[:-1].reshape(height, width)
