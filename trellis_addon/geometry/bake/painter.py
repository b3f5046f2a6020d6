"""The light mesh on the device: where its texels lie, and the frames in which its normal map is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ...formats.glb.tangents import face_normals, unit
from ..arrays import on_device
from ..unwrap.raster import Raster
from .kernels import mixed_vectors, positions, tangent_space
from .maps import U8, Textures, look_up
from .reading import Look

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

# Places at which shading is compared, and the share of the error that a normal map may leave to be kept.
_TRIALS = 20_000
_LEAST_GAIN = 0.8


@dataclass(frozen=True)
class Canvas:
    """The mesh that textures are painted for: `vertices`, `normals` (V, 3), `tangents` (V, 4), `uvs` (V, 2) with v
    down, `faces` (F, 3). Vertices are split where charts meet."""

    vertices: F32
    faces: I32
    normals: F32
    tangents: F32
    uvs: F32
    raster: Raster | None = None
    """The atlas as drawn at the texture's size, where that is known already."""


class Painter:
    """The light mesh on the device."""

    def __init__(self, canvas: Canvas, device: str) -> None:
        self._device = device
        self._vertices = on_device(canvas.vertices, wp.vec3, self._device)
        self._faces = on_device(canvas.faces, wp.int32, self._device)
        self._normals = on_device(canvas.normals, wp.vec3, self._device)
        self._tangents = on_device(canvas.tangents, wp.vec4, self._device)

    def places(self, owner: I32, weights: F32) -> F32:
        """(N, 3) by triangles (N,) and barycentrics (N, 3)."""
        return self._mixed(positions, self._vertices, owner, weights)

    def directions(self, owner: I32, weights: F32) -> F32:
        """(N, 3) unit normals as they are shaded without a normal map."""
        return self._mixed(mixed_vectors, self._normals, owner, weights)

    def tangent_space(self, owner: I32, weights: F32, normals: F32) -> U8:
        """(N, 3) texels of a normal map that makes a renderer see `normals` (N, 3)."""
        out = wp.empty((len(owner), 3), dtype=wp.uint8, device=self._device)
        inputs = [
            self._vertices,
            self._faces,
            self._normals,
            self._tangents,
            on_device(owner, wp.int32, self._device),
            on_device(weights, wp.vec3, self._device),
            on_device(normals, wp.vec3, self._device),
        ]
        wp.launch(tangent_space, len(owner), inputs=inputs, outputs=[out], device=self._device)
        return np.asarray(out.numpy())

    def normal_map_helps(self, canvas: Canvas, detail: Look, textures: Textures, density: float) -> bool:
        """Whether shading comes nearer to the look's with the normal map, as it is stored, than without: by a decibel.

        Compared at random places of the surface, read between texels as a renderer does.
        """
        assert textures.normal is not None
        area = np.cumsum(np.linalg.norm(face_normals(canvas.vertices, canvas.faces), axis=1))
        random = np.random.default_rng(0)
        at = np.sort(random.random(_TRIALS)) * area[-1]
        owner = np.minimum(np.searchsorted(area, at, "right"), len(area) - 1).astype(np.int32)
        weights = random.dirichlet((1.0, 1.0, 1.0), _TRIALS).astype(np.float32)
        plain = self.directions(owner, weights)
        true = detail.read(self.places(owner, weights), plain, density, owner).normals
        if true is None:
            return False
        corners = canvas.faces[owner]
        uvs = np.einsum("nk,nkc->nc", weights, canvas.uvs[corners].astype(np.float64))
        local = look_up(textures.normal, uvs) / 127.5 - 1.0
        normal = np.einsum("nk,nkc->nc", weights, canvas.normals[corners])
        tangent = np.einsum("nk,nkc->nc", weights, canvas.tangents[corners])
        bitangent = np.cross(normal, tangent[:, :3]) * canvas.tangents[corners[:, 0], 3:]
        mapped = unit(local[:, :1] * tangent[:, :3] + local[:, 1:2] * bitangent + local[:, 2:] * normal)
        true = unit(true)
        without, with_it = (float(np.square(shaded - true).sum(1).mean()) for shaded in (plain, mapped))
        return with_it < _LEAST_GAIN * without

    def _mixed(self, kernel: Any, values: Any, owner: I32, weights: F32) -> F32:
        out = wp.empty(len(owner), dtype=wp.vec3, device=self._device)
        inputs = [values, self._faces, on_device(owner, wp.int32, self._device)]
        inputs.append(on_device(weights, wp.vec3, self._device))
        wp.launch(kernel, len(owner), inputs=inputs, outputs=[out], device=self._device)
        return np.asarray(out.numpy())
