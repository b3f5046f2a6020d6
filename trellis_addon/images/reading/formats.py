"""What a file is that is none of the pictures that can be used, by its first bytes."""

from __future__ import annotations

from ...core.messages import message

# In the order in which they are tried, with where in the file they stand.
_SIGNATURES = (
    (0, b"GIF8", message("a GIF file")),
    (0, b"BM", message("a BMP file")),
    (0, b"II*\x00", message("a TIFF file")),
    (0, b"MM\x00*", message("a TIFF file")),
    (0, b"II+\x00", message("a BigTIFF file")),
    (0, b"MM\x00+", message("a BigTIFF file")),
    (0, b"IIRO", message("a raw file of a camera (ORF)")),
    (0, b"IIU\x00", message("a raw file of a camera (RW2)")),
    (0, b"FUJIFILMCCD-RAW", message("a raw file of a camera (RAF)")),
    (0, b"FOVb", message("a raw file of a camera (X3F)")),
    (0, b"II\xbc", message("a JPEG XR file")),
    (0, b"\x76\x2f\x31\x01", message("an OpenEXR file")),
    (0, b"#?RADIANCE", message("a Radiance HDR file")),
    (0, b"#?RGBE", message("a Radiance HDR file")),
    (0, b"8BPS", message("a Photoshop file (PSD)")),
    (0, b"gimp xcf", message("a GIMP file (XCF)")),
    (0, b"\x00\xffKA", message("an Affinity file")),
    (30, b"mimetypeapplication/x-krita", message("a Krita file (KRA)")),
    (30, b"mimetypeimage/openraster", message("an OpenRaster file (ORA)")),
    (0, b"\xff\x0a", message("a JPEG XL file")),
    (0, b"\x00\x00\x00\x0cJXL ", message("a JPEG XL file")),
    (0, b"\x00\x00\x00\x0cjP  ", message("a JPEG 2000 file")),
    (0, b"\xff\x4f\xff\x51", message("a JPEG 2000 file")),
    (0, b"\xff\xd8\xff\xf7", message("a JPEG-LS file")),
    (0, b"DDS ", message("a DDS file")),
    (0, b"\xabKTX", message("a KTX file")),
    (0, b"\x13\xab\xa1\x5c", message("an ASTC file")),
    (0, b"qoif", message("a QOI file")),
    (0, b"farbfeld", message("a farbfeld file")),
    (0, b"SDPX", message("a DPX file")),
    (0, b"XPDS", message("a DPX file")),
    (0, b"\x80\x2a\x5f\xd7", message("a Cineon file")),
    (0, b"\x00\x00\x01\x00", message("an icon file (ICO)")),
    (0, b"icns", message("an icon file (ICNS)")),
    (0, b"\x01\xda", message("an SGI file")),
    (0, b"\x8aMNG", message("an MNG file")),
    (0, b"\x8bJNG", message("a JNG file")),
    (0, b"glTF", message("a GLB file, not a picture")),
    (0, b"BLENDER", message("a Blender file, not a picture")),
    (0, b"Kaydara FBX", message("an FBX file, not a picture")),
    (0, b"PXR-USDC", message("a USD file, not a picture")),
    (0, b"%PDF", message("a PDF file")),
    (0, b"%!PS", message("a PostScript file")),
    (0, b"\xc5\xd0\xd3\xc6", message("a PostScript file")),
    (0, b"\x1a\x45\xdf\xa3", message("a video, not a picture")),
    (8, b"AVI ", message("a video, not a picture")),
    (8, b"WAVE", message("a sound, not a picture")),
    (0, b"PK\x03\x04", message("a ZIP archive, not a picture")),
    (0, b"Rar!", message("a RAR archive, not a picture")),
    (0, b"7z\xbc\xaf", message("a 7z archive, not a picture")),
    (0, b"\x1f\x8b", message("a packed file (gzip), not a picture")),
    (0, b"\x28\xb5\x2f\xfd", message("a packed file (Zstandard), not a picture")),
    (0, b"version https://git-lfs", message("a pointer of Git LFS, not the picture itself")),
    (0, b"<", message("text (an HTML page or an SVG), not a picture")),
)
_GENERAL = (b"mif1", b"mif2", b"msf1")  # any codec's
# ISO base media files (ISO/IEC 14496-12) say what they are for by their brands, the first of which comes first.
_BRANDS = (
    ((b"avif", b"avis"), message("an AVIF file")),
    (
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"),
        message("a HEIC file"),
    ),
    ((b"jxl ",), message("a JPEG XL file")),
    ((b"jp2 ", b"jpx "), message("a JPEG 2000 file")),
    ((b"crx ",), message("a raw file of a camera (CR3)")),
    ((), message("a video, not a picture")),
)


def what_is(data: bytes) -> str:
    """What the file is, as words for a sentence that begins with "The image is"."""
    if data[4:8] == b"ftyp":
        # the general brand of such pictures comes first in some of them, the codec's own after it
        general = data[8:12] in _GENERAL
        brands = [data[at : at + 4] for at in range(8, min(len(data), int.from_bytes(data[:4]), 256), 4)]
        if general and any(brand in (b"avif", b"avis") for brand in brands):
            return message("an AVIF file")
        return next(what for known, what in _BRANDS if not known or data[8:12] in known)
    head = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") and b"<" in data[:6]:
        return message("text (an HTML page or an SVG), not a picture")
    for text in (data, head):
        for at, signature, what in _SIGNATURES:
            if text[at : at + len(signature)] == signature:
                return what
    if data[:1] == b"P" and data[1:2] in b"1234567" and data[2:3].isspace():
        return message("a Netpbm file (PPM)")
    if data[-18:].startswith(b"TRUEVISION-XFILE"):
        return message("a TGA file")
    return message("of a format that is not known here, or damaged")
