"""Pictures in: from whatever the user has to an upright RGBA image with its subject cut out.

A picture may be a path, bytes, a URL, a data URI or Base64; Blender's image datablocks come in
through `scene.images`. Everything that would waste a job is refused here, with a sentence.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import re
import time
import uuid as uuid_module
import warnings as python_warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from .core.addresses import without_login
from .core.errors import ImageError, NetworkSettingsError, OfflineError

if TYPE_CHECKING:
    import httpx
    from PIL.Image import Image

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")
_FORMATS = ("PNG", "JPEG", "WEBP")

# The model looks at 1024 x 1024 pixels of the subject; the platform stores no more than 2048.
# Everything above that is only transfer time.
MAX_SIDE = 2048
MAX_PIXELS = 120_000_000  # what a picture may claim in its header before anything is unpacked
MAX_BYTES = 64 * 2**20
SMALL_SUBJECT = 256
STUDIO_NOTICE = "The image has no transparency; its plain background was removed."
WHOLE = "whole"  # as a mask: the picture as it is, background and all
LATER = "later"  # as a cutout: the service's mask model does it
LATER_NOTICE = "The image has no transparency and no plain background; the service's mask model cuts its subject out."
FETCH_TIMEOUT = 30.0  # seconds, for the whole of it: a server that drips must not hold anybody up


@dataclass(frozen=True)
class PreparedImage:
    """A picture ready for a task.

    `rgba` is upright, 8 bits, at most 2048 pixels a side, with the subject cut out by its alpha.
    `cutout` says by whom: "alpha" (the picture's own), "studio" (a plain background was removed
    here), "mask" (one that was given) or "whole" (nothing is cut out, as asked for); or `LATER`: nobody
    has yet, `rgba` is opaque, and `problem` says why it cannot be done here. `sha256` is that of the file
    as it was given. `warnings` are sentences for the user.
    """

    name: str
    rgba: Image
    sha256: str
    cutout: str
    warnings: tuple[str, ...] = ()
    problem: str = ""

    def png(self) -> bytes:
        buffer = io.BytesIO()
        self.rgba.save(buffer, "PNG", compress_level=3)
        return buffer.getvalue()

    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png()).decode("ascii")


def load_image(
    source: str | bytes | os.PathLike[str],
    *,
    name: str = "",
    mask: str | bytes | os.PathLike[str] | None = None,
    allow_network: bool = True,
    allow_path: bool = True,
    may_leave: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> PreparedImage:
    """Read, check and prepare a picture.

    `source`: a path, bytes, or text that is a URL, a data URI or Base64. `mask`: a second picture
    that says what the subject is, by its transparency where it has any and else by its brightness;
    or `WHOLE`, which cuts nothing out. `may_leave`: see `prepare`; `max_pixels`: see `decode`. Raises `ImageError`
    with a sentence when one of them cannot be used, `OfflineError` for a URL while the network is not allowed.
    """
    data, found_name = read_image_bytes(source, allow_network=allow_network, allow_path=allow_path)
    given: Image | str | None = WHOLE if mask == WHOLE else None
    if mask is not None and given is None:
        given = decode(read_image_bytes(mask, allow_network=allow_network, allow_path=allow_path)[0], max_pixels)
    sha256 = hashlib.sha256(data).hexdigest()
    return prepare(decode(data, max_pixels), name=name or found_name, sha256=sha256, mask=given, may_leave=may_leave)


def image_kind(text: str) -> str:
    """What a text given for an image is: "uuid", "url", "data", "base64", or else "path"."""
    head = text[:16].lower()
    if head.startswith(("http://", "https://")):
        return "url"
    if head.startswith("data:"):
        return "data"
    try:
        if str(uuid_module.UUID(text)) == text.lower():
            return "uuid"
    except ValueError:
        pass
    return "base64" if _looks_like_base64(text) else "path"


def read_image_bytes(
    source: str | bytes | os.PathLike[str], *, allow_network: bool = True, allow_path: bool = True
) -> tuple[bytes, str]:
    """The file's bytes and a name for what is in it."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "image"
    if isinstance(source, os.PathLike):
        return _read_path(Path(source))
    if not isinstance(source, str) or not source.strip():
        raise ImageError("image: nothing was given; give a path, a URL, a data URI, Base64 or the bytes of a picture.")
    source = source.strip()
    kind = image_kind(source)
    # A short word can be both a file's name and valid Base64: the file wins where there is one.
    if allow_path and (kind == "path" or (len(source) < 1024 and os.path.exists(source))):
        return _read_path(Path(source))
    if kind == "url":
        if not allow_network:
            raise OfflineError(
                "The image is a web address, but online access is off: switch on Allow Online Access in "
                "Preferences > System, or use an image file."
            )
        return fetch(source), unquote(Path(urlsplit(source).path).stem) or "image"
    if kind == "data":
        return _decode_data_uri(source), "image"
    if kind == "uuid":
        raise ImageError(
            "The image is the UUID of an upload, which only the service that holds it can read; "
            "use the image itself here."
        )
    return _decode_base64(source), "image"


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image:
    """Unpack a picture, turned upright, as RGBA in sRGB; of an animation the first picture.

    Raises `ImageError`: not a PNG, JPEG or WebP, cut off, damaged, of more than `max_pixels`, without pixels to see.
    """
    from PIL import Image as PILImage
    from PIL import ImageOps

    if not data:
        raise ImageError("The image is empty: the file holds no bytes.")
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"The image file has {len(data) / 2**20:.0f} MB; use one of at most {MAX_BYTES // 2**20} MB "
            f"({MAX_SIDE} pixels a side are all the model can use)."
        )
    try:
        with python_warnings.catch_warnings():
            # the size is checked below, with our own limit and sentence
            python_warnings.simplefilter("ignore")
            _check_pixels(_webp_size(data), max_pixels)  # Pillow makes room for a WebP's pixels as it opens it
            file = PILImage.open(io.BytesIO(data), formats=_FORMATS)
            _check_pixels(file.size, max_pixels)
            file.draft("RGB", (MAX_SIDE, MAX_SIDE))  # large JPEGs are reduced while unpacking
            file.load()
            ImageOps.exif_transpose(file, in_place=True)  # else it is copied even where it is upright
            return _to_rgba(file)
    except PILImage.DecompressionBombError:
        raise ImageError(
            f"The image claims more pixels than can be unpacked safely; use one of at most "
            f"{max_pixels // 10**6} megapixels."
        ) from None
    except PILImage.UnidentifiedImageError:
        raise ImageError(f"The image is {_what_is(data)}; use a PNG, JPEG or WebP file.") from None
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise ImageError(
            "The image is damaged or cut off and cannot be read to its end; save or download it again."
        ) from error


def _check_pixels(size: tuple[int, int], most: int) -> None:
    if size[0] * size[1] > most:
        raise ImageError(
            f"The image is {size[0]} x {size[1]} pixels; use one of at most {most // 10**6} megapixels "
            f"({MAX_SIDE} pixels a side are all the model can use)."
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """What a WebP's header says of its size (RFC 9649, 2.5 to 2.7); (0, 0) for any other file."""
    kind, header = data[12:16], data[20:30]
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(header) < 10:
        return 0, 0
    if kind == b"VP8X":
        return 1 + int.from_bytes(header[4:7], "little"), 1 + int.from_bytes(header[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(header[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(header[6:8], "little") & 0x3FFF, int.from_bytes(header[8:10], "little") & 0x3FFF


def prepare(
    image: Image,
    *,
    name: str = "image",
    sha256: str = "",
    mask: Image | str | None = None,
    may_leave: bool = False,
) -> PreparedImage:
    """Cut the subject out, check that there is one, and reduce what is larger than the model can use.

    `mask`: RGBA, of the picture's proportions, in place of its own alpha; or `WHOLE`. `may_leave`: an
    opaque picture without a plain background is left to the service (`LATER`), not refused.
    """
    try:
        image, cutout, warnings = _cut_out(image, mask)
    except ImageError as error:
        is_opaque = mask is None and _extremes(image.getchannel("A"))[0] == 255
        if not (may_leave and is_opaque):
            raise
        return PreparedImage(clean_name(name), _reduce(image), sha256, LATER, (LATER_NOTICE,), str(error))
    box = subject_box(image)
    if cutout != "whole" and (sides := _reached(image)):
        warnings.append(_cut_off(sides))
    if max(image.size) > MAX_SIDE:
        # Cut to the subject first, so that a small subject in a large picture keeps its pixels.
        image = _reduce(image.crop(box))
        box = subject_box(image)
    width, height = box[2] - box[0], box[3] - box[1]
    if max(width, height) < SMALL_SUBJECT:
        warnings.append(f"The subject is only {width} x {height} pixels; a larger picture gives a better asset.")
    if cutout == "whole":
        _mark_as_cut_out(image)
    return PreparedImage(name=clean_name(name), rgba=image, sha256=sha256, cutout=cutout, warnings=tuple(warnings))


def subject_box(image: Image) -> tuple[int, int, int, int]:
    """The bounding box (left, top, right, bottom) of what is clearly visible.

    The model's own crop takes alpha above 80 %; a picture that is faint throughout is measured
    against its own strongest alpha.
    """
    alpha = image.getchannel("A")
    threshold = 0.8 * _extremes(alpha)[1]
    return alpha.point(lambda a: 255 if a > threshold else 0).getbbox() or (0, 0, *image.size)


def clean_name(name: str) -> str:
    """A name fit for an object and a file: no control or path characters, not empty, at most 48 bytes."""
    name = re.sub(r'[\s\x00-\x1f\x7f/\\:*?"<>|]+', " ", name).strip(" .")
    while len(name.encode("utf-8")) > 48:  # Blender keeps 63 bytes, and we add suffixes
        name = name[:-1]
    return name.strip() or "image"


def find_images(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by name; hidden files are passed over."""
    found = (p for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS and not p.name.startswith("."))
    return sorted((p for p in found if p.is_file()), key=lambda p: p.name.lower())


def fetch(url: str, transport: httpx.BaseTransport | None = None) -> bytes:
    """The bytes behind a web address; `ImageError` when they cannot be had. `transport` is httpx's own if None."""
    import httpx

    from .transfer.client import make_client
    from .transfer.failures import explain

    shown = without_login(url)
    give_up = time.monotonic() + FETCH_TIMEOUT
    try:
        with (
            make_client(transport=transport, timeout=FETCH_TIMEOUT / 3) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            if response.status_code != 200:
                raise ImageError(f"The image at {shown} cannot be fetched: the server answers {response.status_code}.")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                # pictures gain nothing by it, and a kilobyte of it may unpack to a gigabyte
                raise ImageError(f"The image at {shown} comes packed, which was not asked for; use another address.")
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if time.monotonic() > give_up:
                    raise ImageError(f"The image at {shown} does not arrive within {FETCH_TIMEOUT:.0f} seconds.")
                if len(data) > MAX_BYTES:
                    raise ImageError(f"The image at {shown} is larger than {MAX_BYTES // 2**20} MB; use a smaller one.")
            return bytes(data)
    except NetworkSettingsError as error:
        raise ImageError(str(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        if (told := explain(error)) is not None:
            raise ImageError(str(told)) from error
        raise ImageError(
            f"The image at {shown} cannot be fetched ({type(error).__name__}); check the address and the network."
        ) from error


def _read_path(path: Path) -> tuple[bytes, str]:
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; give one image file, or use batch for a folder.")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(f"{path} is larger than {MAX_BYTES // 2**20} MB; use a smaller image.")
        return path.read_bytes(), path.stem
    except FileNotFoundError:
        raise ImageError(f"There is no image file {path}; check the path.") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"The image file {path} cannot be read: {getattr(error, 'strerror', error)}.") from error


def _decode_data_uri(text: str) -> bytes:
    header, comma, body = text.partition(",")
    if not comma or ";base64" not in header.lower():
        raise ImageError("The data URI of the image cannot be read; it must look like data:image/png;base64,....")
    return _decode_base64(body)


def _decode_base64(text: str) -> bytes:
    compact = re.sub(r"\s+", "", text).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("The image is neither a file, a web address, a data URI nor valid Base64.") from None


def _looks_like_base64(text: str) -> bool:
    # possessive: with many blanks before a wrong sign, it would otherwise try all ways to share them out
    return len(text) >= 64 and re.fullmatch(r"[A-Za-z0-9+/_\-\s]++={0,2}+\s*+", text) is not None


def _cut_out(image: Image, mask: Image | str | None) -> tuple[Image, str, list[str]]:
    """The picture with its alpha as it will be used, whose alpha that is, and what to tell the user."""
    from .cutout import apply_mask, remove_studio_background

    if isinstance(mask, str):
        image = _reduce(image.copy())
        image.putalpha(255)
        return image, "whole", []
    if mask is not None:
        image = apply_mask(image, mask)
        # a mask that lets everything through cuts nothing out
        return image, "whole" if _extremes(image.getchannel("A"))[0] == 255 else "mask", []
    low, high = _extremes(image.getchannel("A"))
    if high == 0:
        raise ImageError("The image is fully transparent: there is nothing to make an asset of.")
    if low < 255:
        return image, "alpha", []
    image = remove_studio_background(_reduce(image))
    return image, "studio", [STUDIO_NOTICE]


def _reached(image: Image) -> tuple[str, ...]:
    """The edges of the picture that the subject reaches: "left", "right", "top", "bottom".

    A point that touches is no cut: an edge counts where a twentieth of it shows the subject.
    """
    width, height = image.size
    alpha = image.getchannel("A")
    threshold = 0.8 * _extremes(alpha)[1]
    sides = {
        "left": (0, 0, 1, height),
        "right": (width - 1, 0, width, height),
        "top": (0, 0, width, 1),
        "bottom": (0, height - 1, width, height),
    }
    found = []
    for name, line in sides.items():
        counts = alpha.crop(line).histogram()
        if sum(counts[int(threshold) + 1 :]) > max(2, sum(counts) / 20):
            found.append(name)
    return tuple(found)


def _cut_off(sides: tuple[str, ...]) -> str:
    if len(sides) == 1:
        return f"The subject reaches the picture's {sides[0]} edge; if it is cut off there, so will be the asset."
    names = f"{', '.join(sides[:-1])} and {sides[-1]}"
    return f"The subject reaches the picture's {names} edges; if it is cut off there, so will be the asset."


def _mark_as_cut_out(image: Image) -> None:
    """Make one corner all but opaque: alpha of 255 throughout is read as "cut it out", here and elsewhere."""
    image.putpixel((0, 0), (*image.getpixel((0, 0))[:3], 254))  # type: ignore[index]


def _to_rgba(image: Image) -> Image:
    """RGBA in sRGB, whatever the file's colour model and depth."""
    icc = image.info.get("icc_profile")
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it
        import numpy as np
        from PIL import Image as PILImage

        grey = np.asarray(image)
        scale = 255.0 / (65535.0 if grey.max() > 255 else 255.0)
        bytes_of_it = np.empty(grey.shape, np.uint8)
        for rows in range(0, len(grey), 256):  # in strips: eight bytes a pixel of all at once would be a lot
            bytes_of_it[rows : rows + 256] = grey[rows : rows + 256].astype(np.float64) * scale + 0.5
        return PILImage.fromarray(bytes_of_it, "L").convert("RGBA")
    if icc and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        image = _to_srgb(image, icc)
    return image.convert("RGBA")


def _to_srgb(image: Image, icc: bytes) -> Image:
    from PIL import ImageCms

    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colours = image.convert("RGB") if image.mode == "RGBA" else image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(colours, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # an unreadable profile: the numbers are sRGB far more often than not
    if converted is None:
        return image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _extremes(channel: Image) -> tuple[float, float]:
    """The lowest and highest value of a picture with one channel."""
    low, high = channel.getextrema()
    assert not isinstance(low, tuple) and not isinstance(high, tuple)
    return low, high


def _reduce(image: Image) -> Image:
    scale = MAX_SIDE / max(image.size)
    if scale >= 1:
        return image
    from PIL import Image as PILImage

    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Pillow weighs colours by alpha while resampling RGBA, so that no dark fringe appears
    return image.resize(size, PILImage.Resampling.LANCZOS, reducing_gap=3.0)


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


def _what_is(data: bytes) -> str:
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "a HEIC file"
    if data[4:12] == b"ftypavif":
        return "an AVIF file"
    head = data[:64].lstrip()
    known = next((what for signature, what in _SIGNATURES if head.startswith(signature)), None)
    return known or "of a format that is not known here, or damaged"
