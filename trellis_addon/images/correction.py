"""What is corrected of a picture by hand, after its subject was cut out: its outline, and what the model looks at.

All of it is told in shares of the subject's size, so that it holds for the picture in any number of pixels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..core.errors import ImageError
from ..core.given import plain

LIMITS = {"grow": (-0.2, 0.2), "margin": (-0.45, 2.0), "right": (-1.0, 1.0), "up": (-1.0, 1.0)}


@dataclass(frozen=True)
class Correction:
    """Shares of the longer side of the subject's box.

    `grow` moves the outline outwards, below 0 inwards. `margin` is the room on each side of the square that the model
    looks at, which is the subject's own at 0 and cuts into it below; `right` and `up` move that square.
    """

    grow: float = 0.0
    margin: float = 0.0
    right: float = 0.0
    up: float = 0.0

    def __post_init__(self) -> None:
        for name, given in asdict(self).items():
            low, high = LIMITS[name]
            value = plain(given)
            object.__setattr__(self, name, value)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ImageError(
                    "{name}: {value} is no share of the subject's size to correct a picture by; give {low} to {high}.",
                    name=name,
                    value=str(value)[:40],
                    low=low,
                    high=high,
                )

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    @property
    def has_frame(self) -> bool:
        return bool(self.margin or self.right or self.up)

    def facts(self) -> dict[str, float]:
        """What differs from a picture as it is, for the provenance."""
        return {name: round(float(value), 4) for name, value in asdict(self).items() if value}
