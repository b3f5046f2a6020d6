"""Blocks of the sparse autoencoders: ConvNeXt, and residual blocks that step to a finer or coarser grid.

ConvNeXt: Liu et al., arXiv 2201.03545. Stepping: the eight corners of a voxel are eight groups of its channels, so
"channel to space" (C2S) refines and "space to channel" (S2C) coarsens without a pooling that loses anything.

Everything works in chunks of rows, so that the widest intermediate (8 or 4 times the block's width) never exists whole.
Letters in the shape comments: N voxels, C channels in, D channels out.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...core.errors import EngineError
from .network import Linear, layer_norm
from .sparse import SparseTensor, Subdivision
from .sparse_conv import SubmanifoldConv3d, padded


class ConvNeXtBlock(nn.Module):
    """x + MLP(LN(conv(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.conv = SubmanifoldConv3d(channels, channels)
        self.mlp = nn.Sequential(Linear(channels, 4 * channels), nn.SiLU(), Linear(4 * channels, channels))

    def forward(self, x: SparseTensor) -> SparseTensor:
        source, out = padded(x.feats), x.feats.new_empty(x.feats.shape)
        for rows in x.grid.slices(self.conv.width + 8 * out.shape[1], out.element_size()):
            u = self.conv.rows(source, x.grid, rows)
            u = layer_norm(u, self.norm.weight, self.norm.bias)
            out[rows] = self.mlp(u) + x.feats[rows]
        return x.with_feats(out)


class UpBlock(nn.Module):
    """C2S: a residual block onto the grid of twice the resolution, (N, C) -> (children, D).

    Which children exist is predicted from the block's input, or given: as the logits another decoder predicted, or by
    the refinement that the grid remembers.
    """

    def __init__(self, channels: int, out_channels: int, predicts: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.conv1 = SubmanifoldConv3d(channels, 8 * out_channels)
        self.conv2 = SubmanifoldConv3d(out_channels, out_channels)
        if predicts:
            self.to_subdiv = Linear(channels, 8)
        self.predicts = predicts

    def subdivide(self, x: SparseTensor, guide: Tensor | None) -> tuple[Subdivision, Tensor | None]:
        """The refinement, and the logits (N, 8) it came from: a child exists where its logit is positive."""
        logits = self.to_subdiv(x.feats) if self.predicts else guide
        if logits is not None:
            if logits.shape != (len(x.grid), 8):
                raise EngineError(
                    "A guide for {voxels} voxels has {rows} rows; they must correspond.",
                    voxels=len(x.grid),
                    rows=logits.shape[0],
                )
            return x.grid.subdivide(logits > 0), logits
        if x.grid.finer is None:
            raise EngineError("This decoder does not predict where voxels are and was given no guide.")
        return x.grid.finer, None

    def forward(self, x: SparseTensor, guide: Tensor | None = None) -> tuple[SparseTensor, Tensor | None]:
        neighbours = x.grid.neighbours  # before subdividing: the children find theirs through these
        del neighbours
        step, logits = self.subdivide(x, guide)
        width, size = self.conv2.weight.shape[0], x.feats.element_size()

        source = padded(_activated(x.feats, self.norm1))
        u = x.feats.new_empty(len(step.fine), width)
        for rows, below in step.groups(x.grid.rows(self.conv1.width, size)):
            corners = self.conv1.rows(source, x.grid, rows).view(-1, width)  # (8 rows, D)
            u[below] = corners[step.corner[below] - 8 * rows.start]
        del source

        source = padded(F.silu(layer_norm(u)))
        out, corners = u, x.feats.view(-1, x.feats.shape[1] // 8)  # (8N, C/8)
        repeat = width // corners.shape[1]
        for rows in step.fine.slices(self.conv2.width, size):
            skip = corners[step.corner[rows]].repeat_interleave(repeat, dim=1)
            out[rows] = self.conv2.rows(source, step.fine, rows) + skip
        return SparseTensor(out, step.fine), logits


class DownBlock(nn.Module):
    """S2C: a residual block onto the grid of half the resolution, (N, C) -> (parents, D)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.conv1 = SubmanifoldConv3d(channels, out_channels // 8)
        self.conv2 = SubmanifoldConv3d(out_channels, out_channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        coarse, step = x.grid.coarsen()
        width, n = self.conv2.weight.shape[0], len(coarse)
        u = self.conv1(x.with_feats(_activated(x.feats, self.norm1))).feats  # (N, D/8)
        u = SparseTensor(F.silu(layer_norm(_to_channels(u, step))), coarse)  # (n, D)
        skip = _to_channels(x.feats, step).view(n, width, -1).mean(-1)  # (n, 8C) -> (n, D)
        return u.with_feats(self.conv2(u).feats + skip)


def _activated(feats: Tensor, norm: nn.LayerNorm) -> Tensor:
    return F.silu(layer_norm(feats, norm.weight, norm.bias))


def _to_channels(feats: Tensor, step: Subdivision) -> Tensor:
    """(N, C) -> (parents, 8C); corners without a voxel are 0."""
    table = feats.new_zeros(step.coarse_size * 8, feats.shape[1])
    table[step.corner] = feats
    return table.view(step.coarse_size, -1)
