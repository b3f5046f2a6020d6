"""Pictures of assets without Blender: from one side, and from all around."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from trellis_addon.formats.glb.preview import LARGE, SIZE, main, view_paths
from trellis_addon.formats.glb.write import Material, Mesh, write_glb


def board(path: Path) -> Path:
    """A board that faces Z, 2 wide and 0.2 deep, with a post on the side of X, which is its left."""
    corners, faces = [], []
    for low, high in (((-1, 0, -0.1), (1, 1, 0.1)), ((0.8, 1, -0.1), (1, 1.5, 0.1))):
        first = len(corners)
        corners += [[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]] for i, j, k in np.ndindex(2, 2, 2)]
        quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
        faces += [[first + n for n in t] for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    path.write_bytes(write_glb(Mesh(np.array(corners, np.float32), np.array(faces, np.uint32)), Material(), {}))
    return path


def seen(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGBA"))[..., 3] > 127


def test_a_turntable_goes_all_around_in_one_scale(tmp_path: Path) -> None:
    picture = tmp_path / "turn.png"
    assert main(["--views", "8", str(board(tmp_path / "board.glb")), str(picture)]) == 0
    paths = view_paths(picture, 8)
    assert sorted(tmp_path.glob("*.png")) == sorted(paths) and len(set(paths)) == 8
    views = [seen(path) for path in paths]
    assert all(view.shape == (LARGE, LARGE) for view in views)
    columns = [np.flatnonzero(view.any(0)) for view in views]
    wide = [found[-1] - found[0] for found in columns]
    assert wide[0] > 0.85 * LARGE and abs(wide[0] - wide[4]) <= 2, "front and back"
    assert wide[2] < 0.15 * LARGE and abs(wide[2] - wide[6]) <= 2, "from the sides, in the same scale"
    for number, is_right in ((0, True), (4, False)):
        top = np.flatnonzero(views[number].any(1))[0]
        post = np.flatnonzero(views[number][top + 8]).mean()
        assert (post > LARGE / 2) == is_right, "the post is at the right from the front, at the left from behind"
    # from its left the post is near
    assert views[2][: LARGE // 2].sum() > 0


def test_one_view_is_one_picture(tmp_path: Path) -> None:
    assert main([str(board(tmp_path / "board.glb")), str(tmp_path / "one.png")]) == 0
    assert [path.name for path in tmp_path.glob("*.png")] == ["one.png"]
    assert seen(tmp_path / "one.png").shape == (SIZE, SIZE)


def test_wrong_arguments_are_told(tmp_path: Path, capsys: object) -> None:
    assert main([]) == 2 and main(["--views", "8"]) == 2 and main(["one.glb"]) == 2
    assert main([str(tmp_path / "none.glb"), str(tmp_path / "none.png")]) == 1
