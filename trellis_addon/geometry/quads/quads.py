"""A surface as quads, each of its parts on its own, to a number of faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.errors import EngineError, FieldError, InputError
from ...core.messages import message
from ...core.progress import Progress
from ..mesh.topology import TriMesh, face_groups
from . import instant, quadriflow
from .fitting import Made
from .mending import mended

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

FEWEST = 24
_FEWER = 0.98
_LEAST_PART = 12  # quads; a part that would get fewer keeps its triangles


def quadrangulate(mesh: TriMesh, count: int, progress: Progress | None = None) -> tuple[F32, I32]:
    """Vertices (V, 3) and about `count` quads (Q, 4) of a clean surface, each of its parts on its own.

    By Blender's QuadriFlow where there is a Blender (the one that this runs for, this Python's module, or one on PATH),
    else by Instant Meshes. A part too small for quads keeps its triangles, which stand as quads whose last two corners
    are one. Raises `FieldError` for a number that cannot be, `InputError` where neither of the two is here,
    `EngineError` where nothing comes of it.
    """
    if count < FEWEST:
        raise FieldError("quads", count, message("it must be at least {fewest} quads", fewest=FEWEST))
    progress = progress or Progress()
    groups, group = face_groups(mesh.faces)
    areas = np.bincount(group, mesh.areas(), groups)
    counts = np.round(count * areas / max(float(areas.sum()), 1e-300)).astype(int)
    parts = [mesh.take(group == number) for number in range(groups)]
    large = [number for number in range(groups) if counts[number] >= _LEAST_PART]
    made: list[Made] = [(part.vertices, part.faces[:, [0, 1, 2, 2]]) for part in parts]
    found = _remeshed([parts[number] for number in large], [int(counts[number]) for number in large], progress)
    for number, one in zip(large, found, strict=True):
        if one is not None:
            made[number] = mended(one, parts[number])
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in made])
    quads = [faces + start for (_, faces), start in zip(made, starts, strict=False)]
    if not any(map(len, quads)):
        raise EngineError("Nothing is left of the form as quads; ask for more of them.")
    return np.concatenate([vertices for vertices, _ in made]).astype(np.float32), np.concatenate(quads).astype(np.int32)


def demand_remesher() -> str | None:
    """The Blender that will make quads, None where Instant Meshes does; `InputError` where neither of them is here."""
    program = quadriflow.find_blender()
    if program is None and not instant.is_here():
        raise InputError(
            "Quads need Blender, or the package pynanoinstantmeshes, and neither is here; install one of them."
        )
    return program


def _remeshed(parts: Sequence[TriMesh], counts: Sequence[int], progress: Progress) -> list[Made | None]:
    """By the better of the two ways; a part that it makes nothing of goes the other."""
    found: list[Made | None] = [None] * len(parts)
    program = demand_remesher()
    if not parts:
        return found
    if program is not None:
        try:
            found = quadriflow.quads_of_parts(parts, counts, program, progress)
        except EngineError:
            if not instant.is_here():  # there are numbers at which it comes to no end, and none next to each other
                fewer = [max(round(_FEWER * count), 3) for count in counts]
                found = quadriflow.quads_of_parts(parts, fewer, program, progress)
    if instant.is_here():
        for number, (part, count) in enumerate(zip(parts, counts, strict=True)):
            progress.update("simplify", number / len(parts))
            if found[number] is None:
                found[number] = instant.quads_of(part, count)
    return found
