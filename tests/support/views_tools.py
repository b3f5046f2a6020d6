"""Pictures of one made-up object from any side: a body with a nose to the front and a horn on its right-hand side.

Right as Blender's Right view shows it, from +X. Every side has a colour of its own.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

# (low, high) corners in Blender's axes, front towards -Y, and whether the section is round
BODY = (np.array([-0.25, -0.25, -0.5]), np.array([0.25, 0.25, 0.3]))
NOSE = (np.array([-0.08, -0.6, -0.2]), np.array([0.08, -0.2, 0.0]))
HORN = (np.array([0.1, -0.06, 0.2]), np.array([0.25, 0.06, 0.5]))
PARTS = (BODY, NOSE, HORN)
COLOURS = {"front": (220, 40, 40), "right": (40, 200, 60), "back": (50, 60, 220), "left": (230, 210, 40)}


def inside(points: np.ndarray) -> np.ndarray:
    """Whether points (..., 3) lie in the object."""
    found = np.zeros(points.shape[:-1], bool)
    for low, high in PARTS:
        found |= ((points >= low) & (points <= high)).all(-1)
    return found


def picture(yaw: float, *, colour: tuple[int, int, int] = (128, 128, 128), side: int = 200) -> Image.Image:
    """What a camera far away sees from `yaw` degrees, counter-clockwise from above; 120 pixels a unit."""
    turn = math.radians(yaw)
    across = np.array([math.cos(turn), math.sin(turn)])
    middle = 0.5 * (side - 1)
    u = (np.arange(side) - middle) / 120.0
    z = (middle - np.arange(side)) / 120.0
    alpha = np.zeros((side, side), np.uint8)
    for low, high in PARTS:
        ends = [np.dot(across, (x, y)) for x in (low[0], high[0]) for y in (low[1], high[1])]
        alpha[np.ix_((z >= low[2]) & (z <= high[2]), (u >= min(ends)) & (u <= max(ends)))] = 255
    rgb = np.broadcast_to(np.array(colour, np.uint8), (side, side, 3))
    return Image.fromarray(np.dstack([rgb, alpha]))


def pictures(*views: str) -> dict[str, Image.Image]:
    yaws = {"front": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}
    return {
        view: picture(yaws.get(view, 0.0) if view in yaws else float(view), colour=COLOURS.get(view, (128,) * 3))
        for view in views
    }
