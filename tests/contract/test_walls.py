"""How thin walls are: boxes, a hollow one, a slanted plate; and what a contract says of it."""

from __future__ import annotations

import numpy as np
import pytest

from trellis_addon.contract.contract import parse
from trellis_addon.contract.surface import MeshArrays
from trellis_addon.contract.walls import thin_walls
from trellis_addon.core.errors import FieldError

SIDES = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])


def box(*sides: float, inwards: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Corners about the origin, and quads that face outwards, or inwards."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * sides
    return corners, SIDES[:, ::-1] if inwards else SIDES


def mesh(*parts: tuple[np.ndarray, np.ndarray], turn: float = 0.0) -> MeshArrays:
    base = np.cumsum([0] + [len(corners) for corners, _ in parts])
    corners = np.concatenate([part for part, _ in parts])
    turned = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    faces = np.concatenate([faces + start for (_, faces), start in zip(parts, base, strict=False)])
    starts = np.arange(0, faces.size, 4, dtype=np.int32)
    return MeshArrays((corners @ turned.T).astype(np.float32), faces.reshape(-1).astype(np.int32), starts, None)


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_a_plate_is_as_thin_as_it_is(turn: float) -> None:
    plate = mesh(box(1, 1, 0.01), turn=turn)
    found = thin_walls(plate, 0.02)
    assert found.thinnest == pytest.approx(0.01, rel=1e-3) and found.share > 0.95
    assert thin_walls(plate, 0.009).share == 0


def test_a_solid_has_no_walls_and_a_hollow_one_has() -> None:
    assert thin_walls(mesh(box(1, 1, 1)), 0.5).share == 0
    hollow = mesh(box(1, 1, 1), box(0.96, 0.98, 0.9, inwards=True))
    found = thin_walls(hollow, 0.03)
    assert found.thinnest == pytest.approx(0.01, rel=1e-3)
    x, y, z = 0.98 * 0.9, 0.96 * 0.9, 0.96 * 0.98  # the inner sides; those across z are thick enough
    assert found.share == pytest.approx(4 * (x + y) / (6 + 2 * (x + y + z)), abs=0.01)


def test_what_has_no_faces_has_no_walls() -> None:
    empty = MeshArrays(np.zeros((0, 3), np.float32), np.zeros(0, np.int32), np.zeros(0, np.int32), None)
    assert thin_walls(empty, 0.1).share == 0


def test_the_rule_is_a_length() -> None:
    assert parse({"wall": 0.001}).wall == 0.001
    for wrong in (0, -1, "thick", True, 1e9):
        with pytest.raises(FieldError, match="metres"):
            parse({"wall": wrong})
