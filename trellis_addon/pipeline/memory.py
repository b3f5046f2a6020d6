"""How much memory each stage takes, and what fits into a budget: pure functions, no device is asked here but in one.

A flow model needs its weights, the image's keys and values, and some tens of kilobytes per token; a decoder needs its
weights and some hundred bytes per voxel of the finest level. Both counts are known before the stage runs, so that a
resolution that cannot fit is lowered beforehand.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .transformer import FlowConfig
from .vae_decoder import DecoderConfig
from .vae_encoder import EncoderConfig

GB = 1 << 30
MAX_TOKENS = 49152  # the model's own limit for the cascade
VOXELS_PER_TOKEN = 260  # of the finest level: a surface grows fourfold per level, and there are four
RESERVE = GB // 2  # what the driver, other programs and fragmentation take of a device
MARGIN = 1.2  # on all estimates
IMAGE_MODEL_PEAK = 1 << 29  # DINOv3 at 1024 x 1024 in float32, without its weights
STRUCTURE_PEAK = 1 << 29  # the dense decoder at 64^3, without its weights
BATCH_TOKENS = 8192  # up to here both branches of guidance go through the model in one pass


@dataclass(frozen=True)
class Typical:
    """Token counts that a resolution usually leads to."""

    tokens: int
    context: int


TYPICAL = {512: Typical(2400, 1029), 1024: Typical(9600, 4101), 1536: Typical(22000, 4101)}


def flow_bytes(config: FlowConfig, tokens: int, context: int, itemsize: int = 2, branches: int = 1) -> int:
    """Bytes that a flow model takes beside its weights: activations, and every block's keys and values."""
    m, hidden = config.model_channels, int(config.model_channels * config.mlp_ratio)
    attention = 7 * m * itemsize + 3 * m * 4  # input, norm, q k v, output; q and k in float32 while they turn
    mlp = (3 * m + 2 * hidden) * itemsize
    ends = 2 * m * 4  # the first and the last layer are in float32
    activations = tokens * branches * (max(attention, mlp) + ends)
    keys_values = 2 * m * context * itemsize * config.num_blocks
    return int(MARGIN * (activations + keys_values))


def decoder_bytes(config: DecoderConfig | EncoderConfig, tokens: int, itemsize: int = 2, workspace: int = 0) -> int:
    """Bytes that a sparse decoder, or encoder, takes beside its weights for `tokens` latents.

    The widest moment is the last step, when two tensors of the finest level and two of the level before are there, with
    the neighbours of all levels (27 row numbers a voxel, a third more for the coarser levels) and the coordinates.
    """
    finest_last = config.model_channels if isinstance(config, DecoderConfig) else config.model_channels[::-1]
    *_, before, last = (finest_last[0], *finest_last)
    voxel = itemsize * (2 * last + 2 * before / 4) + 27 * 4 * 4 / 3 + 60
    return int(MARGIN * (tokens * VOXELS_PER_TOKEN * voxel + 3 * workspace))


@dataclass(frozen=True)
class Budget:
    """What the pipeline may use of a device: bytes in all, and which of it a layer may gather at once."""

    total: int

    @property
    def workspace(self) -> int:
        """A sixteenth, between 32 MB and 512 MB: larger makes nothing faster."""
        return min(max(self.total // 16, 32 << 20), 512 << 20)

    def allows(self, weights: int, activations: int) -> bool:
        return weights + activations <= self.total

    def flow_tokens(self, config: FlowConfig, weights: int, context: int, itemsize: int = 2) -> int:
        """The most tokens that a flow model can take, up to the model's own limit."""
        return _most(lambda n: self.allows(weights, flow_bytes(config, n, context, itemsize)))

    def decoder_tokens(self, config: DecoderConfig, weights: int, itemsize: int = 2) -> int:
        """The most latents that a decoder can take, up to the model's own limit."""
        return _most(lambda n: self.allows(weights, decoder_bytes(config, n, itemsize, self.workspace)))

    def branches_together(self, config: FlowConfig, weights: int, tokens: int, context: int, itemsize: int = 2) -> bool:
        """Whether both branches of guidance go in one pass: only a small one gains by that, and it must fit."""
        together = flow_bytes(config, tokens, context, itemsize, branches=2)
        return tokens <= BATCH_TOKENS and self.allows(weights, together)


def largest_resolution(
    budget: Budget, flow: FlowConfig, flow_weights: int, decoder: DecoderConfig, decoder_weights: int
) -> int:
    """The highest resolution whose usual token count fits; 0 when none does. What a card of some size is good for."""
    for resolution, typical in sorted(TYPICAL.items(), reverse=True):
        tokens = budget.flow_tokens(flow, flow_weights, typical.context)
        if typical.tokens <= min(tokens, budget.decoder_tokens(decoder, decoder_weights)):
            return resolution
    return 0


def device_budget(device: torch.device) -> Budget:
    """What is free on a device now, less a reserve. On the CPU: half of the machine's memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device)  # held by torch from earlier runs, and usable again
        return Budget(max(free + kept - RESERVE, 0))
    if device.type == "mps" and hasattr(torch.mps, "recommended_max_memory"):
        return Budget(max(torch.mps.recommended_max_memory() - RESERVE, 0))
    return Budget(_machine_memory() // 2)


def _machine_memory() -> int:
    """Bytes of main memory; 16 GB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 16 * GB


def _most(fits: Callable[[int], bool]) -> int:
    """The largest n up to MAX_TOKENS with fits(n), which falls once; 0 for none."""
    low, high = 0, MAX_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
