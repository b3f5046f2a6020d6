"""A part of an asset that is to be changed: a box, a ball, or what lies near some points, in the asset's own units.

The frame is that of the asset's GLB: x to the right of its front, y up, z towards who looks at its front.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.errors import FieldError
from ..core.messages import message

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIELD = "inputs.region"
MOST_POINTS = 20_000
RIM = 0.04  # units over which a change fades in, where nobody says otherwise: the longest side of an asset is 1
_KINDS = {"box": 6, "sphere": 4, "points": 0}


@dataclass(frozen=True)
class Region:
    """`kind` "box" has `numbers` x0 y0 z0 x1 y1 z1, lower corner first; "sphere" x y z and its radius; "points" x y z
    of each, and `radius` is how far around them it reaches. `rim` is how wide its edge is, on the inside; with
    `only_texture` the shape stays as it is."""

    kind: str
    numbers: tuple[float, ...]
    radius: float = 0.0
    rim: float = RIM
    only_texture: bool = False

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {self.kind: list(self.numbers)}
        if self.kind == "points":
            found["radius"] = self.radius
        if self.rim != RIM:
            found["rim"] = self.rim
        if self.only_texture:
            found["only"] = "texture"
        return found

    @property
    def is_empty(self) -> bool:
        """Whether it has no volume."""
        if self.kind == "box":
            return any(low >= high for low, high in zip(self.numbers[:3], self.numbers[3:], strict=True))
        return (self.numbers[3] if self.kind == "sphere" else self.radius) <= 0.0 or not self.numbers

    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The lower and the upper corner of the box around it."""
        if self.kind == "box":
            return self.numbers[:3], self.numbers[3:]
        around = self.numbers[3] if self.kind == "sphere" else self.radius
        points = [self.numbers[k : k + 3] for k in range(0, len(self.numbers) - 2, 3)]
        low = tuple(min(point[axis] for point in points) - around for axis in range(3))
        return low, tuple(max(point[axis] for point in points) + around for axis in range(3))

    def depth(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """How far inside of it points (N, 3) lie, in units: (N,), below nought outside."""
        import numpy as np

        places = np.asarray(points, np.float64)
        if self.kind == "box":
            low, high = np.array(self.numbers[:3]), np.array(self.numbers[3:])
            return np.asarray(np.minimum(places - low, high - places).min(1))
        if self.kind == "sphere":
            return np.asarray(self.numbers[3] - np.linalg.norm(places - np.array(self.numbers[:3]), axis=1))
        centres = np.array(self.numbers).reshape(-1, 3)
        found = np.full(len(places), -np.inf)
        step = max(1, 4_000_000 // max(len(centres), 1))
        for first in range(0, len(places), step):
            some = places[first : first + step]
            apart = ((some[:, None] - centres[None]) ** 2).sum(-1).min(1)
            found[first : first + step] = self.radius - np.sqrt(apart)
        return found

    def weight(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """How much of the change points (N, 3) take part in: 0 outside, rising to 1 over the rim."""
        import numpy as np

        depth = self.depth(points)
        if self.is_empty:
            return np.zeros(len(depth))
        if self.rim <= 0.0:
            return np.asarray((depth > 0.0).astype(np.float64))
        return np.asarray(np.clip(depth / self.rim, 0.0, 1.0))


def as_region(given: Any) -> Region:
    """The region of JSON such as `{"box": [x0, y0, z0, x1, y1, z1]}`, `{"sphere": [x, y, z, radius]}` or
    `{"points": [[x, y, z], ...], "radius": r}`, each with `rim` and `"only": "texture"` where these are wanted.

    Six numbers are a box, four a ball. Raises `FieldError`.
    """
    if isinstance(given, Region):
        return given
    given = _listed(given)
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        kind = {6: "box", 4: "sphere"}.get(len(given))
        if kind is None:
            raise FieldError(FIELD, list(given), message("give six numbers of a box, or four of a sphere"))
        given = {kind: list(given)}
    if not isinstance(given, Mapping):
        rule = message("give an object such as {example}", example='{"box": [-0.5, 0, -0.5, 0.5, 0.5, 0.5]}')
        raise FieldError(FIELD, given, rule, code="invalidObject")
    kinds = [kind for kind in _KINDS if kind in given]
    unknown = set(given) - {*_KINDS, "radius", "rim", "only"}
    if len(kinds) != 1 or unknown:
        rule = message("give one of {allowed}, and nothing else but {others}", allowed=list(_KINDS), others=_OTHERS)
        raise FieldError(FIELD, sorted(map(str, given)), rule, code="invalidObject")
    kind = kinds[0]
    numbers = _numbers(kind, given[kind])
    if kind == "sphere" and numbers[3] < 0:
        raise FieldError(f"{FIELD}.sphere", list(numbers), message("give a radius of at least 0"))
    if kind == "box":
        pairs = [sorted(pair) for pair in zip(numbers[:3], numbers[3:], strict=True)]
        numbers = tuple(low for low, _ in pairs) + tuple(high for _, high in pairs)
    radius, rim = (_length(name, given.get(name, default)) for name, default in (("radius", 0.0), ("rim", RIM)))
    only = given.get("only", "")
    if only not in ("", "texture"):
        raise FieldError(f"{FIELD}.only", only, message('give "texture", or leave it out'))
    return Region(kind, numbers, radius, rim, only == "texture")


_OTHERS = ["radius", "rim", "only"]


def _listed(given: Any) -> Any:
    """An array as lists of Python's numbers; anything else as it is."""
    return given.tolist() if hasattr(given, "__array__") and hasattr(given, "tolist") else given


def _numbers(kind: str, given: Any) -> tuple[float, ...]:
    given = _listed(given)
    flat: list[Any] = []
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        for item in given:
            item = _listed(item)
            nested = isinstance(item, Sequence) and not isinstance(item, str | bytes)
            flat += item if nested and kind == "points" else [item]
    fits = len(flat) == _KINDS[kind] if _KINDS[kind] else 0 < len(flat) <= 3 * MOST_POINTS and len(flat) % 3 == 0
    if not fits or not all(_is_number(value) for value in flat):
        rules = {
            "box": message("give six numbers: x0, y0, z0, x1, y1, z1"),
            "sphere": message("give four numbers: x, y, z and the radius"),
            "points": message("give three numbers for each of at most {most} points", most=MOST_POINTS),
        }
        raise FieldError(f"{FIELD}.{kind}", given, rules[kind])
    if kind == "sphere" and flat[3] < 0:
        raise FieldError(f"{FIELD}.{kind}", given, message("give a radius of at least 0"))
    return tuple(float(value) for value in flat)


def _length(name: str, given: Any) -> float:
    if not _is_number(given) or given < 0:
        raise FieldError(f"{FIELD}.{name}", given, message("give a number of at least 0"))
    return float(given)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e6
