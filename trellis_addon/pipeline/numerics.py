"""How the device computes while a network runs: without gradients, and never less exactly than float32 asks for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def exactly() -> Iterator[None]:
    """No gradients; on CUDA no TF32, and 16-bit products summed in float32 to the end.

    torch's own defaults let convolutions use TF32 and long sums of 16-bit products be split into 16-bit parts. Its
    switches are the process's: where several threads run networks, each on a device, they stay until the last is done.
    """
    _switches.enter()
    try:
        with torch.inference_mode():
            yield
    finally:
        _switches.leave()


class _Switches:
    """Those of torch, as they were before the first who is within `exactly`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = 0
        self._kept: dict[tuple[Any, str], bool] = {}

    def enter(self) -> None:
        with self._lock:
            if not self._within:
                places = [(torch.backends.cuda.matmul, name) for name in _SUMS_IN_16_BITS]
                places.append((torch.backends.cudnn, "allow_tf32"))
                self._kept = {(where, name): getattr(where, name) for where, name in places if hasattr(where, name)}
                for where, name in self._kept:
                    setattr(where, name, False)
            self._within += 1

    def leave(self) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                for (where, name), value in self._kept.items():
                    setattr(where, name, value)


# torch's switches; not every version has all of them.
_SUMS_IN_16_BITS = (
    "allow_fp16_reduced_precision_reduction",
    "allow_bf16_reduced_precision_reduction",
    "allow_fp16_accumulation",
)
_switches = _Switches()
