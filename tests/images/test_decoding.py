"""Pictures upright, of every colour model and size, as pixels of 8 bits in sRGB."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from conftest import disc, encoded
from picture_files import KINDS, pixels, png_by_hand, studio
from PIL import Image, ImageCms

from trellis_addon.images import (
    MAX_SIDE,
    decode,
    load_image,
)

_UNDO = {  # how the pixels lie in the file, for each orientation that says how to turn them back
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    upright = Image.new("RGB", (64, 32), (250, 250, 250))
    upright.paste((200, 0, 0), (0, 0, 32, 16))
    upright.paste((0, 0, 200), (32, 16, 64, 32))
    upright.paste((0, 160, 0), (0, 16, 32, 32))
    stored = upright.transpose(_UNDO[orientation]) if orientation in _UNDO else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    found = decode(encoded(stored, kind, exif=exif, **options))
    assert found.size == (64, 32)
    assert np.abs(pixels(found) - pixels(upright)).mean() < 2


def test_alpha_is_kept() -> None:
    ramp = np.zeros((64, 256, 4), np.uint8)
    ramp[..., :3] = (10, 130, 250)
    ramp[..., 3] = np.arange(256)
    for kind in ("PNG", "WEBP"):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        assert (pixels(load_image(encoded(Image.fromarray(ramp), kind, **options)).rgba) == ramp).all()


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_sixteen_bits_are_scaled_not_clipped(colour_type: int) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    values = np.linspace(0, 65535, 64).astype(">u2")
    row = np.repeat(values[:, None], channels, axis=1)
    if channels in (2, 4):
        row[:, -1] = 40000
    rows = b"".join(b"\0" + row.tobytes() for _ in range(32))
    found = pixels(decode(png_by_hand(64, 32, 16, colour_type, rows)))
    wanted = values.astype(float) / 65535 * 255
    assert found.shape == (32, 64, 4)
    for channel in range(3):
        assert np.abs(found[0, :, channel] - wanted).max() <= 1.01
    assert np.abs(found[..., 3] - (40000 / 65535 * 255 if channels in (2, 4) else 255)).max() <= 1


def test_palette_with_transparency() -> None:
    picture = disc(80).convert("RGB").quantize(32)
    mask = np.asarray(disc(80).getchannel("A")) > 128
    indices = np.asarray(picture).copy()
    indices[~mask] = 200
    picture = Image.fromarray(indices, "P")
    picture.putpalette(np.random.default_rng(1).integers(0, 255, 768, np.uint8).tobytes())
    found = load_image(encoded(picture, "PNG", transparency=200))
    assert found.cutout == "alpha"
    assert ((pixels(found.rgba)[..., 3] > 0) == mask).all()


def test_transparent_colour_of_a_png_without_alpha() -> None:
    picture = studio()
    found = load_image(encoded(picture, "PNG", transparency=(210, 210, 205)))
    assert found.cutout == "alpha"
    assert ((pixels(found.rgba)[..., 3] == 255) == (pixels(picture)[..., 0] == 190)).all()


def test_grey_with_alpha() -> None:
    found = load_image(encoded(disc(80).convert("LA"), "PNG"))
    assert found.cutout == "alpha"
    assert (pixels(found.rgba)[..., 3] == pixels(disc(80))[..., 3]).all()


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_other_modes_without_alpha(mode: str) -> None:
    found = load_image(encoded(studio().convert(mode, dither=0), "PNG"))
    assert found.cutout == "studio"
    alpha = pixels(found.rgba)[..., 3]
    assert alpha[60, 80] == 255 and alpha[2, 2] == 0


def test_cmyk_jpeg() -> None:
    found = pixels(decode(encoded(studio().convert("CMYK"), "JPEG", quality=95)))
    assert np.abs(found[60, 80, :3] - (190, 30, 40)).max() < 12
    assert np.abs(found[4, 4, :3] - (210, 210, 205)).max() < 12


def test_colours_are_brought_to_srgb() -> None:
    """A profile whose red and green are swapped: pure red in the file is green on a screen."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    swaps = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}
    for entry in range(132, 132 + 12 * count, 12):
        profile[entry : entry + 4] = swaps.get(bytes(profile[entry : entry + 4]), profile[entry : entry + 4])
    for kind, mode in (("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGBA"), ("JPEG", "RGB")):
        red = Image.new("RGBA", (32, 32), (255, 0, 0, 255))
        red.putalpha(Image.linear_gradient("L").resize((32, 32)))
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        found = pixels(decode(encoded(red.convert(mode), kind, icc_profile=bytes(profile), **options)))
        assert np.abs(found[20, 20, :3] - (0, 255, 0)).max() < 6, (kind, mode)
        if mode == "RGBA":
            assert (found[..., 3] == pixels(red)[..., 3]).all()
    broken = encoded(Image.new("RGB", (32, 32), (255, 0, 0)), "PNG", icc_profile=bytes(profile[:200]))
    assert tuple(pixels(decode(broken))[5, 5]) == (255, 0, 0, 255)


def test_a_small_subject_in_a_huge_picture_keeps_its_pixels() -> None:
    random_ = np.random.default_rng(2)
    subject = np.dstack([random_.integers(0, 255, (300, 400, 3)), np.full((300, 400), 255)]).astype(np.uint8)
    canvas = np.zeros((3200, 3600, 4), np.uint8)
    canvas[2700:3000, 100:500] = subject
    found = load_image(encoded(Image.fromarray(canvas), "PNG", compress_level=1))
    assert found.rgba.size == (400, 300)
    assert (pixels(found.rgba) == subject).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_larger_than_the_model_can_use_is_reduced(kind: str) -> None:
    big = disc(512).resize((3000, 3000)) if kind == "PNG" else studio((4400, 3000))
    found = load_image(encoded(big, kind))
    assert max(found.rgba.size) == MAX_SIDE
    left, top, right, bottom = found.rgba.getbbox()
    shown = (right - left) / (bottom - top)
    assert shown == pytest.approx(1.0 if kind == "PNG" else 4400 * 0.4 / (3000 * 0.6), abs=0.02)


def test_reducing_leaves_no_dark_fringe() -> None:
    white = np.zeros((2600, 2600, 4), np.uint8)
    white[300:2300, 100:2500] = 255  # beyond it: black, and transparent
    found = pixels(load_image(encoded(Image.fromarray(white), "PNG", compress_level=1)).rgba)
    assert found[found[..., 3] > 20][:, :3].min() >= 250


def test_what_fits_is_not_touched() -> None:
    exact = np.full((MAX_SIDE, 64, 4), 255, np.uint8)
    exact[:4, :, 3] = 0
    assert load_image(encoded(Image.fromarray(exact))).rgba.size == (64, MAX_SIDE)


def test_small_subjects_are_warned_of() -> None:
    assert any("larger picture" in w for w in load_image(encoded(disc(80))).warnings)
    assert not load_image(encoded(disc(400))).warnings
    assert any("background was removed" in w for w in load_image(encoded(studio((500, 500)))).warnings)
