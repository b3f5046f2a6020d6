"""Whether a device runs the fused operations (`networks.fused`): only where they are right there, and faster.

Measured at a device's first use, on a part of the published model's size, and then remembered: no kernel that nobody
has seen run on a card can spoil an asset, or slow it down.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...core.machine.device_faults import is_out_of_memory, why_lost
from ..networks import fused
from ..networks.attention import MultiHeadRMSNorm, normed
from ..networks.transformer import gated, modulated
from .attention_choice import seconds_of
from .learned import keep, recall

log = logging.getLogger(__name__)

TOKENS, HEADS, CHANNELS = 4096, 12, 128  # of a head; of the published model's blocks
OPERATIONS = ("rms_norm", "rms_norm, not rotated", "layer_norm", "gate_add")
_YES, _NO = "fused", "plain"
_remembered: dict[tuple[str, torch.dtype], bool] = {}


@contextmanager
def fastest_blocks(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """The fused operations while this lasts, where the device is better off with them."""
    with fused.fused(is_chosen(device, dtype)):
        yield


def is_chosen(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether they are right and faster on the device, with a torso of this type."""
    if device.type != "cuda" or torch.version.hip is not None or importlib.util.find_spec("warp") is None:
        return False  # the processor's time is all in its matrix products; Warp has neither Metal nor ROCm
    key = (str(device), dtype)
    if key not in _remembered:
        kept = recall("blocks", device, dtype)
        if kept in ([_YES], [_NO]):
            _remembered[key] = kept == [_YES]
        else:
            _remembered[key] = _is_better(device, dtype)
            keep("blocks", device, dtype, [_YES if _remembered[key] else _NO])
    return _remembered[key]


def _is_better(device: torch.device, dtype: torch.dtype) -> bool:
    try:
        import warp as wp

        from ...geometry.mesh.closest_warp import start_warp

        start_warp()
        if not wp.is_cuda_available():
            return False
        with torch.inference_mode():
            found = compared(device, dtype, TOKENS, HEADS, CHANNELS)
    except Exception as error:  # whatever a compiler or a driver may come up with
        if why_lost(error) or is_out_of_memory(error):  # which says nothing of the operations
            raise
        log.warning("The fused operations do not run on %s: %s", device, error)
        return False
    for name, (off, fused_time, plain_time) in found.items():
        log.info("%s on %s: %.2f ms fused, %.2f ms plain, off by %.2g", name, device, fused_time, plain_time, off)
    wrong = [name for name, (off, *_) in found.items() if not off <= 1.0]
    if wrong:
        log.warning("The fused operations are not used on %s, which gets these wrong: %s", device, ", ".join(wrong))
        return False
    return sum(each[1] for each in found.values()) < sum(each[2] for each in found.values())


def compared(
    device: torch.device,
    dtype: torch.dtype,
    tokens: int,
    heads: int,
    channels: int,
    time_of: Callable[[Callable[[], Any], torch.device], float] = seconds_of,
) -> dict[str, tuple[float, float, float]]:
    """Of each operation: its error as a share of what is allowed, and milliseconds fused and plain.

    Allowed is what the plain code is off from float32 at most, twice over, and a rounding of float32.
    """
    generator = torch.Generator().manual_seed(1)
    stream = torch.float32 if dtype == torch.float16 else dtype
    width = heads * channels

    def made(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    norm = MultiHeadRMSNorm(channels, heads).to(device)
    norm.gamma = nn.Parameter(made(heads, channels), requires_grad=False)
    qkv, h, x = made(1, tokens, 3, heads, channels), made(1, tokens, width), made(1, tokens, width)
    angles = made(tokens, channels // 2)
    phases = torch.stack([angles.cos(), angles.sin()], -1)
    scale, shift = made(1, width) / 4, made(1, width)
    operations: dict[str, Callable[[torch.dtype, torch.dtype], Tensor]] = {
        "rms_norm": lambda torso, _: normed(norm, qkv.to(torso)[:, :, 0], phases),
        "rms_norm, not rotated": lambda torso, _: normed(norm, qkv.to(torso)[0, :, 0].contiguous()),
        "layer_norm": lambda torso, stream: modulated(h.to(stream), scale.to(stream), shift.to(stream), torso),
        "gate_add": lambda torso, stream: gated(h.to(stream), scale.to(stream), x.to(torso)),
    }
    found = {}
    for name, operation in operations.items():
        with fused.fused(False):
            plain = operation(dtype, stream).float()
            true = operation(torch.float32, torch.float32)
            plain_time = time_of(lambda: operation(dtype, stream), device)  # noqa: B023
        with fused.fused():
            ours = operation(dtype, stream).float()
            fused_time = time_of(lambda: operation(dtype, stream), device)  # noqa: B023
        allowed = 2 * float((plain - true).abs().max()) + 1e-5 * float(true.abs().max())
        found[name] = (float((ours - true).abs().max()) / allowed, 1000 * fused_time, 1000 * plain_time)
    return found
