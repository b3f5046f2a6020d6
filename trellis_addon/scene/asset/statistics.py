"""What an asset is made of, in numbers: surface, textures, size. Fast enough to follow every import."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass

import bpy
import numpy as np

from ..importing.materials import images_of, principled_of
from ..importing.placement import bounds, positions
from ..rules.guards import mesh_as_it_is, require_mesh, require_own
from ..rules.units import metres_per_unit, scene_of

PROPERTY = "trellis2_statistics"


@dataclass(frozen=True)
class TextureFacts:
    """`stored` is what it takes in the file, `memory` what it takes in use, both in bytes."""

    name: str
    width: int
    height: int
    stored: int
    memory: int


@dataclass(frozen=True)
class SurfaceFacts:
    """A mesh, its vertices counted by where they are: a file cuts them along its UV seams, the surface is not cut.

    `open_edges` have one face, `non_manifold_edges` more than two; at `flipped_edges` two neighbours point
    opposite ways. `uv_area` is the faces' area in the UV square (overlaps count twice), None without UVs.
    """

    triangles: int
    vertices: int
    components: int
    open_edges: int
    non_manifold_edges: int
    flipped_edges: int
    uv_area: float | None


@dataclass(frozen=True)
class Statistics:
    """`dimensions` in metres along the object's own axes. `alpha`: "OPAQUE", "MASK" (cut-out) or "BLEND"."""

    surface: SurfaceFacts
    dimensions: tuple[float, float, float]
    alpha: str
    textures: tuple[TextureFacts, ...]

    @property
    def texture_memory(self) -> int:
        return sum(texture.memory for texture in self.textures)


@dataclass(frozen=True)
class MeshArrays:
    """A mesh as arrays, which any thread may work on: `positions` (V, 3) float32, `corners` (L,) the vertex of
    each corner, `starts` (F,) each face's first corner, `uv` (L, 2) or None."""

    positions: np.ndarray
    corners: np.ndarray
    starts: np.ndarray
    uv: np.ndarray | None


def measure(obj: bpy.types.Object, surface: SurfaceFacts | None = None) -> Statistics:
    """Measure a mesh object as it is, without its modifiers; raises `InputError` for anything else.

    A mesh of 500,000 triangles takes about a third of a second, nearly all of it for the `surface`, which
    `measure_surface` may have found in a thread.
    """
    surface = surface or measure_surface(read_mesh(obj))
    size = np.zeros(3)
    with mesh_as_it_is(obj) as mesh:
        if len(mesh.vertices):
            low, high = bounds(mesh)
            size = (high - low).astype(float) * np.abs(obj.scale) * metres_per_unit(scene_of(obj))
    x, y, z = map(float, size)
    return Statistics(surface, (x, y, z), _alpha_of(obj), tuple(map(texture_of, images_of(obj))))


def remember(obj: bpy.types.Object, found: Statistics | None = None) -> Statistics:
    """Measure (or take `found`) and keep the numbers on the object, where the panel finds them.

    Raises `InputError` as `measure` does, and for an object of another file.
    """
    require_own(obj)
    found = found or measure(obj)
    obj[PROPERTY] = json.dumps({"of": fingerprint(obj), **asdict(found)})
    return found


def recall(obj: bpy.types.Object) -> tuple[Statistics, bool] | None:
    """The numbers kept on the object, and whether they still are of this mesh; nothing is measured."""
    try:
        kept = json.loads(obj.get(PROPERTY, ""))
        textures = tuple(TextureFacts(**texture) for texture in kept["textures"])
        found = Statistics(SurfaceFacts(**kept["surface"]), tuple(kept["dimensions"]), kept["alpha"], textures)
        return found, kept["of"] == fingerprint(obj)
    except (ValueError, TypeError, KeyError):
        return None


def fingerprint(obj: bpy.types.Object) -> list[int]:
    """What changes with nearly every edit and costs nothing to ask."""
    mesh = obj.data
    return [len(mesh.vertices), len(mesh.edges), len(mesh.loops), len(mesh.polygons), len(obj.material_slots)]


def read_mesh(obj: bpy.types.Object) -> MeshArrays:
    """Main thread only; a few milliseconds."""
    require_mesh(obj)
    with mesh_as_it_is(obj) as mesh:
        return _arrays_of(mesh)


def _arrays_of(mesh: bpy.types.Mesh) -> MeshArrays:
    corners = np.empty(len(mesh.loops), np.int32)
    starts = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_start", starts)
    uv = None
    if len(corners):
        # a hundred times as fast as `loops` and `uv_layers.data`
        mesh.attributes[".corner_vert"].data.foreach_get("value", corners)
        if mesh.uv_layers.active is not None:
            uv = np.empty((len(corners), 2), np.float32)
            mesh.uv_layers.active.uv.foreach_get("vector", uv.reshape(-1))
    return MeshArrays(positions(mesh), corners, starts, uv)


def measure_surface(mesh: MeshArrays) -> SurfaceFacts:
    """The numbers of a surface; needs no `bpy`."""
    totals = np.diff(mesh.starts, append=len(mesh.corners))
    triangles = int(np.maximum(totals - 2, 0).sum())
    used, welded = _weld(mesh.positions, mesh.corners)
    first, second = welded, _next_corner(welded, mesh.starts, totals)
    keep = first != second
    if not keep.all():
        # a face that the weld has made a line of is not part of the surface
        corners_left = np.add.reduceat(keep, mesh.starts, dtype=np.int32)
        keep &= np.repeat(corners_left >= 3, totals)
        first, second = first[keep], second[keep]
    low, high = np.minimum(first, second).astype(np.int64), np.maximum(first, second)
    # one sort serves both questions: which edge it is, and which way round the face runs along it
    keys = np.sort(((low * used + high) << 1) | (first > second))
    edges, uses = _runs(keys >> 1)
    backwards = np.add.reduceat(keys & 1, edges) if len(edges) else uses
    pairs = keys[edges] >> 1
    return SurfaceFacts(
        triangles=triangles,
        vertices=used,
        components=_components(pairs // used, pairs % used, used) if used else 0,
        open_edges=int((uses == 1).sum()),
        non_manifold_edges=int((uses > 2).sum()),
        flipped_edges=int(((uses == 2) & (backwards != 1)).sum()),
        uv_area=_uv_area(mesh.uv, mesh.starts, totals) if mesh.uv is not None else None,
    )


def texture_of(image: bpy.types.Image) -> TextureFacts:
    width, height, is_float = _extent_of(image)
    stored = image.packed_file.size if image.packed_file is not None else 0
    # on the card each pixel has four channels, of one byte or of a half float
    return TextureFacts(image.name, width, height, stored, width * height * (8 if is_float else 4))


def _extent_of(image: bpy.types.Image) -> tuple[int, int, bool]:
    """Width, height, and whether its pixels are floats; asking Blender would unpack an image that nobody has shown."""
    if image.packed_file is not None and not image.has_data:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(bytes(image.packed_file.data))) as header:
                return (*header.size, header.mode.startswith(("I", "F")))
        except (UnidentifiedImageError, OSError, ValueError):
            pass  # a format that Blender alone reads
    width, height = image.size
    return width, height, image.is_float


def _weld(positions: np.ndarray, corners: np.ndarray) -> tuple[int, np.ndarray]:
    """How many places the corners use, and the number of each corner's place.

    Places are the same where their floats are, as they are along a seam: a distance would close what is open.
    """
    bits = (positions + np.float32(0)).view(np.uint32)  # the sum makes -0 a 0
    keys = np.zeros(len(bits), np.uint64)
    for column, factor in enumerate((0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)):
        keys = (keys ^ bits[:, column]) * np.uint64(factor)
        keys ^= keys >> np.uint64(29)
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    if not (bits[first[place]] == bits).all():  # two places with one key: once in a blue moon
        _, place = np.unique(bits, axis=0, return_inverse=True)
        place = place.reshape(-1)
    occupied = np.zeros(len(positions) + 1, bool)
    occupied[place[corners]] = True
    number = np.cumsum(occupied) - 1
    return int(occupied.sum()), number[place[corners]]


def _next_corner(corners: np.ndarray, starts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """For each corner, what stands at the one after it in its face."""
    following = np.roll(corners, -1)
    following[starts + totals - 1] = corners[starts]
    return following


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of equal values begins in a sorted array, and how long it is."""
    begins = np.flatnonzero(np.diff(values, prepend=-1))
    return begins, np.diff(begins, append=len(values))


def _components(a: np.ndarray, b: np.ndarray, count: int) -> int:
    """Connected components of a graph with edges a-b: roots hang themselves under smaller neighbours until none has."""
    parent = np.arange(count)
    while len(a):
        low, high = np.minimum(a, b), np.maximum(a, b)
        parent[high] = low  # of several, any: it is smaller, so there are no circles
        while not np.array_equal(above := parent[parent], parent):
            parent = above
        a, b = parent[low], parent[high]
        apart = a != b
        a, b = a[apart], b[apart]
    return int((parent == np.arange(count)).sum())


def _uv_area(uv: np.ndarray, starts: np.ndarray, totals: np.ndarray) -> float:
    if not len(starts):
        return 0.0
    u, v = uv[:, 0].astype(np.float64), uv[:, 1].astype(np.float64)
    cross = u * _next_corner(v, starts, totals) - v * _next_corner(u, starts, totals)
    return float(np.abs(np.add.reduceat(cross, starts)).sum() / 2)


def _alpha_of(obj: bpy.types.Object) -> str:
    """The most see-through of the object's materials."""
    found = "OPAQUE"
    for slot in obj.material_slots:
        principled = principled_of(slot.material) if slot.material else None
        alpha = principled.inputs["Alpha"] if principled else None
        if alpha is None or not (alpha.is_linked or alpha.default_value < 1):
            continue
        if slot.material.surface_render_method == "BLENDED":
            return "BLEND"
        found = "MASK"
    return found
