"""Quads by Instant Field-Aligned Meshes (Jakob, Tarini, Panozzo, Sorkine-Hornung 2015), through pynanoinstantmeshes.

The method makes about so many as it is asked for; here it is asked again until the number fits.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...core.errors import EngineError, FieldError, InputError
from ...core.messages import message
from ...core.progress import Progress
from ..mesh.topology import TriMesh, face_groups

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

FEWEST = 24
_CREASE = 30.0  # degrees, from which on an edge is one that quads are to follow
_CLOSE = 0.03  # of the number asked for
_TRIES = 4
_LEAST_PART = 12  # quads; a part that would get fewer keeps its triangles
_BRANCHES = 4  # it makes this many quads for each vertex that it is asked for, as it cuts each face at its centre


def quadrangulate(mesh: TriMesh, count: int, progress: Progress | None = None) -> tuple[F32, I32]:
    """Vertices (V, 3) and about `count` quads (Q, 4) of a clean surface, each of its parts on its own.

    A part too small for quads keeps its triangles, which stand as quads whose last two corners are one. Raises
    `FieldError` for a number that cannot be, `InputError` where the package is not installed, `EngineError` where
    nothing comes of it.
    """
    if count < FEWEST:
        raise FieldError("quads", count, message("it must be at least {fewest} quads", fewest=FEWEST))
    progress = progress or Progress()
    groups, group = face_groups(mesh.faces)
    areas = np.bincount(group, mesh.areas(), groups)
    shares = areas / max(float(areas.sum()), 1e-300)
    places, found, done = [], [], 0
    for number in range(groups):
        progress.update("simplify", number / groups)
        part = mesh.take(group == number)
        wanted = round(count * float(shares[number]))
        vertices, quads = _of_part(part, wanted) if wanted >= _LEAST_PART else _as_quads(part)
        places.append(vertices)
        found.append(quads + done)
        done += len(vertices)
    if not any(map(len, found)):
        raise EngineError("Nothing is left of the form as quads; ask for more of them.")
    return np.concatenate(places).astype(np.float32), np.concatenate(found).astype(np.int32)


def _of_part(mesh: TriMesh, count: int) -> tuple[F32, I32]:
    asked, best = count / _BRANCHES, None
    for _ in range(_TRIES):
        made = _field_aligned(mesh, max(round(asked), 3))
        if made is None:
            break
        if best is None or abs(len(made[1]) - count) < abs(len(best[1]) - count):
            best = made
        if abs(len(made[1]) / count - 1) <= _CLOSE:
            break
        asked *= count / len(made[1])
    return best or _as_quads(mesh)


def _field_aligned(mesh: TriMesh, vertices: int) -> tuple[F32, I32] | None:
    """None where nothing comes of it, as of a part with too little form."""
    try:
        import pynanoinstantmeshes
    except ImportError:
        raise InputError(
            "Quads need the package pynanoinstantmeshes, which is not here; install it with pip."
        ) from None
    with _silent():
        places, quads = pynanoinstantmeshes.remesh(
            np.ascontiguousarray(mesh.vertices, np.float32),
            np.ascontiguousarray(mesh.faces, np.uint32),
            vertices,
            creaseAngle=_CREASE,
            align_to_boundaries=True,
            deterministic=True,
        )
    places, quads = np.array(places, np.float32), np.array(quads).astype(np.int64)
    if not len(quads) or not np.isfinite(places).all() or quads.max() >= len(places):
        return None
    used, numbers = np.unique(quads, return_inverse=True)
    return places[used], numbers.reshape(quads.shape).astype(np.int32)


def _as_quads(mesh: TriMesh) -> tuple[F32, I32]:
    return mesh.vertices, mesh.faces[:, [0, 1, 2, 2]]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """It tells what it does on standard output, where a parent reads something else."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
