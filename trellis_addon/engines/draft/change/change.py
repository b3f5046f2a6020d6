"""The draft of another picture or seed, put into the region of one that is there.

What lies outside of the region keeps its vertices and its textures byte for byte; what lies inside comes from the other
draft, with a material of its own. Both are closed where the region's sides cut them. Near these the new front and back
come to lie on the old ones, so that there is no step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....core.errors import EngineError
from ....core.messages import message
from ....formats.glb.check import split_glb
from ....formats.glb.images import image_bytes, image_of
from ....formats.glb.write import Material, Mesh, write_glb
from ....geometry.projection.raster import rasterise
from ....task.region import Region
from ....task.settings import DRAFT_MODEL
from ..fields import F32, Check
from .cut import planes_of, within, without
from .soup import Soup

if TYPE_CHECKING:
    from PIL.Image import Image

_GRID = 640  # cells along the longest side, on which front and back of the old form are looked up
_ALIKE = 0.01  # of their proportions: pictures that differ by more are not of the same frame


@dataclass(frozen=True)
class _Part:
    """The triangles of one material."""

    vertices: F32  # (V, 8): places, normals, texture coordinates
    faces: NDArray[np.int64]
    material: Material


def frame_of(image: Image, across: float) -> list[float]:
    """How a draft lies in its picture: width and height of that, the subject's middle in it, and pixels per unit, where
    the form is `across` units wide."""
    alpha = np.asarray(image.getchannel("A")) if "A" in image.getbands() else np.full(image.size[::-1], 255)
    solid = alpha >= max(1, int(alpha.max()) // 2)
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    unit = float(right - left) / max(across, 1e-6)
    return [float(image.width), float(image.height), (left + right) / 2.0, (top + bottom) / 2.0, round(unit, 4)]


def changed(asset: bytes, other: bytes, region: Region, told: Mapping[str, Any], check: Check) -> tuple[bytes, str]:
    """The asset with what the other draft has in the region, and a sentence where the two may not fit.

    `told` is what is said of the change where the asset comes from. The same bytes where the region has nothing of
    either. Raises `EngineError` for an asset that is no draft.
    """
    parts, extras = _read(asset)
    new_parts, new_extras = _read(other)
    if region.only_texture:
        raise EngineError(
            "A draft's part is made anew as a whole: its texture alone cannot be; leave out what says so."
        )
    if region.is_empty:
        return asset, ""
    note, moved = _in_frame(new_parts, extras.get("frame"), new_extras.get("frame"))
    planes = planes_of(region)
    old = _soup(parts)
    inner_old = within(old, planes, check)
    inner_new = within(_softened(_soup(moved), old, region, check), planes, check)
    if not len(inner_old) and not len(inner_new):
        return asset, ""
    whole, pieces = without(old, inner_old, planes, check)
    if not len(whole) + len(pieces) + len(inner_new):
        raise EngineError("Nothing would be left of the asset: the new picture shows nothing there.")
    changes = [*extras.get("changes", ()), {**told, "region": region.to_json()}]
    glb = _written(parts, whole, pieces, new_parts, inner_new, {**extras, "changes": changes})
    return glb, note


def _read(glb: bytes) -> tuple[list[_Part], Mapping[str, Any]]:
    """What a draft's file holds: its parts by material, and what is said of where it comes from."""
    document, binary = split_glb(glb)
    extras = document.get("asset", {}).get("extras", {})
    if extras.get("engine") != DRAFT_MODEL:
        raise EngineError("The asset is no draft, and what it was decoded from did not come along.")
    parts = []
    for primitive in document["meshes"][0]["primitives"]:
        names = ("POSITION", "NORMAL", "TEXCOORD_0")
        columns = [_column(document, binary, primitive["attributes"][name]) for name in names]
        faces = _column(document, binary, primitive["indices"]).reshape(-1, 3).astype(np.int64)
        vertices = np.concatenate(columns, 1)
        parts.append(_Part(np.asarray(vertices, np.float32), faces, _material(document, binary, primitive["material"])))
    return parts, extras


def _column(document: Mapping[str, Any], binary: memoryview, number: int) -> NDArray[Any]:
    accessor = document["accessors"][number]
    kind = np.dtype({5126: "<f4", 5125: "<u4", 5123: "<u2"}[accessor["componentType"]])
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]
    start = document["bufferViews"][accessor["bufferView"]].get("byteOffset", 0) + accessor.get("byteOffset", 0)
    return np.frombuffer(binary, kind, accessor["count"] * width, start).reshape(-1, width)


def _material(document: Mapping[str, Any], binary: memoryview, number: int) -> Material:
    """A material as the draft has written it, its images as they are."""
    found = document["materials"][number]
    surface = found.get("pbrMetallicRoughness", {})

    def picture(info: Mapping[str, Any] | None) -> bytes | None:
        return None if info is None else image_bytes(document, binary, image_of(document, info["index"]))

    return Material(
        found.get("name", "Material"),
        picture(surface.get("baseColorTexture")),
        picture(surface.get("metallicRoughnessTexture")),
        picture(found.get("normalTexture")),
        colour_factor=tuple(surface.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))),
        metallic_factor=surface.get("metallicFactor", 1.0),
        roughness_factor=surface.get("roughnessFactor", 1.0),
        alpha_mode=found.get("alphaMode", "OPAQUE"),
        double_sided=found.get("doubleSided", False),
    )


def _in_frame(parts: list[_Part], old: Any, new: Any) -> tuple[str, list[_Part]]:
    """The new draft where its picture lies on the old one, and a sentence where that cannot be told."""
    if not old or not new or abs(old[0] / old[1] - new[0] / new[1]) > _ALIKE * old[0] / old[1]:
        note = message(
            "The new picture has other proportions than the first one, so that it was fitted by the subject alone; "
            "give one of the same frame for parts that meet."
        )
        return note, parts
    share = old[0] / new[0]
    factor = share * new[4] / old[4]
    shift = np.array([new[2] * share - old[2], old[3] - new[3] * share, 0.0], np.float32) / old[4]
    if abs(factor - 1.0) < 1e-9 and not shift.any():
        return "", parts
    moved = []
    for part in parts:
        vertices = part.vertices.copy()
        vertices[:, :3] = vertices[:, :3] * np.float32(factor) + shift
        moved.append(replace(part, vertices=vertices))
    return "", moved


def _soup(parts: list[_Part]) -> Soup:
    corners = np.concatenate([part.vertices[part.faces].astype(np.float64) for part in parts])
    return Soup(corners, np.arange(len(corners)))


def _softened(new: Soup, old: Soup, region: Region, check: Check) -> Soup:
    """The new form, its front and back upon those of the old one towards the region's edge."""
    if region.rim <= 0.0:
        return new
    corners = new.corners.copy()
    flat = corners.reshape(-1, corners.shape[2])
    weight = region.weight(flat[:, :3])
    low = old.corners[..., :2].min((0, 1))
    extent = old.corners[..., :2].max((0, 1)) - low
    step = float(extent.max()) / _GRID
    shape = (int(extent[1] / step) + 2, int(extent[0] / step) + 2)
    places = np.asarray((old.corners[..., :2] - low) / step + 0.5, np.float32)
    depths = np.asarray(old.corners[..., 2], np.float32)
    column = np.rint((flat[:, 0] - low[0]) / step).astype(np.int64)
    row = np.rint((flat[:, 1] - low[1]) / step).astype(np.int64)
    there = (column >= 0) & (row >= 0) & (column < shape[1]) & (row < shape[0]) & (weight < 1.0)
    for sign in (1.0, -1.0):
        check()
        seen = rasterise(places, shape, np.float32(sign) * depths)
        surface = seen.spread(seen.at(depths[..., None])[:, 0], np.nan)
        side = np.flatnonzero(there & (flat[:, 5] * sign > 0))
        at = surface[row[side], column[side]]
        known = np.isfinite(at)
        side, at = side[known], at[known]
        # Only what lies near the old surface is drawn to it: what sticks out is another part.
        flat[side, 2] = at + weight[side] * (flat[side, 2] - at)
    return Soup(corners, new.origin)


def _written(
    parts: list[_Part],
    whole: Soup,
    pieces: Soup,
    new_parts: list[_Part],
    inner: Soup,
    extras: Mapping[str, Any],
) -> bytes:
    """The file: the old vertices that are still used, in their order, then those of the cuts, then the new ones."""
    vertices: list[F32] = []
    groups: list[tuple[NDArray[np.uint32], Material]] = []
    start = first = 0
    for part in parts:
        mine = whole.origin[(whole.origin >= first) & (whole.origin < first + len(part.faces))] - first
        kept = part.faces[mine]
        used = np.unique(kept)
        renumbered = np.searchsorted(used, kept) + start
        vertices.append(part.vertices[used])
        start += len(used)
        cut = (pieces.origin >= first) & (pieces.origin < first + len(part.faces))
        if part is parts[0]:
            cut |= pieces.origin < 0
        of_cut, faces = _welded(pieces.where(cut))
        vertices.append(of_cut)
        faces = np.concatenate([renumbered, faces + start])
        start += len(of_cut)
        first += len(part.faces)
        if len(faces):
            groups.append((faces.astype(np.uint32), part.material))
    first = 0
    for part in new_parts:
        new = (inner.origin >= first) & (inner.origin < first + len(part.faces))
        if part is new_parts[0]:
            new |= inner.origin < 0
        of_new, faces = _welded(inner.where(new))
        vertices.append(of_new)
        if len(faces):
            groups.append(((faces + start).astype(np.uint32), part.material))
        start += len(of_new)
        first += len(part.faces)
    all_vertices = np.concatenate(vertices)
    mesh = Mesh(
        all_vertices[:, :3], groups[0][0], all_vertices[:, 3:6], all_vertices[:, 6:8], name=parts[0].material.name
    )
    return write_glb(mesh, groups[0][1], extras, further=groups[1:])


def _welded(soup: Soup) -> tuple[F32, NDArray[np.int64]]:
    """Vertices (V, 8) and triangles of a soup: corners that are the same are one, triangles without an area none."""
    corners = soup.corners.astype(np.float32).reshape(-1, soup.corners.shape[2])
    if not len(corners):
        return corners, np.empty((0, 3), np.int64)
    vertices, index = np.unique(corners, axis=0, return_inverse=True)
    faces = index.reshape(-1, 3)
    apart = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[apart]
    used = np.unique(faces)
    vertices, faces = vertices[used], np.searchsorted(used, faces)
    lengths = np.linalg.norm(vertices[:, 3:6], axis=1, keepdims=True)
    vertices[:, 3:6] /= np.where(lengths > 0, lengths, 1.0)
    return vertices, faces
