"""A part of an asset sampled anew, while the latents outside of it stay as they are, to the last bit.

The structure's latent is held outside of the region, and so is every row of the shape and of the texture. Voxels
outside come from the asset, voxels inside from the structure that was sampled: its decoder reaches far, and would move
others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from ..core.errors import EngineError
from ..core.messages import message
from ..core.progress import Progress
from ..task.region import Region
from .checkpoint.repository import IMAGE_MODEL
from .costs import stage_parts
from .networks.structure_decoder import SparseStructureDecoder
from .request import Request
from .result import Latents, PipelineResult, on_cpu
from .sample import Noise
from .sampling.hold import Hold
from .sampling.views import on_surface

if TYPE_CHECKING:
    from .pipeline import Pipeline


def change(
    pipeline: Pipeline,
    latents: Latents,
    region: Region,
    image: Image.Image,
    settings: Mapping[str, Any] | Request | None = None,
    seed: int = 42,
    progress: Progress | None = None,
    *,
    preprocess: bool = True,
    views: Mapping[str, Image.Image] | None = None,
) -> PipelineResult:
    """The asset of the latents with the region made anew of this picture and seed.

    Where the region has no voxel and can get none the latents are what they were. Raises as `Pipeline.run` does.
    """
    from .pipeline import seen_pictures

    request = pipeline.request(settings)
    pipeline._check_latents(latents)
    side = 512 if latents.resolution == 512 else 1024
    painter, note = pipeline._painter() if side == 512 else (1024, "")
    may_build = latents.structure is not None and not region.only_texture
    names = [IMAGE_MODEL, *(("sparse_structure_flow_model", "sparse_structure_decoder") if may_build else ())]
    if not region.only_texture:
        names.append(f"shape_slat_flow_model_{side}")
    names += [f"tex_slat_flow_model_{painter}"] if latents.is_textured else []
    names += ["shape_slat_decoder", "tex_slat_decoder"]
    for name in names:
        pipeline.store.outline(name)
    pipeline.store.expect(tuple(names))
    pictures = seen_pictures(image, views, preprocess)
    sides = tuple(sorted({side, painter, *((512,) if may_build else ())}))
    stages: tuple[str, ...] = (
        "image",
        *(("structure",) if may_build else ()),
        *(() if region.only_texture else ("shape",)),
    )
    stages += ("texture", "decode")

    def attempt() -> PipelineResult:
        parts = stage_parts(request, progress or Progress(), only=stages)
        grid = latents.resolution // 16
        notes: tuple[str, ...] = (note,) if note else ()
        features = pipeline.encode_views(pictures, sides, parts["image"])
        noise = Noise(seed, pipeline.device)
        coords, structure = latents.coords, latents.structure
        if may_build:
            structure = _structure(pipeline, latents, region, features[512], request, noise, parts["structure"])
            if structure is not latents.structure:
                coords = _voxels(pipeline, latents, structure, region, grid)
        elif not region.only_texture:
            notes += (
                message(
                    "The asset was made before its rough shape was kept: voxels inside the region stay where they are, "
                    "and only their shape and texture are new."
                ),
            )
        share = 1 - _weight(region, coords[:, 1:], grid)
        if bool((share >= 1).all()) and len(coords) == len(latents.coords):
            return pipeline._decode(latents, notes, parts["decode"])
        rows = rows_of(latents.coords, coords, grid)
        share = torch.where(rows >= 0, share, torch.zeros_like(share))[:, None]
        place = coords.to(pipeline.device)
        shape, texture = carried(latents.shape, rows), carried(latents.texture, rows)
        if not region.only_texture:
            cond = on_surface(features[side], place, grid)
            hold = Hold(pipeline.config.shape_normalization.apply(shape.to(pipeline.device)), share)
            found = pipeline.sample_shape(place, cond, side, request.shape, noise, parts["shape"], hold=hold)
            shape = torch.where(share >= 1, shape, on_cpu(found))
        if latents.is_textured:
            cond = on_surface(features[painter], place, grid)
            hold = Hold(pipeline.config.texture_normalization.apply(texture.to(pipeline.device)), share)
            on = shape.to(pipeline.device)
            found = pipeline.sample_texture(
                on, place, cond, painter, request.texture, noise, parts["texture"], hold=hold
            )
            texture = torch.where(share >= 1, texture, on_cpu(found))
        made = replace(latents, coords=coords, shape=shape, texture=texture, structure=structure)
        return pipeline._decode(made, notes, parts["decode"])

    return pipeline._within_budget(attempt)


def _structure(
    pipeline: Pipeline,
    latents: Latents,
    region: Region,
    cond: Any,
    request: Request,
    noise: Noise,
    progress: Progress,
) -> Tensor:
    """The structure's latent (R^3, C) with the region sampled anew; the very same where that has none of its cells."""
    kept = latents.structure
    assert kept is not None
    cells = round(len(kept) ** (1 / 3))
    places = torch.stack(torch.meshgrid(*[torch.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 3)
    share = 1 - _weight(region, places, cells)
    if bool((share >= 1).all()):
        return kept
    known = kept.T.reshape(1, -1, cells, cells, cells)
    hold = Hold(known.to(pipeline.device), share.reshape(1, 1, cells, cells, cells))
    found = pipeline._structure(cond, request.structure, noise, progress, hold=hold)
    return on_cpu(found).reshape(known.shape[1], -1).T.contiguous()


def _voxels(pipeline: Pipeline, latents: Latents, structure: Tensor, region: Region, grid: int) -> Tensor:
    """The asset's voxels outside of the region, in their order, and inside those of the structure's latent: (N, 4)."""
    inside = occupied_in(pipeline, structure, grid).nonzero()
    inside = inside[_weight(region, inside, grid) > 0]
    outside = latents.coords[_weight(region, latents.coords[:, 1:], grid) <= 0]
    new = torch.nn.functional.pad(inside.int(), (1, 0))
    if not len(outside) + len(new):
        raise EngineError("Nothing would be left of the asset: the new picture shows nothing there.")
    return torch.cat([outside, new])


def occupied_in(pipeline: Pipeline, structure: Tensor, grid: int) -> Tensor:
    """Which cells of a grid with so many a side a structure's latent (R^3, C) stands for: (grid, grid, grid) of bool,
    on the CPU."""
    cells = round(len(structure) ** (1 / 3))
    z = structure.T.reshape(1, -1, cells, cells, cells).to(pipeline.device)
    logits = on_cpu(pipeline._structure_decoder(SparseStructureDecoder)(z))[0, 0]
    fine = logits.shape[-1]
    occupied = logits > 0
    if fine > grid:
        pool = fine // grid
        for axis in range(3):
            occupied = occupied.unflatten(axis, (-1, pool)).any(axis + 1)
    elif fine < grid:
        at = ((torch.arange(grid).float() + 0.5) / grid * fine).long()
        occupied = occupied[at][:, at][:, :, at]
    return occupied


def _weight(region: Region, cells: Tensor, side: int) -> Tensor:
    """How much of the change the cells (N, 3) of a grid with so many a side take part in: (N,), 0..1.

    The model's frame has z up and its front towards -y, the region's y up and its front towards +z.
    """
    x, y, z = ((cells.double() + 0.5) / side - 0.5).T
    return torch.from_numpy(region.weight(torch.stack([x, z, -y], 1).numpy())).float()


def rows_of(old: Tensor, new: Tensor, side: int) -> Tensor:
    """Which row of the old voxels (N, 4) each of the new ones is; -1 for those that were not there."""

    def key(coords: Tensor) -> Tensor:
        _, x, y, z = coords.long().T
        return (x * side + y) * side + z

    keys, order = key(old).sort()
    wanted = key(new)
    at = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[at] == wanted, order[at], -torch.ones_like(order[at]))


def carried(values: Tensor, rows: Tensor) -> Tensor:
    """The old values at the new rows; noughts where there were none."""
    found = values[rows.clamp(min=0)].clone()
    found[rows < 0] = 0
    return found
