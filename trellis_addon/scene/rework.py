"""Going on from what was kept of an object: the new asset comes in the old one's place, or beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..core.errors import TrellisError
from ..formats.glb.read import read_glb
from ..jobs.job import Asset
from ..jobs.store import JobStore
from ..stages import CHANGE, obstacle, source_of
from . import queue
from .asset.lods import is_level, lods_of
from .asset.statistics import PROPERTY as STATISTICS
from .importing.importer import import_asset
from .importing.placement import bounds, world_bounds
from .importing.provenance import read_provenance, write_provenance
from .place.waiting import MARK
from .rules.guards import is_edited, require_not_edited, require_own

BESIDE = 1.15  # widths from one to the next, as for several results


def asset_of(obj: bpy.types.Object) -> Asset:
    """The object's asset, as far as its provenance tells; its file is found by the store of jobs."""
    provenance = read_provenance(obj)
    name = str(provenance.pop("name", "") or obj.name)
    return Asset(Path(f"{obj.name_full}.of-object"), name, provenance)


def why_not(obj: bpy.types.Object, *, texture_again: bool = False) -> str:
    """Why nothing can be made again of an object: a key of `stages.OBSTACLES`, or one of ours; empty where it can."""
    if is_level(obj):
        return "level"
    if obj.type != "MESH":
        return "mesh"
    if not (obj.is_editable and obj.data.is_editable) or obj.override_library is not None:
        return "linked"
    if obj.mode != "OBJECT" or is_edited(obj):
        return "mode"
    if _is_under_way(obj):
        return "busy"
    return obstacle(read_provenance(obj), texture_again=texture_again)


def _is_under_way(obj: bpy.types.Object) -> bool:
    generation = queue.of_card(str(obj.get(MARK, "")))
    return generation is not None and generation.state in queue.WAITS


def place_beside(obj: bpy.types.Object) -> tuple[float, float, float]:
    """Where an asset of the same size stands at the object's right."""
    low, high = world_bounds(obj)
    return ((low.x + high.x) / 2 + (high.x - low.x) * BESIDE, (low.y + high.y) / 2, low.z)


def replace(objects: Sequence[bpy.types.Object], asset: Asset) -> list[bpy.types.Object]:
    """Give these objects the asset's mesh and materials, in the size and at the place of their own.

    Name, transform, parent, collections, modifiers, constraints and custom properties stay; what belongs to the old
    mesh goes with it: its edits, shape keys and vertex groups. Levels of detail stay those of the old mesh. Where a
    mesh and its textures have no other user, they go. Raises as `import_asset` does; then nothing has changed.
    """
    require_own(*objects)
    require_not_edited(*objects)
    first = objects[0]
    places = _places_kept(first, asset)
    helper = import_asset(asset, height=None, location=(0.0, 0.0, 0.0), scene=first.users_scene[0])
    fresh, house = helper.data, helper.users_collection[0]
    fitted: dict[bpy.types.Mesh, bpy.types.Mesh] = {}
    for obj in objects:
        if obj.data not in fitted:
            mesh = fresh.copy() if fitted else fresh
            if places is None:
                _fit(mesh, obj.data)
            else:
                _put(mesh, obj.data, *places)
            fitted[obj.data] = mesh
    for obj in objects:
        obj.data = fitted[obj.data]
        write_provenance(obj, asset)
        obj.pop(STATISTICS, None)
        obj.pop(MARK, None)
    bpy.data.batch_remove([helper, house])
    for old, new in fitted.items():
        name = old.name
        _remove_unused(old)
        new.name = name
    return list(objects)


def keeps_old_levels(objects: Sequence[bpy.types.Object]) -> bool:
    """Whether there are levels of detail that were made of a mesh that is not theirs any more."""
    return any(lods_of(obj) is not None for obj in objects)


def _fit(mesh: bpy.types.Mesh, old: bpy.types.Mesh) -> None:
    """Move and scale a mesh that stands on its origin to where, and as tall as, another one stands."""
    if not len(old.vertices):
        return
    (low, high), (new_low, new_high) = bounds(old), bounds(mesh)
    axis = 2 if high[2] - low[2] > 1e-4 * (high - low).max() else int((high - low).argmax())
    extent, new_extent = float((high - low)[axis]), float((new_high - new_low)[axis])
    scale = extent / new_extent if extent > 0 and new_extent > 0 else 1.0
    centre = Vector(((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]))
    mesh.transform(Matrix.Translation(centre) @ Matrix.Scale(scale, 4))
    mesh.update()


Bounds = tuple[np.ndarray, np.ndarray]


def region_of(obj: bpy.types.Object, other: bpy.types.Object) -> list[float]:
    """The box around another object in the units and the frame of the asset's GLB, for `stages.change`."""
    box = [obj.matrix_world.inverted() @ other.matrix_world @ Vector(corner) for corner in _corners(other)]
    scale, offset = _to_mesh(_bounds_of_file(_file_of(obj)), bounds(obj.data))
    places = (np.array(box) - offset) / scale
    x, y, z = places.T
    corners = np.stack([x, z, -y], 1)
    return [*corners.min(0).tolist(), *corners.max(0).tolist()]


def _corners(obj: bpy.types.Object) -> list[tuple[float, float, float]]:
    """Of the box around an object, in its own space; of an empty that of what is shown of it."""
    if obj.type != "EMPTY":
        return [tuple(corner) for corner in obj.bound_box]
    size = obj.empty_display_size
    return [(x, y, z) for x in (-size, size) for y in (-size, size) for z in (-size, size)]


def _file_of(obj: bpy.types.Object) -> Path:
    """The GLB that an object was imported from."""
    return source_of(asset_of(obj), JobStore())[1].path


def _bounds_of_file(path: Path) -> Bounds:
    """Of a GLB, in Blender's axes."""
    mesh = read_glb(path)
    used = mesh.vertices[np.unique(mesh.faces)].astype(np.float64)
    turned = np.stack([used[:, 0], -used[:, 2], used[:, 1]], 1)
    return turned.min(0), turned.max(0)


def _to_mesh(file: Bounds, mesh: Bounds) -> tuple[float, np.ndarray]:
    """What a file's places are scaled by, and then moved by, to be those of the mesh that was imported from it."""
    axis = int((file[1] - file[0]).argmax())
    scale = float((mesh[1] - mesh[0])[axis] / (file[1] - file[0])[axis])
    return scale, np.asarray(mesh[0] - scale * file[0])


def _places_kept(obj: bpy.types.Object, asset: Asset) -> tuple[Bounds, Bounds] | None:
    """Where only a part of the object was made anew: the bounds of both files, so that the rest stays where it is."""
    source = asset.provenance.get("source")
    if not isinstance(source, dict) or source.get("stage") != CHANGE or not len(obj.data.vertices):
        return None
    try:
        return _bounds_of_file(_file_of(obj)), _bounds_of_file(asset.path)
    except TrellisError:
        return None


def _put(mesh: bpy.types.Mesh, old: bpy.types.Mesh, old_file: Bounds, new_file: Bounds) -> None:
    """Have the places of a new file's mesh be those that the old file's have in the old mesh."""
    scale, offset = _to_mesh(old_file, bounds(old))
    own_scale, own_offset = _to_mesh(new_file, bounds(mesh))
    ratio = scale / own_scale
    mesh.transform(Matrix.Translation(Vector(offset - ratio * own_offset)) @ Matrix.Scale(ratio, 4))
    mesh.update()


def _remove_unused(mesh: bpy.types.Mesh) -> None:
    """Remove a mesh that nothing shows any more, with its materials and their pictures where that holds for them."""
    if mesh.users:
        return
    materials = [material for material in mesh.materials if material is not None]
    bpy.data.batch_remove([mesh])
    unused = [material for material in dict.fromkeys(materials) if not material.users]
    nodes = [node for material in unused if material.node_tree for node in material.node_tree.nodes]
    images = {image for node in nodes if (image := getattr(node, "image", None)) is not None}
    bpy.data.batch_remove(unused)
    bpy.data.batch_remove([image for image in images if not image.users])
