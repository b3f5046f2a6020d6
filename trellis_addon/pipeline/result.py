"""What a run gives: the dense mesh with its voxels' material, and the latents, to go on from without sampling again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file
from torch import Tensor

from ..core.errors import EngineError
from ..formats.latents import ROUGH, check_latents, whole_only

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


@dataclass(frozen=True)
class Latents:
    """What was sampled, on the CPU: `coords` (T, 4) = (0, x, y, z) int32, `shape` and `texture` (T, C) float32.

    Decoding them again gives the same asset. `resolution` is the finest grid's side, 16 times the latents' grid.
    """

    coords: Tensor
    shape: Tensor
    texture: Tensor
    resolution: int
    pipeline_type: str
    structure: Tensor | None = None
    """The structure's latent, (R^3, C) float32, its cells in the order of x, y, z; what 0.1.0 has kept lacks it."""

    @property
    def is_textured(self) -> bool:
        """Whether a texture was sampled: noughts stand for none."""
        return bool(self.texture.any())

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        tensors, facts = self._parts()
        save_file(tensors, path, metadata=facts)

    def to_bytes(self, **facts: str) -> bytes:
        """The safetensors file that `save` writes, with these facts besides in its metadata."""
        tensors, own = self._parts()
        return save(tensors, {**facts, **own})

    @classmethod
    def from_bytes(cls, data: bytes) -> Latents:
        """Read what `to_bytes` gave; raises `LatentsError` for anything else."""
        kept = check_latents(data)
        if kept.is_rough:
            raise whole_only()
        tensors = load(data)
        coords, shape, texture = (tensors[name] for name in ("coords", "shape", "texture"))
        return cls(coords, shape, texture, kept.resolution, kept.pipeline_type, tensors.get("structure"))

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The file's tensors and its metadata."""
        tensors = {"coords": self.coords, "shape": self.shape, "texture": self.texture}
        if self.structure is not None:
            tensors["structure"] = self.structure
        facts = {"resolution": str(self.resolution), "pipeline_type": self.pipeline_type}
        return {name: tensor.contiguous() for name, tensor in tensors.items()}, facts

    @classmethod
    def load(cls, path: Path) -> Latents:
        """Read what `save` wrote; raises `EngineError` for anything else."""
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
                coords, shape, texture = (file.get_tensor(name) for name in ("coords", "shape", "texture"))
                structure = file.get_tensor("structure") if "structure" in file.keys() else None  # noqa: SIM118
            latents = cls(coords, shape, texture, int(facts["resolution"]), facts["pipeline_type"], structure)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise EngineError(
                "The latents in {path} cannot be read ({reason}); generate the asset again.", path=path, reason=error
            ) from None
        if not (coords.dim() == 2 and coords.shape[1] == 4 and len(coords) == len(shape) == len(texture)):
            raise EngineError("The latents in {path} do not fit together; generate the asset again.", path=path)
        return latents


@dataclass(frozen=True)
class Rough:
    """No more than where the object is, on the CPU: `coords` (N, 4) = (0, x, y, z) int32 on a grid of 32 a side, and
    `structure` as in `Latents`. Going on from it gives what would have come of it at once."""

    coords: Tensor
    structure: Tensor

    def to_bytes(self, **facts: str) -> bytes:
        """A safetensors file, with these facts in its metadata."""
        tensors = {"coords": self.coords.contiguous(), "structure": self.structure.contiguous()}
        return save(tensors, {**facts, "resolution": "512", "pipeline_type": ROUGH})

    @classmethod
    def from_bytes(cls, data: bytes) -> Rough:
        """Read what `to_bytes` gave; raises `LatentsError` for anything else."""
        check_latents(data)
        tensors = load(data)
        return cls(tensors["coords"], tensors["structure"])


@dataclass(frozen=True)
class PipelineResult:
    """A dense asset in the model's frame: Z up, the cube [-0.5, 0.5]^3, voxel (x, y, z) from (x, y, z) / resolution.

    `vertices` (N, 3), one per voxel, `faces` (F, 3) into them (not cleaned, winding by axis), `coords` (N, 3) the
    voxels, `attributes` (N, 6) = base colour (sRGB-coded), metallic, roughness, alpha, nominally 0..1 and not clamped.
    `dual_vertices` (N, 3) in voxel units, `intersected` (N, 3) and `split_weight` (N, 1) are what the mesh is made of.
    `notes` are sentences for the user about what was done otherwise than asked.
    """

    vertices: F32
    faces: I32
    coords: I32
    attributes: F32
    resolution: int
    dual_vertices: F32
    intersected: NDArray[np.bool_]
    split_weight: F32
    latents: Latents
    notes: tuple[str, ...] = ()


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().contiguous().numpy()


def on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
