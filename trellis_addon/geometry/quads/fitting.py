"""Remeshers make about so many faces as they are asked for: here one is asked again until the number fits.

Needs nothing but numpy, so that Blender's own process can do it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Made = tuple[NDArray[np.float32], NDArray[np.int32]]
"""Vertices (V, 3) and quads (Q, 4)."""
_ASTRAY = 0.12  # of the count


def fitted(
    make: Callable[[int], Made | None],
    count: int,
    first: float,
    tries: int,
    close: float,
    keep: Callable[[Made], None] = lambda made: None,
    second: float = 0.0,
) -> Made | None:
    """What `make(number)` gives that comes nearest to `count` quads, at first asked for `first`; at most so many tries,
    and none after one that is `close`, as a share of the count. None where nothing comes of it.

    Between a number that gave too few and one that gave too many the next one is drawn as on a line; but where the
    first went far astray that says nothing, and the `second` is asked, if there is one. `keep` hears of each that is
    the nearest so far.
    """
    asked, best = max(round(first), 3), None
    found: dict[int, int] = {}
    for _ in range(tries):
        made = make(asked)
        if made is None:
            break
        found[asked] = len(made[1])
        if best is None or abs(len(made[1]) - count) < abs(len(best[1]) - count):
            best = made
            keep(made)
        if abs(len(made[1]) / count - 1) <= close:
            break
        is_astray = len(found) == 1 and abs(len(made[1]) / count - 1) > _ASTRAY
        wanted = round(second) if second and is_astray else _next(found, asked, count)
        asked = _untried(wanted, found, max(count // 100, 1))
    return best


def _untried(asked: int, found: dict[int, int], step: int) -> int:
    """The number, or the next one on either side that was not asked: a little more may give quite another one."""
    sides = (max(asked + sign * away * step, 3) for away in itertools.count() for sign in (-1, 1))
    return next(number for number in sides if number not in found)


def _next(found: dict[int, int], asked: int, count: int) -> int:
    low = max((pair for pair in found.items() if pair[1] < count), key=lambda pair: pair[1], default=None)
    high = min((pair for pair in found.items() if pair[1] > count), key=lambda pair: pair[1], default=None)
    if low is None or high is None:
        return max(round(asked * count / max(found[asked], 1)), 3)
    share = (count - low[1]) / (high[1] - low[1])
    return max(round(low[0] + share * (high[0] - low[0])), 3)
