"""Pictures out of Blender as they look there: floats, marks of alpha, formats that only Blender reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

bpy = pytest.importorskip("bpy")

import numpy as np  # noqa: E402
from conftest import QUICK, disc, encoded, photo, sentence  # noqa: E402
from PIL import Image  # noqa: E402

from trellis_addon.batch import run_batch  # noqa: E402
from trellis_addon.client.backends import Backend  # noqa: E402
from trellis_addon.core.errors import ImageError  # noqa: E402
from trellis_addon.images import LATER, PreparedImage  # noqa: E402
from trellis_addon.images.marks import Marks  # noqa: E402
from trellis_addon.scene.images import datablock_loader, png_of_file  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

SIDE = 96
RED = (200, 60, 30)


def shares() -> np.ndarray:
    """A soft disc: (SIDE, SIDE, 1), 0..1."""
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1) * 2 - 1
    return np.clip((0.8 - np.hypot(x, y)) * 5, 0, 1)[..., None]


def linear(colour: tuple[int, ...]) -> np.ndarray:
    return ((np.array(colour) / 255 + 0.055) / 1.055) ** 2.4


def float_block(colour: tuple[int, ...] = RED) -> Any:
    """A disc in light, multiplied by alpha, as all of Blender's floats are."""
    image = bpy.data.images.new("Light", SIDE, SIDE, alpha=True, float_buffer=True)
    pixels = np.concatenate([linear(colour) * shares(), shares()], axis=-1)
    image.pixels.foreach_set(pixels.astype(np.float32).ravel())
    return image


def rim(picture: PreparedImage) -> list[float]:
    """The mean colour where it is neither solid nor clear."""
    rgba = np.asarray(picture.rgba).astype(float)
    soft = (rgba[..., 3] > 40) & (rgba[..., 3] < 200)
    assert soft.sum() > 50
    return rgba[soft][:, :3].mean(axis=0).tolist()


def is_red(found: list[float], most: float = 4) -> bool:
    return max(abs(a - b) for a, b in zip(found, RED, strict=True)) < most


@pytest.mark.parametrize("kind", ["OPEN_EXR", "TIFF", "PNG"])
def test_floats_have_their_colour_at_the_soft_rim(kind: str, tmp_path: Path) -> None:
    image = float_block()
    assert is_red(rim(datablock_loader(image)()))
    path = tmp_path / ("a" + {"OPEN_EXR": ".exr", "TIFF": ".tif", "PNG": ".png"}[kind])
    settings = bpy.context.scene.render.image_settings
    settings.file_format, settings.color_mode = kind, "RGBA"
    settings.color_depth = "32" if kind == "OPEN_EXR" else "16"
    bpy.context.scene.view_settings.view_transform = "Standard"
    image.save_render(str(path))
    loaded = bpy.data.images.load(str(path))
    assert is_red(rim(datablock_loader(loaded)()))
    assert is_red(rim(datablock_loader(_touched(loaded))())), "painted on"


def _touched(image: Any) -> Any:
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    image.pixels.foreach_set(pixels)
    image.update()
    assert image.is_dirty
    return image


def test_data_and_packed_channels_are_not_divided() -> None:
    image = float_block()
    image.alpha_mode = "CHANNEL_PACKED"
    assert not is_red(rim(datablock_loader(image)()), 20)


def test_light_without_end_and_nothing_is_still_a_picture() -> None:
    image = float_block()
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    pixels[4 * (SIDE // 2 * SIDE + SIDE // 2)] = np.inf
    pixels[4 * (SIDE // 2 * SIDE + SIDE // 2) + 1] = np.nan
    image.pixels.foreach_set(pixels)
    assert is_red(rim(datablock_loader(image)()))


@pytest.mark.parametrize("ending", [".png", ".tga", ".webp"])
@pytest.mark.parametrize("packed", [False, True])
def test_marks_of_alpha_count(ending: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    multiplied = np.concatenate([shares() * RED, shares() * 255], axis=-1)
    options = {"lossless": True, "exact": True} if ending == ".webp" else {}
    Image.fromarray((multiplied + 0.5).astype(np.uint8), "RGBA").save(path, **options)
    image = bpy.data.images.load(str(path))
    if packed:
        image.pack()
    plain = datablock_loader(image)()
    assert not is_red(rim(plain), 20)
    image.alpha_mode = "PREMUL"
    marked = datablock_loader(image)()
    assert is_red(rim(marked), 6) and marked.sha256 != plain.sha256
    image.alpha_mode = "NONE"
    assert datablock_loader(image)().cutout == "studio", "what is not transparent has a background"


def test_marked_subjects_of_datablocks(tmp_path: Path) -> None:
    picture = photo(300)  # a disc in the middle half, red before many colours
    picture.save(tmp_path / "a.png")
    image = bpy.data.images.load(str(tmp_path / "a.png"))
    with pytest.raises(ImageError, match="mark the subject"):
        datablock_loader(image)()
    assert datablock_loader(image, may_leave=True)().cutout == LATER
    found = datablock_loader(image, marks=Marks((60, 60, 240, 240)))()
    alpha = np.asarray(found.rgba.getchannel("A"))
    assert found.cutout == "marked" and alpha[150, 150] == 255 and alpha[50, 150] == 0


def test_files_of_other_formats_are_read_by_blender_and_leave_nothing(tmp_path: Path) -> None:
    before = len(bpy.data.images)
    for ending in (".tif", ".tga"):
        disc(SIDE).save(tmp_path / f"a{ending}")
        data = png_of_file(tmp_path / f"a{ending}")
        assert data.startswith(b"\x89PNG") and len(bpy.data.images) == before
    (tmp_path / "a.psd").write_bytes(b"8BPS" + bytes(60))
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    for name, said in (("a.psd", "Photoshop"), ("a.heic", "HEIC"), ("gone.tif", "no image file")):
        with pytest.raises(ImageError, match=said) as caught:
            png_of_file(tmp_path / name)
        sentence(caught.value)
    assert len(bpy.data.images) == before


def test_a_batch_passes_nothing_over_in_silence(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    disc(300).save(folder / "a.tif")
    (folder / "b.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    (folder / "c.jfif").write_bytes(encoded(photo(200), "JPEG"))
    names = ["a.tif", "b.heic", "c.jfif"]
    if sys.platform == "linux":
        (folder / b"caf\xe9.png".decode("utf-8", "surrogateescape")).write_bytes(encoded(disc(300)))
        names.append("caf\udce9.png")
    settings = Settings(**QUICK)
    rows = run_batch(folder, tmp_path / "o.blend", Backend("draft"), settings)
    assert [row.image.name for row in rows] == names
    states = {row.image.name: row.state for row in rows}
    assert states["a.tif"] == "made" and rows[0].assets[0].name == "a"
    assert states["b.heic"] == "failed" and "HEIC" in rows[1].message
    assert states["c.jfif"] == "failed" and "mark the subject" in rows[2].message
    assert states.get("caf\udce9.png", "made") == "made"
    again = run_batch(folder, tmp_path / "o.blend", Backend("draft"), settings)
    assert {row.image.name: row.state for row in again if row.is_good} == dict.fromkeys(
        [name for name, state in states.items() if state == "made"], "present"
    )
    whole = run_batch(folder, tmp_path / "o.blend", Backend("draft"), settings, whole=True)
    assert {row.image.name: row.state for row in whole if not row.is_good} == {"b.heic": "failed"}
    assert all(row.state == "made" for row in whole if row.is_good), "what is used of it is other work"


def test_an_exr_of_several_layers_is_named(tmp_path: Path) -> None:
    """Blender gives a render's layers to its compositor alone."""
    scene = bpy.data.scenes.new("Layers")
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x = scene.render.resolution_y = 8
    if hasattr(scene.render.image_settings, "media_type"):
        scene.render.image_settings.media_type = "MULTI_LAYER_IMAGE"
    scene.render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    scene.render.filepath = str(tmp_path / "layers.exr")
    bpy.ops.render.render(write_still=True, scene=scene.name)
    for read in (
        lambda: datablock_loader(bpy.data.images.load(scene.render.filepath)),
        lambda: png_of_file(tmp_path / "layers.exr"),
    ):
        with pytest.raises(ImageError, match="several layers"):
            read()
    broken = tmp_path / "none.exr"
    broken.write_bytes(b"no picture")
    with pytest.raises(ImageError) as caught:
        png_of_file(broken)
    assert "layers" not in sentence(caught.value)
