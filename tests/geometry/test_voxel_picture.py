"""The small picture of voxels, or of a cloud of points: what is seen where, and by which light."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from trellis_addon.formats.early_picture import SIDE, is_small
from trellis_addon.geometry.voxels.picture import points_picture, voxels_picture


def pixels(png: bytes) -> np.ndarray:
    assert is_small(png)
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == (SIDE, SIDE)
        return np.asarray(picture.convert("RGBA"), np.float32) / 255


def box(low: tuple[int, int, int], high: tuple[int, int, int]) -> np.ndarray:
    return np.argwhere(np.ones(np.subtract(high, low), bool)) + low


def sphere(n: int = 60_000) -> np.ndarray:
    """Evenly strewn: a spiral by the golden angle."""
    number = np.arange(n)
    height, angle = 1 - (2 * number + 1) / n, number * np.pi * (3 - np.sqrt(5))
    around = np.sqrt(1 - height**2)
    return np.stack([around * np.cos(angle), around * np.sin(angle), height], 1).astype(np.float32)


@pytest.mark.parametrize("side", [32, 64])
def test_a_block_shows_three_faces_of_its_own_brightness(side: int) -> None:
    """From the front's right and above: the top is brightest, the front left of the middle, the right side darkest."""
    half = side // 2
    shown = pixels(voxels_picture(box((half - 8,) * 3, (half + 8,) * 3), side))
    assert 0.3 < (shown[..., 3] > 0.5).mean() < 0.9
    rows = np.nonzero(shown[..., 3] > 0.9)[0]
    assert rows.min() < 0.1 * SIDE and rows.max() > 0.9 * SIDE, "it fills the picture"
    top, front, right = (shown[row, column, :3].mean() for row, column in ((28, 96), (110, 60), (110, 160)))
    assert top > front > right + 0.05
    inside = shown[40:150, 60:130, 3]
    assert inside.min() == 1.0, "no gaps between blocks"


def test_the_front_is_to_the_left() -> None:
    """A nose towards -Y comes out at the lower left, one towards +X at the lower right."""
    body = box((12, 12, 4), (20, 20, 28))
    left = pixels(voxels_picture(np.concatenate([body, box((15, 2, 14), (17, 12, 16))]), 32))
    right = pixels(voxels_picture(np.concatenate([body, box((20, 15, 14), (30, 17, 16))]), 32))
    for shown, is_left in ((left, True), (right, False)):
        columns = np.nonzero(shown[..., 3].sum(0))[0]
        trunk = np.median(np.nonzero(shown[10, :, 3])[0])
        assert (trunk - columns.min() > columns.max() - trunk) == is_left


def test_what_is_near_hides_what_is_far() -> None:
    ball = sphere()
    near = ball * 0.5 + (np.sin(0.61) * 0.96 * 3, -np.cos(0.61) * 0.96 * 3, 0.28 * 3)  # towards the eye
    red, blue = np.tile([0.9, 0.1, 0.1], (len(ball), 1)), np.tile([0.1, 0.1, 0.9], (len(ball), 1))
    for order in (1, -1):
        places, colours = [ball, near.astype(np.float32)][::order], [blue, red][::order]
        shown = pixels(points_picture(np.concatenate(places), np.concatenate(colours).astype(np.float32)))
        middle = shown[SIDE // 2, SIDE // 2]
        assert middle[0] > 2 * middle[2]


def test_a_ball_of_points_is_round_closed_and_lit_from_the_upper_left() -> None:
    shown = pixels(points_picture(sphere()))
    alpha = shown[..., 3]
    assert alpha.mean() == pytest.approx(np.pi / 4 * 0.94**2, abs=0.03)
    middle = alpha[70:120, 70:120]
    assert middle.min() == 1.0
    bright = shown[..., :3].mean(2)
    assert bright[55, 60] > bright[96, 96] > bright[140, 135] + 0.1


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((5, 3), np.nan)])
def test_nothing_to_see_is_no_picture(points: np.ndarray) -> None:
    assert points_picture(points.astype(np.float32)) == b""
    assert voxels_picture(np.zeros((0, 3), np.int32), 32) == b""


def test_few_points_and_one_voxel_are_seen() -> None:
    assert pixels(voxels_picture(np.array([[31, 0, 31]]), 32))[SIDE // 2, SIDE // 2, 3] == 1.0
    assert pixels(points_picture(np.zeros((1, 3), np.float32)))[..., 3].any()
    assert pixels(points_picture(sphere(500)))[..., 3].mean() > 0.05


def test_many_points_are_thinned() -> None:
    assert pixels(points_picture(sphere(1_300_000)))[SIDE // 2, SIDE // 2, 3] == 1.0
