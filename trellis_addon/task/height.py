"""How tall an asset may be made in a scene."""

from __future__ import annotations

from ..core.errors import FieldError
from ..core.messages import message

LEAST, MOST = 0.0001, 100_000.0  # metres


def check_height(height: float | None) -> None:
    """Raise `FieldError` for a height in metres that cannot be; None is the asset's own."""
    if height is not None and not LEAST <= height <= MOST:
        said = message("height: {height} m cannot be used; allowed: from 0.0001 to 100000 m.", height=height)
        raise FieldError("height", height, message=said)
