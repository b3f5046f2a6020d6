"""The sparse-structure flow: noise on a coarse dense grid becomes the latent of where the object is."""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import Layout, rope_phases
from .transformer import FlowTransformer


class SparseStructureFlowModel(FlowTransformer):
    """Every cell of the grid is a token. Published: 16^3 cells, 8 channels, 30 blocks of 1536, 1.29 G weights."""

    def grid(self, device: torch.device) -> Tensor:
        """The cells' coordinates (R^3, 3) in the tokens' order: x slowest, z fastest."""
        axis = torch.arange(self.config.resolution, device=device)
        return torch.cartesian_prod(axis, axis, axis)

    def phases(self, device: torch.device) -> Tensor:
        return rope_phases(self.grid(device), self.config.head_dim)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """x (B, C, R, R, R), t (B,) in 0..1000, cond (B, L, cond_channels) -> velocity like x."""
        tokens, layout = to_tokens(x)
        phases = self.phases(x.device).repeat(x.shape[0], 1, 1)
        v = self.velocity(tokens, t, phases, layout, self.encode_context(cond))[0]
        return from_tokens(v, x.shape[0], x.shape[2:])


def to_tokens(x: Tensor) -> tuple[Tensor, Layout]:
    """(B, C, R, R, R) -> (B R^3, C) and how its rows belong to samples."""
    tokens = x.flatten(2).transpose(1, 2)  # (B, R^3, C)
    return tokens.reshape(-1, x.shape[1]), Layout((tokens.shape[1],) * x.shape[0])


def from_tokens(tokens: Tensor, batch: int, size: torch.Size) -> Tensor:
    """(B R^3, C) -> (B, C, R, R, R)."""
    return tokens.reshape(batch, -1, tokens.shape[-1]).transpose(1, 2).unflatten(2, size).contiguous()
