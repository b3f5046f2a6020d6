"""Names for what comes of a picture."""

from __future__ import annotations

import re


def clean_name(name: str) -> str:
    """A name fit for an object and a file: no control or path characters, not empty, at most 48 bytes."""
    name = re.sub(r'[\s\x00-\x1f\x7f/\\:*?"<>|]+', " ", name).strip(" .")
    while len(name.encode("utf-8")) > 48:  # Blender keeps 63 bytes, and we add suffixes
        name = name[:-1]
    return name.strip() or "image"
