"""Arrays on Warp's devices, and on all cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from ..core.machine.parallel import bands, on_all_cores, slices

_LEAST = 64  # threads of a kernel that are worth a core of their own
_ROWS = 1 << 16  # rows of an array that are: few enough to stay in a core's cache


def on_device(values: ArrayLike, kind: Any, device: str) -> Any:
    """The values as a Warp array of elements of `kind`; vectors are taken from the last axis.

    On the CPU it is the same memory where the elements are of that kind already: for reading only.
    """
    return wp.array(np.ascontiguousarray(values), dtype=kind, device=device, copy=device != "cpu")


def launch_parts(kernel: wp.Kernel, count: int, launch: Callable[[int, int], None], device: str) -> None:
    """Have `launch(first, end)`, of the kernel, cover 0..count: at once on a device, on the CPU a part for each core.

    For kernels whose parts write to places of their own: the result is the same, however many parts there are.
    """
    if device != "cpu":
        launch(0, count)
    else:
        wp.load_module(kernel.module, device)  # once, before several threads ask for it
        on_all_cores(bands(count, _LEAST), lambda band: launch(*band))


def by_rows(count: int, work: Callable[[slice], NDArray]) -> NDArray:
    """What `work(part)` gives for the parts of 0..count, one after the other, on all cores.

    For what is told of each row by itself: the result is the same, however many parts there are.
    """
    parts = slices(count, _ROWS)
    return work(slice(0, count)) if len(parts) < 2 else np.concatenate(on_all_cores(parts, work))


def each_part(count: int, work: Callable[[slice], object], rows: int = 0) -> None:
    """Have `work(part)` cover 0..count on all cores, in parts of so many `rows`; each writes to rows of its own."""
    on_all_cores(slices(count, rows or _ROWS), work)
