"""From whatever the user has to the bytes of a picture: a path, bytes, a URL, a data URI or Base64."""

from __future__ import annotations

import base64
import binascii
import os
import re
import uuid as uuid_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ...core.addresses import is_file_address, path_of_address
from ...core.errors import ImageError, OfflineError
from ...core.messages import reason_of
from ..limits import MAX_BYTES
from ..names import readable
from .held import held_bytes

_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb", "<": ">"}


def meant(text: str) -> str:
    """A text as it was meant: without blanks and the quotes that file managers put around a path, file:// as a path.

    Of several files copied at once it is the first.
    """
    text = text.strip()
    if (text[:1] in _QUOTES or is_file_address(text)) and not _exists(_found(text)):
        text = text.splitlines()[0].strip()
        while len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
            text = text[1:-1].strip()
        text = text.strip('"')
    return path_of_address(text) if is_file_address(text) else text


def image_kind(text: str) -> str:
    """What a text given for an image is, as `meant` gives it: "uuid", "url", "data", "base64", or else "path"."""
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
    source: Any, *, allow_network: bool = True, allow_path: bool = True, what: str = "image"
) -> tuple[bytes, str]:
    """The file's bytes and a name for what is in it; `what` was given, for the sentences. See `load_image`."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "image"
    if isinstance(source, os.PathLike):
        return _read_path(os.fsdecode(source))
    if found := held_bytes(source, what):
        return found
    if source is None or (isinstance(source, str) and not source.strip()):
        raise ImageError(
            "{what}: nothing was given; give a path, a URL, a data URI, Base64 or the bytes of a picture.", what=what
        )
    if not isinstance(source, str):
        raise ImageError(
            "{what}: nothing was given that can be read, but a value of the type {kind}; give a path, a URL, a data "
            "URI, Base64, the bytes of a picture, an image of Pillow or an array.",
            what=what,
            kind=type(source).__name__,
        )
    source = meant(source)
    kind = image_kind(source)
    # A short word can be both a file's name and valid Base64: the file wins where there is one.
    if allow_path and (kind == "path" or (len(source) < 1024 and _exists(source))):
        return _read_path(source)
    if kind == "url":
        if not allow_network:
            raise OfflineError(
                "The image is a web address, but online access is off: switch on Allow Online Access in "
                "Preferences > System, or use an image file."
            )
        from .web import fetch

        return fetch(source), unquote(Path(urlsplit(source).path).stem) or "image"
    if kind == "data":
        return _decode_data_uri(source), "image"
    if kind == "uuid":
        raise ImageError(
            "The image is the UUID of an upload, which only the service that holds it can read; "
            "use the image itself here."
        )
    return _decode_base64(source), "image"


def find_path(text: str) -> Path:
    """The path that a text names: as it stands, or else with ~ and variables as a shell would read them."""
    return Path(_found(text))


def _found(text: str) -> str:
    if _exists(text):
        return text
    path = os.path.expandvars(os.path.expanduser(text))
    if not _exists(path) and os.name != "nt" and "\\" in path:
        plain = re.sub(r"\\(.)", r"\1", path)  # dragged onto a terminal, blanks come with a backslash
        return plain if _exists(plain) else path
    return path


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):  # a name that no system can have
        return False


def _read_path(text: str) -> tuple[bytes, str]:
    path = find_path(text)
    shown = readable(str(path))
    try:
        if path.is_dir():
            raise ImageError("{path} is a folder; give one image file, or use batch for a folder.", path=shown)
        with path.open("rb") as file:  # no more of it: what is no ordinary file may have no end
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ImageError(
                "{path} is larger than {limit} MB; use a smaller image.", path=shown, limit=MAX_BYTES // 2**20
            )
        return data, path.stem
    except FileNotFoundError:
        raise ImageError("There is no image file {path}; check the path.", path=shown) from None
    except (OSError, ValueError) as error:
        raise ImageError(
            "The image file {path} cannot be read: {reason}.", path=shown, reason=reason_of(error)
        ) from error


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
