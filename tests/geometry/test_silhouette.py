"""The outline of a mesh from a side: against triangles drawn one by one, of few and of many faces."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from trellis_addon.geometry.texturing.silhouette import ROOM, Solid, laid_over, outlined, overlap, silhouette

SIDE = 128


def lump(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A ball with five waves, of number x number places."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, number), np.linspace(0, np.pi, number))
    wide = np.sin(v) * (1 + 0.3 * np.sin(5 * u))
    points = np.stack([wide * np.cos(u) + 50.0, 0.6 * np.sin(v) * np.sin(u), np.cos(v) - 7.0], -1).reshape(-1, 3)
    n = np.arange(number * number).reshape(number, number)
    a, b, c, d = n[:-1, :-1], n[1:, :-1], n[1:, 1:], n[:-1, 1:]
    return points, np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])


def drawn(points: np.ndarray, faces: np.ndarray, yaw: float) -> np.ndarray:
    turn = np.radians(yaw)
    flat = np.stack([points[:, 0] * np.cos(turn) + points[:, 1] * np.sin(turn), -points[:, 2]], 1)
    low, high = flat.min(0), flat.max(0)
    flat = (flat - (low + high) / 2) * SIDE * (1 - 2 * ROOM) / (high - low).max() + SIDE / 2
    image = Image.new("1", (4 * SIDE, 4 * SIDE))
    pen = ImageDraw.Draw(image)
    for corners in flat[faces] * 4:
        pen.polygon([tuple(corner) for corner in corners], fill=1)
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)) >= 128


@pytest.mark.parametrize("number", [6, 14, 40, 110])
@pytest.mark.parametrize("yaw", [0.0, 90.0, 200.0])
def test_it_is_what_the_triangles_cover(number: int, yaw: float) -> None:
    points, faces = lump(number)
    found, right = silhouette(Solid.of(points, faces), yaw, SIDE), drawn(points, faces, yaw)
    assert (found & right).sum() / (found | right).sum() > 0.96
    # no holes
    inside = np.asarray(Image.fromarray((right * 255).astype(np.uint8)).filter(ImageFilter.MinFilter(5))) > 0
    assert not (inside & ~found).any()


def test_sides_are_those_of_blender() -> None:
    """Long in front, with a knob at +x on top: to the right from the front, to the left from behind."""
    boxes = [((-2, -0.5, 0), (2, 0.5, 1)), ((1.5, -0.5, 1), (2, 0.5, 2))]
    points, faces = [], []
    for low, high in boxes:
        n = len(points)
        points += [[(low, high)[(k >> axis) & 1][axis] for axis in range(3)] for k in range(8)]
        for a, b, c, d in ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)):
            faces += [[n + a, n + b, n + c], [n + a, n + c, n + d]]
    solid = Solid.of(np.array(points, float), np.array(faces))
    where = {}
    for yaw in (0.0, 90.0, 180.0, 270.0):
        mask = silhouette(solid, yaw, SIDE)
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        where[yaw] = np.nonzero(mask[rows[0] + 2])[0].mean() / SIDE
        assert (np.ptp(columns) > np.ptp(rows)) == (yaw % 180 == 0)
    assert where[0.0] > 0.7 and where[180.0] < 0.3


def test_a_picture_of_it_lies_upon_it() -> None:
    points, faces = lump(40)
    solid = Solid.of(points, faces)
    mask = silhouette(solid, 0.0, 2 * SIDE)
    picture = Image.new("RGBA", (400, 300))
    picture.paste((200, 30, 30, 255), (60, 10), Image.fromarray((mask * 255).astype(np.uint8)))
    small = silhouette(solid, 0.0, SIDE)
    assert overlap(small, picture) > 0.95
    assert overlap(silhouette(solid, 90.0, SIDE), picture) < 0.85
    shown = outlined(small, picture)
    assert shown.shape == (SIDE, SIDE, 4)
    assert (shown[SIDE // 2, SIDE // 2, :3] == (200, 30, 30)).all() and shown[2, 2, 0] == shown[2, 2, 1]
    assert ((shown[..., :3] == (255, 150, 30)).all(-1)).sum() > 100
    assert laid_over(small, Image.new("RGBA", (9, 9))).getbbox() is None
