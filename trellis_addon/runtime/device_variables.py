"""How PyTorch is to use the device, where it asks the environment: what a process that may load it is started with.

It reads these when it is loaded, so that they cannot be set later. What the user has set holds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

# The allocator's names, the newer one first: some versions heed only one of them (pytorch/pytorch#183387).
_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
_ALLOCATOR_OF_ROCM = "PYTORCH_HIP_ALLOC_CONF"
# Attention of ROCm that never builds the whole matrix of scores, on the cards of artists (pytorch/pytorch#134498).
_ROCM_FLASH = "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL"


def device_variables(given: Mapping[str, str], system: str = sys.platform) -> dict[str, str]:
    """What to add to the environment `given` of a process on this `system`.

    Networks come and go, and of different sizes: with segments that grow, what one has left is of use to the next. Only
    Linux has them.
    """
    added = {} if _ROCM_FLASH in given else {_ROCM_FLASH: "1"}
    if system == "linux" and not any(name in given for name in (*_ALLOCATOR, _ALLOCATOR_OF_ROCM)):
        added |= dict.fromkeys(_ALLOCATOR, "expandable_segments:True")
    return added
