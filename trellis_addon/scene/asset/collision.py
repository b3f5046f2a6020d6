"""Convex parts that stand for an object where things collide: few, with few corners, and around all of its surface.

The surface is cut across, again and again, where the hulls of the two halves are smallest together: an approximate
convex decomposition by cutting planes, as of Wei, Liu, Ling and Su 2022, by volume alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bmesh
import bpy
import numpy as np

from ...core.given import whole
from ...core.messages import message
from ...core.progress import Progress
from ..importing.placement import positions
from ..rules.guards import mesh_as_it_is, require_own, require_surface
from .lods import home_of

OF, NUMBER = "trellis2_collision_of", "trellis2_collision"
MOST_PARTS = 64
# What engines know convex parts by; in the scene, and for any other program, it is the first.
NAMES = {
    "": "{name}_Collision_{number:02}",
    "unreal": "UCX_{name}_{number:02}",
    "unity": "{name}_Collider_{number:02}",
    "godot": "{name}_{number:02}-convcolonly",
}
_DIRECTIONS = 96  # a hull has no more corners: those that lie furthest this way
_CUTS = (0.2, 0.35, 0.5, 0.65, 0.8)  # of a part's extent along an axis
_LEAST_GAIN = 0.01  # of the volume of all hulls, for which another part is not worth it
_THIN = 1e-4  # of the longest side: what is flatter is made so thick

F64 = np.ndarray


def make_collision(
    obj: bpy.types.Object, parts: int = 8, *, progress: Progress | None = None
) -> list[bpy.types.Object]:
    """At most `parts` convex meshes around the object's surface, hanging on it, in a collection "<name> Collision".

    They are drawn as wires and not rendered; parts made before are replaced. Exports name them as the engine expects.
    Raises `InputError`, `FieldError`; then, and on `Cancelled`, nothing has changed.
    """
    require_surface(obj)
    require_own(obj)
    parts = whole(parts, "parts", 1, MOST_PARTS, message("give 1 to {most} parts", most=MOST_PARTS))
    hulls = _hulls(_triangles_of(obj), parts, progress or Progress())
    remove_collision(obj)
    collection = bpy.data.collections.new(f"{obj.name} Collision")
    collection[OF] = obj
    made = []
    for number, hull in enumerate(hulls):
        name = NAMES[""].format(name=obj.name, number=number)
        part = bpy.data.objects.new(name, _mesh_of(hull, name))
        part[NUMBER] = number
        part.parent = obj
        part.display_type, part.hide_render = "WIRE", True
        collection.objects.link(part)
        made.append(part)
    home_of(obj).children.link(collection)
    bpy.context.view_layer.update()
    return made


def collision_of(obj: bpy.types.Object) -> list[bpy.types.Object]:
    """The object's convex parts, in their order."""
    collection = _collection_of(obj)
    found = [part for part in (collection.objects if collection else ()) if NUMBER in part]
    return sorted(found, key=lambda part: int(part[NUMBER]))


def remove_collision(obj: bpy.types.Object) -> None:
    """Remove the convex parts that were made of an object."""
    collection = _collection_of(obj)
    if collection is None:
        return
    require_own(collection)
    parts = collision_of(obj)
    meshes = [part.data for part in parts]
    for other in [other for other in collection.objects if other not in parts]:  # the artist's own, put there since
        if len(other.users_collection) == 1:
            home_of(obj).objects.link(other)
    bpy.data.batch_remove([collection, *parts, *meshes])


@contextmanager
def named_for(obj: bpy.types.Object, engine: str, shown: str) -> Iterator[list[bpy.types.Object]]:
    """While it lasts, copies of the convex parts under the names by which an engine knows those of one `shown` so."""
    made: list[bpy.types.Object] = []
    parts = collision_of(obj)
    # meshes as well, which is what a USD's reader goes by
    blocks = [block for part in parts for block in (part, part.data)]
    kept = {block: block.name for block in blocks if block.is_editable}
    try:
        for block, name in kept.items():
            block.name = f"{name} (kept)"
        for number, part in enumerate(parts):
            copy = part.copy()
            made.append(copy)
            copy.parent = None
            copy.name = NAMES.get(engine, NAMES[""]).format(name=shown, number=number)
            if copy.data in kept:
                copy.data.name = copy.name
            bpy.context.scene.collection.objects.link(copy)
            copy.matrix_world = obj.matrix_world
            copy.hide_render = False
        yield made
    finally:
        bpy.data.batch_remove(made)
        for block, name in kept.items():
            block.name = name


def _collection_of(obj: bpy.types.Object) -> bpy.types.Collection | None:
    return next((found for found in bpy.data.collections if found.get(OF) == obj), None)


def _triangles_of(obj: bpy.types.Object) -> F64:
    """(T, 3, 3) of the object's mesh, in its own space."""
    with mesh_as_it_is(obj) as mesh:
        mesh.calc_loop_triangles()
        faces = np.empty((len(mesh.loop_triangles), 3), np.int32)
        mesh.loop_triangles.foreach_get("vertices", faces.reshape(-1))
        return positions(mesh).astype(np.float64)[faces]


def _hulls(triangles: F64, count: int, progress: Progress) -> list[F64]:
    """The corners (H, 3) of so many hulls at the most."""
    pieces = [triangles]
    volumes = [_volume(triangles)]
    cuts: list[tuple[float, list[F64], list[float]] | None] = [None]
    while len(pieces) < count:
        progress.update("Cutting into convex parts", len(pieces) / count)
        cuts = [cut or _best_cut(piece, volume) for piece, volume, cut in zip(pieces, volumes, cuts, strict=True)]
        gains = [cut[0] if cut else 0.0 for cut in cuts]
        best = int(np.argmax(gains))
        if gains[best] <= _LEAST_GAIN * sum(volumes):
            break
        chosen = cuts[best]
        assert chosen is not None
        pieces[best : best + 1], volumes[best : best + 1], cuts[best : best + 1] = chosen[1], chosen[2], [None, None]
    return [_corners(piece) for piece in pieces]


def _best_cut(piece: F64, volume: float) -> tuple[float, list[F64], list[float]]:
    """How much smaller the hulls are of the two halves that are best, these halves, and the volumes of their hulls."""
    points = piece.reshape(-1, 3)
    low, extent = points.min(0), np.ptp(points, axis=0)
    found: tuple[float, list[F64], list[float]] = (0.0, [piece], [volume])
    for axis in range(3):
        for share in _CUTS:
            halves = _halves(piece, axis, float(low[axis] + share * extent[axis]))
            if all(map(len, halves)):
                volumes = [_volume(half) for half in halves]
                if volume - sum(volumes) > found[0]:
                    found = (volume - sum(volumes), halves, volumes)
    return found


def _halves(triangles: F64, axis: int, at: float) -> list[F64]:
    """The triangles below and above a plane across an axis; those that it goes through are cut."""
    above = triangles[:, :, axis] > at
    count = above.sum(1)
    halves: list[list[F64]] = [[triangles[count == 0]], [triangles[count == 3]]]
    for alone, side in ((1, 1), (2, 0)):  # one corner stands alone on the side
        some, lone = triangles[count == alone], above[count == alone] == bool(side)
        if not len(some):
            continue
        turn = (lone.argmax(1)[:, None] + np.arange(3)) % 3
        a, b, c = np.moveaxis(some[np.arange(len(some))[:, None], turn], 1, 0)
        ab, ac = (a + (other - a) * ((at - a[:, axis]) / (other - a)[:, axis])[:, None] for other in (b, c))
        halves[side].append(np.stack([a, ab, ac], 1))
        halves[1 - side] += [np.stack([ab, b, c], 1), np.stack([ab, c, ac], 1)]
    return [np.concatenate(half) for half in halves]


def _corners(piece: F64) -> F64:
    """The points that lie furthest in each of many directions, evenly spread (a Fibonacci lattice on the sphere)."""
    points = np.unique(piece.reshape(-1, 3), axis=0)
    number = np.arange(_DIRECTIONS) + 0.5
    height, turn = 1 - 2 * number / _DIRECTIONS, np.pi * (1 + 5**0.5) * number
    flat = np.sqrt(1 - height**2)
    directions = np.stack([flat * np.cos(turn), flat * np.sin(turn), height])
    directions = np.concatenate([directions, np.eye(3), -np.eye(3)], axis=1)
    chosen = points[np.unique((points @ directions).argmax(0))]
    thin = _THIN * float(np.ptp(points, axis=0).max())
    flat_axes = np.flatnonzero(np.ptp(chosen, axis=0) < thin)
    for axis in flat_axes:  # a sheet gets a thickness, or it would have no hull
        chosen = np.concatenate([chosen - thin * np.eye(3)[axis], chosen + thin * np.eye(3)[axis]])
    return chosen


def _volume(piece: F64) -> float:
    hull = _hull_of(_corners(piece))
    try:
        return float(abs(hull.calc_volume(signed=True)))
    finally:
        hull.free()


def _hull_of(corners: F64) -> bmesh.types.BMesh:
    mesh = bmesh.new()
    for corner in corners.tolist():
        mesh.verts.new(corner)
    made = bmesh.ops.convex_hull(mesh, input=mesh.verts)
    inside = {part for part in (*made["geom_interior"], *made["geom_unused"]) if isinstance(part, bmesh.types.BMVert)}
    bmesh.ops.delete(mesh, geom=[vert for vert in mesh.verts if vert in inside or not vert.link_faces], context="VERTS")
    return mesh


def _mesh_of(corners: Sequence[Sequence[float]] | F64, name: str) -> bpy.types.Mesh:
    mesh, hull = bpy.data.meshes.new(name), _hull_of(np.asarray(corners))
    bmesh.ops.recalc_face_normals(hull, faces=hull.faces)
    hull.to_mesh(mesh)
    hull.free()
    return mesh
