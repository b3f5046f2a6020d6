"""A marked subject, cut out of backgrounds of every kind: measured against the truth that the pictures were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import encoded, photo, sentence
from PIL import Image, ImageDraw, ImageFilter

from trellis_addon import api
from trellis_addon.cli import main
from trellis_addon.client.backends import Backend
from trellis_addon.core.errors import ImageError
from trellis_addon.images import WHOLE, load_image, subject_box
from trellis_addon.images.marks import Marks
from trellis_addon.images.reading import decoding
from trellis_addon.task.settings import Settings

SIZE = (480, 400)
BOX = (110, 70, 340, 350)


def lamp_mask(size: tuple[int, int] = SIZE) -> Image.Image:
    """A lamp with a foot, a stem and a shade: 120..330 by 80..340."""
    scale = 3
    mask = Image.new("L", (SIZE[0] * scale, SIZE[1] * scale))
    draw = ImageDraw.Draw(mask)
    for shape, box in (
        (draw.ellipse, (130, 80, 320, 220)),
        (draw.rectangle, (210, 200, 240, 320)),
        (draw.rectangle, (150, 310, 300, 340)),
    ):
        shape([v * scale for v in box], 255)
    return mask.resize(size, Image.Resampling.BOX)


def hedge(size: tuple[int, int], seed: int = 1) -> Image.Image:
    """Leaves, more or less: busy at every scale."""
    dice = np.random.default_rng(seed)
    layers = np.zeros((size[1], size[0], 3))
    for cells in (6, 20, 70):
        noise = dice.integers(0, 255, (cells, cells, 3)).astype(np.uint8)
        layers += np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC), float)
    return Image.fromarray((layers / 3 * (0.45, 0.75, 0.4)).clip(0, 255).astype(np.uint8))


def planks(size: tuple[int, int]) -> Image.Image:
    """A wooden wall with seams and grain."""
    y, x = np.mgrid[: size[1], : size[0]]
    grain = np.random.default_rng(2).normal(0, 14, (size[1], 1)) + 10 * np.sin(x / 9 + 3 * np.sin(y / 40))
    wood = np.array([150, 105, 60]) + (grain * (1 + 0.2 * (x % 60 < 3)))[..., None] - 70.0 * (x % 60 < 3)[..., None]
    return Image.fromarray(wood.clip(0, 255).astype(np.uint8))


def horizon(size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (120, 170, 230))
    picture.paste((90, 120, 40), (0, size[1] // 2, *size))
    return picture


GROUNDS = {"hedge": hedge, "planks": planks, "horizon": horizon}


def scene(ground: Image.Image, mask: Image.Image) -> Image.Image:
    """The lamp before it, with shading and noise."""
    _, x = np.mgrid[: mask.height, : mask.width]
    share = np.asarray(mask, float)[..., None] / 255
    subject = np.array([190, 40, 45]) * (0.75 + 0.35 * np.sin(x / mask.width * 6)[..., None])
    mixed = share * subject + (1 - share) * np.asarray(ground, float)
    mixed += np.random.default_rng(5).normal(0, 4, mixed.shape)
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def overlap(found: Image.Image, truth: Image.Image) -> float:
    one, other = np.asarray(found.getchannel("A")) > 127, np.asarray(truth) > 127
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("name", GROUNDS)
def test_what_is_in_the_box_and_not_the_background_remains(name: str) -> None:
    mask = lamp_mask()
    data = encoded(scene(GROUNDS[name](SIZE), mask))
    with pytest.raises(ImageError, match="not uniform enough") as caught:
        load_image(data)
    assert "mark the subject" in sentence(caught.value) and "whole" in str(caught.value)
    found = load_image(data, subject=BOX)
    assert found.cutout == "marked" and found.rgba.size == SIZE and not found.warnings
    assert overlap(found.rgba, mask) > 0.96
    alpha = np.asarray(found.rgba.getchannel("A"))
    assert alpha[150, 225] == 255 and alpha[300, 150] == 0, "solid within, clear beside the stem"
    assert not alpha[:60].any() and not alpha[:, :100].any()


def test_the_outline_is_soft_and_has_its_own_colours() -> None:
    mask = lamp_mask().filter(ImageFilter.GaussianBlur(1.2))
    found = load_image(encoded(scene(Image.new("RGB", SIZE, (20, 200, 60)), mask)), subject=BOX)
    rgba = np.asarray(found.rgba).astype(float)
    soft = (rgba[..., 3] > 60) & (rgba[..., 3] < 200)
    assert soft.sum() > 300
    assert np.median(rgba[soft][:, 1]) < 80, "the green ground shines through at the outline"


def test_the_box_is_that_of_the_picture_as_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turned by its EXIF, and reduced while a JPEG is unpacked."""
    mask = lamp_mask((1440, 1200))
    picture = scene(hedge(SIZE).resize(mask.size), mask)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)
    monkeypatch.setattr(decoding, "MAX_SIDE", 600)
    found = load_image(data, subject=tuple(3 * v for v in BOX))
    assert found.rgba.size == (720, 600), "half of it"
    assert overlap(found.rgba, lamp_mask((720, 600))) > 0.97


def test_a_part_of_a_large_picture_keeps_its_pixels() -> None:
    picture = Image.new("RGB", (2600, 1800))
    for left in range(0, 2600, 480):
        for top in range(0, 1800, 400):
            picture.paste(hedge(SIZE, left + top), (left, top))
    picture.paste(scene(hedge(SIZE), lamp_mask()), (1900, 1300))
    found = load_image(encoded(picture, "PNG", compress_level=1), subject=(2010, 1370, 2240, 1650))
    left, top, right, bottom = subject_box(found.rgba)
    assert right - left == pytest.approx(191, abs=3) and bottom - top == pytest.approx(260, abs=3)
    assert max(found.rgba.size) < 600, "its surroundings alone"


def test_boxes_at_the_edge_and_around_the_whole() -> None:
    mask = lamp_mask()
    data = encoded(scene(hedge(SIZE), mask))
    for box in ((-50, -50, 900, 900), [340.0, 350.0, 110.0, 70.0]):
        assert overlap(load_image(data, subject=box).rgba, mask) > 0.9, box
    cropped = load_image(encoded(scene(hedge(SIZE), mask).crop((0, 0, 480, 250))), subject=(110, 70, 340, 250))
    assert any("bottom edge" in warning for warning in cropped.warnings)


def test_strokes_alone_and_with_a_box() -> None:
    mask = lamp_mask()
    picture = scene(hedge(SIZE), mask)
    ImageDraw.Draw(picture).ellipse((120, 230, 190, 300), (240, 220, 40))  # a ball beside the stem
    data = encoded(picture)
    strokes = np.zeros((SIZE[1], SIZE[0]), np.int8)
    strokes[100:110, 160:290] = strokes[120:335, 222:228] = strokes[325:330, 160:290] = 1
    strokes[20:25, 20:460] = strokes[375:380, 20:460] = strokes[20:380, 60:65] = strokes[240:290, 140:170] = -1
    for given in (strokes, Marks(None, strokes), Marks(BOX, strokes), Marks(BOX, strokes[::2, ::2])):
        alpha = np.asarray(load_image(data, subject=given).rgba.getchannel("A"))
        assert (alpha[240:290, 140:170] < 40).all(), "what was painted as background"
        assert (alpha[120:335, 222:228] > 200).all(), "what was painted as the subject"
    assert overlap(load_image(data, subject=Marks(BOX, strokes)).rgba, mask) > 0.93
    with pytest.raises(ImageError, match="same proportions") as caught:
        load_image(data, subject=strokes[:, :100])
    sentence(caught.value)


def test_the_same_marks_give_the_same_cut() -> None:
    data = encoded(scene(hedge(SIZE), lamp_mask()))
    one, other = (np.asarray(load_image(data, subject=BOX).rgba) for _ in range(2))
    assert (one == other).all()


def test_a_picture_that_is_transparent_already_keeps_its_own_transparency() -> None:
    picture = scene(hedge(SIZE), lamp_mask()).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 480, 120))
    alpha = np.asarray(load_image(encoded(picture), subject=BOX).rgba.getchannel("A"))
    assert not alpha[:118].any() and alpha[160, 225] > 250


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ((500, 10, 600, 90), "next to nothing"),
        ((10, 10, 12, 300), "next to nothing"),
        ((1, 2, 3), "is no box"),
        ((1, 2, 3, "x"), "is no box"),
        ((float("nan"), 0, 10, 10), "is no box"),
        ("all", "is no box"),
        (7, "is no box"),
        (np.zeros((4, 4, 3)), "is no box"),
    ],
)
def test_marks_that_cannot_be_used(subject: object, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        load_image(encoded(photo(480)), subject=subject)  # type: ignore[arg-type]
    assert "subject" in sentence(caught.value)


def test_where_there_is_nothing_to_find() -> None:
    with pytest.raises(ImageError, match="No subject") as caught:
        load_image(encoded(Image.new("RGB", (200, 200), (90, 90, 90))), subject=(50, 50, 150, 150))
    sentence(caught.value)


@pytest.mark.parametrize("size", [(8, 8), (9, 300), (300, 9), (2100, 30), (31, 17)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    picture = hedge(size)
    ImageDraw.Draw(picture).rectangle([v * s for v, s in zip((0.3, 0.3, 0.7, 0.7), size * 2, strict=True)], (230, 0, 0))
    try:
        found = load_image(encoded(picture), subject=(0, 0, *size))
    except ImageError as error:
        sentence(error)
    else:
        assert max(found.rgba.size) <= 2048


# --- the ways in ---


def test_whole_is_a_subject_too() -> None:
    data = encoded(photo(300))
    found = load_image(data, subject="whole")
    assert found.cutout == "whole" and (np.asarray(found.rgba) == np.asarray(load_image(data, mask=WHOLE).rgba)).all()
    with pytest.raises(ImageError, match="one of them"):
        load_image(data, subject="whole", mask=data)


def test_the_command_line_takes_a_box(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = tmp_path / "lamp.png", tmp_path / "lamp.glb"
    scene(hedge(SIZE), lamp_mask()).save(path)
    quick = ["--resolution", "512", "--texture-size", "1024", "--seed", "3", "--output", str(output)]
    assert main(["generate", str(path), *quick, "--subject", "110,70,340,350"]) == 0
    marked = output.read_bytes()
    cut = load_image(path, subject=BOX)
    api.generate(cut, resolution=512, texture_size=1024, seed=3, output=output)
    assert output.read_bytes() == marked
    assert main(["generate", str(path), *quick, "--whole"]) == 0 and output.read_bytes() != marked
    capsys.readouterr()
    assert main(["generate", str(path), *quick, "--subject", "110,70"]) == 2
    assert "left, top, right and bottom" in capsys.readouterr().err
    assert main(["generate", str(path), *quick]) == 1
    assert "mark the subject" in capsys.readouterr().err


# --- Remote cuts subjects out itself ---


def test_a_photograph_goes_to_the_remote_api_as_it_is_with_a_notice(caplog: pytest.LogCaptureFixture) -> None:
    data = encoded(scene(hedge(SIZE), lamp_mask()), "JPEG", quality=95)
    for picture in (data, load_image(data, may_leave=True)):
        caplog.clear()
        prepared = api.prepare_task(picture, Backend("remote", "key"), Settings())
        sent = load_image(prepared.task.image, subject="whole").rgba
        assert sent.size == SIZE and np.asarray(sent)[..., 3].min() >= 254, "nothing was cut out of it"
        assert "mask model cuts its subject out" in caplog.text
    marked = api.prepare_task(data, Backend("remote", "key"), Settings(), subject=BOX)
    assert load_image(marked.task.image).cutout == "alpha", "what was marked is cut out here"


@pytest.mark.parametrize("picture", [Image.new("RGB", (300, 300), (90, 90, 90)), Image.new("RGB", (3, 3), (9, 9, 9))])
def test_a_picture_of_nothing_is_not_paid_for(picture: Image.Image) -> None:
    with pytest.raises(ImageError) as caught:
        api.prepare_task(encoded(picture), Backend("remote", "key"), Settings())
    sentence(caught.value)


def test_subjects_of_what_is_prepared_already() -> None:
    with pytest.raises(ImageError, match="load_image"):
        api.prepare_task(load_image(encoded(photo(300)), subject=WHOLE), Backend("draft"), Settings(), subject=WHOLE)
