"""A surface as quads, each of its parts on its own, to a number of faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.errors import EngineError, FieldError, InputError
from ...core.messages import message
from ...core.progress import Progress
from ..mesh.topology import TriMesh, face_groups
from ..simplify.simplify import simplify
from . import instant, quadriflow
from .fitting import Made
from .mending import mended

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

FEWEST = 24
_FEWEST_TRIANGLES = 8  # of a part that gets no quads
_LEAST_PART = 24  # quads that every part gets, while that is not too much of them all
_MOST_FOR_SMALL = 0.5  # of the quads; where there are more parts than these allow, small ones are of triangles


def quadrangulate(mesh: TriMesh, count: int, progress: Progress | None = None) -> tuple[F32, I32]:
    """Vertices (V, 3) and about `count` quads (Q, 4) of a clean surface, each of its parts on its own.

    By Blender's QuadriFlow where there is a Blender (the one that this runs for, this Python's module, or one on PATH),
    else by Instant Meshes. Of a part too small for quads, or of which neither makes any, there are triangles instead,
    no more than it would have quads; they stand as quads whose last two corners are one. Raises `FieldError` for a
    number that cannot be, `InputError` where neither of the two is here, `EngineError` where nothing comes of it.
    """
    demand_quads(count)
    progress = progress or Progress()
    groups, group = face_groups(mesh.faces)
    counts = _shares(np.bincount(group, mesh.areas(), groups).astype(np.float64), count)
    parts = [mesh.take(group == number) for number in range(groups)]
    large = [number for number in range(groups) if counts[number] >= _LEAST_PART]
    found = _remeshed([parts[number] for number in large], [int(counts[number]) for number in large], progress)
    remade = dict(zip(large, found, strict=True))
    made: list[Made] = []
    for number, part in enumerate(parts):
        one = remade.get(number)
        made.append(_as_triangles(part, int(counts[number])) if one is None else mended(one, part))
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in made])
    quads = [faces + start for (_, faces), start in zip(made, starts, strict=False)]
    if not any(map(len, quads)):
        raise EngineError("Nothing is left of the form as quads; ask for more of them.")
    return np.concatenate([vertices for vertices, _ in made]).astype(np.float32), np.concatenate(quads).astype(np.int32)


def demand_quads(count: int) -> None:
    """Raise `FieldError` for a number of quads that cannot be."""
    if count < FEWEST:
        raise FieldError("quads", count, message("it must be at least {fewest} quads", fewest=FEWEST))


def _shares(areas: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """How many quads each part gets: by its area, and where there are not too many parts none too few for a form."""
    shares = areas / max(float(areas.sum()), 1e-300)
    if len(areas) * _LEAST_PART <= _MOST_FOR_SMALL * count:
        small = np.zeros(len(areas), bool)
        while True:  # what the small ones get more, the large ones get less
            left = count - _LEAST_PART * int(small.sum())
            wanted = np.where(small, _LEAST_PART, left * shares / max(float(shares[~small].sum()), 1e-300))
            if (wanted >= _LEAST_PART).all():
                return np.round(wanted).astype(np.int64)
            small |= wanted < _LEAST_PART
    return np.round(count * shares).astype(np.int64)


def _as_triangles(part: TriMesh, count: int) -> Made:
    light = simplify(part, max(count, _FEWEST_TRIANGLES))
    return light.vertices, light.faces[:, [0, 1, 2, 2]]


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
            if not instant.is_here():
                raise
    if instant.is_here():
        for number, (part, count) in enumerate(zip(parts, counts, strict=True)):
            progress.update("simplify", number / len(parts))
            if found[number] is None:
                found[number] = instant.quads_of(part, count)
    return found
