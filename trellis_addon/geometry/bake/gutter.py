"""Filling what no chart covers with the nearest texel that one does, so that mip-maps bleed the right colours.

The exact nearest in two passes: along columns, then along rows among the columns' answers.
"""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ..arrays import launch_parts, on_device
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
    source = wp.empty((height, width), dtype=wp.int32, device=device)

    def by_columns(first: int, end: int) -> None:
        wp.launch(nearest_in_column, end - first, inputs=[known, first, row], device=device)

    def by_rows(first: int, end: int) -> None:
        wp.launch(nearest_in_row, (end - first, width), inputs=[row, first, source], device=device)

    launch_parts(nearest_in_column, width, by_columns, device)
    launch_parts(nearest_in_row, height, by_rows, device)
    return np.asarray(source.numpy(), np.int32)
