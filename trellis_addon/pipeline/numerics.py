"""How the device computes while a network runs: without gradients, and never less exactly than float32 asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exactly() -> Iterator[None]:
    """No gradients; on CUDA no TF32, and 16-bit products summed in float32 to the end.

    torch's own defaults let convolutions use TF32 and long sums of 16-bit products be split into 16-bit parts.
    """
    matmul = torch.backends.cuda.matmul
    names = [name for name in _SUMS_IN_16_BITS if hasattr(matmul, name)]
    kept = {name: getattr(matmul, name) for name in names}
    for name in names:
        setattr(matmul, name, False)
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        for name, value in kept.items():
            setattr(matmul, name, value)


# torch's switches; not every version has all of them.
_SUMS_IN_16_BITS = (
    "allow_fp16_reduced_precision_reduction",
    "allow_bf16_reduced_precision_reduction",
    "allow_fp16_accumulation",
)
