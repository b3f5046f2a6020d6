"""What cannot be used is refused with a sentence: other formats, damaged and cut off files, bombs."""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import encoded, photo, sentence
from picture_files import KINDS, file_of, pixels, png_by_hand, png_chunk, studio
from PIL import Image

from trellis_addon.core.errors import ImageError
from trellis_addon.images import (
    decode,
    load_image,
)


def _bomb() -> bytes:
    return png_by_hand(60000, 60000, 8, 6, b"\0" * 1000)


def _text_bomb() -> bytes:
    packed = zlib.compress(b"\0" * 80_000_000, 9)
    rows = b"".join(b"\0" + b"\x80" * 256 for _ in range(64))
    return png_by_hand(64, 64, 8, 6, rows, png_chunk(b"zTXt", b"Comment\0\0" + packed))


UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "no bytes"),
    "gif": (lambda: encoded(studio(), "GIF"), "a GIF file"),
    "bmp": (lambda: encoded(studio(), "BMP"), "a BMP file"),
    "tiff": (lambda: encoded(studio(), "TIFF"), "a TIFF file"),
    "html": (lambda: b"\n <!doctype html><title>404</title>", "HTML"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "pdf": (lambda: b"%PDF-1.7 ...", "PDF"),
    "glb": (lambda: b"glTF\x02\0\0\0", "GLB"),
    "text": (lambda: b"just some words", "not known"),
    "zeros": (lambda: bytes(5000), "not known"),
    "bomb": (_bomb, "pixels"),
    "text bomb": (_text_bomb, "damaged"),
    "transparent": (lambda: encoded(Image.new("RGBA", (64, 64))), "fully transparent"),
    "photo": (lambda: encoded(photo(), "JPEG"), "not uniform"),
    "one pixel": (lambda: encoded(Image.new("RGB", (1, 1), (9, 9, 9))), "too small"),
    "one colour": (lambda: encoded(Image.new("RGB", (64, 64), (90, 90, 90))), "no subject"),
    "signature only": (lambda: b"\x89PNG\r\n\x1a\n", "damaged"),
    "other in disguise": (lambda: b"\xff\xd8\xff\xe0" + b"\0" * 100, "damaged"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_pictures_are_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    make, said = UNUSABLE[name]
    data = make()
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    for source in (data, path, "data:image/png;base64," + base64.b64encode(data).decode()):
        with pytest.raises(ImageError, match=said) as caught:
            load_image(source)
        sentence(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no/such/picture.png", "no image file"),
        ("", "nothing was given"),
        ("   ", "nothing was given"),
        (None, "nothing was given"),
        (42, "nothing was given"),
        ("a\0b.png", "cannot be read"),
        ("x" * 9000 + ".png", "cannot be read|no image file"),
        ("data:image/png,hello", "data URI"),
        ("data:image/png;base64", "data URI"),
        ("data:image/png;base64,!!!", "nor valid Base64"),
        ("0198c1b2-7d3e-7a54-9f10-2b6c8d4e1f3a", "UUID of an upload"),
        ("A" * 200, "not known|damaged"),
        ("A" * 201, "nor valid Base64|not known"),
    ],
)
def test_unusable_sources_are_refused_with_a_sentence(source: Any, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        load_image(source)
    if not isinstance(source, str) or len(source) < 1000:
        sentence(caught.value)


def test_folders_are_refused(tmp_path: Path) -> None:
    for source in (tmp_path, str(tmp_path)):
        with pytest.raises(ImageError, match="is a folder"):
            load_image(source)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off_files_are_refused(kind: str) -> None:
    data = file_of(kind)
    for share in (*np.linspace(0.001, 0.95, 40), 0.97):
        with pytest.raises(ImageError) as caught:
            load_image(data[: int(len(data) * share)])
        sentence(caught.value)
    for end in range(1, 20):  # what is missing may be of no consequence there
        _survive(data[:-end])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_is_taken_and_one_without_rows_is_not(progressive: bool) -> None:
    picture = Image.effect_noise((200, 150), 60).convert("RGB")
    picture.paste((200, 40, 30), (60, 40, 140, 110))
    data = encoded(picture, "JPEG", quality=90, progressive=progressive)
    whole = pixels(decode(data))
    for end in (data[:-2], data[:-1], data[:-2] + b"\xff\xff", data[:-2] + b"\r\n", b"\r\n" + data):
        assert (pixels(decode(end)) == whole).all()
    for lost in (10, 100, len(data) // 3):
        with pytest.raises(ImageError, match="cut off"):
            decode(data[:-lost])


def test_blank_lines_before_a_file() -> None:
    for kind in KINDS:
        assert (pixels(decode(b"\n\r\n " + file_of(kind))) == pixels(decode(file_of(kind)))).all()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\0\x18ftyphevc", "HEIC"),
        (b"\0\0\0\x18ftypmsf1", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0miafavif", "AVIF"),
        (b"\0\0\0\x18ftypavis", "AVIF"),
        (b"\0\0\0\x18ftypcrx ", "camera"),
        (b"\0\0\0\x18ftypisom", "video"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"#?RADIANCE\n", "Radiance"),
        (b"#?RGBE\n", "Radiance"),
        (b"DDS |", "DDS"),
        (b"gimp xcf v011", "GIMP"),
        (b"PK\3\4" + bytes(26) + b"mimetypeapplication/x-krita", "Krita"),
        (b"PK\3\4", "ZIP"),
        (b"\0\0\1\0\1\0", "icon"),
        (b"II+\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"\xef\xbb\xbf<svg xmlns='x'/>", "SVG"),
        ("<svg/>".encode("utf-16"), "SVG"),
        (b"qoif", "QOI"),
        (b"BLENDER-v500", "Blender file"),
        (b"P6 4 4 255\n", "Netpbm"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ],
)
def test_other_formats_are_named(head: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        load_image(head + bytes(64))
    sentence(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_corrupted_files_give_a_picture_or_a_sentence(kind: str) -> None:
    data = file_of(kind)
    dice = random.Random(kind)
    outcomes = {_survive(_corrupt(data, dice)) for _ in range(300)}
    assert False in outcomes, "the corruptions were too mild to mean anything"


def _corrupt(data: bytes, dice: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5, 30))):
        place = dice.randrange(len(broken) if dice.random() < 0.5 else min(len(broken), 200))
        match dice.randrange(4):
            case 0:
                broken[place] ^= 1 << dice.randrange(8)
            case 1:
                broken[place] = dice.choice((0, 0x7F, 0x80, 0xFF))
            case 2:
                del broken[place : place + dice.randrange(1, 40)]
            case 3:
                broken[place:place] = dice.randbytes(dice.randrange(1, 40))
        if not broken:
            return b""
    return bytes(broken)


def _survive(data: bytes) -> bool:
    """Whether a picture came of it; anything but a picture or an `ImageError` fails the test."""
    try:
        prepared = load_image(data)
    except ImageError as error:
        sentence(error)
        return False
    assert prepared.rgba.mode == "RGBA" and prepared.rgba.getchannel("A").getextrema()[1] > 0
    return True
