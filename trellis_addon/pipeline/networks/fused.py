"""What a block does to each token besides its matrix products and attention, as one operation each.

Plain PyTorch reads and writes every value once for each step of it: a norm in float32, a factor, a rounding. These read
it once and write it once, by Warp's kernels. They are operators of PyTorch (`torch.ops.trellis2`), so that what counts
memory and traffic on meta tensors sees them. The plain code stays where they are called: it is the truth, and what runs
wherever `fused_choice` has not found them right and faster.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_DEFINITIONS = (
    "rms_norm(Tensor x, Tensor gamma, Tensor? phases) -> Tensor",
    "layer_norm(Tensor x, Tensor factor, Tensor shift, ScalarType dtype) -> Tensor",
    "gate_add(Tensor h, Tensor gate, Tensor x) -> Tensor",
)


class _Switch(threading.local):
    """Of each thread: another one may run a device that is better off without."""

    is_on = False


_switch = _Switch()


@contextmanager
def fused(is_on: bool = True) -> Iterator[None]:
    """Have the blocks use these operations while this lasts."""
    before, _switch.is_on = _switch.is_on, is_on
    try:
        yield
    finally:
        _switch.is_on = before


def is_fused() -> bool:
    return _switch.is_on


def rms_norm(x: Tensor, gamma: Tensor, phases: Tensor | None = None) -> Tensor:
    """x / |x| * gamma of every head, rounded, and where there are phases rotated by them: x (R, T, H, D) of any strides
    but the last, gamma (H, D) float32, phases (T, D / 2, 2) float32. Contiguous, in x's dtype."""
    found: Tensor = torch.ops.trellis2.rms_norm(x, gamma, phases)
    return found


def layer_norm(x: Tensor, factor: Tensor, shift: Tensor, dtype: torch.dtype) -> Tensor:
    """The layer norm (eps 1e-6) of x (..., M) times factor (M,) plus shift (M,), both float32; in `dtype`."""
    found: Tensor = torch.ops.trellis2.layer_norm(x, factor, shift, dtype)
    return found


def gate_add(h: Tensor, gate: Tensor, x: Tensor) -> Tensor:
    """h + gate * x: h and x (..., M), gate (M,) float32; in h's dtype."""
    found: Tensor = torch.ops.trellis2.gate_add(h, gate, x)
    return found


# The kernels


def _rms_norm(x: Tensor, gamma: Tensor, phases: Tensor | None) -> Tensor:
    import warp as wp

    from .fused_kernels import rms_norm_kernel

    branches, tokens, heads, channels = x.shape
    kind = _kind(x.dtype)
    pair = wp.types.vector(length=2, dtype=kind)
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    turns = x.new_zeros((1, channels // 2, 2), dtype=torch.float32) if phases is None else phases.contiguous()
    _launch(
        rms_norm_kernel(heads, channels // 2, kind, phases is not None),
        (branches, tokens),
        [_array(x.unflatten(-1, (-1, 2)), pair), _array(gamma.unflatten(-1, (-1, 2)), wp.vec2), _array(turns, wp.vec2)],
        _array(out.unflatten(-1, (-1, 2)), pair),
        x.device,
        is_tiled=True,
    )
    return out


def _layer_norm(x: Tensor, factor: Tensor, shift: Tensor, dtype: torch.dtype) -> Tensor:
    from .fused_kernels import layer_norm_kernel

    rows, channels = x.reshape(-1, x.shape[-1]), x.shape[-1]
    out = torch.empty(rows.shape, dtype=dtype, device=x.device)
    _launch(
        layer_norm_kernel(channels, _kind(x.dtype), _kind(dtype)),
        (len(rows),),
        [_array(rows), _array(factor), _array(shift)],
        _array(out),
        x.device,
        is_tiled=True,
    )
    return out.view(x.shape)


def _gate_add(h: Tensor, gate: Tensor, x: Tensor) -> Tensor:
    from .fused_kernels import gate_kernel

    rows, added = h.reshape(-1, h.shape[-1]), x.reshape(-1, x.shape[-1])
    out = torch.empty(rows.shape, dtype=h.dtype, device=h.device)
    kernel = gate_kernel(_kind(h.dtype), _kind(x.dtype))
    _launch(kernel, tuple(rows.shape), [_array(rows), _array(gate), _array(added)], _array(out), h.device)
    return out.view(h.shape)


def _launch(
    kernel: Any, dim: tuple[int, ...], inputs: list[Any], out: Any, device: torch.device, *, is_tiled: bool = False
) -> None:
    """On PyTorch's own stream, whose work before and after it waits for."""
    import warp as wp

    from .fused_kernels import THREADS

    where: dict[str, Any] = {"device": "cpu"}
    if device.type == "cuda":
        where = {"stream": wp.stream_from_torch(torch.cuda.current_stream(device))}
    if is_tiled:
        wp.launch_tiled(kernel, dim=dim, inputs=inputs, outputs=[out], block_dim=THREADS, **where)
    else:
        wp.launch(kernel, dim=dim, inputs=inputs, outputs=[out], **where)


def _array(tensor: Tensor, dtype: Any = None) -> Any:
    import warp as wp

    from ...geometry.mesh.closest_warp import start_warp

    start_warp()
    return wp.from_torch(tensor, dtype=dtype or _kind(tensor.dtype), requires_grad=False)


def _kind(dtype: torch.dtype) -> Any:
    import warp as wp

    return {torch.float32: wp.float32, torch.float16: wp.float16, torch.bfloat16: wp.bfloat16}[dtype]


# The operators


def _register() -> Any:
    """PyTorch's operators; nothing where another copy of this package has registered them."""
    if hasattr(torch.ops.trellis2, "rms_norm"):
        return None
    library = torch.library.Library("trellis2", "FRAGMENT")
    for definition in _DEFINITIONS:
        library.define(definition)
    for name, kernel in (("rms_norm", _rms_norm), ("layer_norm", _layer_norm), ("gate_add", _gate_add)):
        library.impl(name, kernel, "CPU")
        library.impl(name, kernel, "CUDA")
    library.impl("rms_norm", lambda x, gamma, phases: torch.empty(x.shape, dtype=x.dtype, device=x.device), "Meta")
    library.impl("layer_norm", lambda x, factor, shift, dtype: torch.empty_like(x, dtype=dtype).contiguous(), "Meta")
    library.impl("gate_add", lambda h, gate, x: torch.empty(h.shape, dtype=h.dtype, device=h.device), "Meta")
    return library


_library = _register()  # lasts as long as this module
