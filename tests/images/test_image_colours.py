"""Colours of pictures, whatever says what they are: profiles, codes, gammas, one transparent colour, sixteen bits."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from conftest import encoded
from PIL import Image, ImageCms

from trellis_addon.images import decode
from trellis_addon.images.reading.profiles import ACES_AP1, REC2020, SRGB, profile, to_srgb_matrix

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
RED, RED_OF_P3 = (200, 60, 30), (217, 42, 0)  # the same numbers as Display P3, seen in sRGB
P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(samples: np.ndarray, depth: int, colour_type: int, *extra: bytes) -> bytes:
    """A PNG of samples (height, width[, channels]), 8 or 16 bits, with more chunks before the pixels."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def plain(colour: tuple[int, ...], depth: int = 8) -> np.ndarray:
    return np.full((16, 16, len(colour)), colour, np.uint16 if depth == 16 else np.uint8)


def seen(data: bytes) -> tuple[int, ...]:
    return decode(data).getpixel((8, 8))  # type: ignore[return-value]


def near(found: tuple[int, ...], wanted: tuple[int, ...], most: int = 3) -> bool:
    return all(abs(a - b) <= most for a, b in zip(found[:3], wanted, strict=True))


def srgb(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


P3_PROFILE = profile(P3, srgb) or b""


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of greys, by hand."""
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(79),
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0),
    }
    start, index, body = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        index += name + struct.pack(">II", start + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"\0\0\0\0", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + index + body


# --- profiles, in every mode ---


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "PA"])
def test_a_profile_counts_in_every_mode(mode: str) -> None:
    picture = Image.new("RGBA", (16, 16), (*RED, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 4, 16))
    if mode == "PA":  # a palette with several degrees of transparency
        picture.paste((*RED, 128), (12, 0, 16, 16))
    made = picture.quantize(8) if mode in ("P", "PA") else picture.convert(mode)
    found = decode(encoded(made, icc_profile=P3_PROFILE))
    assert near(found.getpixel((8, 8)), RED_OF_P3)  # type: ignore[arg-type]
    if mode != "RGB":
        assert found.getpixel((1, 1))[3] == 0 and found.getpixel((8, 8))[3] == 255  # type: ignore[index]


def test_a_profile_counts_for_sixteen_bits_and_beside_a_transparent_colour() -> None:
    icc = chunk(b"iCCP", b"P3\0\0" + zlib.compress(P3_PROFILE))
    sixteen = tuple(v * 257 for v in RED)
    assert near(seen(png(plain(sixteen, 16), 16, RGB, icc)), RED_OF_P3)
    assert near(seen(png(plain((*sixteen, 65535), 16), 16, RGBA, icc)), RED_OF_P3)
    clear = chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))
    ground = plain(RED)
    ground[:4] = (1, 2, 3)
    found = decode(png(ground, 8, RGB, icc, clear))
    assert near(found.getpixel((8, 8)), RED_OF_P3) and found.getpixel((8, 1))[3] == 0  # type: ignore[index, arg-type]


@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_grey_profiles_count_in_8_and_16_bits(gamma: float) -> None:
    greys = np.arange(256, dtype=np.uint8)[None].repeat(16, 0)
    eight = np.asarray(decode(encoded(Image.fromarray(greys, "L"), icc_profile=grey_profile(gamma))))[0, :, 0]
    icc = chunk(b"iCCP", b"grey\0\0" + zlib.compress(grey_profile(gamma)))
    sixteen = np.asarray(decode(png(greys.astype(np.uint16) * 257, 16, GREY, icc)))[0, :, 0]
    light = (np.arange(256) / 255) ** gamma
    wanted = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert np.abs(eight.astype(int) - wanted).max() <= 3
    assert np.abs(sixteen.astype(int) - eight).max() <= 1
    with_alpha = png(np.dstack([greys, np.full_like(greys, 200)]), 8, GREY_ALPHA, icc)
    assert np.abs(np.asarray(decode(with_alpha))[0, :, 0].astype(int) - eight).max() <= 1


def test_a_profile_of_colours_counts_in_a_grey_picture() -> None:
    linear = profile(SRGB, lambda v: v) or b""
    for picture in (Image.new("L", (16, 16), 98), Image.new("RGB", (16, 16), (98, 98, 98))):
        assert near(seen(encoded(picture, icc_profile=linear)), (167, 167, 167))
    assert near(seen(encoded(Image.new("RGB", (16, 16), (98,) * 3), icc_profile=grey_profile(1.0))), (167, 167, 167))


def test_a_profile_that_cannot_be_read_is_passed_over() -> None:
    for icc in (b"", b"junk" * 50, P3_PROFILE[:200], ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()):
        assert seen(encoded(Image.new("RGB", (16, 16), RED), icc_profile=icc))[:3] == RED


def test_nothing_is_left_that_would_be_applied_again() -> None:
    found = decode(encoded(Image.new("RGB", (16, 16), RED), icc_profile=P3_PROFILE, transparency=(1, 2, 3)))
    assert not found.info and near(seen(encoded(found)), RED_OF_P3)


# --- codes: PNG's cICP ---


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ((12, 13, 0, 1), RED_OF_P3),
        ((1, 13, 0, 1), RED),
        ((2, 2, 0, 1), RED),
        ((1, 8, 0, 1), (228, 133, 96)),  # linear
        ((1, 4, 0, 1), (200, 57, 24)),  # a gamma of 2.2
        ((250, 13, 0, 1), RED),  # nothing known
        ((12, 13, 5, 1), RED),  # not RGB
    ],
)
def test_codes_of_colours(code: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    cicp = chunk(b"cICP", bytes(code))
    assert near(seen(png(plain(RED), 8, RGB, cicp)), wanted)
    assert near(seen(png(plain((*RED, 255)), 8, RGBA, cicp)), wanted)
    assert near(seen(png(plain(tuple(v * 257 for v in RED), 16), 16, RGB, cicp)), wanted)


def test_a_code_comes_before_a_profile_and_a_profile_before_a_gamma() -> None:
    p3, srgb_code = chunk(b"iCCP", b"P3\0\0" + zlib.compress(P3_PROFILE)), chunk(b"cICP", bytes((1, 13, 0, 1)))
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    assert near(seen(png(plain(RED), 8, RGB, srgb_code, p3)), RED)
    assert near(seen(png(plain(RED), 8, RGB, gamma, p3)), RED_OF_P3)
    assert near(seen(png(plain(RED), 8, RGB, gamma, chunk(b"sRGB", b"\0"))), RED)


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_has_its_white_near_white_and_nothing_of_it_is_cut_off(transfer: int) -> None:
    cicp = chunk(b"cICP", bytes((9, transfer, 0, 1)))
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(16, 0).repeat(3, 2)
    found = np.asarray(decode(png(ramp, 8, RGB, cicp)))[0, :, :3].astype(int)
    white = {16: 148, 18: 191}[transfer]  # the code of 203 cd/m2
    assert (np.diff(found[:, 1]) >= 0).all() and np.ptp(found, axis=1).max() <= 2, "greys stay grey"
    assert 235 <= found[white, 1] <= 252 and found[255, 1] >= 253 and found[0, 1] == 0
    assert found[round(white * 0.75), 1] < 190


def test_narrow_range() -> None:
    cicp = chunk(b"cICP", bytes((1, 13, 0, 0)))
    assert near(seen(png(plain((235, 16, 126)), 8, RGB, cicp)), (255, 0, 128), 1)


# --- a gamma, and chromaticities ---


def test_gamma_and_chromaticities() -> None:
    def chromaticities(values: tuple[float, ...]) -> bytes:
        return chunk(b"cHRM", struct.pack(">8I", *(round(v * 100_000) for v in values)))

    usual, linear = chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"gAMA", struct.pack(">I", 100_000))
    assert seen(png(plain(RED), 8, RGB, usual, chromaticities(SRGB)))[:3] == RED
    assert near(seen(png(plain(RED), 8, RGB, usual, chromaticities(P3))), RED_OF_P3)
    assert near(seen(png(plain(RED), 8, RGB, chromaticities(P3))), RED_OF_P3)
    assert near(seen(png(plain((98,)), 8, GREY, linear)), (167, 167, 167))
    for nonsense in (0, 1, 2**31 - 1):
        assert seen(png(plain(RED), 8, RGB, chunk(b"gAMA", struct.pack(">I", nonsense))))[:3] == RED
    for nonsense_too in ((0.0,) * 8, (1e-5,) * 8, (0.3, 0.3) * 4):
        assert seen(png(plain(RED), 8, RGB, chromaticities(nonsense_too)))[:3] == RED


def test_matrices_of_working_spaces() -> None:
    for primaries in (REC2020, ACES_AP1, P3, SRGB):
        assert np.allclose(to_srgb_matrix(primaries).sum(axis=1), 1, atol=1e-4), "white stays white"
    assert np.allclose(to_srgb_matrix(REC2020)[0], (1.6605, -0.5876, -0.0728), atol=2e-3)  # ITU-R BT.2087
    assert np.allclose(to_srgb_matrix(ACES_AP1)[0], (1.7051, -0.6218, -0.0833), atol=3e-3)


# --- sixteen bits, and one transparent colour ---


def test_dark_sixteen_bits_are_dark() -> None:
    assert seen(png(plain((200,), 16), 16, GREY))[:3] in ((0, 0, 0), (1, 1, 1))
    assert seen(png(plain((200, 65535), 16), 16, GREY_ALPHA))[:3] == (0, 0, 0)
    assert near(seen(png(plain((32768,), 16), 16, GREY)), (128, 128, 128), 1)


@pytest.mark.parametrize(
    ("colour_type", "key", "kept"),
    [
        (GREY, (1000,), (1001,)),
        (GREY, (0,), (200,)),
        (RGB, (300, 300, 300), (300, 301, 300)),
        (RGB, (0,) * 3, (9,) * 3),
    ],
)
def test_the_transparent_colour_of_sixteen_bits_is_exact(
    colour_type: int, key: tuple[int, ...], kept: tuple[int, ...]
) -> None:
    samples = plain(kept, 16)
    samples[:4] = key
    clear = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    alpha = np.asarray(decode(png(samples, 16, colour_type, clear)))[..., 3]
    assert (alpha[:4] == 0).all() and (alpha[4:] == 255).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_the_transparent_grey_of_few_bits(depth: int) -> None:
    highest = 2**depth - 1
    values = np.zeros((8, 8), np.uint8)
    values[:3] = highest
    bits = ((values[..., None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(8, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits.astype(np.uint8))
    header = struct.pack(">IIBBBBB", 8, 8, depth, GREY, 0, 0, 0)
    clear = chunk(b"tRNS", struct.pack(">H", highest))
    parts = [chunk(b"IHDR", header), clear, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    found = np.asarray(decode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)))
    assert (found[:3, :, 3] == 0).all() and (found[3:, :, 3] == 255).all() and (found[3:, :, 0] == 0).all()


def test_an_orientation_is_heeded_beside_all_this() -> None:
    ground = plain(RED)
    ground[:4] = (0, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = (chunk(b"tRNS", struct.pack(">3H", 0, 0, 0)), chunk(b"eXIf", exif.tobytes()[6:]))
    alpha = np.asarray(decode(png(ground, 8, RGB, *clear)))[..., 3]
    assert (alpha[:, -4:] == 0).all() and (alpha[:, :-4] == 255).all(), "what was above is on the right"
