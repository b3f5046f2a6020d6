"""Relatives of an asset: its latents are noised again to a time of the way and sampled from there with another seed.

The idea is that of SDEdit (Meng et al., arXiv 2108.01073), on the straight path of a rectified flow: in each of the
stages x_t = (1 - t) x_0 + s_t noise. The strength is the share of a stage's schedule that is walked anew, and t what
the schedule has there. Voxels that the kept asset did not have are sampled beside the kept ones from noise on.
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
from .change import carried, occupied_in, rows_of
from .checkpoint.repository import IMAGE_MODEL
from .configs import SamplerSettings, time_at
from .costs import stage_parts
from .request import Request
from .result import Latents, PipelineResult, on_cpu
from .sample import Noise
from .sampling.hold import Hold
from .sampling.views import Condition, on_surface
from .sizes import MAX_TOKENS

if TYPE_CHECKING:
    from .pipeline import Pipeline


def vary(
    pipeline: Pipeline,
    latents: Latents,
    strength: float,
    image: Image.Image,
    settings: Mapping[str, Any] | Request | None = None,
    seed: int = 42,
    progress: Progress | None = None,
    *,
    preprocess: bool = True,
    views: Mapping[str, Image.Image] | None = None,
) -> PipelineResult:
    """A variant of the asset of the latents, as far from it as `strength` says: 0 is the asset itself, and nothing is
    sampled; 1 is a run of its own with this seed, and nothing of the asset is left.

    The resolution is that of the latents. Where the rough shape was not kept, the voxels stay where they are. Raises as
    `Pipeline.run` does.
    """
    from .pipeline import seen_pictures

    if strength <= 0:
        return pipeline.decode(latents, progress)
    if strength >= 1:
        return pipeline.run(image, settings, seed, progress, preprocess=preprocess, views=views)
    request = pipeline.request(settings)
    pipeline._check_latents(latents)
    side = 512 if latents.resolution == 512 else 1024
    painter, note = pipeline._painter() if side == 512 else (1024, "")
    has_structure = latents.structure is not None
    names = (
        IMAGE_MODEL,
        *(("sparse_structure_flow_model", "sparse_structure_decoder") if has_structure else ()),
        f"shape_slat_flow_model_{side}",
        *((f"tex_slat_flow_model_{painter}",) if latents.is_textured else ()),
        "shape_slat_decoder",
        "tex_slat_decoder",
    )
    for name in names:
        pipeline.store.outline(name)
    pipeline.store.expect(names)
    pictures = seen_pictures(image, views, preprocess)
    sides = tuple(sorted({side, painter, *((512,) if has_structure else ())}))
    stages = ("image", *(("structure",) if has_structure else ()), "shape", "texture", "decode")

    def attempt() -> PipelineResult:
        parts = stage_parts(request, progress or Progress(), only=stages)
        grid = latents.resolution // 16
        notes: tuple[str, ...] = (note,) if note else ()
        features = pipeline.encode_views(pictures, sides, parts["image"])
        noise = Noise(seed, pipeline.device)
        coords, structure = latents.coords, latents.structure
        if structure is None:
            notes += (
                message(
                    "The asset was made before its rough shape was kept: the variant has its voxels where they are, "
                    "and only its shape in detail and its texture are others."
                ),
            )
        else:
            until = _until(request.structure, strength)
            structure = _structure(pipeline, structure, features[512], request, until, noise, parts["structure"])
            coords = _voxels(pipeline, latents, structure, grid)
            kinds = ("shape", "tex") if latents.is_textured and painter == side else ("shape",)
            pipeline._demand_room(len(coords), side, features, kinds)
        rows = rows_of(latents.coords, coords, grid)
        share = (rows >= 0).float()[:, None]
        place = coords.to(pipeline.device)

        def held(values: Tensor, until: float) -> Hold:
            return Hold(values.to(pipeline.device), share, until)

        known = pipeline.config.shape_normalization.apply(carried(latents.shape, rows))
        hold = held(known, _until(request.shape, strength))
        cond = on_surface(features[side], place, grid)
        shape = pipeline.sample_shape(place, cond, side, request.shape, noise, parts["shape"], hold=hold)
        texture = carried(latents.texture, rows)
        if latents.is_textured:
            hold = held(pipeline.config.texture_normalization.apply(texture), _until(request.texture, strength))
            cond = on_surface(features[painter], place, grid)
            texture = pipeline.sample_texture(
                shape, place, cond, painter, request.texture, noise, parts["texture"], hold=hold
            )
        made = replace(latents, coords=coords, shape=on_cpu(shape), texture=on_cpu(texture), structure=structure)
        return pipeline._decode(made, notes, parts["decode"])

    return pipeline._within_budget(attempt)


def _until(sampler: SamplerSettings, strength: float) -> float:
    """The time to which what is kept is noised."""
    return time_at(strength, sampler.rescale_t)


def _structure(
    pipeline: Pipeline,
    kept: Tensor,
    cond: Condition,
    request: Request,
    until: float,
    noise: Noise,
    progress: Progress,
) -> Tensor:
    """A relative of the structure's latent (R^3, C)."""
    cells = round(len(kept) ** (1 / 3))
    known = kept.T.reshape(1, -1, cells, cells, cells).to(pipeline.device)
    hold = Hold(known, torch.ones(1, 1, 1, 1, 1), until)
    found = pipeline._structure(cond, request.structure, noise, progress, hold=hold)
    return on_cpu(found).reshape(known.shape[1], -1).T.contiguous()


def _voxels(pipeline: Pipeline, latents: Latents, structure: Tensor, grid: int) -> Tensor:
    """The asset's voxels, and near where the rough shape has become another one those of that: (N, 4).

    A cascade has refined its voxels: where nothing has changed it is these that stay.
    """
    assert latents.structure is not None
    before, after = (occupied_in(pipeline, z, grid) for z in (latents.structure, structure))
    near = torch.nn.functional.max_pool3d((before ^ after).float()[None, None], 3, 1, 1)[0, 0] > 0
    x, y, z = latents.coords[:, 1:].long().T
    kept = latents.coords[~near[x, y, z]]
    new = torch.nn.functional.pad((after & near).nonzero().int(), (1, 0))
    coords = torch.cat([kept, new])
    if not len(coords):
        raise EngineError("Nothing is left of the asset in this variant; try another seed, or a lower strength.")
    if len(coords) > MAX_TOKENS:
        raise EngineError(
            "The variant has {voxels} voxels, more than the {most} that the model takes at once; try another seed, or "
            "a lower strength.",
            voxels=len(coords),
            most=MAX_TOKENS,
        )
    return coords
