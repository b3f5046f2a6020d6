"""Edge collapses by quadrics (Garland and Heckbert 1997) that keep a mesh a manifold and stop at an error."""

from __future__ import annotations

import numpy as np

from ..mesh.topology import I32, Bool, TriMesh, compact
from .pieces import Pieces
from .rounds import Round, followed, numbers, still_held

# The smallest angle that a collapse may make, in degrees.
LEAST_ANGLE = 5.5
# Another round is not worth its time that takes less than a fiftieth away.
_STUCK = 0.98
# With more than so many times the faces that are wanted the cheapest third of all edges goes at once, while it can.
_MANY, _FEW, _CHEAP = 3, 20_000, 0.35
# It is near enough to that with so many times as much.
_NEARLY = 1.1
# How near the bound pieces of a mesh come by themselves. What is held where they meet makes what is next to it dearer
# than it will be, so the last of it waits for the whole.
_EARLY = 0.7


def collapsed(
    mesh: TriMesh, target: int, bound: float = 0.0, *, held: Bool | None = None, least_angle: float = LEAST_ANGLE
) -> tuple[TriMesh, I32]:
    """The mesh with `target` faces or fewer: below that for as long as the surface moves by less than about `bound`.

    Also each vertex's (N,) number in the result, -1 for those that no face used. `bound` is in the mesh's units; `held`
    (N,) vertices stay as they are. The mesh must be two-manifold and wound one way; it stays so, and no border closes.
    No face turns over, and none gets an angle below `least_angle` degrees where there was none, so more faces than
    `target` may be left.
    """
    number = numbers(mesh)
    held = np.zeros(len(mesh.vertices), np.bool_) if held is None else held
    mesh, held = compact(mesh), held[number >= 0]
    pieces = Pieces(mesh, held)
    while pieces.faces > _NEARLY * _MANY * max(target, _FEW):
        before = pieces.faces
        pieces.sweep(_CHEAP, _MANY * target, least_angle)
        if pieces.faces >= _STUCK * before:
            break
    if bound > 0 and pieces.several:
        # What stays within the bound goes whatever the target is, so no piece need know of the others.
        pieces.collapse(_EARLY * bound, least_angle)
    mesh, fresh, quadrics = pieces.whole()
    number, held = followed(number, fresh), still_held(held, fresh, mesh)
    while len(mesh.faces) > 4:
        before = len(mesh.faces)
        now = Round(mesh, held, quadrics)
        now.collapse(target, bound, least_angle)
        mesh, fresh, quadrics = now.left()
        number, held = followed(number, fresh), still_held(held, fresh, mesh)
        # What was refused may be allowed once its surroundings have changed.
        if len(mesh.faces) > _STUCK * before or (bound <= 0 and len(mesh.faces) <= target):
            break
    return mesh, number
