"""The pictures of a folder."""

from __future__ import annotations

from pathlib import Path

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")


def find_images(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by name; hidden files are passed over."""
    found = (p for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS and not p.name.startswith("."))
    return sorted((p for p in found if p.is_file()), key=lambda p: p.name.lower())
