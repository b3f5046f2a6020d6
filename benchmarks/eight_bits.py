"""How far a flow model is off in each kind of numbers, at full depth, with random weights: the table in docs/local.md.

    python benchmarks/eight_bits.py [--width 384] [--tokens 256] [--device cpu]

The error is that of one velocity against float32's, as a share of its length. Random weights say nothing about
pictures: the published ones have channels whose weights differ far more in size than random ones do, or far less.
Nothing is asserted: the figures are for reading.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trellis_addon.pipeline.checkpoint.eight_bits import quantised
from trellis_addon.pipeline.costs import PUBLISHED_FLOW
from trellis_addon.pipeline.networks.attention import Layout, rope_phases
from trellis_addon.pipeline.networks.network import EIGHT, full_size
from trellis_addon.pipeline.networks.transformer import FlowTransformer
from trellis_addon.weights.eight_bits import KINDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=384, help="channels; the published models have 1536")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    config = replace(PUBLISHED_FLOW, model_channels=options.width, num_heads=options.width // 128)
    generator = torch.Generator().manual_seed(3)
    with torch.device("meta"):
        network = FlowTransformer(config)
    exact = {key: made(key, tuple(tensor.shape), generator) for key, tensor in network.named_parameters()}
    x, cond = torch.randn(options.tokens, 8, generator=generator), torch.randn(1, 64, 1024, generator=generator)
    phases = rope_phases(torch.randint(0, 32, (options.tokens, 3), generator=generator), config.head_dim)

    def velocity(torso: torch.dtype, kind: str) -> Tensor:
        with torch.device("meta"):
            model = FlowTransformer(config).requires_grad_(False)
        model.choose(torso)
        if kind:
            model.hold_in_eight_bits(kind)
        weights = {}
        for key, tensor in exact.items():
            held = model.dtype_of(key)
            if held in EIGHT.values():
                weights[key], weights[model.scale_of(key)] = quantised(tensor, held)
            else:
                weights[key] = tensor.to(held)
        model.load_state_dict({key: tensor.to(options.device) for key, tensor in weights.items()}, assign=True)
        with torch.inference_mode():
            context = model.encode_context(cond.to(options.device))
            t = torch.tensor([700.0], device=options.device)
            layout = Layout((options.tokens,))
            return model.velocity(x.to(options.device), t, phases.to(options.device), layout, context).float().cpu()

    wanted = velocity(torch.float32, "")
    print(f"{config.num_blocks} blocks of {options.width} channels, {options.tokens} tokens, on {options.device}")
    print(f"{'computed in':<14}{'weights of':>12}{'error':>10}{'GB of a published flow model':>32}")
    for torso in (torch.float32, torch.bfloat16, torch.float16):
        for kind in ("", *KINDS):
            off = float((velocity(torso, kind) - wanted).norm() / wanted.norm())
            size = full_size(FlowTransformer, PUBLISHED_FLOW, torso, eight_bits=kind)[0] / 1e9
            name = str(torso).removeprefix("torch.")
            print(f"{name:<14}{kind or name:>12}{off:>10.2e}{size:>32.2f}", flush=True)


def made(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A weight as large as makes sums of the size of what is summed."""
    if key.endswith(("gamma", "norm2.weight")):
        return torch.ones(shape)
    return torch.randn(shape, generator=generator) * (shape[-1] ** -0.5 if len(shape) > 1 else 0.1)


if __name__ == "__main__":
    main()
