"""Small pictures on their way in a status: what is taken, and what is not."""

from __future__ import annotations

import base64
import io
import struct

import numpy as np
import pytest
from PIL import Image

from trellis_addon.formats.early_picture import BYTES_LIMIT, SIDE, SIDE_LIMIT, from_wire, is_small, to_png, to_wire


def picture(width: int = SIDE, height: int = SIDE) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), (200, 40, 40, 255)).save(buffer, "PNG")
    return buffer.getvalue()


def test_there_and_back() -> None:
    assert from_wire(to_wire(picture())) == picture()


@pytest.mark.parametrize(
    "told",
    [
        None,
        7,
        ["data:image/png;base64,"],
        "",
        "https://example.com/preview.png",
        "data:image/png;base64,",
        "data:image/png;base64,%%%",
        "data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode(),
        to_wire(b"GIF89a" + bytes(40)),
        to_wire(picture()[:20]),
        to_wire(picture(SIDE_LIMIT + 1, 8)),
        to_wire(picture() + bytes(BYTES_LIMIT)),
        "data:image/png;base64," + "A" * 10_000_000,
    ],
)
def test_anything_else_is_no_picture(told: object) -> None:
    assert from_wire(told) == b""


def test_a_header_may_not_promise_more_than_there_may_be() -> None:
    """What unpacks to gigabytes is small on its way."""
    png = bytearray(picture())
    assert is_small(bytes(png))
    struct.pack_into(">II", png, 16, 60_000, 60_000)
    assert not is_small(bytes(png))


def test_even_noise_is_small_or_nothing() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    assert len(to_png(noise)) <= BYTES_LIMIT
    flat = np.full((SIDE, SIDE, 4), (10, 200, 30, 255), np.uint8)
    with Image.open(io.BytesIO(to_png(flat))) as found:
        assert found.size == (SIDE, SIDE) and found.convert("RGBA").getpixel((5, 5)) == (10, 200, 30, 255)
