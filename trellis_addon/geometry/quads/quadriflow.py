"""Quads by QuadriFlow (Huang, Zhou, Niessner, Shewchuk, Guibas 2018), which Blender has: in a Blender of its own.

`scene.rebaking.quadriflow` is what runs there. It takes several times as long as Instant Meshes, and leaves a fraction
of its irregular corners: by `benchmarks/geometry/quads.py`.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.configuration import configuration
from ...core.errors import EngineError
from ...core.processes import find_program
from ...core.progress import Progress
from ...runtime.child import run_blender
from ..mesh.topology import TriMesh
from .fitting import Made

_WORKER = ".scene.rebaking.quadriflow"
# Seconds at the least, and for each quad, after which the process itself has come to no end: what runs in it looks at
# the processor's time, and gives up a part long before.
_PATIENCE, _PATIENCE_EACH = 1200.0, 0.3
_ATTEMPTS, _FEWER = 3, 0.97  # at a part that comes to no end: there are such numbers, and none next to each other
# Edges that turn by more than this, in radians, are a crease; of a part with more of them than this share of the
# length of all edges they are kept: where there is hardly one, keeping them only disturbs the flow.
_CREASE, _FEW_CREASES = 0.8, 0.04


def find_blender() -> str | None:
    """The Blender to ask: what the configuration names, "" where it is a module of this Python, or what PATH has; None
    without any."""
    program = configuration().blender
    if program or importlib.util.find_spec("bpy") is not None:
        return program
    return find_program("blender")


def quads_of_parts(
    parts: Sequence[TriMesh], counts: Sequence[int], program: str, progress: Progress
) -> list[Made | None]:
    """About so many quads of each part; None for a part of which nothing comes.

    Raises `EngineError` where Blender cannot be started or comes down, and `Cancelled`.
    """
    made: list[Made | None] = [None] * len(parts)
    attempts = [0] * len(parts)
    left = list(range(len(parts)))
    while left:
        wanted = [max(round(counts[n] * _FEWER ** attempts[n]), 3) for n in left]
        each = progress.part(1 - len(left) / len(parts), 1.0)
        found, stuck = _in_blender([parts[number] for number in left], wanted, program, each)
        for number, one in zip(left, found, strict=True):
            made[number] = one
        if stuck is None:
            break
        number, left = left[stuck], left[stuck + 1 :]
        attempts[number] += 1
        if made[number] is None and attempts[number] < _ATTEMPTS:
            left.insert(0, number)
    return made


def _in_blender(
    parts: Sequence[TriMesh], counts: Sequence[int], program: str, progress: Progress
) -> tuple[list[Made | None], int | None]:
    """What a Blender of its own makes of the parts, and the number of the one that it gave up at, if any: of those
    after it there is nothing."""
    with tempfile.TemporaryDirectory(prefix="trellis2-") as folder:
        source, target = Path(folder, "parts.npz"), Path(folder, "quads.npz")
        arrays = {"counts": np.array(counts), "creased": np.array([_is_creased(part) for part in parts])}
        for number, part in enumerate(parts):
            arrays |= {f"vertices{number}": part.vertices, f"faces{number}": part.faces}
        np.savez(source, allow_pickle=False, **arrays)
        patience = _PATIENCE + _PATIENCE_EACH * sum(counts)
        begun = time.monotonic()

        def check() -> None:
            progress.check()
            if time.monotonic() - begun > patience:
                raise EngineError("Blender's quad remesher came to no end; ask for another number of quads.")

        what = run_blender(program, _WORKER, [str(source), str(target)], check, progress.update)
        if what or not target.is_file():
            raise EngineError("Blender's quad remesher failed: {what}", what=what or "it wrote nothing.")
        with np.load(target) as found:
            made = [
                (found[f"vertices{number}"], found[f"quads{number}"]) if f"quads{number}" in found else None
                for number in range(len(parts))
            ]
            return made, int(found["stuck"]) if "stuck" in found else None


def _is_creased(mesh: TriMesh) -> bool:
    ends = np.stack([mesh.faces, np.roll(mesh.faces, -1, 1)], 2).reshape(-1, 2).astype(np.int64)
    key = ends.min(1) * len(mesh.vertices) + ends.max(1)
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    first, second = order[:-1][same], order[1:][same]
    normals = mesh.crosses()
    normals /= np.maximum(np.linalg.norm(normals, axis=1), 1e-300)[:, None]
    cosines = np.einsum("ij,ij->i", normals[first // 3], normals[second // 3])
    a, b = mesh.vertices[ends[first, 0]], mesh.vertices[ends[first, 1]]
    lengths = np.linalg.norm(a - b, axis=1)
    return bool(lengths[cosines < np.cos(_CREASE)].sum() > _FEW_CREASES * lengths.sum())
