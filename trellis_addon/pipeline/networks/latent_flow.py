"""The structured-latent flow: noise on the object's voxels becomes the latent of its shape, or of its material.

The same transformer as the sparse-structure flow, with one token per voxel. The texture model sees the shape's latent
beside the noise: concatenated along the channels, noise first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import Layout, rope_phases
from .transformer import FlowTransformer


class SLatFlowModel(FlowTransformer):
    """Published: 32 latent channels (64 in for texture), 30 blocks of 1536 channels, 1.29 G weights."""

    def forward(self, feats: Tensor, coords: Tensor, t: Tensor, cond: Tensor, concat: Tensor | None = None) -> Tensor:
        """feats (T, C) on coords (T, 4) = (b, x, y, z), t (B,) in 0..1000, cond (B, L, cond_channels) -> velocity.

        `concat` (T, C') is put behind feats. Rows keep their order; samples must follow one another.
        """
        if concat is not None:
            feats = torch.cat([feats, concat], dim=-1)
        phases = rope_phases(coords[:, 1:], self.config.head_dim)
        return self.velocity(feats, t, phases, Layout.of(coords), self.encode_context(cond))[0]
