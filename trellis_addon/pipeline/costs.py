"""Floating-point operations of each stage (2 per multiply-add): for progress that tells time, and for benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..core.progress import Progress
from ..task.settings import SAMPLER_DEFAULTS
from .configs import FlowConfig, SamplerSettings
from .request import Request
from .sizes import TYPICAL, Typical, usual_tokens

PUBLISHED_FLOW = FlowConfig(
    resolution=16,
    in_channels=8,
    model_channels=1536,
    cond_channels=1024,
    out_channels=8,
    num_blocks=30,
    num_heads=12,
    mlp_ratio=5.3334,
    share_mod=True,
    qk_rms_norm=True,
    qk_rms_norm_cross=True,
    dtype="bfloat16",
)
PUBLISHED_DECODER = ((1024, 512, 256, 128, 64), (4, 16, 8, 4, 0))  # channels and blocks of each level
PUBLISHED_SAMPLERS = {
    name: SamplerSettings(own.steps, own.guidance_strength, own.guidance_rescale, own.guidance_interval, own.rescale_t)
    for name, own in SAMPLER_DEFAULTS.items()
}


def flow_flops(config: FlowConfig, tokens: int, context: int, with_image: bool = True) -> float:
    """One pass of a flow model; without an image its cross-attention costs nothing."""
    m, hidden = config.model_channels, int(config.model_channels * config.mlp_ratio)
    linear = 4 * m * m + 2 * m * hidden
    scores = 2 * m * tokens
    if with_image:
        linear += 2 * m * m
        scores += 2 * m * context
    return 2.0 * config.num_blocks * tokens * (linear + scores)


def context_flops(config: FlowConfig, context: int) -> float:
    """Keys and values of the image, once per run."""
    return 2.0 * config.num_blocks * context * 2 * config.model_channels * config.cond_channels


def sampling_flops(config: FlowConfig, tokens: int, context: int, steps: int, guided_steps: int) -> float:
    """A whole sampling, of whose steps `guided_steps` call the model without the image too."""
    passes = steps * flow_flops(config, tokens, context)
    return passes + guided_steps * flow_flops(config, tokens, context, False) + context_flops(config, context)


def decoder_flops(
    channels: tuple[int, ...], blocks: tuple[int, ...], tokens: int, growth: float = 4.0, taps: int = 27
) -> float:
    """A sparse decoder whose voxels grow by `growth` per level; `taps` counts missing neighbours too."""
    total, voxels = 0.0, float(tokens)
    for level, width in enumerate(channels):
        total += blocks[level] * voxels * (taps * width * width + 8 * width * width)
        if level + 1 < len(channels):
            out = channels[level + 1]
            total += voxels * taps * width * 8 * out + voxels * growth * taps * out * out
            voxels *= growth
    return 2 * total


def vit_flops(width: int, hidden: int, layers: int, tokens: int) -> float:
    """A plain vision transformer."""
    return 2.0 * layers * tokens * (4 * width * width + 2 * width * hidden + 2 * width * tokens)


EFFICIENCY = 0.25  # of decoders beside flow models: they wait for memory, not for arithmetic


def stage_costs(request: Request, made: int = 0) -> dict[str, float]:
    """What the stages of a run usually cost, in flow-model operations, at the published sizes.

    `made` is the resolution that a cascade comes out at where the memory does not suffice for what is asked for.
    """
    small, side = TYPICAL[512], made or request.resolution
    large = Typical(usual_tokens(side), TYPICAL[min(side, 1024) if side in TYPICAL else 1024].context)

    def flow(settings: SamplerSettings, tokens: int, context: int) -> float:
        return sampling_flops(PUBLISHED_FLOW, tokens, context, settings.computed_steps(), settings.guided_steps())

    sizes = (1029,) if request.pipeline_type == "512" else (1029, 4101)
    first = large if request.pipeline_type == "1024" else small
    costs = {
        "image": 4 * sum(vit_flops(1024, 4096, 24, tokens) for tokens in sizes),  # in float32
        "structure": flow(request.structure, 4096, 1029),
        "shape": flow(request.shape, first.tokens, first.context),
        "refine": 0.0,
        "detail": 0.0,
        "texture": flow(request.texture, large.tokens, large.context),
        "decode": 2 * decoder_flops(*PUBLISHED_DECODER, large.tokens) / EFFICIENCY,
    }
    if request.is_cascade:
        costs["refine"] = decoder_flops(*PUBLISHED_DECODER, small.tokens) / EFFICIENCY
        if side > 512:
            costs["detail"] = flow(request.shape, large.tokens, large.context)
    if not request.is_textured:
        costs["texture"], costs["decode"] = 0.0, costs["decode"] / 2
    return costs


def stage_parts(
    request: Request, progress: Progress, only: tuple[str, ...] = (), without: tuple[str, ...] = ()
) -> Mapping[str, Progress]:
    """A span of `progress` for each stage (or for those in `only`), as long as the stage usually takes."""
    request = replace(request, is_textured=request.is_textured or "texture" in only)
    costs = {
        name: cost for name, cost in stage_costs(request).items() if (not only or name in only) and name not in without
    }
    total, done, parts = sum(costs.values()), 0.0, {}
    for name, cost in costs.items():
        parts[name] = progress.part(done / total, (done + cost) / total)
        done += cost
    return parts
