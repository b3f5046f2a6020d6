"""Closest points by NVIDIA Warp's mesh queries; imported only where Warp is at hand."""
# mypy: disable-error-code="attr-defined,var-annotated,valid-type"

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ...core.machine.parallel import on_all_cores, slices
from ..arrays import on_device

_CHUNK_ON_DEVICE, _CHUNK = 1 << 20, 1 << 14  # questions at a time
# Warp compares squared distances in float32: anything larger would overflow.
_FAR = 1.0e15


class WarpTriangles:
    """Triangles in a bounding volume hierarchy on one of Warp's devices."""

    def __init__(self, vertices: NDArray[np.float32], faces: NDArray[np.int32], device: str = "cpu") -> None:
        start_warp()
        self._device = device
        self.mesh = wp.Mesh(
            points=on_device(vertices, wp.vec3, self._device),
            indices=on_device(faces.reshape(-1), wp.int32, self._device),
        )

    def closest(
        self, points: NDArray[np.float32], max_distance: float
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Face numbers (Q,), -1 for none, and barycentrics (Q, 3)."""
        faces = np.empty(len(points), np.int32)
        weights = np.empty((len(points), 3), np.float32)
        reach = float(min(max_distance, _FAR))

        def ask(chosen: slice) -> None:
            part = points[chosen]
            found = wp.empty(len(part), dtype=wp.int32, device=self._device)
            where = wp.empty(len(part), dtype=wp.vec3, device=self._device)
            asked = on_device(part, wp.vec3, self._device)
            wp.launch(
                _closest, len(part), inputs=[self.mesh.id, asked, reach], outputs=[found, where], device=self._device
            )
            faces[chosen] = found.numpy()
            weights[chosen] = where.numpy()

        if self._device == "cpu":
            wp.load_module(_closest.module, self._device)  # once, before several threads ask for it
            on_all_cores(slices(len(points), _CHUNK), ask)
        else:
            on_all_cores(slices(len(points), _CHUNK_ON_DEVICE), ask, at_once=1)
        return faces, weights


def start_warp() -> None:
    """Initialise Warp without its banner and its remark on missing CUDA; a later call does nothing."""
    if hasattr(wp.config, "log_level"):
        wp.config.log_level = wp.LOG_ERROR
        wp.init()
        wp.config.log_level = wp.LOG_WARNING
    else:
        wp.config.quiet = True
        wp.init()


@wp.kernel
def _closest(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    reach: wp.float32,
    faces: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.vec3),
) -> None:
    i = wp.tid()
    query = wp.mesh_query_point_no_sign(mesh, points[i], reach)
    if query.result:
        faces[i] = query.face
        u = wp.max(query.u, 0.0)
        v = wp.max(query.v, 0.0)
        w = wp.max(1.0 - u - v, 0.0)
        total = u + v + w
        weights[i] = wp.vec3(u / total, v / total, w / total)
    else:
        faces[i] = -1
        weights[i] = wp.vec3(1.0, 0.0, 0.0)
