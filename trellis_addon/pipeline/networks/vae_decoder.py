"""The sparse decoders: from a latent on coarse voxels to values on voxels 16 times finer along each axis.

The shape decoder predicts which of a voxel's eight corners go on existing, level by level, and at the end the dual
grid of the surface. The texture decoder follows the shape decoder's voxels and gives them their material.

Letters in the shape comments: N voxels, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..configs import DecoderConfig
from .network import Network
from .sparse import SparseTensor
from .vae_blocks import ConvNeXtBlock, UpBlock

OnBlock = Callable[[], None]


@dataclass(frozen=True)
class Decoded:
    """A decoder's answer: `out` on the finest voxels, the logits (N, 8) of each subdivision, and what they refined."""

    out: SparseTensor
    subdivisions: tuple[Tensor, ...] = field(default=())


class SparseUnetVaeDecoder(Network):
    """Published texture decoder: 32 latent channels to 6, widths 1024 to 64 over 5 levels, 474 M weights."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.torso = torch.float16 if config.use_fp16 else torch.float32
        widths = config.model_channels
        self.from_latent = nn.Linear(config.latent_channels, widths[0])
        self.blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            level = nn.ModuleList(ConvNeXtBlock(width) for _ in range(config.num_blocks[i]))
            if i < len(widths) - 1:
                level.append(UpBlock(width, widths[i + 1], config.pred_subdiv))
            self.blocks.append(level)
        self.output_layer = nn.Linear(widths[-1], config.out_channels)

    def in_torso(self, key: str) -> bool:
        return key.startswith("blocks.") and ".norm" not in key

    def forward(
        self, z: SparseTensor, guides: tuple[Tensor, ...] | None = None, on_block: OnBlock = lambda: None
    ) -> Decoded:
        """z (N, latent_channels) -> (M, out_channels) on the finest voxels, float32.

        `guides` are the logits that another decoder predicted; without them a decoder that does not predict follows
        the refinement that z's grid remembers. `on_block` is called before every block, and may raise to end here.
        """
        h, logits = self._levels(z, len(self.blocks), guides, on_block)
        out = h.feats.new_empty(len(h.grid), self.config.out_channels, dtype=torch.float32)
        for rows in h.grid.slices(2 * h.feats.shape[1], 4):
            u = h.feats[rows].float()
            out[rows] = self.output_layer(F.layer_norm(u, u.shape[-1:]))  # eps 1e-5 here, unlike in the blocks
        return Decoded(h.with_feats(out), logits)

    def _levels(
        self, z: SparseTensor, count: int, guides: tuple[Tensor, ...] | None, on_block: OnBlock
    ) -> tuple[SparseTensor, tuple[Tensor, ...]]:
        """The features after `count` levels with their up blocks, and the logits of the predicted subdivisions."""
        h = z.with_feats(self.from_latent(z.feats.float()).to(self.torso))
        found = []
        for i, level in enumerate(self.blocks[:count]):
            for block in level:
                on_block()
                if isinstance(block, UpBlock):
                    h, logits = block(h, guides[i] if guides else None)
                    if logits is not None:
                        found.append(logits)
                else:
                    h = block(h)
        return h, tuple(found)


@dataclass(frozen=True)
class DualGrid:
    """The surface as dual vertices on voxels, N rows each.

    `vertices` (N, 3) are in voxel units from the voxel's low corner, in (-margin, 1 + margin); `intersected` (N, 3)
    says for each axis whether the surface crosses the voxel's edge along it; `split_weight` (N, 1) > 0 decides how
    quads are cut into triangles.
    """

    vertices: Tensor
    intersected: Tensor
    split_weight: Tensor


class FlexiDualGridVaeDecoder(SparseUnetVaeDecoder):
    """Published shape decoder: as the texture decoder, with 7 values and predicted subdivision."""

    def upsample(self, z: SparseTensor, times: int, on_block: OnBlock = lambda: None) -> Tensor:
        """The coordinates (M, 4) that `times` subdivisions of z lead to, without the features on them."""
        if times == 0:
            return z.coords
        h, _ = self._levels(z, times - 1, None, on_block)
        *blocks, up = self.blocks[times - 1]
        for block in blocks:
            on_block()
            h = block(h)
        on_block()
        return up.subdivide(h, None)[0].fine.coords

    def dual_grid(self, out: Tensor) -> DualGrid:
        """The 7 output channels as a dual grid."""
        margin = self.config.voxel_margin
        vertices = (1 + 2 * margin) * torch.sigmoid(out[:, :3]) - margin
        return DualGrid(vertices, out[:, 3:6] > 0, F.softplus(out[:, 6:7]))


def to_material(out: Tensor) -> Tensor:
    """The texture decoder's output as base colour (3), metallic, roughness, alpha: nominally 0..1, not clamped."""
    return 0.5 * out + 0.5
