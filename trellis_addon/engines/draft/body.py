"""What kind of body the picture shows: turned on a lathe or not, and whether its shading says that it is round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fields import F32, Bool, blur_within, resample, smoothstep

# Judged on this many nodes on the longer side: it is about the whole, not about details.
_NODES = 160
# How far the axis may lie from the middle of the silhouette's mass, as a share of its width.
_AXIS_REACH = 0.12


@dataclass(frozen=True)
class Body:
    """`turned` (0..1): how nearly the subject is its own mirror image about an upright axis.

    `rounded` (0..1): how much its light changes from the middle to the outline rather than along it, as it does on
    a round body; what is evenly coloured, or only drawn, says nothing and has 0.
    """

    turned: float
    rounded: float


def judge(inside: Bool, colour: F32, dome: F32) -> Body:
    """`colour` (rows, columns, 3) and `dome`, the inflated silhouette in cells, are given at the nodes."""
    rows, columns = inside.shape
    share = min(1.0, _NODES / max(rows, columns))
    shape = (max(4, round(rows * share)), max(4, round(columns * share)))
    mass = (resample(inside.astype(np.float32), shape) > 0.5).astype(np.float32)
    if mass.sum() < 16:
        return Body(0.0, 0.0)
    small = resample(colour, shape)
    # A picture taken whole, frame and all, is a plate, whatever is to be seen on it.
    box = [int(np.ptp(np.flatnonzero((mass > 0.0).any(axis)))) + 1 for axis in (1, 0)]
    plate = _step(0.97, 0.995, float(mass.sum()) / (box[0] * box[1]))
    turned, rounded = _turned(mass, small), _rounded(mass, small, resample(dome * np.float32(share), shape))
    return Body((1.0 - plate) * turned, (1.0 - plate) * rounded)


def _turned(mass: F32, colour: F32) -> float:
    extent = float(np.sqrt(mass.sum()))
    solid = mass > 0.0
    columns = solid.shape[1]
    middle = float((solid.sum(0) * np.arange(columns)).sum() / solid.sum())
    width = int(np.ptp(np.flatnonzero(solid.any(0)))) + 1
    best, mirrored = 0.0, np.zeros(columns, np.int64)
    # A column x lies opposite of twice the axis less x: whole numbers are axes on half columns too.
    for twice in range(round(2.0 * (middle - _AXIS_REACH * width)), round(2.0 * (middle + _AXIS_REACH * width)) + 1):
        across = twice - np.arange(columns)
        known = (across >= 0) & (across < columns)
        other = solid[:, np.clip(across, 0, columns - 1)] & known
        overlap = float((solid & other).sum() / (solid | other).sum())
        if overlap > best:
            best, mirrored = overlap, np.clip(across, 0, columns - 1)
    # Light may come from one side, but a hue that changes across the whole is no lathe's work.
    soft = blur_within(colour, mass, 0.1 * extent)
    hue = soft / (soft.sum(2, keepdims=True) + 0.15)
    both = solid & solid[:, mirrored]
    apart = float(np.sqrt(((hue - hue[:, mirrored]) ** 2).sum(2))[both].mean()) if both.any() else 1.0
    return _step(0.74, 0.86, best) * (1.0 - _step(0.045, 0.075, apart))


def _rounded(mass: F32, colour: F32, dome: F32) -> float:
    extent = float(np.sqrt(mass.sum()))
    solid = mass > 0.0
    luminance = colour @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    # The logarithm makes paint a constant: its own changes are edges, which the median passes over.
    light = np.log(blur_within(luminance, mass, 0.012 * extent) + 0.06)
    down, right = np.gradient(0.5 * dome * dome)
    light_down, light_right = np.gradient(light)
    slope = np.hypot(down, right)
    there = (
        solid & (dome > 0.25 * np.percentile(dome[solid], 95.0)) & (slope > 0.15 * np.percentile(slope[solid], 90.0))
    )
    if not there.any():
        return 0.0
    outward = np.median(np.abs(light_right * right + light_down * down)[there] / slope[there]) * extent
    along = np.median(np.abs(light_right * down - light_down * right)[there] / slope[there]) * extent
    return _step(0.95, 1.2, float(outward / (along + 0.1)))


def _step(low: float, high: float, value: float) -> float:
    return float(smoothstep(low, high, np.full(1, value, np.float32))[0])
