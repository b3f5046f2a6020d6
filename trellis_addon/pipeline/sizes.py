"""How much memory each stage takes, and what fits into a budget: arithmetic alone, without torch and without a device.

A flow model needs its weights, the image's keys and values, and some tens of kilobytes per token; a decoder needs its
weights and some hundred bytes per voxel of the finest level. Both counts are known before the stage runs, so that a
resolution that cannot fit is lowered beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .configs import DecoderConfig, EncoderConfig, FlowConfig

GB = 1 << 30
MAX_TOKENS = 49152  # the model's own limit for the cascade
VOXELS_PER_TOKEN = 260  # of the finest level: a surface grows fourfold per level, and there are four
RESERVE = GB // 2  # what the driver, other programs and fragmentation take of a device
MARGIN = 1.2  # on all estimates
IMAGE_MODEL_PEAK = 1 << 29  # DINOv3 at 1024 x 1024 in float32, without its weights
STRUCTURE_PEAK = 1 << 29  # the dense decoder at 64^3, without its weights
SCORES = 1 << 26  # of one call of attention where that may hold the whole matrix
SCORES_PEAK = 3 * 4 * SCORES  # bytes: in float32, before and after the softmax and in between
BATCH_TOKENS = 8192  # up to here both branches of guidance go through the model in one pass


# Parameters of the published model, by part.
FLOW_PARAMETERS = 1_292_302_880  # the largest of the flow models, in 16 bits
FLOW_LINEAR_WEIGHTS = 1_274_019_840  # of these, the weights of the blocks' linear layers, which 8 bits can hold
FLOW_LINEAR_CHANNELS = 660_480  # and their output channels, each with a scale then
DECODER_PARAMETERS = 474_231_463  # the larger of the sparse decoders, in 16 bits
IMAGE_MODEL_PARAMETERS = 303_129_600  # DINOv3, in 32 bits


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


def flow_weights(itemsize: int, is_eight_bits: bool = False) -> int:
    """Bytes of the largest flow model's weights, of which its torso's have `itemsize` bytes, or 8 bits and scales."""
    rest = 4 * (FLOW_PARAMETERS - FLOW_LINEAR_WEIGHTS)  # nearly all of it is in float32
    if is_eight_bits:
        return FLOW_LINEAR_WEIGHTS + 4 * FLOW_LINEAR_CHANNELS + rest
    return itemsize * FLOW_LINEAR_WEIGHTS + rest


def decoder_bytes(config: DecoderConfig | EncoderConfig, tokens: int, itemsize: int = 2, workspace: int = 0) -> int:
    """Bytes that a sparse decoder, or encoder, takes beside its weights for `tokens` latents.

    The widest moment is the last step, when two tensors of the finest level and two of the level before are there, with
    the neighbours of all levels (27 row numbers a voxel, a third more for the coarser levels) and the coordinates.
    """
    finest_last = config.finest_last
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

    def decoder_tokens(self, config: DecoderConfig | EncoderConfig, weights: int, itemsize: int = 2) -> int:
        """The most latents that a decoder can take, up to the model's own limit."""
        return _most(lambda n: self.allows(weights, decoder_bytes(config, n, itemsize, self.workspace)))

    def branches_together(self, config: FlowConfig, weights: int, tokens: int, context: int, itemsize: int = 2) -> bool:
        """Whether both branches of guidance go in one pass: only a small one gains by that, and it must fit."""
        together = flow_bytes(config, tokens, context, itemsize, branches=2)
        return tokens <= BATCH_TOKENS and self.allows(weights, together)


def largest_resolution(
    budget: Budget, flow: FlowConfig, flow_weights: int, decoder: DecoderConfig | EncoderConfig, decoder_weights: int
) -> int:
    """The highest resolution whose usual token count fits; 0 when none does. What a card of some size is good for."""
    for resolution, typical in sorted(TYPICAL.items(), reverse=True):
        tokens = budget.flow_tokens(flow, flow_weights, typical.context)
        if typical.tokens <= min(tokens, budget.decoder_tokens(decoder, decoder_weights)):
            return resolution
    return 0


def usual_tokens(resolution: int) -> int:
    """Latents that an object usually has at any resolution: between those of `TYPICAL`, as a power of the side."""
    sides = sorted(TYPICAL)
    upper = next((i for i, side in enumerate(sides[1:], 1) if resolution <= side), len(sides) - 1)
    low, high = sides[upper - 1], sides[upper]
    power = math.log(TYPICAL[high].tokens / TYPICAL[low].tokens) / math.log(high / low)
    return round(TYPICAL[low].tokens * (resolution / low) ** power)


def _most(fits: Callable[[int], bool]) -> int:
    """The largest n up to MAX_TOKENS with fits(n), which falls once; 0 for none."""
    low, high = 0, MAX_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
