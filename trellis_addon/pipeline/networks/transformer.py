"""The transformer that both flow models are: timestep embedding, modulated blocks, input and output layers.

A diffusion transformer (Peebles and Xie, arXiv 2212.09748) with the modulation shared by all blocks, cross-attention
to image features, and rotary positions. The dense and the sparse model differ only in where their tokens come from.

Letters in the shape comments: R branches, T tokens of all samples, B samples, M model channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs import FlowConfig
from . import fused
from .attention import CrossAttention, Layout, SelfAttention
from .fused import is_fused
from .network import DTYPES, Linear, Network, layer_norm, to_stream, within_range


class TimestepEmbedder(nn.Module):
    """t in 0..1000 -> (B, M), by way of 256 sines and cosines."""

    def __init__(self, channels: int, width: int = 256) -> None:
        super().__init__()
        self.width = width
        self.mlp = nn.Sequential(nn.Linear(width, channels), nn.SiLU(), nn.Linear(channels, channels))

    def sinusoid(self, t: Tensor) -> Tensor:
        half = self.width // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
        angles = t.float()[:, None] * frequencies
        return torch.cat([angles.cos(), angles.sin()], dim=-1)

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(self.sinusoid(t))


class FeedForward(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(Linear(channels, hidden), nn.GELU("tanh"), Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., M) -> (..., M), to be added to the residual stream."""
        widen, activate, narrow = self.mlp
        assert isinstance(narrow, Linear)
        return to_stream(narrow, activate(within_range(widen(x))))


@dataclass(frozen=True)
class Context:
    """What the blocks need of the image, computed once per run.

    `keys_values[i]` are block i's keys and values (B, L, H, D) of the features, `constants[i]` (M,) is what its
    cross-attention answers without an image.
    """

    keys_values: Sequence[tuple[Tensor, Tensor]]
    constants: Sequence[Tensor]


class TransformerBlock(nn.Module):
    """Self-attention and MLP, both modulated and gated by the timestep, with cross-attention between them."""

    def __init__(
        self,
        channels: int,
        context_channels: int,
        heads: int,
        mlp_ratio: float,
        share_mod: bool = True,
        qk_rms_norm: bool = True,
        qk_rms_norm_cross: bool = True,
    ) -> None:
        super().__init__()
        if share_mod:
            self.modulation = nn.Parameter(torch.zeros(6 * channels))
        else:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), Linear(channels, 6 * channels))
        self.share_mod = share_mod
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.self_attn = SelfAttention(channels, heads, qk_rms_norm)
        self.cross_attn = CrossAttention(channels, context_channels, heads, qk_rms_norm_cross)
        self.mlp = FeedForward(channels, int(channels * mlp_ratio))

    def forward(
        self,
        h: Tensor,
        mod: Tensor,
        phases: Tensor,
        layout: Layout,
        keys_values: tuple[Tensor, Tensor],
        constant: Tensor | None = None,
        conditional: Sequence[bool] = (True,),
    ) -> Tensor:
        """h (R, T, M) -> (R, T, M), in the residual stream's type, which need not be that of the layers.

        `mod` is (B, 6M) with shared modulation, else the timestep embedding (B, M). `conditional[r]` says whether
        branch r sees the image; the others get `constant`.
        """
        mod = (self.modulation + mod).to(mod.dtype) if self.share_mod else self.adaLN_modulation(mod)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (layout.spread(part) for part in mod.chunk(6, dim=-1))

        torso = keys_values[1].dtype  # what the layers compute in
        u = modulated(h, scale_a, shift_a, torso)
        h = gated(h, gate_a, self.self_attn(u, phases, layout))
        for branch, sees in zip(h, conditional, strict=True):  # (T, M), views of h, which is this call's own
            if sees:
                u = normed_by(self.norm2, branch, torso)
                branch += self.cross_attn(u, keys_values, layout)
            else:
                branch += constant
        u = modulated(h, scale_m, shift_m, torso)
        return gated(h, gate_m, self.mlp(u))


def modulated(h: Tensor, scale: Tensor, shift: Tensor, torso: torch.dtype) -> Tensor:
    """The layer norm of h (R, T, M) times 1 + scale plus shift, which are (1, M), or (T, M) for several samples."""
    if is_fused() and len(scale) == 1:
        return fused.layer_norm(h, (1 + scale)[0].float(), shift[0].float(), torso)
    return (layer_norm(h) * (1 + scale) + shift).to(torso)


def normed_by(norm: nn.LayerNorm, h: Tensor, torso: torch.dtype) -> Tensor:
    """The layer norm of h (T, M) with weights of its own."""
    if is_fused():
        return fused.layer_norm(h, norm.weight, norm.bias, torso)
    return layer_norm(h, norm.weight, norm.bias).to(torso)


def gated(h: Tensor, gate: Tensor, x: Tensor) -> Tensor:
    """h (R, T, M) and, by how far the gate (1, M) or (T, M) is open, x."""
    if is_fused() and len(gate) == 1:
        return fused.gate_add(h, gate[0].float(), x)
    return h + gate * x


class FlowTransformer(Network):
    """Tokens (R, T, in) at positions x, y, z -> the velocity (R, T, out) that the model predicts for them."""

    can_be_eight_bits = True

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.torso = DTYPES[config.dtype]
        m = config.model_channels
        self.t_embedder = TimestepEmbedder(m)
        if config.share_mod:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(m, 6 * m))
        self.input_layer = nn.Linear(config.in_channels, m)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                m,
                config.cond_channels,
                config.num_heads,
                config.mlp_ratio,
                config.share_mod,
                config.qk_rms_norm,
                config.qk_rms_norm_cross,
            )
            for _ in range(config.num_blocks)
        )
        self.out_layer = nn.Linear(m, config.out_channels)

    @property
    def stream(self) -> torch.dtype:
        """The type of the residual stream, which is all blocks' sum: float16 would not hold it."""
        return torch.float32 if self.torso == torch.float16 else self.torso

    def in_torso(self, key: str) -> bool:
        """The blocks' linear layers; their norms and modulation vectors are held in float32."""
        keeps = ("modulation", "norm2.weight", "norm2.bias", "gamma")
        return key.startswith("blocks.") and not key.endswith(keeps)

    def encode_context(self, cond: Tensor) -> Context:
        """Image features (B, L, cond_channels) -> every block's keys and values, and their lack."""
        cond = cond.to(self.torso)
        layers = [block.cross_attn for block in self.blocks]
        constants = [layer.without_context(self.torso) for layer in layers]
        return Context([layer.keys_values(cond) for layer in layers], constants)

    def velocity(
        self,
        x: Tensor,
        t: Tensor,
        phases: Tensor,
        layout: Layout,
        context: Context,
        conditional: Sequence[bool] = (True,),
    ) -> Tensor:
        """x (T, in) -> (R, T, out) in x's dtype: the velocity with the image for each `conditional`, else without.

        `t` (B,) is 1000 times the flow's time; `phases` come from `rope_phases`.
        """
        h = self.input_layer(x.float())  # (T, M)
        mod = self.t_embedder(t)  # (B, M)
        if self.config.share_mod:
            mod = self.adaLN_modulation(mod)  # (B, 6M)
        h, mod = h.to(self.stream).expand(len(conditional), -1, -1), mod.to(self.stream)
        for block, keys_values, constant in zip(self.blocks, context.keys_values, context.constants, strict=True):
            h = block(h, mod, phases, layout, keys_values, constant, conditional)
        h = F.layer_norm(h.float(), h.shape[-1:])  # eps 1e-5 here, unlike in the blocks
        return self.out_layer(h).to(x.dtype)
