"""The shape encoder: from the dual grid of a mesh to the shape latent, for texturing a mesh that is there already."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs import EncoderConfig
from .network import Network
from .sparse import SparseTensor
from .vae_blocks import ConvNeXtBlock, DownBlock


class FlexiDualGridVaeEncoder(Network):
    """Published: 6 values to 32 latent channels, widths 64 to 1024 over 5 levels, 354 M weights."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.torso = torch.float16 if config.use_fp16 else torch.float32
        widths = config.model_channels
        self.input_layer = nn.Linear(config.in_channels, widths[0])
        self.blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            level = nn.ModuleList(ConvNeXtBlock(width) for _ in range(config.num_blocks[i]))
            if i < len(widths) - 1:
                level.append(DownBlock(width, widths[i + 1]))
            self.blocks.append(level)
        self.to_latent = nn.Linear(widths[-1], 2 * config.latent_channels)

    def in_torso(self, key: str) -> bool:
        return key.startswith("blocks.") and ".norm" not in key

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Dual vertices and flags (N, 6), see `encoder_input`, -> the latent's mean (n, latent_channels), float32.

        The grid of the answer remembers the way back, so that the texture decoder ends on x's voxels in x's order.
        """
        h = x.with_feats(self.input_layer(x.feats.float()).to(self.torso))
        for level in self.blocks:
            for block in level:
                h = block(h)
        out = self.to_latent(F.layer_norm(h.feats.float(), h.feats.shape[-1:]))  # eps 1e-5, unlike in the blocks
        return h.with_feats(out[:, : self.config.latent_channels])


def encoder_input(vertices: Tensor, intersected: Tensor) -> Tensor:
    """Dual vertices (N, 3) in voxel units from the voxel's low corner and flags (N, 3) -> (N, 6) around 0."""
    return torch.cat([vertices.float() - 0.5, intersected.float() - 0.5], dim=1)
