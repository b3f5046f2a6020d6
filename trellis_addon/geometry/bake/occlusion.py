"""Ambient occlusion: how much of the sky above a texel the asset itself hides.

It changes slowly, so rays are cast for one texel of every 4 x 4 and chart, and the values are mixed between these,
within a chart only.
"""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ..arrays import launch_parts, on_device
from .kernels import cast_rays, spread_samples

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

BLOCK = 4
# How far a hiding surface may be, as a share of the model's cube.
_DISTANCE = 0.25


class Occlusion:
    """For texels of a square of `size`: `samples` are those to cast rays for, flat numbers in order of block and chart.

    `texels` (N,) flat numbers and `charts` (N,) of all texels that are painted.
    """

    def __init__(self, texels: I64, charts: I64, size: int) -> None:
        self._blocks = -(-size // BLOCK)
        block = (texels // size // BLOCK) * self._blocks + texels % size // BLOCK
        # The texel nearest to a block's middle speaks for it.
        offset = BLOCK / 2 - 0.5
        far = np.maximum(abs(texels // size % BLOCK - offset), abs(texels % size % BLOCK - offset)).astype(np.int64)
        key = (block * (int(charts.max()) + 1) + charts) * BLOCK + far
        order = np.argsort(key, kind="stable")
        group = key[order] // BLOCK
        first = order[np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))]
        self.samples = texels[first]
        self._size = size
        self._chart = charts[first].astype(np.int32)
        self._start = np.searchsorted(block[first], np.arange(self._blocks**2 + 1)).astype(np.int32)

    def cast(self, vertices: F32, faces: I32, points: F32, normals: F32, rays: int, device: str) -> F32:
        """How open (0..1) each sample is: `points` and unit `normals` (n, 3) of `samples`, `rays` rays each."""
        mesh = wp.Mesh(
            points=on_device(vertices, wp.vec3, device),
            indices=on_device(np.ascontiguousarray(faces).reshape(-1), wp.int32, device),
        )
        out = wp.empty(len(points), dtype=wp.float32, device=device)
        inputs = [
            mesh.id,
            on_device(points, wp.vec3, device),
            on_device(normals, wp.vec3, device),
            rays,
            _DISTANCE,
        ]

        def cast(first: int, end: int) -> None:
            wp.launch(cast_rays, end - first, inputs=[*inputs, first], outputs=[out], device=device)

        launch_parts(cast_rays, len(points), cast, device)
        return np.asarray(out.numpy())

    def spread(self, open_share: F32, texels: I64, charts: I64, device: str) -> F32:
        """The samples' values at any painted texels, mixed bilinearly among the same chart's."""
        out = wp.empty(len(texels), dtype=wp.float32, device=device)
        inputs = [
            on_device(self._start, wp.int32, device),
            on_device(self._chart, wp.int32, device),
            on_device(open_share, wp.float32, device),
            self._blocks,
            self._size,
            on_device(texels, wp.int64, device),
            on_device(charts.astype(np.int32), wp.int32, device),
        ]
        wp.launch(spread_samples, len(texels), inputs=inputs, outputs=[out], device=device)
        return np.asarray(out.numpy())
