"""Multi-head attention of the flow transformers: RMS norm of queries and keys, 3D rotary positions.

Letters in the shape comments: R branches (conditional, unconditional), T tokens of all samples, B samples, L tokens of
one sample or of the context, M model channels, H heads, D channels of a head, P = D/2 rotated pairs.

Rotary positions: Su et al., RoFormer (arXiv 2104.09864), here with the pairs of a head divided among x, y and z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.errors import EngineError
from ..precision import EXACT_KEYS
from ..sizes import SCORES
from .fused import is_fused, rms_norm
from .network import Linear, to_stream, within_range


@dataclass(frozen=True)
class Layout:
    """How the rows of one long token list belong to samples: `lengths[b]` consecutive rows each."""

    lengths: tuple[int, ...]

    @classmethod
    def of(cls, coords: Tensor) -> Layout:
        """The layout of coordinates (T, 4) = (b, x, y, z), whose samples must follow one another."""
        sample = coords[:, 0]
        if bool((sample[1:] < sample[:-1]).any()):
            raise EngineError("The voxels of several samples are mixed up; their rows must be in the samples' order.")
        return cls(tuple(torch.bincount(sample.long()).tolist()))

    @property
    def uniform(self) -> bool:
        return len(set(self.lengths)) == 1

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        ends = [sum(self.lengths[: i + 1]) for i in range(len(self.lengths))]
        return tuple(slice(end - length, end) for end, length in zip(ends, self.lengths, strict=True))

    def spread(self, values: Tensor) -> Tensor:
        """(B, M) -> what broadcasts with (R, T, M): each token gets its sample's values."""
        if len(self.lengths) == 1:
            return values
        counts = torch.tensor(self.lengths, device=values.device)
        return values.repeat_interleave(counts, dim=0, output_size=sum(self.lengths))


class MultiHeadRMSNorm(nn.Module):
    """y = x / |x| * gamma * sqrt(D) for every head, in float32."""

    def __init__(self, head_dim: int, heads: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(heads, head_dim))

    def forward(self, x: Tensor) -> Tensor:  # (..., H, D), returned in float32 for the rotation that may follow
        return F.normalize(x.float(), dim=-1) * self.scale()

    def scale(self) -> Tensor:
        """(H, D): what each channel of a head of length 1 is multiplied by."""
        return self.gamma.float() * math.sqrt(self.gamma.shape[-1])


def rope_frequencies(head_dim: int, device: torch.device | str = "cpu") -> Tensor:
    """f_k = 10000^(-k/F) for the F = floor(P/3) pairs that each axis gets."""
    count = head_dim // 2 // 3
    return 10000.0 ** (-torch.arange(count, dtype=torch.float32, device=device) / count)


def rope_phases(coords: Tensor, head_dim: int) -> Tensor:
    """(cos, sin) of every token's and pair's angle, float32 (T, P, 2), from whole (T, 3) coordinates x, y, z.

    The pairs that are left over after the three axes have had theirs are not rotated.
    """
    frequencies = rope_frequencies(head_dim, coords.device)
    angles = (coords.float()[:, :, None] * frequencies).flatten(1)  # (T, 3F)
    angles = F.pad(angles, (0, head_dim // 2 - angles.shape[1]))  # (T, P)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def rotate(x: Tensor, phases: Tensor) -> Tensor:
    """Rotate the adjacent channel pairs of x (..., T, H, D) by phases (T, P, 2), in float32."""
    pairs = x.float().unflatten(-1, (-1, 2))  # (..., T, H, P, 2)
    phases = phases[:, None]  # (T, 1, P, 2)
    if x.device.type in ("cpu", "cuda"):  # one kernel instead of seven; not every other device knows complex numbers
        turned = torch.view_as_complex(pairs.contiguous()) * torch.view_as_complex(phases)
        return torch.view_as_real(turned).flatten(-2)
    a, b = pairs.unbind(-1)
    cos, sin = phases.unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) v for (B, L, H, D) tensors, by the best kernel that torch has for the device."""
    dtype = q.dtype
    if dtype == torch.bfloat16 and _before_ampere(q.device):
        # those kernels know float16 only, and still add up in float32; without them the whole matrix would be built
        q, k, v = q.half(), k.half(), v.half()
    elif k.shape[1] > EXACT_KEYS and _is_metal(q.device):
        q, k, v = q.float(), k.float(), v.float()
    q, k, v = (a.transpose(1, 2) for a in (q, k, v))  # (B, H, L, D)
    if _is_fused(q.device):
        out = F.scaled_dot_product_attention(q, k, v)
    else:
        rows = max(1, SCORES // (k.shape[0] * k.shape[1] * k.shape[2]))
        out = torch.cat([F.scaled_dot_product_attention(part, k, v) for part in q.split(rows, dim=2)], dim=2)
    return out.transpose(1, 2).to(dtype)


def attention_backend(q: Tensor, k: Tensor, v: Tensor) -> str:
    """The name of the kernel that `attend` takes for (B, L, H, D) tensors: flash, efficient, cudnn or math."""
    from torch.nn.attention import SDPBackend

    if q.device.type not in ("cpu", "cuda"):
        return "math"
    q, k, v = (a.transpose(1, 2) for a in (q, k, v))
    name = SDPBackend(torch._fused_sdp_choice(q, k, v)).name.lower()
    return name.removesuffix("_attention")


def _is_fused(device: torch.device) -> bool:
    """Whether attention there never builds the L x L matrix: not on Metal, and on ROCm only for some cards."""
    return device.type == "cpu" or (device.type == "cuda" and torch.version.hip is None)


def _is_metal(device: torch.device) -> bool:
    return device.type == "mps"


def _before_ampere(device: torch.device) -> bool:
    return device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) < (8, 0)


def normed(norm: nn.Module, x: Tensor, phases: Tensor | None = None) -> Tensor:
    """Queries or keys x (..., T, H, D) after their norm, and rotated by the phases (T, P, 2) where there are some."""
    if is_fused() and isinstance(norm, MultiHeadRMSNorm):
        return rms_norm(x.reshape(-1, *x.shape[-3:]), norm.scale(), phases).reshape(x.shape)
    y = norm(x).to(x.dtype)
    return y if phases is None else rotate(y, phases).to(x.dtype)


class SelfAttention(nn.Module):
    def __init__(self, channels: int, heads: int, qk_rms_norm: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = Linear(channels, 3 * channels)
        self.q_rms_norm = MultiHeadRMSNorm(channels // heads, heads) if qk_rms_norm else nn.Identity()
        self.k_rms_norm = MultiHeadRMSNorm(channels // heads, heads) if qk_rms_norm else nn.Identity()
        self.to_out = Linear(channels, channels)

    def forward(self, x: Tensor, phases: Tensor, layout: Layout) -> Tensor:
        """x (R, T, M) -> (R, T, M); every token attends to all tokens of its own sample."""
        q, k, v = within_range(self.to_qkv(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)  # (R, T, H, D) each
        q, k = normed(self.q_rms_norm, q, phases), normed(self.k_rms_norm, k, phases)
        if layout.uniform:  # one call for all branches and samples
            length = layout.lengths[0]
            q, k, v = (a.reshape(-1, length, *a.shape[2:]) for a in (q, k, v))
            h = attend(q, k, v).reshape(x.shape)
        else:
            h = torch.cat([attend(q[:, s], k[:, s], v[:, s]) for s in layout.slices], dim=1).flatten(-2)
        return to_stream(self.to_out, h)


class CrossAttention(nn.Module):
    def __init__(self, channels: int, context_channels: int, heads: int, qk_rms_norm: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = Linear(channels, channels)
        self.to_kv = Linear(context_channels, 2 * channels)
        self.q_rms_norm = MultiHeadRMSNorm(channels // heads, heads) if qk_rms_norm else nn.Identity()
        self.k_rms_norm = MultiHeadRMSNorm(channels // heads, heads) if qk_rms_norm else nn.Identity()
        self.to_out = Linear(channels, channels)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Context (B, L, Mc) -> keys and values (B, L, H, D): the same at all steps of a run."""
        k, v = within_range(self.to_kv(context)).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        # copies: a view would keep all that `to_kv` gave, half of it keys as they were before their norm
        return self.k_rms_norm(k).to(v.dtype).contiguous(), v.contiguous()

    def without_context(self, torso: torch.dtype) -> Tensor:
        """The answer (M,) to any query when the context is all zeros, computed in `torso`.

        All keys are equal then, so the softmax is uniform, and all values are the bias of `to_kv`.
        """
        assert self.to_kv.bias is not None
        return to_stream(self.to_out, self.to_kv.bias.chunk(2)[1].to(torso))

    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor], layout: Layout) -> Tensor:
        """x (T, M) -> (T, M); the tokens of sample b attend to keys_values[:][b]."""
        k, v = keys_values
        q = normed(self.q_rms_norm, within_range(self.to_q(x)).unflatten(-1, (self.heads, -1)))  # (T, H, D)
        if layout.uniform:
            h = attend(q.reshape(-1, layout.lengths[0], *q.shape[1:]), k, v).reshape(x.shape)
        else:
            samples = enumerate(layout.slices)
            h = torch.cat([attend(q[None, s], k[b : b + 1], v[b : b + 1])[0] for b, s in samples]).flatten(-2)
        return to_stream(self.to_out, h)
