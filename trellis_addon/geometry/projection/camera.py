"""From places on a mesh to pixels of a picture: a pinhole, which far away becomes a parallel projection."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FREE = 7
"""Numbers that a camera can be moved by: see `Camera.moved`."""


@dataclass(frozen=True)
class Camera:
    """A camera in the frame of glTF (y up), that looks at `centre` (3,).

    `yaw` in radians counts counter-clockwise as seen from above: 0 looks at what faces +z, a quarter turn at what faces
    +x. `pitch` in radians is positive above, `roll` turns the picture. `size` is the object's longest side, the unit of
    all that follows: `scale` are pixels per unit at the centre, `middle` (x, y) is the pixel at which the centre is
    seen, and `near` is one over the distance from the centre: 0 is a camera that is infinitely far away.
    """

    centre: tuple[float, float, float]
    size: float
    yaw: float
    pitch: float
    roll: float
    scale: float
    middle: tuple[float, float]
    near: float

    @property
    def rotation(self) -> F64:
        """(3, 3), to the camera's axes: right, up, towards the camera."""
        turn, tilt, roll = (
            np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
            for a in (self.yaw, self.pitch, self.roll)
        )
        around, over, along = np.eye(3), np.eye(3), np.eye(3)
        around[np.ix_([0, 2], [0, 2])] = turn
        over[np.ix_([1, 2], [1, 2])] = tilt
        along[np.ix_([0, 1], [0, 1])] = roll
        return np.asarray(along @ over @ around)

    @property
    def field_of_view(self) -> float:
        """The angle in radians that the object's longest side takes of what the camera sees."""
        return 2.0 * math.atan(0.5 * self.near)

    def places(self, points: NDArray[np.float32]) -> F64:
        """Points (N, 3) by the camera's axes, in units of `size`."""
        return np.asarray((points.astype(np.float64) - self.centre) @ self.rotation.T / self.size)

    def project(self, points: NDArray[np.float32]) -> tuple[F32, F32]:
        """Where points (N, 3) are seen, (N, 2) in pixels, and how near they are, (N,): larger is nearer."""
        x, y, z = self.places(points).T
        share = self.scale / np.maximum(1.0 - self.near * z, 0.05)
        seen = np.stack([self.middle[0] + share * x, self.middle[1] - share * y], 1)
        return seen.astype(np.float32), z.astype(np.float32)

    def towards(self, points: NDArray[np.float32]) -> F32:
        """From each point (N, 3) to the camera, length 1: (N, 3)."""
        rotation = self.rotation
        if self.near < 1e-6:
            return np.broadcast_to(rotation[2], points.shape).astype(np.float32)
        stands = np.asarray(self.centre) + rotation[2] * (self.size / self.near)
        along = stands - points
        return np.asarray(along / np.linalg.norm(along, axis=1, keepdims=True), np.float32)

    def moved(self, by: F64) -> Camera:
        """Turned by yaw, pitch and roll (radians), its scale's logarithm, its middle (in shares of the object's
        size) and its nearness changed."""
        yaw, pitch, roll, growth, x, y, near = (float(value) for value in by)
        return replace(
            self,
            yaw=self.yaw + yaw,
            pitch=self.pitch + pitch,
            roll=self.roll + roll,
            scale=self.scale * math.exp(min(max(growth, -0.5), 0.5)),
            middle=(self.middle[0] + x * self.scale, self.middle[1] + y * self.scale),
            near=min(max(self.near + near, 0.0), NEAREST),
        )

    def slopes(self, points: NDArray[np.float32]) -> F64:
        """How the pixels of points (N, 3) move with each number of `moved`: (N, 2, 7)."""
        step = 1e-5
        found = np.empty((len(points), 2, FREE))
        away = replace(self, near=min(max(self.near, step), NEAREST - step))
        for k in range(FREE):
            by = np.zeros(FREE)
            by[k] = step
            ahead, behind = away.moved(by)._exactly(points), away.moved(-by)._exactly(points)
            found[:, :, k] = (ahead - behind) / (2.0 * step)
        return found

    def _exactly(self, points: NDArray[np.float32]) -> F64:
        x, y, z = self.places(points).T
        share = self.scale / np.maximum(1.0 - self.near * z, 0.05)
        return np.stack([self.middle[0] + share * x, self.middle[1] - share * y], 1)

    def shrunk(self, factor: float) -> Camera:
        """The same camera for a picture that is `factor` times as large."""
        return replace(self, scale=self.scale * factor, middle=(self.middle[0] * factor, self.middle[1] * factor))

    def told(self) -> dict[str, float]:
        """What is said of it where the asset comes from: degrees, and the field of view that the object takes."""
        return {
            "yaw": round((math.degrees(self.yaw) + 180.0) % 360.0 - 180.0, 2),
            "pitch": round(math.degrees(self.pitch), 2),
            "roll": round(math.degrees(self.roll), 2),
            "fieldOfView": round(math.degrees(self.field_of_view), 2),
        }


NEAREST = 0.75  # of `near`: a camera stands no nearer than that to what it looks at


def level(low: F32, high: F32, yaw: float, near: float) -> Camera:
    """A camera that looks level at a box from `yaw` (radians); nothing yet about the picture."""
    size = float((high - low).max())
    centre = (low + high) / 2.0
    return Camera((float(centre[0]), float(centre[1]), float(centre[2])), size, yaw, 0.0, 0.0, 1.0, (0.0, 0.0), near)
