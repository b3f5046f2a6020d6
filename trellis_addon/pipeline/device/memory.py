"""What may be used of a device; how much that is enough for is in `sizes`."""

from __future__ import annotations

import platform
import sys

import torch

from ...core.machine.memory import machine_memory
from ..sizes import (
    BATCH_TOKENS,
    GB,
    IMAGE_MODEL_PEAK,
    MARGIN,
    MAX_TOKENS,
    RESERVE,
    SCORES_PEAK,
    STRUCTURE_PEAK,
    TYPICAL,
    VOXELS_PER_TOKEN,
    Budget,
    Typical,
    decoder_bytes,
    flow_bytes,
    largest_resolution,
)

__all__ = [
    "BATCH_TOKENS",
    "GB",
    "IMAGE_MODEL_PEAK",
    "MARGIN",
    "MAX_TOKENS",
    "RESERVE",
    "STRUCTURE_PEAK",
    "TYPICAL",
    "VOXELS_PER_TOKEN",
    "Budget",
    "Typical",
    "decoder_bytes",
    "device_budget",
    "flow_bytes",
    "keep_within_card",
    "largest_resolution",
]

_USUAL_MEMORY = 16 * GB  # of a machine that does not say
_LEAST_SHARE = 0.05  # of a card that others have filled: enough for PyTorch to say so


def device_budget(device: torch.device) -> Budget:
    """What is free on a device now, less a reserve, and less what attention takes where it may hold its scores.

    On the CPU: half of the machine's memory.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device)  # held by torch from earlier runs, and usable again
        scores = 0 if torch.version.hip is None else SCORES_PEAK
        return Budget(max(free + kept - RESERVE - scores, 0))
    if device.type == "mps" and hasattr(torch.mps, "recommended_max_memory"):
        return Budget(max(torch.mps.recommended_max_memory() - RESERVE - SCORES_PEAK, 0))
    return Budget((machine_memory()[0] or _USUAL_MEMORY) // 2)


def keep_within_card(device: torch.device) -> None:
    """See that PyTorch says so itself when a card is full, before a run.

    NVIDIA's driver for Windows (536 and newer, also below WSL) moves what does not fit into main memory, by its setting
    "CUDA - Sysmem Fallback Policy": nothing fails, and a run takes ten times as long. What other programs have taken
    since the last run is counted anew.
    """
    if device.type != "cuda" or not _driver_spills():
        return
    free, total = torch.cuda.mem_get_info(device)
    ours = torch.cuda.memory_reserved(device)
    share = (free + ours - RESERVE) / total
    torch.cuda.set_per_process_memory_fraction(min(max(share, _LEAST_SHARE), 1.0), device)


def _driver_spills() -> bool:
    return sys.platform == "win32" or "microsoft" in platform.release().lower()
