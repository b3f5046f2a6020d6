"""What scripts hand in: values of NumPy, pictures of Pillow and arrays, and what is none of what is meant."""

from __future__ import annotations

import enum
import io
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, disc, run_python
from PIL import Image

import trellis_addon
from trellis_addon import Settings, TrellisError
from trellis_addon.client import Backend
from trellis_addon.core.errors import ApiKeyError, FieldError, ImageError
from trellis_addon.core.progress import Progress, as_progress
from trellis_addon.images import Correction, load_image
from trellis_addon.task.region import as_region


class Size(enum.IntEnum):
    SMALL = 512


@pytest.mark.parametrize("given", [np.int64(512), np.uint16(512), np.array(512), Size.SMALL])
def test_numbers_of_numpy_and_of_enumerations_are_numbers(given: Any) -> None:
    request = Settings(resolution=given, tex_slat_rescale_t=np.float32(2.5), remesh=np.bool_(False)).to_request()
    assert request == {"settings": {"resolution": 512, "remesh": False, "texSlat": {"rescaleT": 2.5}}}
    assert [type(value) for value in request["settings"].values()] == [int, bool, dict]
    assert as_region(np.zeros(6)).numbers == (0.0,) * 6
    assert Correction(margin=np.float32(0.5)).margin == 0.5


@pytest.mark.parametrize("given", [512.0, "512", True, None, b"512", [512], np.array([512]), 512j, object()])
def test_what_is_no_number_is_told_with_the_field(given: Any) -> None:
    with pytest.raises(FieldError, match=r"settings\.resolution: .*; allowed: 512, 1024, 1536"):
        Settings(resolution=given)


@pytest.mark.parametrize("given", [[1], "resolution", 5, [("resolution", 512)], {1: 2}])
def test_settings_are_a_mapping_of_names(given: Any) -> None:
    with pytest.raises(FieldError, match="settings: .* give an object of values by name"):
        Settings(given)


def test_a_setting_has_one_value() -> None:
    with pytest.raises(FieldError, match="given twice"):
        Settings(textureSize=1024, texture_size=2048)
    changed = Settings(texture_size=2048, tex_slat_steps=3).replace(textureSize=1024, texSlat=None)
    assert dict(changed) == {"texture_size": 1024}
    assert Settings({"settings": {"resolution": 512}}) == Settings(resolution=512)  # as a request has them
    with pytest.raises(AttributeError):
        changed.resolution = 512  # type: ignore[attr-defined]
    with pytest.raises(FieldError, match="did you mean project_picture"):
        Settings(project_pictur=1)
    with pytest.raises(FieldError, match=r"there is no such field; .*docs/settings\.md"):
        Settings().value("colour")
    assert pickle.loads(pickle.dumps(changed)) == changed


def arrays() -> dict[str, Any]:
    pixels = np.array(disc(64))
    return {
        "uint8": pixels,
        "uint16": pixels.astype(np.uint16) * 257,
        "float64": pixels / 255,
        "float16": (pixels / 255).astype(np.float16),
        "upside down twice": pixels[::-1][::-1],
        "Pillow": Image.fromarray(pixels),
        "open file": io.BytesIO(png(Image.fromarray(pixels))),
    }


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", arrays())
def test_pictures_that_a_program_holds(kind: str) -> None:
    found = load_image(arrays()[kind])
    assert found.cutout == "alpha"
    assert np.abs(np.array(found.rgba).astype(int) - np.array(disc(64))).max() <= 1


def test_a_mask_may_be_an_array() -> None:
    opaque, mask = disc(64).convert("RGB"), np.array(disc(64))[..., 3] > 0
    assert load_image(opaque, mask=mask).cutout == "mask"
    with pytest.raises(ImageError, match="^mask: "):
        load_image(opaque, mask=5)


def test_a_photograph_of_pillow_is_turned_upright(tmp_path: Path) -> None:
    tall = Image.new("RGB", (40, 80), "white")
    tall.paste((200, 0, 0), (10, 10, 30, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    tall.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "lying.jpg") as opened:
        held = load_image(opened, subject="whole")
    assert held.name == "lying" and held.rgba.size == (40, 80)
    assert held.rgba.getpixel((20, 25))[0] > 150 > held.rgba.getpixel((20, 25))[1]  # type: ignore[index]


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((4, 4, 5), np.uint8), np.zeros(9, np.uint8), np.zeros((0, 0, 4), np.uint8), np.zeros((8, 8), np.int64),
        np.full((8, 8), np.nan), np.full((8, 8), 255.0), np.zeros((8, 8), complex), np.zeros((8, 8), object),
        None, 5, [1], {}, Image, io.StringIO("text"),
    ],
)  # fmt: skip
def test_what_is_no_picture_says_what_would_be(given: Any) -> None:
    with pytest.raises(ImageError, match=r"^image: .*(give|open)"):
        load_image(given)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("backend", None), ("backend", 5), ("backend", Path("draft")), ("output", b"a.glb"), ("output", ""),
        ("output", 5), ("progress", 5), ("store", "folder"), ("name", 5), ("settings", [1]), ("views", "back.png"),
    ],
)  # fmt: skip
def test_an_argument_that_is_none_is_told_by_its_name(name: str, given: Any, disc_file: Path) -> None:
    with pytest.raises(FieldError, match=rf"{name}: .* cannot be used; "):
        trellis_addon.generate(disc_file, **{name: given})


def test_a_key_that_is_no_text_is_not_shown(disc_file: Path) -> None:
    with pytest.raises(ApiKeyError, match="key: it is no text") as told:
        trellis_addon.generate(disc_file, backend="remote", key=12345)  # type: ignore[arg-type]
    assert "12345" not in str(told.value)


@pytest.mark.parametrize("function", [trellis_addon.rework, trellis_addon.go_on])
@pytest.mark.parametrize("given", [None, 5, b"a.glb", [1]])
def test_an_asset_that_is_none(function: Any, given: Any) -> None:
    with pytest.raises(FieldError, match="asset: .* give a path"):
        function(given)


def test_a_function_does_for_progress() -> None:
    told: list[Any] = []
    as_progress(lambda stage, share: told.append((stage, share))).update("Painting", 0.5)
    assert told == [("Painting", 0.5)] and isinstance(as_progress(None), Progress)
    Progress(None).update("Painting", 0.5)


def test_a_backend_that_is_made_already_is_one() -> None:
    assert Backend.of(Backend("draft")) == Backend.of("draft")


def test_the_library_prints_nothing_of_its_own_accord() -> None:
    assert any(isinstance(each, logging.NullHandler) for each in logging.getLogger("trellis_addon").handlers)


FORKED = """
import multiprocessing, os, sys, trellis_addon

def seed_of(seed):
    return trellis_addon.generate(sys.argv[1], seed=seed, resolution=512, texture_size=1024).seed

if __name__ == "__main__":
    mine = seed_of(1)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(mine, pool.apply(seed_of, (2,)), seed_of(3))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here; processes begin anew, as any other does")
@pytest.mark.once
def test_a_process_that_was_forked_has_a_service_of_its_own(disc_file: Path, tmp_path: Path) -> None:
    script = tmp_path / "forked.py"
    script.write_text(FORKED, encoding="utf-8")
    done = run_python(str(script), str(disc_file), PYTHONPATH=str(ROOT))
    assert done.stdout.split() == ["1", "2", "3"], done.stderr


def test_assets_are_of_use_in_sets_and_to_other_processes(tmp_path: Path) -> None:
    asset = trellis_addon.Asset(tmp_path / "a.glb", "a", {"seed": 1})
    assert {asset} == {pickle.loads(pickle.dumps(asset))}


def test_every_public_error_is_of_one_family() -> None:
    kinds = [kind for kind in vars(trellis_addon.errors).values() if isinstance(kind, type)]
    own = [kind for kind in kinds if issubclass(kind, Exception)]
    assert own and all(issubclass(kind, TrellisError) for kind in own)
