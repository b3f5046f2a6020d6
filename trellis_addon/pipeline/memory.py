"""What may be used of a device; how much that is enough for is in `sizes`."""

from __future__ import annotations

import os

import torch

from .sizes import (
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
    "largest_resolution",
]


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
    return Budget(_machine_memory() // 2)


def _machine_memory() -> int:
    """Bytes of main memory; 16 GB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 16 * GB
