"""A picture brought onto a mesh that is there, as if a projector stood where the picture was taken from.

What faces the picture and is seen from there takes its colours, the other side what the draft makes of them, and what
nobody sees is filled from near by. Pictures are taken as if from far away, as in `hull.outlines`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.messages import message
from ...core.progress import Progress
from ...formats.glb.dress import dressed
from ...formats.glb.pieces import Pieces, read_pieces
from ...geometry.texturing.scan import hits
from ...geometry.texturing.sheets import Sheet, dresses, material_name, plan_sheets
from .back import back_colours
from .fields import F32, Bool, Check, never, resample, sample
from .hull.build import layers_of, material_of
from .hull.outlines import Outline, opposite, outline_of
from .hull.paint import painted
from .hull.texels import Texels
from .mask import cut_out
from .variation import Variation

if TYPE_CHECKING:
    from PIL.Image import Image

_LARGEST = 2048  # pixels on the longer side of what is worked on
_LOOK = 1024  # pixels over the longest extent, of a look at what is in front
_BEHIND = 0.004  # of the longest extent, that something must lie behind what is seen, not to be seen
_STEEPEST = 4.0  # slope, from where on a pixel's depth is that of the slope no more
_ASKEW = 0.2  # cosine, below which it is not told from which side a face is seen
_STRETCH = 1.25  # by which a picture is made wider or narrower at most, to fit the mesh's outline
_ALIKE = 0.75  # overlap of the outlines, below which the user is told
_OVER = 0.02  # by which a face reaches beyond itself, so that no texel falls between two


@dataclass(frozen=True)
class Textured:
    """The file with its new materials, and sentences about what was done otherwise than asked."""

    glb: bytes
    notes: tuple[str, ...]


def project(
    mesh: bytes,
    image: Image,
    views: Mapping[str, Image],
    variation: Variation,
    *,
    facing: str,
    uvs: str,
    texture_size: int,
    lossless: bool,
    extras: Mapping[str, object],
    progress: Progress,
) -> Textured:
    """The GLB `mesh` with the picture on it, which was taken from the view `facing`, and the further `views`.

    Raises `InputError`, `DamagedFileError` for the mesh, `EngineError` for a picture without a visible pixel,
    `Cancelled`.
    """
    from .new_uvs import unwrapped

    check = progress.check
    progress.update("Reading the shape", 0.0)
    found = read_pieces(mesh)
    plan = plan_sheets(found.pieces, texture_size, unwrapped, uvs=uvs, check=check)
    scene = _Scene.of(found)
    progress.update("mask", 0.2)
    outlines, depths, notes = _outlines(scene, {facing: image, **views}, variation, progress.part(0.2, 0.4))
    progress.update("texture", 0.4)
    found_texels = [_texels(sheet, scene, check) for sheet in plan.sheets]
    texels = [one for one, _ in found_texels]
    all_texels = _towards(_joined(texels), depths)
    layers = painted(
        all_texels,
        outlines,
        check,
        visible=lambda points, outline: depths[outline.yaw].shows(points, all_texels.normals),
    )
    materials, start = [], 0
    for number, (sheet, (one, alpha)) in enumerate(zip(plan.sheets, found_texels, strict=True)):
        part = progress.part(0.6 + 0.35 * number / len(texels), 0.6 + 0.35 * (number + 1) / len(texels))
        mine = layers[start : start + len(one.index)]
        start += len(one.index)
        if alpha is not None:
            mine = np.concatenate([mine, alpha[:, None]], 1)
        made = material_of(mine, one.index, sheet.size, lossless, part)
        materials.append(replace(made, name=material_name(number)))
    glb = dressed(mesh, dresses(plan, found.pieces), materials, extras, wraps=[sheet.wraps for sheet in plan.sheets])
    return Textured(glb, (*plan.notes, *notes))


@dataclass(frozen=True)
class _Scene:
    """The whole surface in the space of the outlines: z up, the front towards -y, the longest side 1, about 0."""

    points: F32
    faces: NDArray[np.int64]
    middle: NDArray[np.float64]
    longest: float

    @classmethod
    def of(cls, found: Pieces) -> _Scene:
        used = found.points[np.unique(found.faces)]
        low, high = used.min(0), used.max(0)
        middle, longest = (low + high) / 2.0, max(float((high - low).max()), 1e-30)
        return cls(_turned((found.points - middle) / longest), found.faces, middle, longest)

    def place(self, points: NDArray[np.float64]) -> F32:
        return _turned((points - self.middle) / self.longest)


def _turned(vectors: NDArray) -> F32:
    """From Y up and the front towards +Z to z up and the front towards -y."""
    return np.ascontiguousarray(np.stack([vectors[:, 0], -vectors[:, 2], vectors[:, 1]], 1), np.float32)


def _outlines(
    scene: _Scene, images: Mapping[str, Image], variation: Variation, progress: Progress
) -> tuple[list[Outline], dict[float, _Depth], list[str]]:
    """Each picture as it lies on the mesh, and what stands for the other sides, what each of them sees, by its yaw, and
    sentences for the user. The first one is the main picture."""
    depths: dict[float, _Depth] = {}
    given: list[Outline] = []
    made_up: list[Outline] = []
    notes: list[str] = []
    for name, image in images.items():
        subject = cut_out(image, _LARGEST, progress.check)
        progress.check()
        outline = outline_of(name, subject, layers_of(subject))
        depths[outline.yaw], behind = _Depth.seen(scene, outline, progress.check)
        depths.setdefault((outline.yaw + 180.0) % 360.0, behind)
        fitted, overlap = _fitted(outline, scene, depths[outline.yaw])
        given.append(fitted)
        if overlap < _ALIKE:
            notes.append(
                message(
                    "The outline of the mesh, seen from the {view}, and that of the picture overlap by {share} % only: "
                    "does the picture show it from there?",
                    view=name,
                    share=round(100 * overlap),
                )
            )
    yaws = {outline.yaw for outline in given}
    for number, outline in enumerate(given):
        progress.check()
        if (outline.yaw + 180.0) % 360.0 in yaws:
            continue
        if number:
            made_up.append(opposite(outline))
            continue
        extent = float(min(outline.cover.shape))
        deep = np.ones(outline.cover.shape, np.float32)
        back = back_colours(outline.layers[..., :3], outline.cover, deep, extent, variation, progress.check)
        made_up.append(opposite(outline, np.dstack([back, outline.layers[..., 3:]])))
    return [*given, *made_up], depths, notes


def _fitted(outline: Outline, scene: _Scene, depth: _Depth) -> tuple[Outline, float]:
    """The picture over the mesh's outline as seen from there, and by how much the two overlap (0..1)."""
    solid = outline.cover >= 0.5
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    wide, tall = float(columns[-1] + 1 - columns[0]), float(rows[-1] + 1 - rows[0])
    used = scene.points[np.unique(scene.faces)]
    along, up = used @ outline.right, used[:, 2]
    width, height = max(float(np.ptp(along)), 1e-6), max(float(np.ptp(up)), 1e-6)
    centre = (0.5 * float(along.min() + along.max()), 0.5 * float(up.min() + up.max()))
    ratio = (wide / tall) / (width / height)
    if 1.0 / _STRETCH <= ratio <= _STRETCH:
        shape = (outline.cover.shape[0], max(1, round(outline.cover.shape[1] / ratio)))
        factor = shape[1] / outline.cover.shape[1]
        outline = replace(
            outline,
            cover=resample(outline.cover, shape),
            layers=resample(outline.layers, shape),
            middle=(outline.middle[0] * factor, outline.middle[1]),
        )
        scales = [tall / height]
    else:
        scales = [tall / height, wide / width]
    best: tuple[float, Outline] | None = None
    for scale in scales:
        tried = replace(
            outline,
            scale=scale,
            middle=(outline.middle[0] - centre[0] * scale, outline.middle[1] + centre[1] * scale),
        )
        overlap = _overlap(depth.mask, depth.look, tried)
        if best is None or overlap > best[0]:
            best = overlap, tried
    assert best is not None
    return best[1], best[0]


@dataclass(frozen=True)
class _Look:
    """A picture of the scene from far away, of `shape` rows and columns: pixel (1, 1) is at `left` and `top`, and
    `scale` pixels are a unit."""

    left: float
    top: float
    scale: float
    shape: tuple[int, int]

    @classmethod
    def at(cls, scene: _Scene, outline: Outline) -> _Look:
        along, up = scene.points @ outline.right, scene.points[:, 2]
        extent = max(float(np.ptp(along)), float(np.ptp(up)), 1e-6)
        scale = _LOOK / extent
        shape = (int(np.ptp(up) * scale) + 3, int(np.ptp(along) * scale) + 3)
        return cls(float(along.min()), float(up.max()), scale, shape)

    def pixels(self, points: F32, right: F32) -> F32:
        """Where points (N, 3) are seen: (N, 2), x and y in pixels."""
        x = (points @ right - self.left) * self.scale + 1.0
        return np.stack([x, (self.top - points[:, 2]) * self.scale + 1.0], 1).astype(np.float32)


def _overlap(mask: Bool, look: _Look, outline: Outline) -> float:
    """Of the outlines of the mesh and of the picture, the share that both cover."""
    y, x = (np.arange(n, dtype=np.float32) + 0.5 - 1.0 for n in mask.shape)
    along, up = look.left + x / look.scale, look.top - y / look.scale
    u = outline.middle[0] + along * np.float32(outline.scale)
    v = outline.middle[1] - up * np.float32(outline.scale)
    grid_v, grid_u = np.meshgrid(v, u, indexing="ij")
    cover = (
        sample(outline.cover[..., None], grid_u.ravel(), grid_v.ravel(), beyond=0.0)[:, 0].reshape(mask.shape) >= 0.5
    )
    # What of the picture lies outside of the look counts as well.
    area = float((outline.cover >= 0.5).sum()) / (outline.scale / look.scale) ** 2
    both = float((mask & cover).sum())
    return both / max(float(mask.sum()) + max(area, float(cover.sum())) - both, 1.0)


@dataclass(frozen=True)
class _Depth:
    """How near the surface comes at each pixel of a look towards `towards`; `right` is what is right in it."""

    look: _Look
    right: F32
    towards: F32
    front: F32

    @classmethod
    def seen(cls, scene: _Scene, outline: Outline, check: Check = never) -> tuple[_Depth, _Depth]:
        """From the outline's side, and from the other one."""
        look = _Look.at(scene, outline)
        depth = scene.points @ outline.towards
        front, back = np.full((2, look.shape[0] * look.shape[1]), -np.inf, np.float32)
        corners = look.pixels(scene.points, outline.right)[scene.faces]
        for face, place, weights in hits(corners, look.shape, check=check):
            here = np.einsum("nk,nk->n", weights, depth[scene.faces[face]])
            np.maximum.at(front, place, here)
            np.maximum.at(back, place, -here)
        return (
            cls(look, outline.right, outline.towards, front),
            cls(look, outline.right, -outline.towards, back),
        )

    @property
    def mask(self) -> Bool:
        """Where the surface is seen at all."""
        return np.asarray(np.isfinite(self.front).reshape(self.look.shape), bool)

    def shows(self, points: F32, normals: F32) -> Bool:
        """Whether nothing of the surface lies before each point."""
        at = np.floor(self.look.pixels(points, self.right)).astype(np.int64)
        at = np.clip(at, 0, [self.look.shape[1] - 1, self.look.shape[0] - 1])
        facing = np.abs(normals @ self.towards).clip(1e-3, 1.0)
        slope = np.minimum(np.sqrt(1.0 - facing**2) / facing, _STEEPEST)
        behind = _BEHIND + slope / self.look.scale
        front = self.front[at[:, 1] * self.look.shape[1] + at[:, 0]]
        return np.asarray(points @ self.towards >= front - behind, bool)


def _texels(sheet: Sheet, scene: _Scene, check: Check) -> tuple[Texels, F32 | None]:
    """What each texel of a sheet shows, and how much of it is to be seen, where something is seen through it."""
    size = sheet.size
    corners = sheet.uvs[sheet.faces] * np.float32(size)
    owner = np.full(size * size, -1, np.int64)
    weight = np.zeros((size * size, 3), np.float32)
    for face, place, weights in hits(corners, (size, size), over=_OVER, wrap=True, check=check):
        owner[place] = face
        weight[place] = weights
    index = np.flatnonzero(owner >= 0)
    face, weights = owner[index], np.clip(weight[index], 0.0, 1.0)
    weights /= weights.sum(1, keepdims=True)
    points, normals = scene.place(sheet.points), _turned(sheet.normals)
    of_face = sheet.faces[face]
    there = sum(weights[:, [k]] * points[of_face[:, k]] for k in range(3))
    facing = sum(weights[:, [k]] * normals[of_face[:, k]] for k in range(3))
    alpha = None if sheet.clear is None else sheet.clear.at(of_face, weights)
    return Texels(index, np.asarray(there, np.float32), np.asarray(facing, np.float32)), alpha


def _joined(texels: Sequence[Texels]) -> Texels:
    return Texels(
        np.concatenate([one.index for one in texels]),
        np.concatenate([one.points for one in texels]),
        np.concatenate([one.normals for one in texels]),
    )


def _towards(texels: Texels, depths: Mapping[float, _Depth]) -> Texels:
    """The texels with normals that face a view: sheets are seen from both sides, and some meshes are wound the wrong
    way round."""
    from_front, from_behind = np.zeros((2, len(texels.points)), bool)
    for depth in depths.values():
        facing = texels.normals @ depth.towards
        seen = depth.shows(texels.points, texels.normals)
        from_front |= seen & (facing > _ASKEW)
        from_behind |= seen & (facing < -_ASKEW)
    normals = np.where((from_behind & ~from_front)[:, None], -texels.normals, texels.normals)
    return replace(texels, normals=normals)
