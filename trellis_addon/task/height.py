"""How tall an asset may be made in a scene."""

from __future__ import annotations

from typing import Any

from ..core.errors import FieldError
from ..core.given import plain
from ..core.messages import message

LEAST, MOST = 0.0001, 100_000.0  # metres


def check_height(height: Any) -> None:
    """Raise `FieldError` for a height in metres that cannot be; None is the asset's own."""
    if height is None:
        return
    height = plain(height)
    if isinstance(height, bool) or not isinstance(height, (int, float)):
        raise FieldError("height", height, message("give a number of metres, such as 1.8"))
    if not LEAST <= height <= MOST:
        said = message("height: {height} m cannot be used; allowed: from 0.0001 to 100000 m.", height=height)
        raise FieldError("height", height, message=said)
