"""The pictures of a folder: those that can be used as they are, and those of other formats."""

from __future__ import annotations

from pathlib import Path

# JPEG has many endings: Windows saves .jfif, old programs .jpe, browsers .pjpeg.
EXTENSIONS = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".webp")
# What people keep pictures in besides: it is made into a PNG where Blender reads it, and else told of.
_PICTURES = "avif bmp cin dds dib dpx exr gif hdr heic heif ico iff j2c j2k jp2 jpf jpx jxl jxr kra ora pbm pcx pgm"
_PICTURES += " pic pnm ppm psb psd qoi rgb rgba sgi svg svgz tga tif tiff xcf"
_RAW = "arw cr2 cr3 dng nef orf pef raf raw rw2 srw"  # of cameras
OTHER_EXTENSIONS = frozenset("." + ending for ending in f"{_PICTURES} {_RAW}".split())
# What is offered where a file is dropped; an SVG is drawn as curves by Blender, which nobody should be asked about.
DROPPED_EXTENSIONS = (*EXTENSIONS, *sorted(OTHER_EXTENSIONS - {".svg", ".svgz"}))


def find_images(folder: Path) -> list[Path]:
    """The PNG, JPEG and WebP files directly in a folder, by name; hidden files are passed over."""
    return _with_endings(folder, frozenset(EXTENSIONS))


def find_pictures(folder: Path) -> list[Path]:
    """The pictures of every format directly in a folder, by name: of the others Blender may read some."""
    return _with_endings(folder, OTHER_EXTENSIONS | frozenset(EXTENSIONS))


def _with_endings(folder: Path, endings: frozenset[str]) -> list[Path]:
    found = (p for p in folder.iterdir() if p.suffix.lower() in endings and not p.name.startswith("."))
    return sorted((p for p in found if p.is_file()), key=lambda p: p.name.lower())
