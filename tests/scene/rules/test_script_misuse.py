"""Functions of the scene as scripts call them by mistake: each says what it needs, and nothing has changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import trellis_addon  # noqa: E402
from trellis_addon import scene  # noqa: E402
from trellis_addon.core.errors import FieldError, ImageError, InputError, TrellisError  # noqa: E402

OF_AN_OBJECT: dict[str, Callable[[Any], Any]] = {
    "set_height": lambda obj: scene.set_height(obj, 1.0),
    "measure": scene.measure,
    "mark_asset": scene.mark_asset,
    "make_lods": lambda obj: scene.make_lods(obj, (0.5,)),
    "make_collision": scene.make_collision,
    "turn": scene.turn,
    "check_contract": lambda obj: scene.check_contract(obj, "unity"),
    "export_asset": lambda obj: scene.export_asset(obj, "there-is-no-such-place.glb"),
    "rebake": scene.rebake,
    "texture": lambda obj: scene.texture(obj, "picture.png"),
}


def cube(name: str = "Cube") -> Any:
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.name = name
    return bpy.context.object


@pytest.mark.parametrize("function", OF_AN_OBJECT)
def test_an_object_that_is_none_or_gone(function: str) -> None:
    gone = cube("Gone")
    bpy.data.objects.remove(gone)
    for given, said in (
        (None, "An object of Blender is needed"),
        ("Cube", "'Cube' was given"),
        (gone, "not in the fi"),
    ):
        with pytest.raises(InputError, match=said):
            OF_AN_OBJECT[function](given)


def test_numbers_that_are_none() -> None:
    obj = cube()
    calls: dict[str, Callable[[], Any]] = {
        "height": lambda: scene.set_height(obj, "2"),  # type: ignore[arg-type]
        "ratios": lambda: scene.make_lods(obj, "x"),  # type: ignore[arg-type]
        "parts": lambda: scene.make_collision(obj, "8"),  # type: ignore[arg-type]
        "quarters": lambda: scene.turn(obj, "Z", "1"),  # type: ignore[arg-type]
        "resolution": lambda: scene.rebake(obj, resolution="x"),
        "texture_format": lambda: scene.rebake(obj, texture_format="gif"),
        "contract": lambda: scene.check_contract(obj, 5),  # type: ignore[arg-type]
        "target": lambda: scene.export_asset(obj, 5),  # type: ignore[arg-type]
        "folder": lambda: scene.save_to_library(obj, 5),  # type: ignore[arg-type]
        "path": lambda: scene.render_object(obj, 5),  # type: ignore[arg-type]
        "asset": lambda: scene.import_asset(5),  # type: ignore[arg-type]
        "location": lambda: scene.import_asset("a.glb", location=(0, 0)),
    }
    for field, call in calls.items():
        with pytest.raises(FieldError, match=f"^{field}: "):
            call()
    scene.set_height(obj, np.float32(3))  # type: ignore[arg-type]
    assert scene.height_of(obj) == pytest.approx(3)


def test_one_tag_is_one_tag() -> None:
    obj = cube()
    scene.mark_asset(obj, tags="helmet", preview=None)  # type: ignore[arg-type]
    assert "helmet" in obj.asset_data.tags and "h" not in obj.asset_data.tags


def test_another_thread_is_told_whose_work_it_is() -> None:
    said: list[BaseException] = []

    def import_there() -> None:
        try:
            scene.import_asset("a.glb")
        except TrellisError as error:
            said.append(error)

    thread = threading.Thread(target=import_there)
    thread.start()
    thread.join()
    assert "main thread" in str(said[0])


def test_images_of_blender_are_loaded_by_the_scene(tmp_path: Path) -> None:
    image = bpy.data.images.new("painted", 64, 64, alpha=True, float_buffer=True)
    pixels = np.zeros((64, 64, 4), np.float32)
    pixels[8:40, 12:52] = (0.8, 0.2, 0.1, 1)
    image.pixels.foreach_set(pixels.ravel())
    found = scene.load_image(image)
    assert found.name == "painted" and found.rgba.getbbox() == (12, 24, 52, 56), "the first row is the top one"
    assert scene.load_image(image, subject="whole").cutout == "whole"
    with pytest.raises(ImageError, match=r'"painted" is an image of Blender; give trellis_addon\.scene\.load_image'):
        trellis_addon.generate(image)
    with pytest.raises(ImageError, match="more than one was given"):
        scene.load_image(image, subject="whole", key=(0, 1, 0))
    with pytest.raises(ImageError, match="^mask: give an image of Blender"):
        scene.load_image(image, mask="mask.png")
    bpy.data.images.remove(image)
    with pytest.raises(InputError, match="not in the file any more"):
        scene.load_image(image)
