"""What an asset is made of, in numbers: surface, textures, size. Fast enough to follow every import."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass

import bpy
import numpy as np

from ...contract.surface import MeshArrays, SurfaceFacts, measure_surface
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
class Statistics:
    """`dimensions` in metres along the object's own axes. `alpha`: "OPAQUE", "MASK" (cut-out) or "BLEND"."""

    surface: SurfaceFacts
    dimensions: tuple[float, float, float]
    alpha: str
    textures: tuple[TextureFacts, ...]

    @property
    def texture_memory(self) -> int:
        return sum(texture.memory for texture in self.textures)


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
