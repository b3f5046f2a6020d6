"""Finishing: from voxels and their dense mesh to a clean, light, well-textured GLB.

The stages, each of which can be called alone: clean or remesh, simplify, unwrap, bake, encode, and the figures that
say how good the result is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from ...core.errors import EngineError, FieldError, InputError
from ...core.machine.parallel import meanwhile
from ...core.messages import message
from ...core.progress import Progress
from ...formats.glb.tangents import tangents
from ..bake.bake import bake
from ..bake.detail import Detail
from ..bake.maps import FORMATS, encode_textures
from ..bake.painter import Canvas
from ..bake.reading import Look
from ..bake.several import Several, shell_of_faces
from ..bake.source import BakeSource
from ..bake.volume import Volume
from ..mesh.clean import clean
from ..mesh.topology import TriMesh, joined
from ..quads.pairs import triangles_of
from ..quads.quads import quadrangulate
from ..remesh.remesh import Solidity
from ..remesh.remesh import remesh as remesh_surface
from ..simplify.simplify import simplify
from ..unwrap.unwrap import Unwrapped, unwrap
from .light import Lightener
from .mesh import FinishedMesh, Placement, is_open, write, write_images
from .normals import creased_normals, whole_quads
from .parts import crisp, parts_by_alpha, parts_of_source
from .quality import quality_figures

__all__ = [
    "DenseAsset",
    "FinishedAsset",
    "FinishedMesh",
    "Placement",
    "finish",
    "sound_surface",
    "texture_again",
    "write",
]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

_NOTHING = message(
    "Nothing is left of the form after cleaning: it had no surface large enough; try another picture or seed."
)

# Where the stages lie in the whole, as shares of the time they take on two cores.
_PARTS = {
    "clean": (0.0, 0.25),
    "simplify": (0.25, 0.45),
    "unwrap": (0.45, 0.6),
    "bake": (0.6, 0.85),
    "encode": (0.85, 0.95),
    "quality": (0.95, 1.0),
}
_OCCLUSION_RAYS = 48
_FINER, _LEAST_FINE = 6, 30_000  # triangles for each quad, and at least: what the quads are laid on
FEWEST = 4  # triangles: a closed form has no fewer


@dataclass(frozen=True)
class DenseAsset:
    """What a model, or a voxelised mesh, hands over; the frame is Z up, the cube [-0.5, 0.5]^3.

    `vertices` (V, 3) and `faces` (F, 3) are the dual grid's mesh, which need not be clean. `coords` (N, 3) are the
    voxels that carry `attributes` (N, 6): base colour (sRGB-encoded), metallic, roughness, alpha, in 0..1 or as bytes.
    `resolution` is the grid's. `intersected` (V, 3), where the mesh has a vertex for each voxel, are the voxels' flags
    for the edges that the surface crosses: remeshing then closes holes exactly. `shape` is the mesh that was voxelised,
    if any, in the same frame: what of it is too thin for the voxels is found there. At places `two_faced` (S, 3) that
    looks another way from behind, so that no sheet can show both.
    """

    vertices: F32
    faces: I32
    coords: I32
    attributes: NDArray[np.floating] | NDArray[np.uint8]
    resolution: int
    intersected: NDArray[np.bool_] | None = None
    shape: TriMesh | None = None
    two_faced: F32 | None = None


@dataclass(frozen=True)
class FinishedAsset:
    """`glb` is the file, `quality` its figures (see `quality.py`), `seconds` what each stage took."""

    glb: bytes
    quality: dict[str, Any]
    mesh: FinishedMesh
    seconds: dict[str, float] = field(default_factory=dict)


class Finishing(TypedDict, total=False):
    """How something is finished, by name; what each means, and where it is left out, is told in `finish_levels`."""

    texture_size: int
    remesh: bool
    quads: int | None
    solidity: Solidity
    normal_map: bool | None
    texture_format: str
    provenance: Mapping[str, Any] | None
    name: str
    progress: Progress | None
    device: str


class FinishOptions(Finishing, total=False):
    """The same of what comes as voxels."""

    error_bound: float
    ambient_occlusion: bool
    transparency: str | None
    placement: Placement | None
    sources: Sequence[BakeSource]
    further: Sequence[DenseAsset]


def finish(dense: DenseAsset, *, decimation_target: int = 500_000, **options: Unpack[FinishOptions]) -> FinishedAsset:
    """The finished asset of at most `decimation_target` triangles; `options` and errors as in `finish_levels`."""
    return finish_levels(dense, (decimation_target,), **options)[0]


def finish_levels(
    dense: DenseAsset,
    targets: Sequence[int],
    *,
    texture_size: int = 2048,
    remesh: bool = True,
    quads: int | None = None,
    solidity: Solidity = "automatic",
    error_bound: float = 0.1,
    normal_map: bool | None = None,
    ambient_occlusion: bool = False,
    texture_format: str = "webp",
    transparency: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    name: str = "Asset",
    placement: Placement | None = None,
    sources: Sequence[BakeSource] = (),
    further: Sequence[DenseAsset] = (),
    progress: Progress | None = None,
    device: str = "cpu",
) -> list[FinishedAsset]:
    """One surface as several assets, each of at most so many triangles as a target says, from the finest on, with
    UVs and textures of its own, of `texture_size` texels a side.

    With `quads` the surface is of about so many quads instead, as pairs of triangles (`quads.pairs`). `normal_map` is
    there, is not, or (None) is where it lowers the error of shading. `remesh` makes one clean outer
    shell, otherwise the surface keeps its topology and is only cleaned. `solidity` says
    what that shell makes of parts with openings: "solid" closes them, "sheets" leaves them as surfaces without an
    inside, "automatic" judges each. Simplification goes on below the target while the surface moves by less than about
    `error_bound` voxels; 0 uses the target up. `transparency`
    is "OPAQUE", "MASK" or "BLEND" where that is known; otherwise the texels decide. `provenance` (JSON data) goes into
    the file beside the quality figures. With a `placement` the mesh leaves the cube at last, in the file too. Raises
    `InputError` for arrays and options that cannot be, `EngineError` when nothing is left to finish, and `Cancelled`.

    `device` is Warp's, for drawing the atlas and baking. On "cpu", on all cores, the same input gives the same bytes on
    every machine, which engines promise for the same seed; "cuda:0" adds sums in another order. What is the processor's
    on every device says why where its kernels are.
    """
    progress = progress or Progress()
    if not len(dense.faces):
        raise InputError("The voxels have no surface, so there is nothing to finish; try another picture or seed.")
    if not targets or min(targets) < FEWEST:
        raise FieldError("decimationTarget", min(targets, default=0), "it must be at least 4 triangles")
    check_textures(texture_size, texture_format)
    if transparency not in (None, "OPAQUE", "MASK", "BLEND"):
        raise FieldError("transparency", transparency, "it must be OPAQUE, MASK or BLEND")
    seconds: dict[str, float] = {}
    begins = _PARTS["simplify"][0]

    @contextmanager
    def stage(key: str, level: int = 0) -> Iterator[Progress]:
        low, high = _PARTS[key]
        if low >= begins:  # what each level goes through comes once for each
            low, high = (begins + (level * (1 - begins) + part - begins) / len(targets) for part in (low, high))
        progress.update(key, low)
        start = time.perf_counter()
        yield _named(progress.part(low, high), key)
        seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - start

    with stage("clean") as part:
        each = 1.0 / (1 + len(further))
        sound = [
            _sound(shape, remesh, part.part(number * each, (number + 1) * each), solidity)
            for number, shape in enumerate((dense, *further))
        ]
        surfaces, dropped = [mesh for mesh, _ in sound], sum(number for _, number in sound)
        surface = surfaces[0] if len(surfaces) == 1 else joined(surfaces)
    bound = error_bound / dense.resolution
    faced = [shape.two_faced for shape in (dense, *further) if shape.two_faced is not None]
    lightener = Lightener(
        surfaces,
        dense.resolution if remesh else 0,
        bound=bound,
        solidity=solidity,
        two_faced=np.concatenate(faced) if faced else None,
    )

    def looked_at() -> Look:
        return Detail.of(surface.vertices, surface.faces, _volume(dense, device), device)

    detail: Look | None = None
    # What baking looks at is made while the surface is simplified, which takes one core: neither needs the other.
    making = meanwhile(looked_at) if device == "cpu" and not sources else looked_at
    made = []
    light = surface
    for level, target in enumerate(targets):
        with stage("simplify", level) as part:
            light = lightener.light(target, part) if quads is None else _of_quads(surface, quads, part)
            if not len(light.faces):
                raise EngineError(_NOTHING)
        with stage("unwrap", level) as part:
            flat = unwrap(light.vertices, light.faces, texture_size, part, device, pairs=quads is not None)
        with stage("bake", level) as part:
            if not sources and detail is None:
                detail = making()
            looks = detail or _looks(sources, light, surfaces)
            mesh = texture_again(
                light,
                flat,
                looks,
                texture_size,
                normal_map=normal_map,
                ambient_occlusion=ambient_occlusion,
                transparency=transparency,
                pairs=quads is not None,
                progress=part,
                device=device,
            )
            mesh = replace(mesh, is_paired=quads is not None)
        with stage("encode", level):
            images = encode_textures(mesh.textures, texture_format, mesh.is_opaque)
        with stage("quality", level):
            quality = quality_figures(mesh, images, flat, looks, dense.resolution, dropped)
            mesh = placement.of(mesh) if placement else mesh
            glb = write_images(mesh, images, {**(provenance or {}), "quality": quality}, name)
        made.append(FinishedAsset(glb, quality, mesh, seconds))
    progress.update("quality", 1.0)
    return made


def _looks(sources: Sequence[BakeSource], light: TriMesh, surfaces: Sequence[TriMesh]) -> Look:
    """What the light mesh is baked from: each of its shells from its own source."""
    looks = [source.beneath(light.vertices, light.faces) for source in sources]
    return looks[0] if len(looks) == 1 else Several(looks, shell_of_faces(light, surfaces))


def _of_quads(surface: TriMesh, quads: int, progress: Progress) -> TriMesh:
    """About so many quads of the surface, as pairs of triangles (see `quads.pairs`)."""
    fine = simplify(surface, max(_FINER * quads, _LEAST_FINE), progress=progress.part(0.0, 0.4))
    vertices, found = quadrangulate(fine, quads, progress.part(0.4, 1.0))
    return TriMesh(vertices, triangles_of(vertices, found))


def sound_surface(dense: DenseAsset, remesh: bool, progress: Progress, solidity: Solidity = "automatic") -> TriMesh:
    """The dense surface, clean and wound outwards; `EngineError` where nothing is left of it."""
    return _sound(dense, remesh, progress, solidity)[0]


def _sound(dense: DenseAsset, remesh: bool, progress: Progress, solidity: Solidity) -> tuple[TriMesh, int]:
    """That surface, and how many specks were left out."""
    mesh = TriMesh.of(dense.vertices, dense.faces)
    dropped = 0
    if remesh:
        with_voxels = len(dense.coords) == len(dense.vertices)
        made = remesh_surface(
            mesh,
            resolution=dense.resolution,
            coords=dense.coords if with_voxels else None,
            intersected=dense.intersected if with_voxels else None,
            solidity=solidity,
            shape=dense.shape,
            progress=progress,
        )
        surface, dropped = made.mesh, made.dropped
    else:
        surface = clean(mesh, resolution=dense.resolution, progress=progress)
    if not len(surface.faces):
        raise EngineError(_NOTHING)
    return surface, dropped


def texture_again(
    mesh: TriMesh,
    flat: Unwrapped,
    detail: Look,
    texture_size: int,
    *,
    normal_map: bool | None = True,
    ambient_occlusion: bool = False,
    transparency: str | None = None,
    pairs: bool = False,
    progress: Progress | None = None,
    device: str = "cpu",
) -> FinishedMesh:
    """Normals, tangents and textures for an unwrapped mesh: at any size, however often. `pairs`: faces 2k and 2k + 1
    are one quad."""
    # Normals of the mesh before it was cut run on across the charts' borders; at creases vertices are split once more.
    shared, group = creased_normals(mesh.vertices, mesh.faces)
    if pairs:
        group = whole_quads(group)
    key, inverse = np.unique(flat.faces.astype(np.int64) * len(shared) + group, return_inverse=True)
    corner = key // len(shared)
    vertices, uvs, normals = mesh.vertices[flat.source[corner]], flat.uvs[corner], shared[key % len(shared)]
    faces = inverse.reshape(flat.faces.shape).astype(np.int32)
    canvas = Canvas(vertices, faces, normals, tangents(vertices, faces, normals, uvs), uvs, flat.raster)
    rays = _OCCLUSION_RAYS if ambient_occlusion else 0
    baked = bake(
        canvas, detail, texture_size, normal_map=normal_map, occlusion_rays=rays, progress=progress, device=device
    )
    open_ = is_open(mesh)
    if baked.parts is None or transparency is not None:
        parts, part_of = parts_by_alpha(baked, uvs, faces, transparency, open_)
    else:
        parts, part_of = parts_of_source(baked, detail.parts, uvs, faces, open_)
        crisp(baked.textures.base_colour, baked, parts, detail.parts, part_of)
    return FinishedMesh(vertices, faces, normals, canvas.tangents, uvs, baked.textures, parts, part_of)


def _named(progress: Progress, stage: str) -> Progress:
    """A handle that reports all stages within this one under its name."""
    return Progress(lambda _, fraction: progress.update(stage, fraction), progress.is_cancelled)


def _volume(dense: DenseAsset, device: str) -> Volume:
    return Volume(dense.coords, dense.attributes, dense.resolution, device)


def check_textures(texture_size: int, texture_format: str) -> None:
    """Raises `FieldError` for textures that cannot be."""
    if not 16 <= texture_size <= 16384:
        raise FieldError("textureSize", texture_size, "it must be 16 to 16384 texels")
    if texture_format not in FORMATS:
        raise FieldError("textureFormat", texture_format, "it must be webp or png")
