"""Where a mesh with shape keys or a skeleton stands when nothing moves it (glTF 2.0, 3.7.2.2 and 3.7.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import InputError

F64 = NDArray[np.float64]
Read = Callable[[int], NDArray[Any]]
"""An accessor's values (count, width), by its number."""


def node_matrix(node: Mapping[str, Any]) -> F64:
    """(4, 4) from the node's own frame to that of the node above."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    out = np.eye(4)
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    out[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), np.float64)
    out[:3, 3] = node.get("translation", (0, 0, 0))
    return out


def instances(node: Mapping[str, Any], read: Read) -> list[F64]:
    """Where a node's mesh is to be seen, as matrices (4, 4) in the node's own frame: several by
    EXT_mesh_gpu_instancing, else where the node is. Raises `InputError` for places that do not fit together."""
    named = node.get("extensions", {}).get("EXT_mesh_gpu_instancing", {}).get("attributes", {})
    given = {key: read(named[key]).astype(np.float64) for key in ("TRANSLATION", "ROTATION", "SCALE") if key in named}
    if not given:
        return [np.eye(4)]
    widths = {key: 4 if key == "ROTATION" else 3 for key in given}
    if len({len(values) for values in given.values()}) > 1 or any(
        values.shape[1] != widths[key] or not np.isfinite(values).all() for key, values in given.items()
    ):
        raise InputError("The GLB has copies of a mesh whose places do not fit together; export it again.")
    count = len(next(iter(given.values())))
    return [node_matrix({key.lower(): values[number] for key, values in given.items()}) for number in range(count)]


def morphed(primitive: Mapping[str, Any], name: str, values: F64, weights: Sequence[float], read: Read) -> F64:
    """An attribute `name` (V, 3) with the shape keys added, each by its weight."""
    for target, weight in zip(primitive.get("targets") or (), weights, strict=False):
        if weight and name in target:
            values = values + weight * read(target[name]).astype(np.float64)
    return values


class Skeletons:
    """The skins of a sound document, and where their joints stand."""

    def __init__(self, document: Mapping[str, Any], read: Read) -> None:
        self._nodes: Sequence[Mapping[str, Any]] = document.get("nodes", [])
        self._skins: Sequence[Mapping[str, Any]] = document.get("skins", [])
        self._read = read
        self._above = {child: n for n, node in enumerate(self._nodes) for child in node.get("children") or ()}
        self._known: dict[int, F64] = {}

    def places(self, primitive: Mapping[str, Any], skin: int) -> F64 | None:
        """For each vertex the matrix (V, 3, 4) that its joints move it by; None where the mesh names no joints.

        By a skin's rules the node that holds the mesh has no say. Weights count as shares of their sum.
        Raises `InputError` for vertices of joints that the skeleton has not.
        """
        attributes, joints = primitive["attributes"], self._joints(skin)
        total, moved = np.zeros(1), np.zeros((1, 3, 4))
        for number in range(len(attributes)):
            if f"JOINTS_{number}" not in attributes or f"WEIGHTS_{number}" not in attributes:
                break
            named = self._read(attributes[f"JOINTS_{number}"]).astype(np.int64)
            weights = np.maximum(self._read(attributes[f"WEIGHTS_{number}"]).astype(np.float64), 0.0)
            if named.shape[1] != 4 or weights.shape[1] != 4:
                raise InputError("The GLB has vertices whose joints are not four at a time; export it again.")
            named = np.where(weights > 0, named, 0)
            if named.min() < 0 or named.max() >= len(joints):
                raise InputError("The GLB has vertices of a joint that its skeleton has not; export it again.")
            total = total + weights.sum(1)
            for slot in range(4):
                moved = moved + weights[:, slot, None, None] * joints[named[:, slot]]
        if "JOINTS_0" not in attributes or "WEIGHTS_0" not in attributes:
            return None
        lost = total <= 0  # of no joint at all: they stay where the first one takes them
        moved[lost] = joints[0]
        return moved / np.where(lost, 1.0, total)[:, None, None]

    def _joints(self, skin: int) -> F64:
        """(J, 3, 4): from the mesh as it was bound to where each joint stands now."""
        described = self._skins[skin]
        now = np.stack([self._matrix(joint) for joint in described["joints"]] or [np.eye(4)])
        if "inverseBindMatrices" in described:
            bound = self._read(described["inverseBindMatrices"]).astype(np.float64)
            now = now @ bound[: len(now)].reshape(-1, 4, 4).transpose(0, 2, 1)
        return np.asarray(now[:, :3])

    def _matrix(self, number: int) -> F64:
        """(4, 4) from a node's frame to the scene's."""
        way = [number]
        while way[-1] in self._above and way[-1] not in self._known:
            way.append(self._above[way[-1]])
        while way:
            number = way.pop()
            if number not in self._known:
                own = node_matrix(self._nodes[number])
                self._known[number] = self._known[self._above[number]] @ own if number in self._above else own
        return self._known[number]
