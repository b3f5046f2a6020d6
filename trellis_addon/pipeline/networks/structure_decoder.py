"""The sparse-structure decoder: a dense 3D convolution network from the coarse latent to occupancy at 4x its side."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.messages import message
from ..configs import require
from .network import Conv3d, Network


@dataclass(frozen=True)
class StructureDecoderConfig:
    """`args` of the decoder's JSON."""

    out_channels: int
    latent_channels: int
    num_res_blocks: int
    channels: tuple[int, ...]
    num_res_blocks_middle: int = 2
    norm_type: str = "layer"
    use_fp16: bool = False

    def __post_init__(self) -> None:
        require(bool(self.channels) and min(self.channels) > 0, message("channels must be a list of positive numbers"))
        require(self.out_channels > 0 and self.latent_channels > 0, message("the numbers of channels must be positive"))
        require(
            self.num_res_blocks >= 0 and self.num_res_blocks_middle >= 0,
            message("numbers of blocks must not be negative"),
        )
        require(
            self.norm_type == "layer",
            message('norm_type "{norm_type}" is not supported, only "layer"', norm_type=self.norm_type),
        )


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of every voxel of (B, C, X, Y, Z), in float32."""

    def forward(self, x: Tensor) -> Tensor:
        h = x.float().movedim(1, -1)
        h = F.layer_norm(h, self.normalized_shape, self.weight, self.bias, self.eps)
        return h.movedim(-1, 1).to(x.dtype)


class ResBlock3d(nn.Module):
    def __init__(self, channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        out_channels = out_channels or channels
        self.norm1 = ChannelLayerNorm(channels)
        self.norm2 = ChannelLayerNorm(out_channels)
        self.conv1 = Conv3d(channels, out_channels, 3, padding=1)
        self.conv2 = Conv3d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        u = self.conv1(F.silu(self.norm1(x)))
        return self.conv2(F.silu(self.norm2(u))) + x


class UpsampleBlock3d(nn.Module):
    """Twice the side: a convolution to 8 times the channels, which then become the 8 corners."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv3d(channels, 8 * out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle_3d(self.conv(x))


def pixel_shuffle_3d(x: Tensor) -> Tensor:
    """out[b, c, 2i+s1, 2j+s2, 2k+s3] = x[b, 8c + 4 s1 + 2 s2 + s3, i, j, k]."""
    b, c, i, j, k = x.shape
    x = x.reshape(b, c // 8, 2, 2, 2, i, j, k)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // 8, 2 * i, 2 * j, 2 * k)


class SparseStructureDecoder(Network):
    """Published: 8 latent channels at 16^3 to one logit at 64^3, widths 512, 128, 32; 74 M weights."""

    def __init__(self, config: StructureDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.torso = torch.float16 if config.use_fp16 else torch.float32
        first, last = config.channels[0], config.channels[-1]
        self.input_layer = nn.Conv3d(config.latent_channels, first, 3, padding=1)
        self.middle_block = nn.Sequential(*(ResBlock3d(first) for _ in range(config.num_res_blocks_middle)))
        self.blocks = nn.ModuleList()
        for i, width in enumerate(config.channels):
            self.blocks.extend(ResBlock3d(width) for _ in range(config.num_res_blocks))
            if i < len(config.channels) - 1:
                self.blocks.append(UpsampleBlock3d(width, config.channels[i + 1]))
        self.out_layer = nn.Sequential(
            ChannelLayerNorm(last), nn.SiLU(), nn.Conv3d(last, config.out_channels, 3, padding=1)
        )

    def in_torso(self, key: str) -> bool:
        return key.startswith(("middle_block.", "blocks.")) and ".conv" in key

    def forward(self, z: Tensor) -> Tensor:
        """z (B, C, R, R, R) -> occupancy logits (B, 1, 4R, 4R, 4R), float32."""
        h = self.input_layer(z.float()).to(self.torso)
        h = self.middle_block(h)
        for block in self.blocks:
            h = block(h)
        return self.out_layer(h.float())


def occupied_voxels(logits: Tensor, pool: int = 1) -> Tensor:
    """The voxels whose logit is positive, int32 (N, 4) = (b, x, y, z) in lexicographic order.

    With `pool` > 1, by which the side must divide, on a grid coarser by that factor, where any occupied voxel counts.
    """
    occupied = (logits[:, 0] > 0).float()
    if pool > 1:  # not by max_pool3d, which Metal has had only since PyTorch 2.9
        for axis in (1, 2, 3):
            occupied = occupied.unflatten(axis, (-1, pool)).amax(axis + 1)
    return occupied.nonzero().int()
