"""What a seed changes: proportions and strengths, all within what still looks like the picture.

A variant of a draft lies between two of them; its file says where, so that there are variants of variants.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ...core.errors import EngineError
from ...core.messages import message
from ...formats.glb.check import split_glb
from ...task.settings import DRAFT_MODEL, SEED_MAX


@dataclass(frozen=True)
class Variation:
    """Factors round 1 unless said otherwise.

    `depth` of the front, `back` of the back, `relief` of the shading's relief; `parts` (0..1) how
    much the picture's parts are bodies of their own rather than one dome; `plain` (0..1) how much
    of the back's middle is the mean of its sides; `tone` the back's brightness; `bow` of the curve
    that thin subjects get; `swell` are broad waves over the back, each with its direction, in radians, and
    its share.
    """

    depth: float
    back: float
    relief: float
    parts: float
    plain: float
    tone: float
    bow: float
    swell: tuple[tuple[float, float], ...]

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
            swell=((2.0 * np.pi * a[7], 1.0),),
        )

    def towards(self, other: Variation, share: float) -> Variation:
        """On the way from this one (0) to another (1); one wave sinks while the other rises."""
        mixed = {name: (1.0 - share) * getattr(self, name) + share * getattr(other, name) for name in _FACTORS}
        waves = [(way, part * (1.0 - share)) for way, part in self.swell] + [
            (way, part * share) for way, part in other.swell
        ]
        return Variation(**mixed, swell=tuple(wave for wave in waves if wave[1] > 1e-3))

    def to_json(self) -> list[Any]:
        return [*(float(getattr(self, name)) for name in _FACTORS), [[float(n) for n in wave] for wave in self.swell]]

    @classmethod
    def from_json(cls, given: Any) -> Variation | None:
        """What `to_json` gave; None for anything else."""
        if not isinstance(given, list) or len(given) != len(_FACTORS) + 1:
            return None
        *factors, swell = given
        if not isinstance(swell, list) or not all(isinstance(wave, list) and len(wave) == 2 for wave in swell):
            return None
        numbers = [*factors, *(number for wave in swell for number in wave)]
        if len(swell) > 1000 or not all(type(n) in (int, float) and 0.0 <= n < 7.0 for n in numbers):
            return None
        waves = tuple((float(way), float(part)) for way, part in swell)
        return cls(**{name: float(factor) for name, factor in zip(_FACTORS, factors, strict=True)}, swell=waves)


_FACTORS = tuple(field.name for field in fields(Variation) if field.name != "swell")
# In the middle of what seeds do.
EVEN = Variation(depth=1.0, back=1.0, relief=1.0, parts=0.45, plain=0.45, tone=0.97, bow=1.0, swell=((0.0, 1.0),))


def variation_of(glb: bytes) -> tuple[Variation, tuple[str, ...]]:
    """What a draft was made with, as its file says, and sentences about what a variant of it cannot keep.

    Raises `EngineError` for an asset that is no draft.
    """
    extras = split_glb(glb)[0].get("asset", {}).get("extras", {})
    seed = extras.get("seed")
    if extras.get("engine") != DRAFT_MODEL or type(seed) is not int or not 0 <= seed <= SEED_MAX:
        raise EngineError("The asset is no draft, and what it was decoded from did not come along.")
    notes: tuple[str, ...] = ()
    if extras.get("changes"):
        told = message(
            "A part of the asset was changed: a variant of a draft is made of its picture as a whole, without that."
        )
        notes = (told,)
    return Variation.from_json(extras.get("variation")) or Variation.from_seed(seed), notes
