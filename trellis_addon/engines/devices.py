"""The devices of this machine that TRELLIS.2 can run on, as PyTorch sees them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ..core.configuration import configuration

# Of the largest card's memory: one that has less would make other resolutions than was asked for.
_ENOUGH = 0.5


def local_devices() -> list[str]:
    """PyTorch's names of the devices to use at the same time: every graphics card for CUDA or ROCm that is fit for it.

    Where `TRELLIS2_DEVICE` names one it is that, and elsewhere the best there is. Loads PyTorch, which takes seconds.
    """
    named = configuration().device
    if named not in ("", "auto", "cuda"):
        return [named]
    try:
        import torch
    except ImportError:
        return [named or "auto"]  # making the engine says what is missing
    if not torch.cuda.is_available():
        return [named or "auto"]
    sizes = [torch.cuda.get_device_properties(number).total_memory for number in range(torch.cuda.device_count())]
    return [f"cuda:{number}" for number, size in enumerate(sizes) if size >= _ENOUGH * max(sizes)]


def device_memory(names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each of these devices by PyTorch's names: `name`, and where it has memory of its own `model`, `total` and
    `free` (bytes). Loads nothing: where PyTorch is not loaded, nobody works on a device."""
    torch = sys.modules.get("torch")
    found: list[dict[str, Any]] = []
    for name in names:
        told: dict[str, Any] = {"name": name}
        if torch is not None and name.startswith("cuda"):
            free, total = torch.cuda.mem_get_info(name)
            told |= {"model": torch.cuda.get_device_name(name), "total": total, "free": free}
        found.append(told)
    return found
