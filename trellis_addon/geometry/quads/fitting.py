"""Remeshers make about so many faces as they are asked for: here one is asked again until the number fits.

Needs nothing but numpy, so that Blender's own process can do it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Made = tuple[NDArray[np.float32], NDArray[np.int32]]
"""Vertices (V, 3) and quads (Q, 4)."""


def fitted(make: Callable[[int], Made | None], count: int, first: float, tries: int, close: float) -> Made | None:
    """What `make(number)` gives that comes nearest to `count` quads, at first asked for `first`; at most so many tries,
    and none after one that is `close`, as a share of the count. None where nothing comes of it.
    """
    asked, best = first, None
    for _ in range(tries):
        made = make(max(round(asked), 3))
        if made is None:
            break
        if best is None or abs(len(made[1]) - count) < abs(len(best[1]) - count):
            best = made
        if abs(len(made[1]) / count - 1) <= close:
            break
        asked *= count / len(made[1])
    return best
