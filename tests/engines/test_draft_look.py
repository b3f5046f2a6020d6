"""The draft's textures: the picture in front, a back that is no second face, glass, and where they meet."""

from __future__ import annotations

import numpy as np
from draft_pictures import (
    disc,
    drawn,
    make,
    ring,
    sampled,
    turned,
)
from PIL import Image, ImageDraw

from trellis_addon.task.settings import Settings


def test_front_shows_the_picture_the_right_way_round() -> None:
    picture = Image.new("RGBA", (120, 120))
    for box, colour in (
        ((10, 10, 60, 60), (220, 30, 30)),
        ((60, 10, 110, 60), (30, 200, 30)),
        ((10, 60, 60, 110), (30, 30, 220)),
        ((60, 60, 110, 110), (220, 220, 30)),
    ):
        picture.paste((*colour, 255), box)
    made = make(picture)
    expected = {(-1, 1): (220, 30, 30), (1, 1): (30, 200, 30), (-1, -1): (30, 30, 220), (1, -1): (220, 220, 30)}
    for (x, y), colour in expected.items():
        assert np.abs(sampled(made, "front", 0.25 * x, 0.25 * y) - colour).max() < 12
    # Plus Z is the front, and the back is shallower.
    assert made.positions[:, 2].max() == -made.positions[:, 2].min()
    front = made.positions[made.normals[:, 2] > 0.9, 2].mean()
    assert front > 0.05


def test_the_back_is_not_a_second_face() -> None:
    picture = Image.new("RGBA", (200, 200))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((5, 5, 195, 195), (200, 170, 150, 255))
    draw.ellipse((92, 92, 108, 108), (0, 0, 0, 255))
    made = make(picture)
    assert sampled(made, "front", 0.0, 0.0).max() < 40
    assert np.abs(sampled(made, "back", 0.0, 0.0) - (200, 170, 150)).max() < 45


def test_the_background_does_not_bleed_in() -> None:
    picture = drawn((200, 200), lambda d: d.ellipse((80, 80, 720, 720), 255))
    red, green = Image.new("RGBA", (200, 200), (210, 40, 40, 255)), Image.new("RGBA", (200, 200), (0, 255, 0, 255))
    mixed = Image.composite(red, green, picture.getchannel("A"))
    mixed.putalpha(picture.getchannel("A"))
    texture = np.asarray(make(mixed).texture("baseColorTexture"), int)
    assert (texture[..., 1] - texture[..., 0]).max() < 0


def test_colours_of_a_flat_picture_are_kept() -> None:
    made = make(Image.new("RGBA", (64, 48), (90, 140, 30, 255)))
    assert np.abs(sampled(made, "front", 0.1, 0.05) - (90, 140, 30)).max() <= 2


def test_glass_stays_glass_and_a_soft_edge_is_no_glass() -> None:
    glass = disc()
    glass.putalpha(glass.getchannel("A").point(lambda a: a // 2))
    ImageDraw.Draw(glass).rectangle((60, 60, 140, 100), (250, 240, 230, 255))
    made = make(glass)
    assert made.material["alphaMode"] == "BLEND"
    texture = made.texture("baseColorTexture")
    assert texture.mode == "RGBA"
    for picture in (disc(), ring()):
        opaque = make(picture)
        assert "alphaMode" not in opaque.material
        assert opaque.texture("baseColorTexture").mode == "RGB"


def test_roughness_and_metalness_are_plausible() -> None:
    made = make(disc())
    values = np.asarray(made.texture("metallicRoughnessTexture").convert("RGB"))
    assert 0.5 < values[..., 1].mean() / 255 < 0.85
    assert values[..., 2].mean() / 255 < 0.1


def test_the_back_keeps_the_bands_and_loses_the_face() -> None:
    picture = turned("flat")
    draw = ImageDraw.Draw(picture)
    for x in (205, 275):
        draw.ellipse((x - 22, 215, x + 22, 265), (10, 10, 10, 255))
    made = make(picture, Settings(texture_size=2048))
    scale = 1.0 / (480 * 0.88)
    for x in (-35 * scale, 35 * scale):
        assert sampled(made, "front", x, 0.0).max() < 60
        assert sampled(made, "back", x, 0.0).min() > 90
    # One band ends and the next begins within a few pixels, as in front.
    rows = [sampled(made, "back", 0.0, (240 - row) * scale) for row in (120, 150, 172, 190, 240)]
    red, cream = (sampled(made, "front", 0.0, (240 - row) * scale) for row in (120, 240))
    for row, colour in zip(rows, (red, red, cream, cream, cream), strict=True):
        assert np.abs(row - colour).max() < 40


def test_the_textures_meet_at_the_silhouette() -> None:
    """Front and back show the same place of the picture there, though the back's places go by the angle."""
    made = make(turned("left"), Settings(texture_size=2048))
    texture = np.asarray(made.texture("baseColorTexture").convert("RGB"), float)
    _, corner, count = np.unique(made.positions, axis=0, return_inverse=True, return_counts=True)
    corner = corner.reshape(-1)
    order = np.argsort(corner, kind="stable")
    pairs = order[count[corner[order]] == 2].reshape(-1, 2)
    x, y = (made.uvs[pairs] * len(texture)).astype(int).transpose(2, 0, 1)
    apart = np.abs(texture[y[:, 0], x[:, 0]] - texture[y[:, 1], x[:, 1]]).max(1)
    assert np.percentile(apart, 95.0) < 25
