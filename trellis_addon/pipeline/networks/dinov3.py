"""DINOv3 ViT features of an image: what the flow models see of it.

Simeoni et al., DINOv3 (arXiv 2508.10104): a vision transformer with register tokens and rotary positions, no position
embedding. The flow models were trained on its last hidden state under a plain layer norm, with the class and register
tokens kept and the model's own final norm left out.

Letters in the shape comments: B images, L tokens, M channels, H heads, D channels of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ...core.messages import message
from ..configs import require
from .attention import attend
from .network import Network

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class DinoConfig:
    """The parts of the checkpoint's `config.json` that matter here."""

    patch_size: int = 16
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    num_register_tokens: int = 4
    layer_norm_eps: float = 1e-5
    rope_theta: float = 100.0
    query_bias: bool = True
    key_bias: bool = False
    value_bias: bool = True
    proj_bias: bool = True
    mlp_bias: bool = True

    def __post_init__(self) -> None:
        require(
            min(self.patch_size, self.hidden_size, self.intermediate_size, self.num_attention_heads) > 0,
            message("sizes must be positive"),
        )
        require(self.num_hidden_layers >= 0 and self.num_register_tokens >= 0, message("numbers must not be negative"))
        require(
            self.hidden_size % (4 * self.num_attention_heads) == 0, message("a head's channels must be a multiple of 4")
        )


class Embeddings(nn.Module):
    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        m = config.hidden_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, m))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, m))  # in the file, for training only
        self.register_tokens = nn.Parameter(torch.zeros(1, config.num_register_tokens, m))
        self.patch_embeddings = nn.Conv2d(3, m, config.patch_size, config.patch_size)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_embeddings(x).flatten(2).transpose(1, 2)  # (B, patches, M), row by row
        first = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.register_tokens)]
        return torch.cat([*first, patches], dim=1)


class Attention(nn.Module):
    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        m, self.heads = config.hidden_size, config.num_attention_heads
        self.k_proj = nn.Linear(m, m, config.key_bias)
        self.v_proj = nn.Linear(m, m, config.value_bias)
        self.q_proj = nn.Linear(m, m, config.query_bias)
        self.o_proj = nn.Linear(m, m, config.proj_bias)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)) for layer in (self.q_proj, self.k_proj, self.v_proj))
        return self.o_proj(attend(rotate_patches(q, rope), rotate_patches(k, rope), v).flatten(2))


class LayerScale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.lambda1


class MLP(nn.Module):
    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.gelu(self.up_proj(x)))


class Layer(nn.Module):
    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.attention = Attention(config)
        self.layer_scale1 = LayerScale(config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = MLP(config)
        self.layer_scale2 = LayerScale(config.hidden_size)

    def forward(self, h: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        h = h + self.layer_scale1(self.attention(self.norm1(h), rope))
        return h + self.layer_scale2(self.mlp(self.norm2(h)))


class DINOv3(Network):
    """Published: ViT-L/16, 24 layers of 1024 channels, 303 M weights, run in float32."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)  # in the file, not used here

    def in_torso(self, key: str) -> bool:
        return False

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, height, width) -> tokens (B, 1 + registers + patches, M)."""
        patch = self.config.patch_size
        rope = patch_rope(x.shape[2] // patch, x.shape[3] // patch, self.config, x.device)
        h = self.embeddings(x)
        for layer in self.layer:
            h = layer(h, rope)
        return F.layer_norm(h, h.shape[-1:])


def patch_rope(rows: int, columns: int, config: DinoConfig, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """cos and sin (rows * columns, D) of every patch: its centre in [-1, 1], at D/4 frequencies along y, then x."""
    d = config.hidden_size // config.num_attention_heads
    frequencies = config.rope_theta ** (-torch.arange(d // 4, dtype=torch.float32, device=device) * (4 / d))
    y = 2 * (torch.arange(rows, dtype=torch.float32, device=device) + 0.5) / rows - 1
    x = 2 * (torch.arange(columns, dtype=torch.float32, device=device) + 0.5) / columns - 1
    centres = torch.cartesian_prod(y, x)  # (patches, 2)
    angles = (2 * math.pi * centres[:, :, None] * frequencies).flatten(1).repeat(1, 2)  # (patches, D)
    return angles.cos(), angles.sin()


def rotate_patches(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the halves of every head of (B, L, H, D); the class and register tokens in front stay as they are."""
    cos, sin = (a[:, None] for a in rope)
    first = x.shape[1] - cos.shape[0]
    prefix, patches = x[:, :first], x[:, first:]
    a, b = patches.chunk(2, dim=-1)
    return torch.cat([prefix, patches * cos + torch.cat([-b, a], dim=-1) * sin], dim=1)


def to_input(image: Image.Image, size: int) -> Tensor:
    """An RGB picture as the network's input (3, size, size), float32."""
    pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS), np.float32) / 255
    normalised = (pixels - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))
