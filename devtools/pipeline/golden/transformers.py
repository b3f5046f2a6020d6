"""Golden fixtures of the transformers: attention, blocks, both flow models, DINOv3."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from trellis_addon.pipeline.checkpoint.dinov3_files import known_settings
from trellis_addon.pipeline.networks import dinov3 as dino
from trellis_addon.pipeline.networks.attention import (
    CrossAttention,
    Layout,
    SelfAttention,
    rope_frequencies,
    rope_phases,
    rotate,
)
from trellis_addon.pipeline.networks.latent_flow import SLatFlowModel
from trellis_addon.pipeline.networks.network import Network, parse
from trellis_addon.pipeline.networks.structure_flow import SparseStructureFlowModel
from trellis_addon.pipeline.networks.transformer import FlowConfig, TimestepEmbedder, TransformerBlock

from .fixtures import BFLOAT, HALF, MODEL, TORSO, Fixture, Mismatch

N = TypeVar("N", bound=Network)


def rope(f: Fixture) -> None:
    coords = f.take("coords", torch.int64)
    inputs = {
        tensor.shape[-1]: f.take(f"in.q{name}") for name in f.names("in.q") for tensor in [f.tensors[f"in.q{name}"]]
    }
    widths = [int(name) for name in f.names("phases_hd")]
    if not widths:
        raise Mismatch("there are no phases_hd*")
    for width in widths:
        phases = rope_phases(coords, width)
        f.compare(f"freqs_hd{width}", rope_frequencies(width, f.device), MODEL)
        f.compare(f"phases_hd{width}", phases, MODEL)
        if width not in inputs:
            raise Mismatch(f"there is no in.q of width {width}")
        f.compare(f"out.q_hd{width}", rotate(inputs[width], phases), MODEL)


def timestep_embedder(f: Fixture) -> None:
    t, weights = f.take("in.t"), f.weights("weights.")
    hidden, width = _matrix(weights, "mlp.0.weight")
    module = f.load(TimestepEmbedder(hidden, width), weights)
    f.compare(f"sinusoid{width}", module.sinusoid(t), MODEL)
    f.compare("out", module(t), MODEL)


def attention(f: Fixture) -> None:
    x, ctx, coords = f.take("in.x"), f.take("in.ctx"), f.take("in.coords", torch.int64)
    channels, heads, normed = f.setting("channels", int), f.setting("num_heads", int), f.setting("qk_rms_norm", bool)
    tokens, layout = x.flatten(0, 1), Layout((x.shape[1],) * x.shape[0])
    phases = rope_phases(coords, channels // heads).repeat(x.shape[0], 1, 1)
    own = f.load(SelfAttention(channels, heads, normed), f.weights("self."))
    f.compare("out.self", own(tokens[None], phases, layout)[0].view_as(x), MODEL)
    cross = f.load(CrossAttention(channels, f.setting("ctx_channels", int), heads, normed), f.weights("cross."))
    f.compare("out.cross", cross(tokens, cross.keys_values(ctx), layout).view_as(x), MODEL)


def adaln_block(f: Fixture) -> None:
    x, ctx, coords = f.take("in.x"), f.take("in.ctx"), f.take("in.coords", torch.int64)
    layout = Layout((x.shape[1],) * x.shape[0])
    cases = f.names(suffix="/in.mod")
    if not cases:
        raise Mismatch("there is no in.mod")
    for case in cases:
        block = _block(f, f.weights(f"{case}."))
        phases = rope_phases(coords, _head_dim(block)).repeat(x.shape[0], 1, 1)
        h = x.flatten(0, 1)[None]
        out = block(h, f.take(f"{case}/in.mod"), phases, layout, block.cross_attn.keys_values(ctx))
        f.compare(f"{case}/out", out[0].view_as(x), MODEL)


def sparse_adaln_block(f: Fixture) -> None:
    feats, coords = f.take("in.feats"), f.take("in.coords", torch.int32)
    block = _block(f, f.weights("weights."))
    keys_values = block.cross_attn.keys_values(f.take("in.ctx"))
    phases = rope_phases(coords[:, 1:], _head_dim(block))
    out = block(feats[None], f.take("in.mod"), phases, Layout.of(coords), keys_values)
    f.compare("out", out[0], MODEL)


def ss_flow(f: Fixture) -> None:
    config = parse(FlowConfig, f.setting("config", dict), "ss_flow.json")
    model = f.load(SparseStructureFlowModel(config), f.weights("weights."))
    inputs = (f.take("in.x"), f.take("in.t"), f.take("in.cond"))
    with activations(model) as seen:
        out = model(*inputs)
    f.compare("rope_phases", model.phases(f.device), MODEL)
    tokens = (inputs[0].shape[0], -1, config.model_channels)  # ours are one list for all samples
    f.compare_activations({k: v if k in ("t_embedder", "adaLN") else v.reshape(tokens) for k, v in seen.items()})
    f.compare("out", out, MODEL)
    f.compare_torso("out", _copy(model, torch.float16)(*inputs), HALF, "float16")
    in_bfloat16 = _copy(model, torch.bfloat16)(*inputs)
    f.compare_torso("out", in_bfloat16, BFLOAT, "bfloat16")
    f.compare_optional("out_bf16torso", in_bfloat16, TORSO)


def slat_flow(f: Fixture) -> None:
    config = parse(FlowConfig, f.setting("config", dict), f"{f.name}.json")
    model = f.load(SLatFlowModel(config), f.weights("weights."))
    inputs = [f.take("in.feats"), f.take("in.coords", torch.int32), f.take("in.t"), f.take("in.cond")]
    if "in.concat_cond" in f.tensors:
        inputs.append(f.take("in.concat_cond"))
    with activations(model) as seen:
        out = model(*inputs)
    own = {k: v.reshape(-1, config.model_channels) for k, v in seen.items()}
    f.compare_activations({k: v for k, v in own.items() if k not in ("t_embedder", "adaLN") or f"act.{k}" in f.tensors})
    f.compare("out.feats", out, MODEL)
    f.compare_torso("out.feats", _copy(model, torch.float16)(*inputs), HALF, "float16")
    in_bfloat16 = _copy(model, torch.bfloat16)(*inputs)
    f.compare_torso("out.feats", in_bfloat16, BFLOAT, "bfloat16")
    f.compare_optional("out_bf16torso", in_bfloat16, TORSO)


def dinov3(f: Fixture) -> None:
    config = known_settings(f.setting("config", dict))
    model = f.load(dino.DINOv3(parse(dino.DinoConfig, config, "dinov3.json")), f.weights("weights."))
    for name in f.names("in.x"):
        f.compare(f"out.features{name}", model(f.take(f"in.x{name}")), MODEL)
    if "in.x" not in f.tensors:
        raise Mismatch("in.x is missing")
    patch = model.config.patch_size
    height, width = f.tensors["in.x"].shape[2:]
    cos, sin = dino.patch_rope(height // patch, width // patch, model.config, f.device)
    f.compare("rope.cos", cos, MODEL)
    f.compare("rope.sin", sin, MODEL)


def _copy(model: N, torso: torch.dtype) -> N:
    """The same network with another torso, as a device may want it (`pipeline.precision`)."""
    other = copy.deepcopy(model)
    other.cast(torso)
    return other


@contextmanager
def activations(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What the model's stages put out while it runs, by the fixtures' names."""
    seen: dict[str, Tensor] = {}
    stages = {"input_layer": "input_layer", "t_embedder": "t_embedder", "adaLN_modulation": "adaLN"}
    stages["middle_block"] = "middle_block"
    modules = {name: getattr(model, attribute) for attribute, name in stages.items() if hasattr(model, attribute)}
    modules |= {f"block{i}": block for i, block in enumerate(model.blocks)}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, args: Any, out: Tensor) -> None:
            seen[name] = out.clone()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _matrix(weights: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    if name not in weights or weights[name].dim() != 2:
        raise Mismatch(f"the weight {name} is missing or no matrix")
    return tuple(weights[name].shape)


def _block(f: Fixture, weights: Mapping[str, Tensor]) -> TransformerBlock:
    """A transformer block of the size and kind that the weights show."""
    hidden, channels = _matrix(weights, "mlp.mlp.0.weight")
    _, context = _matrix(weights, "cross_attn.to_kv.weight")
    normed, cross_normed = (f"{part}.q_rms_norm.gamma" in weights for part in ("self_attn", "cross_attn"))
    if "heads" in f.config:
        heads = f.setting("heads", int)
    else:
        heads, _ = _matrix(weights, "self_attn.q_rms_norm.gamma")
    if heads < 1 or channels % heads:
        raise Mismatch(f"{channels} channels do not divide among {heads} heads")
    ratio = (hidden + 0.5) / channels
    block = TransformerBlock(channels, context, heads, ratio, "modulation" in weights, normed, cross_normed)
    return f.load(block, weights)


def _head_dim(block: TransformerBlock) -> int:
    return block.self_attn.to_out.weight.shape[0] // block.self_attn.heads
