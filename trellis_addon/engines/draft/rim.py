"""Nodes crowded towards the silhouette, where the form is steep.

A regular grid shows the sides of a round body badly: of a half circle of radius 200 the first cell at the silhouette
takes 20 in depth, and nodes at 0.2 and 0.9 cells from it, side by side, make it a saw. So nodes near the silhouette
are moved along its normal, to where the angle, not the place, grows evenly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fields import F32, blur_within, smoothstep
from .mask import Domain

# In cells: how far from the silhouette nodes are moved, and the least distance from it that they then have.
_REACH = 6.0
_LEAST = 0.15


@dataclass(frozen=True)
class Rim:
    """How the nodes lie to the silhouette, in cells: each (rows, columns), and smooth along it.

    `radius` is that of the round side they are on, `distance` how far from the silhouette they are, `right` and
    `down` the way straight away from it, of length 1, and `clear` (0..1) whether there is such a way: not on parts
    of a few cells' width.
    """

    radius: F32
    distance: F32
    right: F32
    down: F32
    clear: F32


def find_rim(domain: Domain, dome: F32) -> Rim:
    """`dome` (rows, columns) is the inflated silhouette, in cells."""
    inside = domain.inside
    power = 0.5 * dome * dome
    down, right = np.gradient(power)
    slope = np.hypot(down, right)
    # Over a circle's segment sqrt(2 U + |grad U|^2) is the radius; near a silhouette of any shape nearly so.
    known = inside.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            known &= np.roll(inside, step, axis)
    # Next to the silhouette differences say nothing: there its neighbours' are taken.
    around = np.stack([right, down, slope, np.sqrt(2.0 * power + slope * slope)], 2).astype(np.float32)
    right, down, slope, radius = np.moveaxis(blur_within(around, known.astype(np.float32), 1.2), 2, 0)
    # Of the power alone along the silhouette: so heights stay in order, whatever the grid's steps are.
    distance = radius - np.sqrt(np.maximum(radius * radius - 2.0 * power, 0.0))
    length = np.maximum(np.hypot(down, right), 1e-6)
    clear = smoothstep(2.0, 5.0, radius) * smoothstep(0.6, 0.9, length / np.maximum(slope, 1e-6)) * inside
    return Rim(radius, distance, right / length, down / length, clear)


def crowd(rim: Rim, dome: F32) -> tuple[F32, F32]:
    """Where the nodes go, and what becomes of the heights there.

    The first result (2, rows, columns) is each node's shift along the columns and the rows, the second
    (rows, columns) the factor on the square of every height that falls to 0 at the silhouette as `dome` does.
    """
    radius, distance, power = rim.radius, rim.distance, 0.5 * dome * dome
    reach = np.minimum(_REACH, 0.5 * radius)
    eased = reach * (1.0 - np.cos(0.5 * np.pi * np.minimum(distance / np.maximum(reach, 1e-6), 1.0)))
    goal = np.maximum(np.where(distance < reach, eased, distance), _LEAST)
    goal = distance + rim.clear * (np.minimum(goal, distance + _LEAST) - distance)
    move = goal - distance
    diameter = 2.0 * power / np.maximum(distance, 1e-3) + distance
    power_there = np.maximum(goal * (diameter - goal), 0.0) / np.maximum(2.0 * power, 1e-9)
    factor = np.where(goal == distance, 1.0, np.clip(power_there, 0.01, 4.0))
    return np.stack([rim.right * move, rim.down * move]).astype(np.float32), factor.astype(np.float32)


def wrap(rim: Rim, turned: float) -> F32:
    """How far (2, rows, columns) from a node its place in the back's picture lies, along the columns and the rows.

    Seen straight on, the side of a round body is a narrow strip; what lies there would be drawn out along it. Where
    nothing needs to be as it is in the picture, places go by the angle instead, from the silhouette to the middle.
    The more a body is `turned` (0..1), the more they keep their height, as bands round it do.
    """
    sine = np.clip(1.0 - rim.distance / np.maximum(rim.radius, 1e-6), 0.0, 1.0)
    inward = rim.clear * rim.radius * (sine - np.arcsin(sine) * np.float32(2.0 / np.pi))
    return np.stack([rim.right * inward, rim.down * inward * np.float32(1.0 - turned)]).astype(np.float32)
