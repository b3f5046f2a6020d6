"""Going on from what was kept of an object: the new asset comes in the old one's place, or beside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..core.errors import TrellisError
from ..jobs.job import Asset
from ..jobs.store import JobStore
from ..stages import CHANGE, obstacle, obstacle_to_going_on, source_of
from ..task.region import MOST_POINTS
from . import as_made, queue
from .asset.lods import is_level, lods_of
from .asset.statistics import PROPERTY as STATISTICS
from .importing.importer import import_asset
from .importing.placement import bounds, positions, world_bounds
from .importing.provenance import read_provenance, write_provenance
from .place.waiting import MARK
from .rules.guards import is_edited, require_not_edited, require_own
from .words import REBUILT

BESIDE = 1.15  # widths from one to the next, as for several results


def asset_of(obj: bpy.types.Object) -> Asset:
    """The object's asset, as far as its provenance tells; its file is found by the store of jobs."""
    provenance = read_provenance(obj)
    name = str(provenance.pop("name", "") or obj.name)
    return Asset(Path(f"{obj.name_full}.of-object"), name, provenance)


def why_not(
    obj: bpy.types.Object, *, texture_again: bool = False, in_any_mode: bool = False, goes_on: bool = False
) -> str:
    """Why nothing can be made again of an object: a key of `stages.OBSTACLES`, or one of ours; empty where it can.

    With `in_any_mode` also while it is edited or painted on. `goes_on`: the rest of a rough shape is to be made.
    """
    if is_level(obj):
        return "level"
    if obj.type != "MESH":
        return "mesh"
    if not (obj.is_editable and obj.data.is_editable) or obj.override_library is not None:
        return "linked"
    if not in_any_mode and (obj.mode != "OBJECT" or is_edited(obj)):
        return "mode"
    if _is_under_way(obj):
        return "busy"
    if goes_on:
        return obstacle_to_going_on(read_provenance(obj))
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
    as_it_lies = _as_it_lies(first, asset)
    helper = import_asset(asset, height=None, location=(0.0, 0.0, 0.0), scene=first.users_scene[0])
    fresh, house = helper.data, helper.users_collection[0]
    places = None if as_it_lies is None else as_it_lies @ as_made.map_of(asset.path, fresh, first.name).inverted()
    fitted: dict[bpy.types.Mesh, bpy.types.Mesh] = {}
    for obj in objects:
        if obj.data not in fitted:
            mesh = fresh.copy() if fitted else fresh
            if places is None:
                _fit(mesh, obj.data)
            else:
                as_made.move(mesh, places)
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


def fit_to_source(obj: bpy.types.Object, asset: Asset, sources: Collection[int]) -> None:
    """Stand what was made anew of one object's latents where that object stands, in its size and turn.

    `sources` are numbers of this session. What was made of the objects themselves stands there already.
    """
    if asset.engine == REBUILT:
        return
    source = next((one for one in bpy.data.objects if one.session_uid in sources), None)
    if source is not None and source.type == "MESH":
        stand_as(obj, source)


def stand_as(obj: bpy.types.Object, source: bpy.types.Object) -> None:
    """Give an object the place, size and turn of another one of the same form."""
    _fit(obj.data, source.data)
    obj.matrix_world = source.matrix_world


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


def region_of(obj: bpy.types.Object, other: bpy.types.Object) -> dict[str, Any]:
    """The box around another object in the units and the frame of the asset's GLB, for `stages.change`; of an empty
    that is shown as a sphere, and not stretched, that sphere."""
    into = obj.matrix_world.inverted() @ other.matrix_world
    axes = [into.col[axis].to_3d().length for axis in range(3)]
    if other.type == "EMPTY" and other.empty_display_type == "SPHERE" and max(axes) < 1.001 * min(axes):
        placed = _placed(obj)
        scales = [placed.col[axis].to_3d().length for axis in range(3)]
        if max(scales) < 1.001 * min(scales):
            middle = _in_file(obj, np.array([into.translation]))[0]
            return {"sphere": [*middle.tolist(), other.empty_display_size * axes[0] / scales[0]]}
    corners = _in_file(obj, np.array([into @ Vector(corner) for corner in _corners(other)]))
    return {"box": [*corners.min(0).tolist(), *corners.max(0).tolist()]}


def region_of_faces(obj: bpy.types.Object, *, painted: bool, reach: float, rim: float) -> dict[str, Any]:
    """What lies within `reach` of faces of the asset, in its own units, and fades out over the rim beyond: of those
    that are selected, or that the active vertex group is `painted` on. As `region_of`; in Object Mode. Raises
    `TrellisError` for none.
    """
    mesh = obj.data
    chosen = _painted(obj) if painted else np.empty(len(mesh.polygons), bool)
    if not painted:
        mesh.polygons.foreach_get("select", chosen)
    if not chosen.any():
        raise TrellisError(
            "The active vertex group covers no face: paint the part with it in Weight Paint."
            if painted
            else "No face of the asset is selected: select the part in Edit Mode."
        )
    mesh.calc_loop_triangles()
    corners, faces = np.empty(3 * len(mesh.loop_triangles), np.int32), np.empty(len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("vertices", corners)
    mesh.loop_triangles.foreach_get("polygon_index", faces)
    triangles = _in_file(obj, positions(mesh))[corners.reshape(-1, 3)[chosen[faces]]]
    return {"points": _spread(triangles, max(reach / 4, 0.004)).tolist(), "radius": reach + rim}


def _painted(obj: bpy.types.Object) -> np.ndarray:
    """Of each face, whether the active vertex group holds it by half and more."""
    mesh, group = obj.data, obj.vertex_groups.active
    if group is None:
        raise TrellisError("The asset has no vertex group: paint the part with one in Weight Paint.")
    number = group.index
    weights = np.array([sum(g.weight for g in v.groups if g.group == number) for v in mesh.vertices], np.float32)
    corners, starts = np.empty(len(mesh.loops), np.int32), np.empty(len(mesh.polygons), np.int32)
    mesh.attributes[".corner_vert"].data.foreach_get("value", corners)
    mesh.polygons.foreach_get("loop_start", starts)
    totals = np.add.reduceat(weights[corners], starts) if len(starts) else weights[:0]
    return np.asarray(totals / np.diff(np.append(starts, len(corners))) >= 0.5)


def _spread(triangles: np.ndarray, step: float) -> np.ndarray:
    """Points (P, 3) on triangles (T, 3, 3), about a step apart, or as near as a region may have so many."""
    while True:
        sides = np.linalg.norm(triangles - np.roll(triangles, 1, 1), axis=2).max(1)
        counts = np.clip(np.ceil(sides / step), 1, 100).astype(int)
        found = []
        for count in np.unique(counts).tolist():
            i, j = (axis.ravel() for axis in np.indices((count + 1, count + 1)))
            shares = np.stack([i, j, count - i - j], 1)[i + j <= count] / count
            found.append((shares @ triangles[counts == count]).reshape(-1, 3))
        points = np.concatenate(found)
        _, first = np.unique(np.floor(points / step), axis=0, return_index=True)
        if len(first) <= MOST_POINTS:
            return np.asarray(points[np.sort(first)])
        step *= 1.5


def _in_file(obj: bpy.types.Object, places: np.ndarray) -> np.ndarray:
    """Places (N, 3) of an asset's mesh as its GLB has them."""
    back = np.array(_placed(obj).inverted(), np.float64)
    x, y, z = (places @ back[:3, :3].T + back[:3, 3]).T
    return np.stack([x, z, -y], 1)


def _placed(obj: bpy.types.Object) -> Matrix:
    """What takes the places of an object's GLB to those of its mesh; see `as_made.map_of`."""
    return as_made.map_of(_file_of(obj), obj.data, obj.name)


def _corners(obj: bpy.types.Object) -> list[tuple[float, float, float]]:
    """Of the box around an object, in its own space; of an empty that of what is shown of it."""
    if obj.type != "EMPTY":
        return [tuple(corner) for corner in obj.bound_box]
    size = obj.empty_display_size
    return [(x, y, z) for x in (-size, size) for y in (-size, size) for z in (-size, size)]


def _file_of(obj: bpy.types.Object) -> Path:
    """The GLB that an object was imported from."""
    return source_of(asset_of(obj), JobStore())[1].path


def _as_it_lies(obj: bpy.types.Object, asset: Asset) -> Matrix | None:
    """How the object's mesh lies to its file, where the new one is to lie alike: where only a part was made anew, and
    where the object was turned or stretched and that was applied. None where it stands on its ground as at first."""
    source = asset.provenance.get("source")
    if not isinstance(source, dict) or not len(obj.data.vertices):
        return None
    is_part = source.get("stage") == CHANGE
    try:
        placed = _placed(obj)
    except TrellisError:
        return None
    return placed if is_part or as_made.is_turned(placed) else None


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
