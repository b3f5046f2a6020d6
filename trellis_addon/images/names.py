"""Names for what comes of a picture, and names of files as they can be said."""

from __future__ import annotations

import re

# What Windows takes for a device, whatever stands behind a dot
_DEVICE = re.compile(r"CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3]", re.IGNORECASE)


def clean_name(name: str) -> str:
    """A name fit for an object and a file: no control or path characters, no device of Windows, not empty, at
    most 48 bytes of UTF-8.

    What of a file's name is no UTF-8, as in archives of old systems, is left out.
    """
    name = name.encode("utf-8", "ignore").decode("utf-8")
    name = re.sub(r'[\s\x00-\x1f\x7f/\\:*?"<>|]+', " ", name).strip(" .")
    stem, dot, rest = name.partition(".")
    if _DEVICE.fullmatch(stem.rstrip()):
        name = f"{stem.rstrip()}_{dot}{rest}"
    while len(name.encode("utf-8")) > 48:  # Blender keeps 63 bytes, and we add suffixes
        name = name[:-1]
    return name.strip(" .") or "image"


def readable(name: str) -> str:
    """A file's name for people, stores and screens: what of it is no UTF-8 as escapes, such as \\udce9."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
