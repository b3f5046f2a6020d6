"""Small pictures as files, for the tests of `images`."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from conftest import disc, encoded
from PIL import Image, ImageDraw

KINDS = ("PNG", "WEBP", "JPEG")


def studio(size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A red box on grey: what a JPEG can hold."""
    picture = Image.new("RGB", size, (210, 210, 205))
    width, height = size
    ImageDraw.Draw(picture).rectangle((width * 0.3, height * 0.2, width * 0.7, height * 0.8), (190, 30, 40))
    return picture


def file_of(kind: str) -> bytes:
    return encoded(studio() if kind == "JPEG" else disc(120), kind)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA")).astype(int)


def png_by_hand(width: int, height: int, depth: int, colour_type: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG from its parts, with correct checksums; `extra` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
