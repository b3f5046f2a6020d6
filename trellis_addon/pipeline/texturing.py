"""A new material for a mesh that is there already, from a picture of what it should look like.

    mesh -> voxels of its surface -> shape latent (encoder) -> texture latent (flow) -> material on the same voxels

No shape is sampled, and the texture decoder needs no guide: it follows the way back that the encoder remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..core.errors import EngineError, InputError
from ..core.messages import message
from ..core.progress import Progress
from .checkpoint.repository import IMAGE_MODEL, PipelineConfig, Repository
from .device.memory import GB, VOXELS_PER_TOKEN
from .networks.sparse import SparseTensor
from .networks.vae_decoder import SparseUnetVaeDecoder, to_material
from .networks.vae_encoder import FlexiDualGridVaeEncoder, encoder_input
from .pipeline import Noise, Pipeline, seen_pictures
from .request import with_settings
from .result import F32, I32, to_numpy
from .sampling.views import on_surface
from .sizes import MAX_TOKENS

RESOLUTIONS = (512, 1024, 1536)
SHRINK = 16  # voxels of the grid along one cell of the latent's
FILL = 0.99999  # of the cube that the mesh is scaled to
# a mesh with Y up, as in glTF, to the model's frame with Z up: (x, y, z) -> (x, -z, y)
AXES = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)


@dataclass(frozen=True)
class TexturedVoxels:
    """Material on the surface voxels of a mesh.

    `coords` (N, 3) of a grid with `resolution` voxels a side, `attributes` (N, 6) as in `PipelineResult`. `matrix`
    (4, 4) takes the mesh's positions to the model's frame, in which voxel c has its sample point at
    (c + 0.5) / resolution - 0.5. `notes` say what was done otherwise than asked.
    """

    coords: I32
    attributes: F32
    resolution: int
    matrix: NDArray[np.float64]
    notes: tuple[str, ...] = ()


class TexturingPipeline(Pipeline):
    """One model on one device, with the encoder instead of the structure and shape models."""

    @staticmethod
    def _config_of(repository: Repository) -> PipelineConfig:
        return repository.texturing_config

    def texture_mesh(
        self,
        vertices: NDArray[Any],
        faces: NDArray[Any],
        image: Image.Image,
        settings: Mapping[str, Any] | None = None,
        seed: int = 42,
        progress: Progress | None = None,
        *,
        preprocess: bool = True,
        views: Mapping[str, Image.Image] | None = None,
    ) -> TexturedVoxels:
        """`vertices` (V, 3) with Y up and the front towards +Z, `faces` (F, 3), a picture of the front as for
        `Pipeline.run`, and further `views`.

        Of the `settings`, the resolution (of the voxel grid, 1024 when not set) and those of the texture's sampler
        count. Where the surface is too large for the model at that resolution, a lower one is taken, which the result's
        notes tell. Raises `InputError` for a mesh that cannot be used, `EngineError`, `ImageError`, `Cancelled`.
        """
        from ..geometry.voxelise.dual_grid import TEXTURING_WEIGHTS, mesh_to_dual_grid

        settings, progress = settings or {}, progress or Progress()
        asked = settings.get("resolution") or RESOLUTIONS[1]
        matrix = to_model_frame(np.asarray(vertices, np.float64))
        placed = (vertices @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)
        box = ((-0.5,) * 3, (0.5,) * 3)
        for resolution in sorted({asked, *(r for r in RESOLUTIONS if r < asked)}, reverse=True):
            coords, local, flags = mesh_to_dual_grid(
                placed, faces, grid_size=resolution, aabb=box, **TEXTURING_WEIGHTS, progress=progress.part(0, 0.1)
            )
            if len(np.unique(coords // SHRINK, axis=0)) <= MAX_TOKENS:
                break
        if not len(coords):
            raise InputError("The mesh has no surface to texture.")
        told = message(
            "Textured at {lower} instead of {asked}: the surface has too many voxels for the model there.",
            lower=resolution,
            asked=asked,
        )
        notes = () if resolution == asked else (told,)
        side = 512 if resolution == 512 else 1024
        networks = (IMAGE_MODEL, "shape_slat_encoder", f"tex_slat_flow_model_{side}", "tex_slat_decoder")
        for name in networks:  # what is missing is told before the work begins
            self.store.outline(name)
        self.store.expect(networks)
        own = self.config.samplers["tex_slat"].settings.replace(reuses=self.is_fast)
        sampler = with_settings(own, "tex_slat", settings)
        pictures = seen_pictures(image, views, preprocess)

        def attempt() -> TexturedVoxels:
            cond = self.encode_views(pictures, (side,), progress.part(0.1, 0.15))[side]
            if _tokens(len(coords)) > self.store.budget.decoder_tokens(*self._decoder_facts()):
                raise EngineError(
                    "The mesh has {voxels} voxels at {resolution}, which do not fit into {memory:.1f} GB of "
                    "memory; choose a lower resolution.",
                    voxels=len(coords),
                    resolution=resolution,
                    memory=self.store.budget.total / GB,
                )
            progress.update("Reading the shape", 0.15)
            z = self.read_shape(torch.from_numpy(coords), torch.from_numpy(local), torch.from_numpy(flags))
            noise = Noise(seed, self.device)
            cond = on_surface(cond, z.coords, resolution // SHRINK)
            latent = self.sample_texture(z.feats, z.coords, cond, side, sampler, noise, progress.part(0.2, 0.8))
            progress.update("Colouring the surface", 0.8)
            attributes = to_numpy(self.colours(z, latent, len(coords), progress))
            progress.update("Colouring the surface", 1)
            return TexturedVoxels(coords, attributes, resolution, matrix, notes)

        return self._within_budget(attempt)

    def read_shape(self, coords: Tensor, local: Tensor, flags: Tensor) -> SparseTensor:
        """The shape's latent for the voxels `coords` (N, 3) int32 of a surface: where in each of them it lies, `local`
        (N, 3) in 0..1, and which of its edges it crosses, `flags` (N, 3). It remembers how the voxels came together."""
        batched = torch.nn.functional.pad(coords, (1, 0)).to(self.device)
        feats = encoder_input(local, flags).to(self.device)
        encoder = self._decoder("shape_slat_encoder", FlexiDualGridVaeEncoder, _tokens(len(coords)))
        return encoder(SparseTensor(feats, self._grid(batched)))

    def colours(self, z: SparseTensor, latent: Tensor, voxels: int, progress: Progress) -> Tensor:
        """The material (N, 6) of the `voxels` that the shape's latent z was read from; the texture's has z's rows."""
        decoder = self._decoder("tex_slat_decoder", SparseUnetVaeDecoder, _tokens(voxels))
        return to_material(decoder(z.with_feats(latent), on_block=progress.check).out.feats)

    def _decoder_facts(self) -> tuple[Any, int, int]:
        outline = self.store.outline("tex_slat_decoder")
        return outline.config, outline.weights, outline.itemsize


def _tokens(voxels: int) -> int:
    """How many cells of the latent usually stand for so many voxels."""
    return max(1, voxels // VOXELS_PER_TOKEN)


def to_model_frame(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (4, 4) that centres a mesh with Y up, scales it to the cube and turns Z up."""
    if vertices.ndim != 2 or vertices.shape[1:] != (3,) or not len(vertices) or not np.isfinite(vertices).all():
        raise InputError("The mesh's vertices must be finite positions (V, 3).")
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    extent = float((high - low).max())
    if extent <= 0:
        raise InputError("The mesh has no extent.")
    matrix = np.eye(4)
    matrix[:3, :3] = AXES * (FILL / extent)
    matrix[:3, 3] = -matrix[:3, :3] @ ((low + high) / 2)
    return matrix
