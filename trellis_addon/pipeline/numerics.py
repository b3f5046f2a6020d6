"""How the device computes while a network runs: without gradients, and never less exactly than float32 asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

OUT_OF_MEMORY: tuple[type[BaseException], ...] = (torch.cuda.OutOfMemoryError, MemoryError)
# what torch says in a plain RuntimeError on Metal, on Linux and on Windows
_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory")


@contextmanager
def exactly() -> Iterator[None]:
    """No gradients; on CUDA no TF32, and 16-bit products summed in float32 to the end.

    torch's own defaults let convolutions use TF32 and long sums of 16-bit products be split into 16-bit parts. Whatever
    torch raises for lack of memory leaves as one of `OUT_OF_MEMORY`.
    """
    matmul = torch.backends.cuda.matmul
    kept = (matmul.allow_fp16_reduced_precision_reduction, matmul.allow_bf16_reduced_precision_reduction)
    matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = False
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    except RuntimeError as error:
        if any(message in str(error).lower() for message in _MESSAGES):
            raise MemoryError(str(error)) from None
        raise
    finally:
        matmul.allow_fp16_reduced_precision_reduction, matmul.allow_bf16_reduced_precision_reduction = kept
