"""Smaller textures for one asset, where a game, a web page or a small card asks for them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
import numpy as np

from ...core.errors import FieldError
from ...core.messages import message
from ...core.progress import Progress
from ...images import clean_name
from ..importing.materials import images_behind, images_of, principled_of
from ..rules.colour import take_space
from ..rules.guards import require_mesh, require_own

if TYPE_CHECKING:
    from PIL.Image import Image

SIZES = (4096, 2048, 1024, 512)


@dataclass(frozen=True)
class Shrunk:
    """What became of one image: sizes in pixels, and in bytes what it takes in the file and in use."""

    name: str
    size_before: tuple[int, int]
    size_after: tuple[int, int]
    stored_before: int
    stored_after: int
    memory_before: int
    memory_after: int


def shrink_textures(obj: bpy.types.Object, size: int, *, progress: Progress | None = None) -> list[Shrunk]:
    """Scale the images of an object's materials down to `size` pixels on their longer side; never up.

    Each becomes a new image, packed in the format of the old one (painted and generated ones: PNG), with its
    colour space and alpha mode. What other objects show stays: a material that they share is copied first.
    Since no image is changed in place, undo brings the old ones back as they were, edits that were never saved
    included. The pixels behind an alpha that the material does not use are kept as they are. Returns what was
    done; images that are small enough, sequences and tiles are passed over. Raises `FieldError`, `InputError`;
    then nothing has changed.
    """
    if size not in SIZES:
        raise FieldError("size", size, message("allowed: {allowed}", allowed=list(SIZES)))
    return fit_textures(obj, lambda side: side, size, progress=progress)


def fit_textures(
    obj: bpy.types.Object, fit: Callable[[int], int], most: int, *, progress: Progress | None = None
) -> list[Shrunk]:
    """The same with sides that `fit` makes of each one, once none is over `most` pixels."""
    require_mesh(obj)
    require_own(obj)

    def fitting(image: bpy.types.Image) -> tuple[int, int]:
        share = min(most / max(*image.size, 1), 1.0)
        width, height = (fit(max(round(side * share), 1)) for side in image.size)
        return width, height

    wrong = [image for image in images_of(obj) if image.source in ("FILE", "GENERATED") and min(image.size)]
    wrong = [image for image in wrong if fitting(image) != tuple(image.size)]
    if not wrong:
        return []
    progress = progress or Progress()
    see_through = _alpha_images(obj)
    made: dict[bpy.types.Image, bpy.types.Image] = {}
    try:
        for number, image in enumerate(wrong):
            progress.update(image.name, number / len(wrong))
            made[image] = _scaled(image, fitting(image), image in see_through)
        progress.check()
    except BaseException:
        bpy.data.batch_remove(list(made.values()))
        raise
    _make_materials_own(obj, set(made))
    _exchange(obj, made)
    done = [_report(old, new) for old, new in made.items()]
    for old, new in made.items():
        if old.users <= old.use_fake_user:
            name = old.name
            bpy.data.images.remove(old)
            new.name = name
    return done


def _report(old: bpy.types.Image, new: bpy.types.Image) -> Shrunk:
    from .statistics import texture_of

    before, after = texture_of(old), texture_of(new)
    return Shrunk(
        before.name,
        (before.width, before.height),
        (after.width, after.height),
        before.stored,
        after.stored,
        before.memory,
        after.memory,
    )


def _scaled(image: bpy.types.Image, size: tuple[int, int], has_alpha: bool) -> bpy.types.Image:
    width, height = size
    picture, kind = read_picture(image)
    if picture is None:
        return _smaller_pixels(image, width, height)
    data = _encode(resized(picture, (width, height), has_alpha), picture, kind)
    new = image.copy()
    try:
        new.pack(data=data, data_len=len(data))
        # with the old path, Reload would bring the large one back
        new.filepath_raw = f"//{clean_name(image.name)} {max(size)}.{str(picture.format).lower()}"
    except BaseException:
        bpy.data.images.remove(new)
        raise
    return new


def read_picture(image: bpy.types.Image) -> tuple[Image | None, bytes]:
    """The image's file, decoded, and its bytes; None where only Blender has the pixels, or more than 8 bits."""
    from PIL import Image as Pillow

    if image.source != "FILE" or image.is_dirty or image.is_float:
        return None, b""
    try:
        if image.packed_file is not None:
            data = bytes(image.packed_file.data)
        else:
            data = Path(bpy.path.abspath(image.filepath, library=image.library)).read_bytes()
        picture = Pillow.open(io.BytesIO(data))
        picture.load()
    except (OSError, ValueError, Pillow.DecompressionBombError):
        return None, b""
    known = picture.format in ("PNG", "JPEG", "WEBP") and picture.mode in ("L", "LA", "RGB", "RGBA")
    return (picture, data) if known else (None, b"")


def resized(picture: Image, size: tuple[int, int], has_alpha: bool) -> Image:
    """The picture made smaller. Each channel for itself, because base colour may carry an alpha that nobody uses;
    `has_alpha`: it is used, so what cannot be seen does not bleed into what can.
    """
    from PIL import Image as Pillow

    whole = all(old % new == 0 for old, new in zip(picture.size, size, strict=True))
    method = Pillow.Resampling.BOX if whole else Pillow.Resampling.HAMMING
    each = Pillow.merge(picture.mode, [band.resize(size, method) for band in picture.split()])
    if not has_alpha or "A" not in picture.mode:
        return each
    weighted = picture.resize(size, method)  # Pillow weighs colour by alpha
    return Pillow.composite(weighted, each, each.getchannel("A").point(lambda alpha: 255 if alpha else 0))


def _encode(small: Image, picture: Image, data: bytes) -> bytes:
    kind = str(picture.format)
    options: dict[str, object] = {"compress_level": 6}
    if kind == "WEBP":
        options = {"lossless": True, "exact": True} if b"VP8L" in data[:64] else {"quality": 92, "exact": True}
    elif kind == "JPEG":
        options = {"quality": 92, "subsampling": 0}
    buffer = io.BytesIO()
    small.save(buffer, kind, **options)
    return buffer.getvalue()


def _smaller_pixels(image: bpy.types.Image, width: int, height: int) -> bpy.types.Image:
    """For what only Blender holds: painted, generated, of more than 8 bits."""
    new = bpy.data.images.new(image.name, *image.size, alpha=image.channels == 4, float_buffer=image.is_float)
    pixels = np.empty(image.size[0] * image.size[1] * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    take_space(new, image)
    new.alpha_mode = image.alpha_mode
    if image.channels != new.channels:
        grey = pixels.reshape(-1, image.channels)
        pixels = np.ones((len(grey), new.channels), np.float32)
        pixels[:, :3] = grey[:, :3] if grey.shape[1] >= 3 else grey[:, :1]
        pixels = pixels.reshape(-1)
    new.pixels.foreach_set(pixels)
    new.scale(width, height)
    new.pack()
    return new


def _alpha_images(obj: bpy.types.Object) -> set[bpy.types.Image]:
    """The images whose alpha the materials use as such."""
    found: set[bpy.types.Image] = set()
    for slot in obj.material_slots:
        principled = principled_of(slot.material) if slot.material else None
        if principled is not None:
            found.update(images_behind(principled.inputs["Alpha"]))
    return found


def _make_materials_own(obj: bpy.types.Object, images: set[bpy.types.Image]) -> None:
    """Copy the materials that show one of the images where other objects show them too, or another file owns them."""
    elsewhere = {
        slot.material for other in bpy.data.objects if other != obj for slot in other.material_slots if slot.material
    }
    copies: dict[bpy.types.Material, bpy.types.Material] = {}
    for slot in obj.material_slots:
        old = slot.material
        if old is None or old.node_tree is None or not images & set(_images_in(old)):
            continue
        if old not in elsewhere and old.is_editable and old.override_library is None:
            continue
        if old not in copies:
            copies[old] = old.copy().make_local(clear_liboverride=True)
        is_shared = any(o.data == obj.data for o in bpy.data.objects if o != obj)
        if slot.link == "DATA" and (is_shared or not obj.data.is_editable):
            slot.link = "OBJECT"
        slot.material = copies[old]


def _images_in(material: bpy.types.Material) -> list[bpy.types.Image]:
    return [node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE" and node.image]


def _exchange(obj: bpy.types.Object, made: dict[bpy.types.Image, bpy.types.Image]) -> None:
    for material in {slot.material for slot in obj.material_slots if slot.material and slot.material.node_tree}:
        for node in material.node_tree.nodes:
            if node.type == "TEX_IMAGE" and node.image in made:
                node.image = made[node.image]
