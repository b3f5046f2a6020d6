"""Filling what no chart covers with the nearest texel that one does, so that mip-maps bleed the right colours.

The exact nearest in two passes: along columns, then along rows among the columns' answers.
"""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ..arrays import on_device
from ..mesh.closest_warp import start_warp
from .gutter_kernels import nearest_in_column, nearest_in_row


def nearest_filled(filled: NDArray[np.bool_], device: str = "cpu") -> NDArray[np.int32]:
    """(H, W) flat numbers: of the texel itself where `filled`, elsewhere of the nearest filled one.

    Ties go to the left, then to above. Where nothing is filled, every texel is its own.
    """
    height, width = filled.shape
    if not filled.any():
        return np.arange(height * width, dtype=np.int32).reshape(height, width)
    start_warp()
    known = on_device(filled.astype(np.uint8), wp.uint8, device)
    row = wp.empty((height, width), dtype=wp.int32, device=device)
    wp.launch(nearest_in_column, width, inputs=[known, row], device=device)
    source = wp.empty((height, width), dtype=wp.int32, device=device)
    wp.launch(nearest_in_row, (height, width), inputs=[row, source], device=device)
    return np.asarray(source.numpy(), np.int32)
