"""What a seed changes: proportions and strengths, all within what still looks like the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Variation:
    """Factors round 1 unless said otherwise.

    `depth` of the front, `back` of the back, `relief` of the shading's relief; `parts` (0..1) how
    much the picture's parts are bodies of their own rather than one dome; `plain` (0..1) how much
    of the back's middle is the mean of its sides; `tone` the back's brightness; `bow` of the curve
    that thin subjects get; `swell` is the direction, in radians, of a broad wave over the back.
    """

    depth: float
    back: float
    relief: float
    parts: float
    plain: float
    tone: float
    bow: float
    swell: float

    @classmethod
    def from_seed(cls, seed: int) -> Variation:
        """The same seed gives the same variation; `seed` is in 0..2^63-1."""
        a = np.random.default_rng(seed).random(8)
        return cls(
            depth=0.86 + 0.28 * a[0],
            back=0.75 + 0.5 * a[1],
            relief=0.7 + 0.6 * a[2],
            parts=0.30 + 0.3 * a[3],
            plain=0.3 + 0.3 * a[4],
            tone=0.92 + 0.10 * a[5],
            bow=0.7 + 0.6 * a[6],
            swell=2.0 * np.pi * a[7],
        )


# In the middle of what seeds do.
EVEN = Variation(depth=1.0, back=1.0, relief=1.0, parts=0.45, plain=0.45, tone=0.97, bow=1.0, swell=0.0)
