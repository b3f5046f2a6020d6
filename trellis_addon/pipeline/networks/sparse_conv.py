"""Submanifold sparse convolution 3x3x3 (Graham and van der Maaten, arXiv 1706.01307): output voxels are input voxels.

Computed as a gather of the 27 neighbours and one matrix product, in chunks of rows: the product sums all 27 x C terms
in float32 before it rounds, and the gathered rows never take more than the workspace.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sparse import SparseTensor, VoxelGrid


class SubmanifoldConv3d(nn.Module):
    """out[p] = bias + sum over k of weight[:, kx, ky, kz, :] x[p + k - 1]; voxels that do not exist count as 0.

    The weight is (Co, 3, 3, 3, Ci): the kernel's axes are x, y, z and the kernel is not flipped.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, 3, 3, 3, channels))
        self.bias = nn.Parameter(torch.empty(out_channels))

    def forward(self, x: SparseTensor) -> SparseTensor:
        source, out = padded(x.feats), x.feats.new_empty(len(x.grid), self.weight.shape[0])
        for rows in x.grid.slices(self.width, x.feats.element_size()):
            out[rows] = self.rows(source, x.grid, rows)
        return x.with_feats(out)

    @property
    def width(self) -> int:
        """Values that one output row needs while it is computed."""
        return 27 * self.weight.shape[-1] + 2 * self.weight.shape[0]

    def rows(self, source: Tensor, grid: VoxelGrid, rows: slice) -> Tensor:
        """The output of some rows, from all rows of input with `padded`'s zero row behind them."""
        gathered = source.index_select(0, grid.neighbours[rows].reshape(-1))  # (rows * 27, Ci)
        weight, bias = self.weight.to(source.dtype), self.bias.to(source.dtype)
        return F.linear(gathered.view(-1, 27 * source.shape[1]), weight.flatten(1), bias)


def padded(feats: Tensor) -> Tensor:
    """The features with a zero row behind them, for neighbours that do not exist."""
    return F.pad(feats, (0, 0, 0, 1))
