"""Several looks for one mesh: what is a shell of its own is read from what that shell was made of, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mesh.closest import Surface
from ..mesh.topology import TriMesh, face_groups, joined
from .reading import Look, Part, Reading

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]


class Several:
    """`looks` of the same parts; each face of the mesh (F,) is read from the one that its `number` says."""

    def __init__(self, looks: Sequence[Look], number: I32) -> None:
        self._looks = looks
        self._number = number
        whole = joined([TriMesh(look.surface.vertices, look.surface.faces) for look in looks])
        self.surface = Surface(whole.vertices, whole.faces)
        self.parts: Sequence[Part] = looks[0].parts

    def read(
        self, points: F32, directions: F32, density: float, on: I32 | None = None, *, normals: bool = True
    ) -> Reading:
        """See `Look.read`."""
        assert on is not None
        number = self._number[on]
        used = np.unique(number)
        if len(used) == 1:
            return self._looks[used[0]].read(points, directions, density, on, normals=normals)
        rows = [np.flatnonzero(number == each) for each in used]
        read = [
            self._looks[each].read(points[row], directions[row], density, on[row], normals=normals)
            for each, row in zip(used, rows, strict=True)
        ]
        order = np.argsort(np.concatenate(rows))
        values: dict[str, Any] = {}
        for name, first in vars(read[0]).items():
            values[name] = None if first is None else np.concatenate([getattr(each, name) for each in read])[order]
        return Reading(**values)


def shell_of_faces(mesh: TriMesh, shells: Sequence[TriMesh]) -> I32:
    """(F,) the shell that each connected part of a mesh was made of: the nearest to most of its faces."""
    middles = mesh.vertices[mesh.faces].mean(1)
    near = np.stack([Surface(each.vertices, each.faces).closest(middles).distances for each in shells]).argmin(0)
    count, part = face_groups(mesh.faces)
    votes = np.bincount(part * len(shells) + near, minlength=count * len(shells)).reshape(count, -1)
    return votes.argmax(1)[part].astype(np.int32)
