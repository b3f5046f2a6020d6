"""From a GLB and the pictures that it was made of to a GLB whose texture shows them, where it faces them."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.messages import message
from ...core.progress import Progress
from ...formats.glb.check import split_glb
from ...formats.glb.images import base_colour_images, image_bytes, replace_images
from ...formats.glb.read import read_glb
from ...formats.glb.textured_mesh import TexturedMesh
from ...geometry.projection.raster import Seen, rasterise
from ...images.srgb import linear_to_srgb, srgb_to_linear
from ...task.views import yaw_of
from ..draft.fields import F32, Check, fill, resample, sample
from .align import Form, FoundCamera, find_camera, turned_too_far
from .light import light_of, lit_by
from .share import shares

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_AGREEMENT = 0.85
"""Of the outlines, below which a picture is not of this object as it stands."""
_OVER = 0.02  # by which a face reaches beyond itself, so that no texel falls between two
_LONGEST = 2048  # pixels of a picture's longer side that are looked at
_LEAST_SHARE = 1.0 / 512.0


@dataclass(frozen=True)
class Projected:
    """The GLB, what is said of it where it comes from (one entry a picture), and sentences for the user."""

    glb: bytes
    cameras: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Picture:
    name: str
    colour: F32  # (H, W, 3), linear
    alpha: F32


@dataclass(frozen=True)
class _Texels:
    """The base colour of some materials: its pixels (H, W, 3 or 4), and what of the mesh its texels show."""

    image: int
    pixels: NDArray[np.uint8]
    seen: Seen
    points: F32
    normals: F32


def project(glb: bytes, pictures: Mapping[str, Image], strength: float, progress: Progress) -> Projected:
    """The GLB with the pictures, by the names of `task.views`, on its base colour, by `strength` (0..1).

    Each picture's camera is found; one whose outline is not the asset's is left out, with a note. What no picture
    shows keeps its texels as they are. The light that a picture was taken in is divided out as far as it is smooth.
    """
    mesh = read_glb(glb)
    document, binary = split_glb(glb)
    progress.update("Projecting the picture", 0.0)
    groups = _texels(mesh, document, binary, progress.check)
    if strength <= 0.0 or not groups:
        return Projected(glb, (), ())
    form = Form(mesh.vertices[mesh.faces])
    found: list[tuple[_Picture, FoundCamera]] = []
    cameras: list[Mapping[str, Any]] = []
    notes: list[str] = []
    finding = progress.part(0.1, 0.7)
    for number, (name, image) in enumerate(pictures.items()):
        finding.update("Projecting the picture", number / len(pictures))
        picture = _read(name, image)
        yaw = (math.radians(yaw_of(name)) + math.pi) % (2.0 * math.pi) - math.pi
        camera = find_camera(form, picture.colour, picture.alpha, yaw, _drawn(mesh, groups), progress.check)
        told = {"view": name, "agreement": round(camera.agreement, 4), **camera.camera.told()}
        if camera.agreement < LEAST_AGREEMENT or turned_too_far(camera, yaw):
            cameras.append({**told, "used": False})
            notes.append(_not_alike(name, camera.agreement))
            continue
        cameras.append({**told, "used": True})
        found.append((picture, camera))
    progress.update("Projecting the picture", 0.7)
    if not found:
        return Projected(glb, cameras, tuple(notes))
    images = {}
    for texels in groups:
        painted = _painted(texels, form, found, strength, progress.check)
        if painted is not None:
            images[texels.image] = _encoded(painted, image_bytes(document, binary, texels.image))
    progress.update("Projecting the picture", 1.0)
    return Projected(replace_images(glb, images), cameras, tuple(notes))


def _not_alike(name: str, agreement: float) -> str:
    return message(
        "The {view} picture was not projected: its outline and the asset's agree by {percent} %, and {least} % are "
        "needed; try another seed.",
        view=name,
        percent=round(100 * agreement),
        least=round(100 * LEAST_AGREEMENT),
    )


def _read(name: str, image: Image) -> _Picture:
    image = image.convert("RGBA")
    if max(image.size) > _LONGEST:
        factor = _LONGEST / max(image.size)
        image = image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))))
    pixels = np.asarray(image, np.float32) / 255.0
    alpha = pixels[..., 3]
    colour = np.asarray(srgb_to_linear(pixels[..., :3]), np.float32)
    # Beyond the outline it goes on as it is at it: what lies there has no colour of its own.
    solid = np.asarray(alpha > 0.9, np.float32)
    return _Picture(name, fill(colour, solid) if solid.any() else colour, alpha)


def _texels(mesh: TexturedMesh, document: Mapping[str, Any], binary: memoryview, check: Check) -> list[_Texels]:
    """The base colours of the mesh's materials, and where their texels lie on it."""
    from PIL import Image

    if mesh.uvs is None:
        return []
    by_name = {
        material["name"]: image
        for material, image in zip(document.get("materials", []), base_colour_images(document), strict=True)
        if "name" in material
    }
    of_image: dict[int, list[int]] = {}
    for number, material in enumerate(mesh.materials):
        image = by_name.get(material.name)
        if image is not None and material.base_colour is not None and material.base_colour.uv_set == 0:
            of_image.setdefault(image, []).append(number)
    normals = _normals(mesh)
    found = []
    for image, numbers in of_image.items():
        check()
        with Image.open(io.BytesIO(image_bytes(document, binary, image))) as picture:
            pixels = np.asarray(picture.convert("RGBA" if "A" in picture.getbands() else "RGB"))
        mine = np.isin(mesh.ids, numbers)
        corners = mesh.uvs * np.array([pixels.shape[1], pixels.shape[0]], np.float32)
        seen = rasterise(
            np.where(mine[:, None, None], corners, np.nan).astype(np.float32),
            (pixels.shape[0], pixels.shape[1]),
            over=_OVER,
        )
        direction = seen.at(normals)
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
        found.append(_Texels(image, pixels, seen, seen.at(mesh.vertices[mesh.faces]), direction))
    return found


def _normals(mesh: TexturedMesh) -> F32:
    """Of the corners (F, 3, 3); where the file has none those of the triangles."""
    corners = mesh.vertices[mesh.faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-20)
    flat = np.repeat(flat[:, None], 3, 1).astype(np.float32)
    if mesh.normals is None:
        return flat
    given = np.linalg.norm(mesh.normals, axis=2, keepdims=True) > 0.5
    return np.where(given, mesh.normals, flat)


def _drawn(mesh: TexturedMesh, groups: Sequence[_Texels]) -> Any:
    """The asset's own colours at what a camera sees of it."""
    uvs = mesh.uvs
    assert uvs is not None
    linear = [
        (np.asarray(srgb_to_linear(texels.pixels[..., :3].astype(np.float32) / 255.0), np.float32), texels)
        for texels in groups
    ]

    def colours(seen: Seen) -> F32:
        places = seen.at(uvs)
        picture, _ = linear[0]
        return sample(picture, places[:, 0] * picture.shape[1], places[:, 1] * picture.shape[0])

    return colours


def _painted(
    texels: _Texels, form: Form, found: Sequence[tuple[_Picture, FoundCamera]], strength: float, check: Check
) -> NDArray[np.uint8] | None:
    """The texture with the pictures on it; None where none of them shows anything of it."""
    own = np.asarray(srgb_to_linear(_at(texels).astype(np.float32) / 255.0), np.float32)
    total = np.zeros_like(own)
    weight = np.zeros(len(own), np.float32)
    most = np.zeros(len(own), np.float32)
    for picture, at in found:
        check()
        seen = form.seen(at.camera, (picture.alpha.shape[0], picture.alpha.shape[1]))
        _, near = at.camera.project(seen.at(form.corners))
        which, share, places = shares(texels.points, texels.normals, at.camera, seen, near, picture.alpha)
        if not len(which):
            continue
        shown = _shown(picture, places, texels, which)
        light = light_of(shown, own[which], texels.normals[which], share)
        colour = shown / lit_by(light, texels.normals[which])
        total[which] += colour * (share**2)[:, None]  # of several, whoever sees it best
        weight[which] += share**2
        most[which] = np.maximum(most[which], share)
    changed = most > _LEAST_SHARE
    if not changed.any():
        return None
    mixed = own.copy()
    amount = (strength * most[changed])[:, None]
    mixed[changed] += amount * (total[changed] / weight[changed, None] - own[changed])
    return _with_gutter(texels, mixed, changed, check)


def _at(texels: _Texels) -> NDArray[np.uint8]:
    return texels.pixels[..., :3].reshape(-1, 3)[texels.seen.pixels]


def _shown(picture: _Picture, places: F32, texels: _Texels, which: NDArray[np.int64]) -> F32:
    """The picture's colours at its places, as finely as the texels can show them."""
    row, column = np.divmod(texels.seen.pixels[which], texels.seen.shape[1])
    beside = np.flatnonzero((np.diff(which) == 1) & (np.diff(row) == 0) & (np.diff(column) == 1))
    if len(beside) > 100:
        apart = float(np.median(np.linalg.norm(places[beside + 1] - places[beside], axis=1)))
        if apart > 1.5:  # pixels from texel to texel: what lies between would flicker
            height, width = picture.alpha.shape
            smaller = (max(1, round(height / apart)), max(1, round(width / apart)))
            colour = resample(picture.colour, smaller)
            return sample(colour, places[:, 0] * (smaller[1] / width), places[:, 1] * (smaller[0] / height))
    return sample(picture.colour, places[:, 0], places[:, 1])


def _with_gutter(texels: _Texels, mixed: F32, changed: NDArray[np.bool_], check: Check) -> NDArray[np.uint8]:
    """All texels: those that changed, those beside the charts with their neighbours, the others as before."""
    pixels = texels.pixels.copy()
    flat = pixels.reshape(-1, pixels.shape[2])
    before = _at(texels).astype(np.float32)
    after = np.asarray(linear_to_srgb(np.clip(mixed, 0.0, 1.0)), np.float32) * 255.0
    index = texels.seen.pixels
    difference = np.zeros_like(before)
    difference[changed] = after[changed] - before[changed]
    spread = fill(texels.seen.spread(difference), texels.seen.spread(np.ones(len(index), np.float32)), check)
    beside = ~texels.seen.mask.ravel()
    flat[beside, :3] = np.rint(np.clip(flat[beside, :3] + spread.reshape(-1, 3)[beside], 0, 255))
    flat[index[changed], :3] = np.rint(np.clip(after[changed], 0, 255))
    return pixels


def _encoded(pixels: NDArray[np.uint8], before: bytes) -> bytes:
    """The texture as a file that loses nothing: WebP where it was one, else PNG."""
    from PIL import Image

    out = io.BytesIO()
    if before[8:12] == b"WEBP":
        Image.fromarray(pixels).save(out, "WEBP", lossless=True, quality=50, method=2, exact=True)
    else:
        Image.fromarray(pixels).save(out, "PNG", compress_level=4)
    return out.getvalue()
