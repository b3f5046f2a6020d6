"""Studio backgrounds, removed: measured against the truth that the pictures were drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import encoded, photo, sentence
from PIL import Image, ImageDraw, ImageFilter

from trellis_addon.core.errors import ImageError
from trellis_addon.images import decode
from trellis_addon.images.cutout import remove_studio_background

SIZE = (360, 300)


def vase(gap: bool = True) -> Image.Image:
    """The mask of a vase with a handle; through the handle the background shows."""
    scale = 4
    mask = Image.new("L", (SIZE[0] * scale, SIZE[1] * scale))
    draw = ImageDraw.Draw(mask)

    def box(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
        return tuple(v * scale for v in (left, top, right, bottom))

    draw.ellipse(box(90, 90, 230, 270), 255)
    draw.rectangle(box(130, 40, 190, 120), 255)
    draw.ellipse(box(190, 110, 290, 220), 255)
    if gap:
        draw.ellipse(box(225, 135, 275, 195), 0)
    return mask.resize(SIZE, Image.Resampling.BOX)


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array(colour, float), (SIZE[1], SIZE[0], 3))


def gradient() -> np.ndarray:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    light = 235 - 50 * (y / SIZE[1]) - 20 * ((x / SIZE[0] - 0.5) * 2) ** 2
    return np.dstack([light, light * 0.99, light * 0.97])


BACKGROUNDS: dict[str, tuple[np.ndarray, float]] = {
    "white": (plain((255, 255, 255)), 0),
    "grey": (plain((128, 128, 130)), 0),
    "black": (plain((0, 0, 0)), 0),
    "green screen": (plain((30, 190, 60)), 0),
    "gradient": (gradient(), 0),
    "noisy": (plain((200, 198, 190)), 4),
    "very noisy": (plain((200, 198, 190)), 5),
    "noisy gradient": (gradient(), 4),
}


def before(
    background: np.ndarray, noise: float, mask: Image.Image, colour: tuple[int, int, int] = (150, 45, 30)
) -> Image.Image:
    """The vase, with some shading, before a background."""
    share = np.asarray(mask, float)[..., None] / 255
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] / 100
    subject = np.array(colour) + 15 * np.sin(3 * x + y)[..., None]
    mixed = share * subject + (1 - share) * background
    mixed = mixed + np.random.default_rng(4).normal(0, noise, mixed.shape) if noise else mixed
    return Image.fromarray(np.clip(mixed + 0.5, 0, 255).astype(np.uint8), "RGB").convert("RGBA")


def overlap(found: Image.Image, truth: Image.Image) -> float:
    """Intersection over union of what is more seen than not."""
    one, other = np.asarray(found.getchannel("A")) > 127, np.asarray(truth) > 127
    return float((one & other).sum() / (one | other).sum())


def _islands(mask: np.ndarray) -> int:
    """How many connected parts the mask has."""
    left, count = mask.copy(), 0
    while left.any():
        count += 1
        waiting = [tuple(np.argwhere(left)[0])]
        while waiting:
            y, x = waiting.pop()
            if 0 <= y < left.shape[0] and 0 <= x < left.shape[1] and left[y, x]:
                left[y, x] = False
                waiting += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    return count


@pytest.mark.parametrize("jpeg", [False, True], ids=["exact", "jpeg"])
@pytest.mark.parametrize("name", BACKGROUNDS)
def test_the_subject_is_what_remains(name: str, jpeg: bool) -> None:
    background, noise = BACKGROUNDS[name]
    mask = vase()
    picture = before(background, noise, mask)
    if jpeg:
        picture = decode(encoded(picture.convert("RGB"), "JPEG", quality=85))
    found = remove_studio_background(picture)
    assert found.size == picture.size and found.mode == "RGBA"
    assert overlap(found, mask) > 0.97
    alpha = np.asarray(found.getchannel("A"))
    assert _islands(alpha > 127) == 1, "specks float around the subject"
    assert alpha[165, 250] == 0, "the gap in the handle is still closed"
    assert alpha[180, 150] == 255
    assert (alpha[:15] == 0).mean() > 0.999


def test_highlights_inside_do_not_become_holes() -> None:
    picture = before(BACKGROUNDS["grey"][0], 0, vase())
    ImageDraw.Draw(picture).ellipse((140, 150, 152, 160), (150, 150, 150, 255))
    alpha = np.asarray(remove_studio_background(picture).getchannel("A"))
    assert alpha[155, 146] == 255


def test_the_outline_is_soft_and_without_a_fringe() -> None:
    mask = vase().filter(ImageFilter.GaussianBlur(0.8))
    found = remove_studio_background(before(plain((255, 255, 255)), 0, mask))
    rgba = np.asarray(found).astype(float)
    soft = (rgba[..., 3] > 40) & (rgba[..., 3] < 215)
    assert soft.sum() > 200
    shown = rgba[..., 3] > 127
    rim = shown & ~np.asarray(Image.fromarray(shown).filter(ImageFilter.MinFilter(3)))
    assert rgba[rim][:, 1].mean() < 120, "white shines through at the outline"


def test_thin_parts_stay() -> None:
    picture = before(plain((250, 250, 250)), 0, vase())
    ImageDraw.Draw(picture).line((160, 45, 300, 20), (150, 45, 30, 255), 2)
    alpha = np.asarray(remove_studio_background(picture).getchannel("A"))
    assert (alpha[15:40, 200:300].max(axis=0) > 127).all(), "the thin stick is broken or gone"


def test_a_subject_of_wire() -> None:
    picture = Image.new("RGBA", SIZE, (250, 250, 250, 255))
    ImageDraw.Draw(picture).ellipse((60, 60, 240, 240), None, (20, 20, 20, 255), 3)
    alpha = np.asarray(remove_studio_background(picture).getchannel("A"))
    assert alpha[150, 61] == 255 and alpha[150, 150] == 0 and _islands(alpha > 127) == 1


def test_a_subject_that_touches_the_border() -> None:
    picture = before(plain((240, 240, 240)), 0, vase().transform(SIZE, Image.Transform.AFFINE, (1, 0, 0, 0, 1, -40)))
    alpha = np.asarray(remove_studio_background(picture).getchannel("A"))
    assert alpha[295, 160] == 255 and alpha[5, 5] == 0 and alpha[295, 5] == 0


def _textured() -> Image.Image:
    return photo(300).convert("RGBA")


def _stripes() -> Image.Image:
    x = np.arange(SIZE[0])[None, :, None] // 12 % 2 * 150 + 50.0
    return before(np.broadcast_to(x, (SIZE[1], SIZE[0], 3)), 0, vase())


def _horizon() -> Image.Image:
    ground = plain((120, 170, 230)).copy()
    ground[150:] = (90, 120, 40)
    return before(ground, 0, vase())


@pytest.mark.parametrize("make", [_textured, _stripes, _horizon])
def test_other_backgrounds_are_refused(make: Any) -> None:
    with pytest.raises(ImageError, match="not uniform enough") as caught:
        remove_studio_background(make())
    assert "transparency" in sentence(caught.value)


@pytest.mark.parametrize("colour", [(255, 255, 255), (77, 77, 77)])
def test_nothing_before_a_background_is_refused(colour: tuple[int, int, int]) -> None:
    with pytest.raises(ImageError, match="no subject") as caught:
        remove_studio_background(Image.new("RGBA", SIZE, (*colour, 255)))
    sentence(caught.value)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (8, 8), (8, 3000), (3000, 9), (31, 17)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    picture = Image.new("RGBA", size, (250, 250, 250, 255))
    ImageDraw.Draw(picture).rectangle((size[0] * 0.3, size[1] * 0.3, size[0] * 0.7, size[1] * 0.7), (20, 60, 160, 255))
    try:
        found = remove_studio_background(picture)
    except ImageError as error:
        sentence(error)
    else:
        assert found.size == size
