"""What a file is that is none of the pictures that can be used, by its first bytes."""

from __future__ import annotations

_SIGNATURES = (
    (b"GIF8", "a GIF file"),
    (b"BM", "a BMP file"),
    (b"II*\x00", "a TIFF file"),
    (b"MM\x00*", "a TIFF file"),
    (b"\x76\x2f\x31\x01", "an OpenEXR file"),
    (b"glTF", "a GLB file, not a picture"),
    (b"%PDF", "a PDF file"),
    (b"<", "text (an HTML page or an SVG), not a picture"),
)


def what_is(data: bytes) -> str:
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "a HEIC file"
    if data[4:12] == b"ftypavif":
        return "an AVIF file"
    head = data[:64].lstrip()
    known = next((what for signature, what in _SIGNATURES if head.startswith(signature)), None)
    return known or "of a format that is not known here, or damaged"
