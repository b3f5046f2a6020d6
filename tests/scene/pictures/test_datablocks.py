"""Blender's image datablocks are pictures for a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import disc, sentence

bpy = pytest.importorskip("bpy")


from trellis_addon.core.errors import ImageError  # noqa: E402
from trellis_addon.scene.images import datablock_loader  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


def test_datablocks_are_pictures(tmp_path: Path) -> None:
    picture = disc(64)
    picture.save(tmp_path / "Round One.png")
    image = bpy.data.images.load(str(tmp_path / "Round One.png"))
    loaded = datablock_loader(image)()
    assert loaded.name == "Round One"
    assert (np.asarray(loaded.rgba) == np.asarray(picture)).all()
    image.pack()
    (tmp_path / "Round One.png").unlink()
    assert (np.asarray(datablock_loader(image)().rgba) == np.asarray(picture)).all()


def test_painted_datablocks_are_pictures() -> None:
    image = bpy.data.images.new("Painted", 8, 4, alpha=True)
    pixels = np.zeros((4, 8, 4), np.float32)
    pixels[3, :, :] = (1, 0, 0, 1)  # Blender's rows go up: this is the top
    pixels[0, 0, :] = (0, 0, 1, 0.5)
    image.pixels.foreach_set(pixels.reshape(-1))
    found = np.asarray(datablock_loader(image)().rgba)
    assert found.shape == (4, 8, 4)
    assert tuple(found[0, 5]) == (255, 0, 0, 255) and tuple(found[3, 0]) == (0, 0, 255, 128)


def test_float_datablocks_are_brought_to_srgb() -> None:
    image = bpy.data.images.new("Light", 8, 8, alpha=True, float_buffer=True)
    pixels = np.full((8, 8, 4), 0.2140, np.float32)
    pixels[:4, :, 3], pixels[4:, :, 3] = 1.0, 0.0
    image.pixels.foreach_set(pixels.reshape(-1))
    found = np.asarray(datablock_loader(image)().rgba)
    assert found[7, 3, 0] == pytest.approx(127, abs=2) and found[0, 3, 3] == 0


def test_datablocks_without_pixels_are_refused(tmp_path: Path) -> None:
    image = bpy.data.images.new("Gone", 4, 4)
    image.source = "FILE"
    image.filepath = str(tmp_path / "gone.tga")
    with pytest.raises(ImageError) as caught:
        datablock_loader(image)()
    sentence(caught.value)
