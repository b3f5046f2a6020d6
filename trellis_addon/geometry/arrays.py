"""Arrays on Warp's devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike


def on_device(values: ArrayLike, kind: Any, device: str) -> Any:
    """The values as a Warp array of elements of `kind`; vectors are taken from the last axis.

    On the CPU it is the same memory where the elements are of that kind already: for reading only.
    """
    return wp.array(np.ascontiguousarray(values), dtype=kind, device=device, copy=device != "cpu")
