"""Matrix products of 8-bit floating numbers (e4m3): weights as they are held, each row of the input scaled to fit.

Cards from Ada on multiply them twice as fast as 16 bits. Products are summed in float32; the sums get the scales of
their row and of their output channel. What `product` computes is defined by `plain`, on any device; PyTorch's own
operation takes its place where a device has shown that it comes to the same.
"""

from __future__ import annotations

import functools
import logging

import torch
from torch import Tensor

from ...core.machine.device_faults import is_out_of_memory, why_lost

log = logging.getLogger(__name__)

FP8 = torch.float8_e4m3fn
MOST = 448.0  # the largest number of e4m3
TINY = 1e-30  # a row of noughts has a scale too
_AGREES = 0.01  # how far the operation may be from the definition, as a share of the length: rounding to bfloat16


def scaled(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (N, K) as e4m3, and the scales (N,) float32 whose product with them is nearest."""
    exact = rows.float()
    scale = exact.abs().amax(1).clamp_min(TINY) / MOST
    return (exact / scale[:, None]).clamp_(-MOST, MOST).to(FP8), scale


def product(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """x (..., K) times the weights (O, K) e4m3 with their scales (O,), and the bias: (..., O) in x's dtype."""
    rows, factors = scaled(x.reshape(-1, x.shape[-1]))
    is_fast = x.is_cuda and x.dtype == torch.bfloat16 and multiplies(x.device)
    out = (fast if is_fast else plain)(rows, factors, weight, scale, x.dtype)
    out = out if bias is None else out + bias.to(out.dtype)
    return out.reshape(*x.shape[:-1], -1)


def plain(rows: Tensor, factors: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The definition: e4m3's products are exact in float32."""
    return ((rows.float() @ weight.float().T) * factors[:, None] * scale).to(dtype)


def fast(rows: Tensor, factors: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The same by PyTorch's operation, with sums that are not shortened."""
    return torch._scaled_mm(
        rows, weight.T, scale_a=factors[:, None], scale_b=scale[None], out_dtype=dtype, use_fast_accum=False
    )


@functools.cache
def multiplies(device: torch.device) -> bool:
    """Whether a device has the operation, and comes to what the definition says."""
    try:
        generator = torch.Generator().manual_seed(1)
        x, w = (torch.randn(64, 128, generator=generator).to(device) for _ in range(2))
        given = (*scaled(x), *scaled(w), torch.bfloat16)
        wanted, found = plain(*given).float(), fast(*given).float()
        off = float((found - wanted).norm() / wanted.norm())
    except Exception as error:  # whatever words PyTorch has for it
        if why_lost(error) or is_out_of_memory(error):  # which says nothing of the operation
            raise
        log.info("%s multiplies no 8-bit floating numbers: %s", device, error)
        return False
    if not off <= _AGREES:
        log.warning("%s is off by %.2g where it multiplies 8-bit floating numbers, so it does not.", device, off)
    return off <= _AGREES
