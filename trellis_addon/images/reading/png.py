"""What a PNG says of its pixels that Pillow does not use: the exact transparent colour, and colours without a profile.

Chunks as in the PNG specification, third edition (W3C, 2025).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, TRUE_COLOUR = 0, 2  # the colour types that can have one transparent colour


@dataclass(frozen=True)
class PngFacts:
    """`depth` in bits, `colour_type` as in IHDR; `transparent` is tRNS's one sample (grey) or three, of that depth.

    `cicp`: primaries, transfer, matrix and range by their numbers in ITU-T H.273. `gamma` is that of the file (about
    0.45 for a screen's), `chromaticities` x and y of white, red, green and blue.
    """

    depth: int
    colour_type: int
    transparent: tuple[int, ...] = ()
    cicp: tuple[int, int, int, int] | None = None
    is_srgb: bool = False
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None


def read_png(data: bytes) -> PngFacts | None:
    """The facts of the chunks before the pixels; None for anything that is no PNG."""
    if not data.startswith(_SIGNATURE) or len(data) < 33:
        return None
    depth, colour_type = data[24], data[25]
    chunks: dict[bytes, bytes] = {}
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in (b"IDAT", b"IEND"):
            break
        if length <= 64:  # all that is read here is short
            chunks.setdefault(kind, data[at + 8 : at + 8 + length])
        at += 12 + length
    return PngFacts(
        depth,
        colour_type,
        _numbers(chunks.get(b"tRNS"), ">H", {GREY: 1, TRUE_COLOUR: 3}.get(colour_type, 0)),
        _cicp(chunks.get(b"cICP")),
        b"sRGB" in chunks,
        next((value / 100_000 for value in _numbers(chunks.get(b"gAMA"), ">I", 1)), None),
        tuple(value / 100_000 for value in _numbers(chunks.get(b"cHRM"), ">I", 8)) or None,
    )


def _numbers(chunk: bytes | None, form: str, count: int) -> tuple[int, ...]:
    size = struct.calcsize(form)
    if chunk is None or len(chunk) != count * size:
        return ()
    return tuple(int(value) for (value,) in struct.iter_unpack(form, chunk))


def _cicp(chunk: bytes | None) -> tuple[int, int, int, int] | None:
    if chunk is None or len(chunk) != 4:
        return None
    primaries, transfer, matrix, full_range = chunk
    return primaries, transfer, matrix, full_range
