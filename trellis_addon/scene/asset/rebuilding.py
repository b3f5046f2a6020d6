"""Remesh and rebake: any pile of objects becomes one clean asset, in its place and in its size.

The work is done by the local backend's Python, in a process of its own; Blender's own has not the packages.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bpy
from mathutils import Vector

from ...core.awake import awake
from ...core.errors import EngineError, InputError
from ...core.progress import Progress
from ...formats.glb.scenes import scaled
from ...formats.glb.write import GENERATOR
from ...jobs.job import Asset
from ...runtime.child import run_child
from ..importing.importer import import_asset, without_hooks
from ..importing.placement import world_bounds
from ..rules.guards import require_not_edited
from ..rules.units import metres_per_unit

ENGINE = "trellis2:rebuild@1"  # as an asset's provenance has it


def export_selection(objects: Sequence[bpy.types.Object], path: Path) -> tuple[float, float, float]:
    """Write these mesh objects, modifiers applied, as a GLB in metres; returns where their bottom centre stands.

    Main thread only. Raises `InputError` where there is no surface among them, `TrellisError` where one is edited.
    """
    meshes = [obj for obj in objects if obj.type == "MESH" and len(obj.data.polygons)]
    if not meshes:
        raise InputError("There is no mesh with faces among the objects; select at least one.")
    require_not_edited(*meshes)
    corners = [world_bounds(obj) for obj in meshes]
    low = Vector(map(min, zip(*(corner[0] for corner in corners), strict=True)))
    high = Vector(map(max, zip(*(corner[1] for corner in corners), strict=True)))
    with _only_selected(meshes), without_hooks():
        bpy.ops.export_scene.gltf(
            filepath=str(path), export_format="GLB", use_selection=True, export_apply=True, export_animations=False
        )
    metres = metres_per_unit(bpy.context.scene)
    if metres != 1.0:  # Blender's exporter writes its units as metres, and its importer heeds them
        path.write_bytes(scaled(path.read_bytes(), metres))
    return ((low.x + high.x) / 2, (low.y + high.y) / 2, low.z)


@contextmanager
def _only_selected(objects: Sequence[bpy.types.Object]) -> Iterator[None]:
    """The exporter asks the objects themselves whether they are selected."""
    layer = bpy.context.view_layer
    before = [obj for obj in layer.objects if obj.select_get(view_layer=layer)]
    try:
        for obj in layer.objects:
            obj.select_set(obj in objects, view_layer=layer)
        yield
    finally:
        for obj in layer.objects:
            obj.select_set(obj in before, view_layer=layer)


def rebuild(
    source: Path, target: Path, progress: Progress, *,
    resolution: int = 1024, texture_size: int = 2048, faces: int = 100_000,
) -> None:  # fmt: skip
    """Take a GLB through voxels to a finished one; for threads.

    `resolution` in voxels along the longest side, `texture_size` in texels a side, `faces` the most triangles.
    Raises `EngineError` with what the process said, `Cancelled`.
    """
    arguments = [str(source), "--output", str(target), "--resolution", str(resolution)]
    arguments += ["--texture-size", str(texture_size), "--faces", str(faces), "--report"]
    progress.update("Rebuilding", 0.0)
    with awake("rebaking"):
        what = run_child(".geometry.finish.rebake", arguments, progress.check, progress.update)
    if what:
        raise EngineError("The objects could not be rebuilt: {what}", what=what)


def rebuilt_asset(source: Path, target: Path, name: str, progress: Progress, **sizes: int) -> Asset:
    """`rebuild`, and what it made as an asset that knows where it comes from; for threads."""
    rebuild(source, target, progress, **sizes)
    return Asset(target, name, {"engine": ENGINE, "image": name, "settings": sizes, "generator": GENERATOR})


def rebake(objects: Sequence[bpy.types.Object], **sizes: int) -> bpy.types.Object:
    """One clean asset of a pile of objects, in their place and size; waits for it. The objects stay as they are.

    `sizes` as in `rebuild`. Main thread only. Raises `InputError`, `EngineError`; then nothing has changed.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "objects.glb"), Path(folder, "rebuilt.glb")
        place = export_selection(objects, source)
        asset = rebuilt_asset(source, target, f"{objects[0].name} Rebuilt", Progress(), **sizes)
        return import_asset(asset, height=None, location=place)
