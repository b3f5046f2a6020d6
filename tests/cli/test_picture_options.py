"""What the command line says of a picture: its mask, and the square that the model looks at."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from PIL import Image

from trellis_addon.cli.options import add_picture_options, picture_of, views_of
from trellis_addon.core.errors import TrellisError
from trellis_addon.images import load_image


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    image = Image.effect_noise((120, 90), 90).convert("RGB")
    image.save(tmp_path / "photo.png")
    mask = Image.new("L", (120, 90))
    mask.paste(255, (30, 20, 90, 70))
    mask.save(tmp_path / "mask.png")
    return tmp_path / "photo.png"


def asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("image")
    add_picture_options(parser)
    return parser.parse_args(words)


def test_a_picture_alone_goes_on_as_it_was_given(photo: Path) -> None:
    assert picture_of(asked(str(photo)), False) == (str(photo), None)
    assert picture_of(asked(str(photo), "--subject", "1,2,3,4"), False) == (str(photo), (1.0, 2.0, 3.0, 4.0))


def test_mask_frame_and_outline_are_those_of_the_library(photo: Path) -> None:
    mask = str(photo.with_name("mask.png"))
    found, subject = picture_of(asked(str(photo), "--mask", mask, "--frame=0.1,0,0.2", "--grow", "-0.02"), False)
    assert subject is None and found.is_framed
    assert found.facts() == {"cutout": "mask", "grow": -0.02, "margin": 0.1, "up": 0.2}
    assert found.uncorrected is not None
    assert found.uncorrected.png() == load_image(photo, mask=mask).png(), "to be corrected further"


@pytest.mark.blender
def test_other_formats_are_read_by_blender_as_in_a_batch(photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("bpy")
    image = Image.new("RGBA", (90, 90))
    image.paste((200, 30, 30, 255), (20, 10, 70, 80))
    for ending in (".tga", ".tif"):
        image.save(tmp_path / f"Käse pot{ending}")
    image.save(tmp_path / "pot.png")
    expected = load_image(tmp_path / "pot.png")
    for given in (
        str(tmp_path / "Käse pot.tga"),
        f"'{tmp_path / 'Käse pot.tif'}'",
        (tmp_path / "Käse pot.tga").as_uri(),
    ):
        found, subject = picture_of(asked(given), False)
        assert found.png() == expected.png() and found.name == "Käse pot" and subject is None
    framed, _ = picture_of(asked(str(tmp_path / "Käse pot.tga"), "--subject", "20,10,70,80", "--frame", "0.1"), False)
    assert framed.is_framed and framed.name == "Käse pot"
    photo.with_name("mask.tga").write_bytes(b"none at all")
    for words in (["--mask", str(photo.with_name("mask.tga"))], ["--mask", str(tmp_path / "gone.tga")]):
        with pytest.raises(TrellisError, match=r"not known|gone\.tga"):
            picture_of(asked(str(photo), *words), False)
    views = views_of([f"back={tmp_path / 'Käse pot.tga'}", "left=elsewhere.png"])
    assert load_image(views["back"]).png() == expected.png() and views["left"] == "elsewhere.png"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--frame", "a"], "frame"),
        (["--frame", "1,2"], "frame"),
        (["--frame", "9"], "margin"),
        (["--grow", "1"], "grow"),
    ],
)
def test_what_is_no_share_is_a_sentence(photo: Path, words: list[str], named: str) -> None:
    with pytest.raises(TrellisError, match=named):
        picture_of(asked(str(photo), "--mask", str(photo.with_name("mask.png")), *words), False)
