"""What is known of an asset when it is held against a contract, whether it is a file or stands in a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .surface import MeshArrays, SurfaceFacts

# The kinds of maps by their names in a contract.
MAPS = ("base_colour", "metallic_roughness", "normal", "occlusion", "emission")
# Where an asset may look, in Blender's axes, with its direction.
AXES: dict[str, tuple[float, float, float]] = {
    "+X": (1.0, 0.0, 0.0),
    "-X": (-1.0, 0.0, 0.0),
    "+Y": (0.0, 1.0, 0.0),
    "-Y": (0.0, -1.0, 0.0),
}


# Where an object says which of its own axes is its front, if it is another than -Y; a GLB's node has it in its extras.
FRONT = "trellis2_front"
OWN_FRONT = "-Y"


@dataclass(frozen=True)
class Image:
    """A texture's sides in pixels."""

    name: str
    width: int
    height: int


@dataclass(frozen=True)
class AssetFacts:
    """An asset in Blender's axes, Z up, in metres: `low` and `high` are the corners of its box about its origin.

    Of its K objects `names`, `turns` (K, 3, 3) the rotations and `scales` (K, 3) what they are scaled by; `fronts`
    (R, 3) are the directions that it, or each of its roots, looks in; `materials` are those in use, `maps` of `MAPS`
    those that every material in use has. `mesh` is its surface in metres, facing outwards, for what is only measured
    where a contract asks for it.
    """

    names: tuple[str, ...]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    surface: SurfaceFacts
    turns: np.ndarray
    scales: np.ndarray
    fronts: np.ndarray
    materials: tuple[str, ...]
    maps: frozenset[str]
    images: tuple[Image, ...]
    mesh: MeshArrays | None = None

    @property
    def height(self) -> float:
        return self.high[2] - self.low[2]

    @property
    def is_watertight(self) -> bool:
        return self.surface.is_closed

    @property
    def front(self) -> str:
        """The axis of `AXES` that all fronts look along; empty where they look along none."""
        for name, axis in AXES.items():
            if len(self.fronts) and np.allclose(self.fronts, axis, atol=1e-3):
                return name
        return ""


def parts_of(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotation (3, 3) and the scale (3,) of a matrix (3, 3) or (4, 4); a mirrored one is scaled by -1 along x."""
    columns = np.asarray(matrix, float)[:3, :3]
    scale = np.linalg.norm(columns, axis=0)
    if np.linalg.det(columns) < 0:
        scale[0] = -scale[0]
    return columns / np.where(np.abs(scale) > 1e-12, scale, 1.0), scale


def front_of(turn: np.ndarray, own: object) -> np.ndarray:
    """(3,) where the front of an object looks that is turned so, and whose own front is this axis."""
    return np.asarray(turn, float) @ np.array(AXES[own if isinstance(own, str) and own in AXES else OWN_FRONT])
