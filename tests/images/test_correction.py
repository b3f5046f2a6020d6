"""A picture's outline and frame corrected by hand: that is what is sent, and the model looks at just that."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trellis_addon import generate, load_image
from trellis_addon.core.errors import ImageError
from trellis_addon.images import ColourKey, Correction
from trellis_addon.images.frame import marked, subject_square, unmarked
from trellis_addon.images.preparing import corrected, prepare
from trellis_addon.jobs.store import JobStore
from trellis_addon.pipeline.preprocess import preprocess_image

GREEN = (30, 200, 60)


def picture(size: tuple[int, int] = (300, 240), box: tuple[int, int, int, int] = (100, 60, 200, 180)) -> Image.Image:
    """A red box with a blue corner, on nothing."""
    image = Image.new("RGBA", size)
    image.paste((200, 30, 30, 255), box)
    image.paste((20, 40, 220, 255), (box[0], box[1], box[0] + 20, box[1] + 20))
    return image


def as_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def square_of(image: Image.Image) -> tuple[float, ...]:
    return subject_square(np.asarray(image.getchannel("A")))


def exact_on_black(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image, np.float32) / 255
    return pixels[..., :3] * pixels[..., 3:] * 255


def on_black(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image, np.float32)
    return np.rint(pixels[..., :3] * pixels[..., 3:] / 255)


def test_the_square_that_was_chosen_is_the_one_that_is_cropped() -> None:
    given = prepare(picture())
    found = corrected(given, Correction(margin=0.25, right=0.1, up=-0.05))
    side = found.rgba.width
    assert found.rgba.size == (side, side) and side == pytest.approx(119 * 1.5, abs=2)
    left, top, right, bottom = square_of(found.rgba)
    assert (left + right) / 2 == pytest.approx(side / 2 - 0.1 * 119, abs=1.5)
    assert (top + bottom) / 2 == pytest.approx(side / 2 - 0.05 * 119, abs=1.5)
    # who crops to what is opaque, as TRELLIS.2 does, has all of it
    sent = Image.open(io.BytesIO(found.png()))
    left, top, right, bottom = square_of(sent)
    assert left <= 0 and top <= 0 and right >= side - 2 and bottom >= side - 2
    # and nothing of that is seen on black
    assert np.array_equal(on_black(sent), on_black(found.rgba))
    seen = preprocess_image(sent)
    assert abs(seen.width - side) <= 1
    assert np.array_equal(np.asarray(seen, np.float32), np.floor(exact_on_black(sent))[: seen.height, : seen.width])
    again = load_image(found.png())
    assert again.is_framed and again.rgba.tobytes() == found.rgba.tobytes() and again.warnings == given.warnings
    assert again.png() == found.png()


@pytest.mark.parametrize("side", [41, 901, 2047])
def test_marks_come_and_go_and_outlast_a_smaller_picture(side: int) -> None:
    image = picture((side, side), (side // 3, side // 3, side // 2, side // 2))
    sent = marked(image)
    clean, is_framed = unmarked(sent)
    assert is_framed and clean.tobytes() == image.tobytes()
    small = sent.resize((min(side, 1024),) * 2, Image.Resampling.LANCZOS)
    left, top, right, bottom = square_of(small)
    assert max(left, top) <= 1 and min(right, bottom) >= small.width - 3


def test_a_picture_of_anybody_has_no_marks() -> None:
    for image in (picture(), picture((240, 240)), Image.new("RGBA", (64, 64), (0, 0, 0, 255))):
        assert unmarked(image) == (image, False)
    corner = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    corner.paste((0, 0, 0, 0), (20, 20, 40, 40))
    assert not unmarked(corner)[1]


def test_the_frame_cuts_into_the_subject_and_a_full_corner_stays() -> None:
    found = corrected(prepare(picture()), Correction(margin=-0.3))
    assert found.rgba.width == pytest.approx(119 * 0.4, abs=2)
    assert np.asarray(found.rgba)[..., 3].min() == 255
    sent = Image.open(io.BytesIO(found.png()))
    assert sent.getpixel((0, 0))[:3] == found.rgba.getpixel((0, 0))[:3]  # type: ignore[index]


@pytest.mark.parametrize(("grow", "moved"), [(0.05, 5.95), (-0.05, -5.95), (0.004, 0.5)])
def test_the_outline_moves(grow: float, moved: float) -> None:
    given = prepare(picture())
    found = corrected(given, Correction(grow=grow))
    alpha = np.asarray(found.rgba)[..., 3].astype(float) / 255
    row = alpha[alpha.shape[0] // 2].sum()
    assert row == pytest.approx(100 + 2 * moved, abs=0.2)
    colours = np.asarray(found.rgba)[..., :3][alpha > 0.5]
    assert set(map(tuple, colours.tolist())) == {(200, 30, 30), (20, 40, 220)}, "no colour of what is transparent"
    assert not found.is_framed and found.facts() == {"cutout": "alpha", "grow": grow}


def test_a_mask_that_grows_shows_more_of_the_picture() -> None:
    image = Image.new("RGB", (200, 200), GREEN)
    image.paste((200, 30, 30), (50, 50, 150, 150))
    mask = Image.new("L", (200, 200))
    mask.paste(255, (80, 80, 120, 120))
    found = load_image(as_bytes(image), mask=as_bytes(mask), correction=Correction(grow=0.2))
    shown = np.asarray(found.rgba)
    assert (shown[..., 3] > 127).sum() > 40 * 40 * 1.5
    assert set(map(tuple, shown[..., :3][shown[..., 3] > 127].tolist())) == {(200, 30, 30)}


def test_a_colour_is_the_background_wherever_it_is() -> None:
    image = Image.new("RGB", (200, 160), GREEN)
    image.paste((200, 30, 30), (60, 40, 140, 120))
    image.paste(GREEN, (90, 70, 110, 90))  # a hole
    for key in (None, (30 / 255, 200 / 255, 60 / 255)):
        found = load_image(as_bytes(image), key=ColourKey(key, 20.0))
        alpha = np.asarray(found.rgba)[..., 3]
        assert found.cutout == "key"
        assert (alpha > 127).sum() == 80 * 80 - 20 * 20 and alpha[80, 100] == 0
    with pytest.raises(ImageError, match="No part of the image"):
        load_image(as_bytes(image), key=(0.0, 0.0, 1.0))
    with pytest.raises(ImageError, match="key: "):
        load_image(as_bytes(image), key=(0.0, 2.0, 1.0))


def test_nonsense_is_told() -> None:
    with pytest.raises(ImageError, match="margin: 9 is no share"):
        Correction(margin=9)
    with pytest.raises(ImageError, match="nothing is left"):
        corrected(prepare(picture((400, 400), (10, 100, 390, 103))), Correction(grow=-0.2))
    left = prepare(Image.effect_noise((80, 80), 120).convert("RGBA"), may_leave=True)
    told = corrected(left, Correction(margin=0.1))
    assert told.rgba is left.rgba and "not used" in told.warnings[-1]


def test_the_provenance_says_what_was_corrected(tmp_path: Path) -> None:
    views = {"back": load_image(as_bytes(picture()), correction=Correction(grow=0.02))}
    front = load_image(as_bytes(picture()), correction=Correction(margin=0.1, up=0.05))
    asset = generate(front, views=views, store=JobStore(tmp_path), resolution=512, texture_size=1024)
    assert asset.provenance["pictures"] == {
        "front": {"cutout": "alpha", "margin": 0.1, "up": 0.05},
        "back": {"cutout": "alpha", "grow": 0.02},
    }
    plain = generate(load_image(as_bytes(picture())), store=JobStore(tmp_path), resolution=512, texture_size=1024)
    assert "pictures" not in plain.provenance
