"""The colour of a background that is removed wherever it is: a green screen, a blue one, a painted sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import ImageError

TOLERANCE = 18.0


@dataclass(frozen=True)
class ColourKey:
    """`colour` is sRGB in 0..1, or None for the commonest along the picture's border; `tolerance` a distance in CIE
    L*a*b*, where 2.3 is the smallest difference that people see and 100 that of black and white."""

    colour: tuple[float, float, float] | None = None
    tolerance: float = TOLERANCE


def key_of(given: ColourKey | Sequence[float]) -> ColourKey:
    """What a caller gave: a key, or a colour. Raises `ImageError`."""
    if isinstance(given, ColourKey):
        return given
    try:
        red, green, blue = (float(value) for value in given)
        if not all(0.0 <= value <= 1.0 for value in (red, green, blue)):
            raise ValueError
    except (TypeError, ValueError):
        shown = " ".join(str(given).split())[:60]
        raise ImageError('key: "{colour}" is no colour; give red, green and blue from 0 to 1.', colour=shown) from None
    return ColourKey((red, green, blue))
