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
    kept = (matmul.allow_fp16_reduced_precision_reduction, matmul.allow_bf16_reduced_precision_reduction)
    matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = False
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        matmul.allow_fp16_reduced_precision_reduction, matmul.allow_bf16_reduced_precision_reduction = kept
