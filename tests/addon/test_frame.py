"""The outline and the frame of the panel's pictures, corrected with Blender's properties and operators."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from PIL import Image  # noqa: E402
from test_extension import extension, part  # noqa: E402, F401
from test_panel import block, use  # noqa: E402

SIDE = 300


@pytest.fixture(autouse=True)
def _extension(extension: ModuleType) -> None:  # noqa: F811
    bpy.context.scene.trellis2.settings.resolution = "512"
    bpy.context.scene.trellis2.settings.texture_size = "1024"


def boxed(colour: tuple[int, int, int] = (200, 40, 30)) -> Image.Image:
    image = Image.new("RGBA", (SIDE, SIDE))
    image.paste((*colour, 255), (100, 60, 200, 240))
    return image


def preview() -> Any:
    return part("trellis_addon.scene.cutout_preview")


def load(image: Any) -> Any:
    return preview().loader_of(image)()


def asset() -> Any:
    return next(obj for obj in bpy.data.objects if "trellis2_provenance" in obj)


def test_the_preview_is_the_square_that_the_model_gets() -> None:
    image = use(boxed())
    plain = preview().look(image)
    assert plain.gets == 178 and plain.share == pytest.approx(1.0, abs=0.01)
    image.trellis2.margin, image.trellis2.right = 50.0, 25.0
    assert preview().known(image) is None, "it is another picture now"
    found = preview().look(image)
    assert found.gets == pytest.approx(2 * 178, abs=2) and found.share == pytest.approx(1.0, abs=0.01)
    for on_black in (False, True):
        side = preview().SIDE
        pixels = np.frombuffer(preview().pixels_of(found, on_black=on_black), np.uint8).reshape(side, side, 4)
        red = (pixels[..., 0] > 150) & (pixels[..., 1] < 90)
        rows, columns = np.nonzero(red.any(1))[0], np.nonzero(red.any(0))[0]
        assert np.ptp(rows) == pytest.approx(side / 2, abs=6)
        assert (columns[0] + columns[-1]) / 2 == pytest.approx(side * (0.5 - 0.125), abs=4)
        assert (pixels[5, 5, :3] == 0).all() == on_black
    assert load(image).is_framed


def test_of_several_views_each_is_corrected_by_itself_and_all_get_one_height() -> None:
    state = bpy.context.scene.trellis2
    front, back = use(boxed()), block(boxed((30, 40, 200)).rotate(90), "Back")
    state.view_back = back
    picture_state = part("addon.picture_state")
    assert picture_state.chosen_image(state) == front
    state.shown = "BACK"
    assert picture_state.chosen_image(state) == back
    assert bpy.ops.trellis2.mask_new() == {"FINISHED"}
    assert back.trellis2.cutout == "MASK" and front.trellis2.cutout == "AUTO"
    back.trellis2.grow = 2.0
    front.trellis2.margin = 10.0
    looks = [preview().look(image) for image in (front, back)]
    widest = part("ui.picture").widest_of(state)
    assert widest == pytest.approx(max(look.share for look in looks)) and widest > 1.5
    side = preview().SIDE
    tall = []
    for look in looks:
        pixels = np.frombuffer(preview().pixels_of(look, widest=widest), np.uint8).reshape(side, side, 4)
        tall.append(np.ptp(np.nonzero((np.ptp(pixels[..., :3].astype(int), axis=-1) > 60).any(1))[0]))
    assert tall[1] == pytest.approx(tall[0] * 1.2, rel=0.06), "but for the margin that was asked for"
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    assert json.loads(asset()["trellis2_provenance"])["pictures"] == {
        "front": {"cutout": "alpha", "margin": 0.1},
        "back": {"cutout": "mask", "grow": 0.02},
    }
    assert bpy.ops.trellis2.frame_reset() == {"FINISHED"}
    assert back.trellis2.cutout == "AUTO" and back.trellis2.grow == 0.0 and front.trellis2.margin == pytest.approx(10.0)
    assert not bpy.ops.trellis2.frame_reset.poll()
    bpy.ops.trellis2.views_clear()
    assert picture_state.chosen_image(state) == front


def test_every_source_of_the_mask() -> None:
    green = Image.new("RGBA", (SIDE, SIDE), (20, 190, 60, 255))
    green.paste((200, 40, 30, 255), (100, 60, 200, 240))
    green.paste((20, 190, 60, 255), (140, 100, 160, 120))
    image = use(green)
    sizes = {}
    for cutout in ("AUTO", "STUDIO", "KEY", "WHOLE"):
        image.trellis2.cutout = cutout
        sizes[cutout] = int((np.asarray(load(image).rgba)[..., 3] > 127).sum())
    assert sizes["KEY"] == 100 * 180 - 400 and sizes["WHOLE"] == SIDE**2
    assert sizes["STUDIO"] == sizes["AUTO"] == pytest.approx(100 * 180 - 400, rel=0.02)
    image.trellis2.cutout = "ALPHA"
    assert "no transparency" in preview().look(image).error
    image.trellis2.cutout, image.trellis2.key_auto = "KEY", False
    image.trellis2.key_colour = (0.0, 0.0, 1.0)
    assert "No part of the image" in preview().look(image).error
    image.trellis2.key_colour = (200 / 255, 40 / 255, 30 / 255)
    assert int((np.asarray(load(image).rgba)[..., 3] > 127).sum()) == SIDE**2 - sizes["KEY"]


def test_what_was_corrected_of_the_outline_goes_into_a_mask() -> None:
    image = use(boxed())
    image.trellis2.grow, image.trellis2.margin = 5.0, 20.0
    before = np.asarray(load(image).rgba)[..., 3]
    bpy.ops.trellis2.mask_new()
    assert image.trellis2.grow == 0.0 and tuple(image.trellis2.mask.size) == (SIDE, SIDE)
    after = np.asarray(load(image).rgba)[..., 3]
    assert np.abs(after.astype(int) - before).max() <= 2


def test_it_is_kept_in_the_file(tmp_path: Path) -> None:
    image = use(boxed())
    image.trellis2.margin, image.trellis2.up = 12.5, -3.0
    sent = load(image).png()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    assert load(bpy.context.scene.trellis2.image).png() == sent
