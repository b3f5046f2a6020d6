"""What a generation is baked from: its dense surface, and the voxels around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ..arrays import on_device
from ..mesh.closest import Closest, Surface
from .kernels import add_normals, creased_normals, make_unit
from .reading import Part, Reading
from .volume import Volume

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# Areas are tiny against 1: in units of a voxel or so nothing is lost to rounding.
_AREAS = np.float32(1024.0)
# Faces of a dense surface that meet at a larger angle, in degrees, are shaded apart, as those of the light mesh are.
CREASE = 55.0


@dataclass(frozen=True)
class Detail:
    """A look that is kept in voxels: the dense surface, its smooth normals (V, 3), and the voxels."""

    surface: Surface
    normals: F32
    volume: Volume
    device: str = "cpu"
    parts: Sequence[Part] = ()

    @classmethod
    def of(cls, vertices: F32, faces: I32, volume: Volume, device: str = "cpu") -> Detail:
        surface = Surface(vertices, faces, device=device)
        return cls(surface, _smooth_normals(vertices, faces, device), volume, device)

    def read(
        self, points: F32, directions: F32, density: float, on: I32 | None = None, *, normals: bool = True
    ) -> Reading:
        """See `Look.read`: the closest point is the place that is seen, for the dense surface has no layers."""
        closest = self.surface.closest(points)
        return Reading(self.volume.sample(closest.points), self._creased(closest) if normals else None)

    def _creased(self, closest: Closest) -> F32:
        out = wp.zeros(len(closest.faces), dtype=wp.vec3, device=self.device)
        inputs = [*self._around, on_device(closest.faces, wp.int32, self.device)]
        inputs += [on_device(closest.barycentrics, wp.vec3, self.device), float(np.cos(np.radians(CREASE)))]
        wp.launch(creased_normals, len(closest.faces), inputs=inputs, outputs=[out], device=self.device)
        return np.asarray(out.numpy())

    @cached_property
    def _around(self) -> list[Any]:
        """The surface on the device: vertices, faces, and the faces around each vertex, all in one list."""
        from scipy.sparse import csr_array

        faces = self.surface.faces
        corner, face = faces.reshape(-1), np.repeat(np.arange(len(faces), dtype=np.int32), 3)
        around = csr_array(
            (np.ones(len(corner), np.int8), (corner, face)), shape=(len(self.surface.vertices), len(faces))
        )
        return [
            on_device(self.surface.vertices * _AREAS, wp.vec3, self.device),
            on_device(faces, wp.int32, self.device),
            on_device(around.indptr.astype(np.int32), wp.int32, self.device),
            on_device(around.indices.astype(np.int32), wp.int32, self.device),
        ]


def _smooth_normals(vertices: F32, faces: I32, device: str) -> F32:
    """(V, 3): the mean of the faces' normals by area, of length 1; 0 where there is none."""
    total = wp.zeros(len(vertices), dtype=wp.vec3, device=device)
    inputs = [on_device(vertices * _AREAS, wp.vec3, device), on_device(faces, wp.int32, device), total]
    wp.launch(add_normals, len(faces), inputs=inputs, device=device)
    wp.launch(make_unit, len(vertices), inputs=[total], device=device)
    return np.asarray(total.numpy())
