"""The two layouts in which DINOv3 is published: the official repository's, which is gated, and timm's mirror.

timm's variant "qkvb" holds the same weights under other names, with query, key and value in one matrix. The variant
without the biases of query and value is a model of its own here: it cannot stand in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.errors import EngineError
from ..networks.dinov3 import DinoConfig
from ..networks.network import parse
from .loading import Shapes, read_json
from .safetensors_file import SafetensorsFile

CLASS_NAME = "DinoV3FeatureExtractor"
MODEL_NAME = "facebook/dinov3-vitl16-pretrain-lvd1689m"
TIMM_NAME = "timm/vit_large_patch16_dinov3_qkvb.lvd1689m"
HEAD_DIM = 64  # of every DINOv3 ViT: timm's configuration does not say

_TOP = {
    "embeddings.cls_token": "cls_token",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.bias": "patch_embed.proj.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
}
_LAYER = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "attention.q_proj.bias": "attn.q_bias",
    "attention.v_proj.bias": "attn.v_bias",
    "attention.o_proj.weight": "attn.proj.weight",
    "attention.o_proj.bias": "attn.proj.bias",
    "layer_scale1.lambda1": "gamma_1",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "mlp.up_proj.weight": "mlp.fc1.weight",
    "mlp.up_proj.bias": "mlp.fc1.bias",
    "mlp.down_proj.weight": "mlp.fc2.weight",
    "mlp.down_proj.bias": "mlp.fc2.bias",
    "layer_scale2.lambda1": "gamma_2",
}


def read_config(path: Path, weights: Path) -> tuple[DinoConfig, bool]:
    """The configuration of a DINOv3 folder, and whether it is laid out as timm's."""
    data = read_json(path)
    shapes = _shapes(weights)
    if "cls_token" in shapes:
        return _timm_config(data, shapes, path, weights), True
    if data.get("model_type", "dinov3_vit") != "dinov3_vit" or data.get("use_gated_mlp"):
        raise EngineError("{path} does not describe the DINOv3 ViT that the model was trained with.", path=path)
    return parse(DinoConfig, known_settings(data), str(path)), False


def known_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """What matters here of transformers' configuration, which has much beside it."""
    known = {field.name for field in fields(DinoConfig)}
    return {key: value for key, value in data.items() if key in known}


def from_timm(shapes: Shapes, config: DinoConfig, path: Path) -> dict[str, tuple[str, slice | None]]:
    """Where the network's weights lie in a file of timm's layout; raises `EngineError` when it lacks the biases."""
    if not any(key.endswith("attn.q_bias") for key in shapes):
        raise EngineError(
            "{path} is the DINOv3 variant without the query and value biases, which gives other features than the "
            "model was trained with; use {timm_name} or {model_name}.",
            path=path,
            timm_name=TIMM_NAME,
            model_name=MODEL_NAME,
        )
    top, inner_names = ({theirs: ours for ours, theirs in table.items()} for table in (_TOP, _LAYER))
    m = config.hidden_size
    # the mirror leaves out the mask token, which only training uses: any token stands in for it
    sources: dict[str, tuple[str, slice | None]] = {"embeddings.mask_token": ("cls_token", None)}
    for key in shapes:
        if not key.startswith("blocks."):
            sources[top.get(key, key)] = (key, None)
            continue
        _, number, inner = key.split(".", 2)
        if inner == "attn.qkv.weight":
            for i, part in enumerate("qkv"):
                sources[f"layer.{number}.attention.{part}_proj.weight"] = (key, slice(i * m, (i + 1) * m))
        else:
            sources[f"layer.{number}.{inner_names.get(inner, inner)}"] = (key, None)
    return sources


def to_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's weights under timm's names, for making files."""
    renamed = {theirs: weights[ours] for ours, theirs in _TOP.items()}
    for key, tensor in weights.items():
        if not key.startswith("layer."):
            continue
        _, number, inner = key.split(".", 2)
        if inner in _LAYER:
            renamed[f"blocks.{number}.{_LAYER[inner]}"] = tensor
        elif inner == "attention.q_proj.weight":
            parts = [weights[f"layer.{number}.attention.{part}_proj.weight"] for part in "qkv"]
            renamed[f"blocks.{number}.attn.qkv.weight"] = torch.cat(parts)
    return renamed


def _timm_config(data: dict[str, Any], shapes: Shapes, path: Path, weights: Path) -> DinoConfig:
    architecture = data.get("architecture", "")
    if not isinstance(architecture, str) or "dinov3" not in architecture:
        raise EngineError("{path} does not describe a DINOv3 model of timm's.", path=path)
    needed = ("cls_token", "reg_token", "patch_embed.proj.weight")
    missing = [key for key in needed if key not in shapes]
    if missing:
        raise EngineError(
            "{weights} is not a DINOv3 model of timm's: the weight {weight} is missing.",
            weights=weights,
            weight=missing[0],
        )
    width = shapes["cls_token"][-1]
    layers = {key.split(".")[1] for key in shapes if key.startswith("blocks.")}
    hidden = shapes.get("blocks.0.mlp.fc1.weight", (4 * width,))[0]
    arguments = data.get("model_args")
    heads = arguments.get("num_heads") if isinstance(arguments, dict) else None
    values = {
        "patch_size": shapes["patch_embed.proj.weight"][-1],
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": len(layers),
        "num_attention_heads": heads or max(1, width // HEAD_DIM),
        "num_register_tokens": shapes["reg_token"][1],
    }
    return parse(DinoConfig, values, str(path))


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with SafetensorsFile(path) as file:
        return file.shapes
