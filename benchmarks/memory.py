"""What a card of some size is enough for, and how often it reads the weights: by simulation, without a card.

    python benchmarks/memory.py [--resolutions 1024 1536] [--cards 6 8 12 16 24]

Peaks beside the weights are those of the full-size networks on meta tensors (shapes only; attention holds no more than
its output, as on CUDA), each next to what the pipeline plans with. Bytes read again are those that the second asset
reads, by the network that is needed last going first, as the store does it, and by the least recently used going first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from devtools.pipeline.peak import PeakMemory
from trellis_addon.pipeline import costs
from trellis_addon.pipeline.checkpoint.repository import IMAGE_MODEL
from trellis_addon.pipeline.device.memory import (
    GB,
    IMAGE_MODEL_PEAK,
    RESERVE,
    STRUCTURE_PEAK,
    TYPICAL,
    Budget,
    decoder_bytes,
    flow_bytes,
)
from trellis_addon.pipeline.device.store import ModelStore, Outline
from trellis_addon.pipeline.networks import attention
from trellis_addon.pipeline.networks.network import Network
from trellis_addon.pipeline.networks.transformer import FlowTransformer
from trellis_addon.pipeline.networks.vae_decoder import DecoderConfig
from trellis_addon.pipeline.request import TYPE_OF_RESOLUTION, Request
from trellis_addon.pipeline.sample import course
from trellis_addon.pipeline.sizes import DECODER_PARAMETERS, FLOW_PARAMETERS, IMAGE_MODEL_PARAMETERS

STRUCTURE_DECODER = 147_591_972  # bytes, as published
LEVELS = {"block_type": ("SparseConvNeXtBlock3d",) * 5, "up_block_type": ("SparseResBlockC2S3d",) * 4}
DECODER = DecoderConfig(costs.PUBLISHED_DECODER[0], 32, costs.PUBLISHED_DECODER[1], **LEVELS, use_fp16=True)


class Sizes:
    """The networks as sizes alone: a source for the store that counts what is read of it."""

    def __init__(self) -> None:
        self.weights = {IMAGE_MODEL: 4 * IMAGE_MODEL_PARAMETERS, "sparse_structure_decoder": STRUCTURE_DECODER}
        self.flow, self.decoder = 2 * FLOW_PARAMETERS, 2 * DECODER_PARAMETERS
        self.read = 0

    def outline(self, name: str) -> Outline:
        known = self.weights.get(name)
        if "flow" in name:
            return Outline(costs.PUBLISHED_FLOW, self.flow, 2)
        return Outline(DECODER, self.decoder if known is None else known, 2)

    def load(self, name: str) -> Network:
        self.read += self.outline(name).weights
        return torch.nn.Identity()  # type: ignore[return-value]


def uses(request: Request, budget: Budget, side: int, flow: int, results: int = 1) -> Iterator[tuple[str, int]]:
    """The networks of so many results of a picture, each with the bytes that are planned beside it."""
    large, small = TYPICAL[side], TYPICAL[512]
    decoded = 0
    for name in course(request, results):
        if name == IMAGE_MODEL:
            yield name, IMAGE_MODEL_PEAK
        elif name == "sparse_structure_decoder":
            yield name, STRUCTURE_PEAK
        elif "flow" in name:
            tokens, context = (large.tokens, large.context) if "1024" in name else (small.tokens, small.context)
            tokens = 4096 if "structure" in name else tokens
            together = budget.branches_together(costs.PUBLISHED_FLOW, flow, tokens, context)
            yield name, flow_bytes(costs.PUBLISHED_FLOW, tokens, context, 2, 2 if together else 1)
        else:
            refines = name == "shape_slat_decoder" and request.is_cascade and decoded < results
            decoded += 1
            yield name, decoder_bytes(DECODER, small.tokens if refines else large.tokens, 2, budget.workspace)


def read_again(resolution: int, gigabytes: float, is_expected: bool = True, results: int = 1) -> int:
    """Bytes of weights that each asset after the first reads on a card of this size; of several results at once."""
    own: Mapping[str, Any] = costs.PUBLISHED_SAMPLERS
    request = Request(TYPE_OF_RESOLUTION[resolution], *(own[n] for n in ("sparse_structure", "shape_slat", "tex_slat")))
    budget, sizes = Budget(int(gigabytes * GB) - RESERVE), Sizes()
    store = ModelStore(sizes, torch.device("cpu"), budget)
    with mock.patch("trellis_addon.pipeline.device.store._release"):  # there is nothing to give back
        for _ in range(3):  # from the second on they are alike
            sizes.read = 0
            if is_expected:
                store.expect(course(request, results))
            for name, beside in uses(request, budget, resolution, sizes.flow, results):
                store.use(name, beside)
    return sizes.read // results


def flow_peak(tokens: int, context: int, branches: int = 1) -> tuple[int, int]:
    """Bytes beside the weights of a full-size flow model, as they come out on meta tensors, and as they are planned."""
    head = costs.PUBLISHED_FLOW.head_dim // 2
    without_scores = mock.patch.object(attention, "attend", lambda q, k, v: torch.empty_like(q))
    with without_scores, torch.device("meta"), torch.inference_mode():
        model = FlowTransformer(costs.PUBLISHED_FLOW).cast(torch.bfloat16)
        sizes = ((tokens, 8), (1,), (tokens, head, 2), (1, context, 1024))
        x, t, phases, cond = (torch.empty(size) for size in sizes)
        with PeakMemory(model) as seen:
            kept = model.encode_context(cond)
            model.velocity(x, t, phases, attention.Layout((tokens,)), kept, (True, False)[:branches])
    return seen.peak, flow_bytes(costs.PUBLISHED_FLOW, tokens, context, 2, branches)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[1024, 1536])
    parser.add_argument("--cards", type=float, nargs="+", default=[6, 8, 12, 16, 24], help="gigabytes")
    arguments = parser.parse_args()
    print("flow model, GB beside its weights: tokens, peak, plan")
    for tokens, context, branches in ((4096, 1029, 2), (2400, 1029, 2), (9600, 4101, 1), (22000, 4101, 1)):
        peak, plan = flow_peak(tokens, context, branches)
        print(f"  {tokens:6d} x {branches}   {peak / GB:5.2f}   {plan / GB:5.2f}", flush=True)
    for resolution in arguments.resolutions:
        print(f"{resolution}, GB of weights read again per asset: card, by next use, four results at once, by last use")
        for card in arguments.cards:
            ours, other = (read_again(resolution, card, expected) / GB for expected in (True, False))
            four = read_again(resolution, card, results=4) / GB
            print(f"  {card:4.0f} GB   {ours:5.1f}   {four:5.1f}   {other:5.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
