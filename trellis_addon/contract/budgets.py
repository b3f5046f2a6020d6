"""What games ask for in size: how many triangles, and how many texels a side, for what an asset is to be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """`faces` the most triangles, `texture_size` in texels a side."""

    faces: int
    texture_size: int


BUDGETS = {
    "hero": Budget(100_000, 4096),
    "prop": Budget(20_000, 2048),
    "mobile": Budget(5_000, 1024),
    "background": Budget(500, 512),
}
LEVEL_SHARE = 0.25  # of the triangles of a level of detail that the next one has
LEAST_LEVEL = 60  # triangles: fewer show no form


def level_budgets(faces: int, levels: int) -> list[int]:
    """The most triangles of each level of detail, from the finest on; fewer levels where a next one had no form."""
    found = [faces]
    while len(found) < levels and found[-1] * LEVEL_SHARE >= LEAST_LEVEL:
        found.append(int(found[-1] * LEVEL_SHARE))
    return found
