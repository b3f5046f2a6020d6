"""The Blender without a window that makes a GLB of what `copies` wrote: procedural materials baked, all in metres."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from ...core.errors import EngineError, TrellisError
from ...core.progress import Progress
from ...runtime.child import parent_progress
from .copies import FRAME, MATRIX, PIXELS
from .nodes import depends_on_place
from .sayable import is_sayable

_UV_SETS = 2  # that `formats.glb.read` knows


def main(arguments: Sequence[str]) -> int:
    """Do it, and end the process: some Blenders come down when they clean up after themselves."""
    if hasattr(os, "nice"):  # the artist goes on working
        os.nice(5)
    code = _run(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="export")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--texture-size", type=int, default=2048)
    options = parser.parse_args(arguments)
    try:
        export(options.source, options.target, options.texture_size, parent_progress())
    except (TrellisError, RuntimeError, OSError, MemoryError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def export(source: Path, target: Path, size: int, progress: Progress) -> None:
    """The copies in `source` as the GLB `target`, in metres; what glTF cannot express is baked, `size` texels a side.

    Raises `EngineError` where Blender cannot bake.
    """
    bpy.ops.wm.open_mainfile(filepath=str(source), load_ui=False)
    scene = bpy.context.scene
    frame = float(scene.get(FRAME, 0.0))
    scene.frame_set(math.floor(frame), subframe=frame % 1.0)
    _make_local()
    _take_pixels(scene, source.parent)
    matrices = {obj.name: _matrix(obj) for obj in scene.objects}
    if procedural := _procedural(scene):
        from .baking import bake

        progress.update("Baking procedural materials", 0.0)
        _demand_cycles()
        _single_users(scene, set(procedural))
        bake(
            scene, matrices, procedural, size, lambda share: progress.update("Baking procedural materials", 0.9 * share)
        )
    progress.update("Exporting", 0.9)
    for mesh in {obj.data for obj in scene.objects}:
        _drop_layers(mesh)
    _apply(scene, matrices)
    _write(target)
    progress.update("Exporting", 1.0)


def _make_local() -> None:
    for blocks in (bpy.data.node_groups, bpy.data.materials, bpy.data.images, bpy.data.meshes, bpy.data.objects):
        for block in [block for block in blocks if block.library is not None]:
            with contextlib.suppress(RuntimeError):
                block.make_local()


def _take_pixels(scene: bpy.types.Scene, folder: Path) -> None:
    """Images that nobody has saved, as they were painted."""
    for name, file in json.loads(scene.get(PIXELS, "{}")).items():
        image, pixels = bpy.data.images[name], np.load(folder / file)
        if pixels.dtype == np.uint8:
            pixels = pixels.astype(np.float32) / 255
        height, width, channels = pixels.shape
        whole = np.ones((height, width, 4), np.float32)
        whole[..., :channels] = pixels if channels != 1 else np.repeat(pixels, 3, axis=2)
        painted = bpy.data.images.new(name, width, height, alpha=channels == 4, float_buffer=image.is_float)
        painted.colorspace_settings.name = image.colorspace_settings.name
        painted.alpha_mode = image.alpha_mode
        painted.pixels.foreach_set(whole.reshape(-1))
        painted.pack()
        image.user_remap(painted)


def _matrix(obj: bpy.types.Object) -> Matrix:
    values = list(obj[MATRIX])
    return Matrix([values[row : row + 4] for row in range(0, 16, 4)])


def _used_materials(obj: bpy.types.Object) -> set[bpy.types.Material]:
    mesh = obj.data
    if not len(mesh.materials):
        return set()
    slots = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", slots)
    slots = np.unique(np.minimum(slots, len(mesh.materials) - 1))
    return {mesh.materials[slot] for slot in slots if mesh.materials[slot] is not None}


def _procedural(scene: bpy.types.Scene) -> list[bpy.types.Material]:
    """The materials that have to be baked.

    A GLB is read with two sets of UVs: where a mesh would need more, all its materials go onto the atlas.
    """
    used = {obj.name: _used_materials(obj) for obj in scene.objects}
    found = {material for materials in used.values() for material in materials if not is_sayable(material)}
    is_settled = False
    while not is_settled:
        is_settled = True
        for obj in scene.objects:
            others = used[obj.name] - found
            if others and len(_layers(obj.data, others)) + bool(used[obj.name] & found) > _UV_SETS:
                found |= others
                is_settled = False
    return sorted(found, key=lambda material: material.name)


def _layers(mesh: bpy.types.Mesh, materials: set[bpy.types.Material]) -> set[str]:
    """The UV layers of a mesh that these materials are laid on by."""
    shown = next((layer.name for layer in mesh.uv_layers if layer.active_render), "")
    found: set[str] = set()
    for material in materials:
        nodes = material.node_tree.nodes if material.node_tree is not None else ()
        found |= {node.uv_map or shown for node in nodes if node.type == "UVMAP"}
        found |= {shown for node in nodes if node.type in ("TEX_IMAGE", "TEX_COORD", "NORMAL_MAP")}
    return found & set(mesh.uv_layers.keys())


def _drop_layers(mesh: bpy.types.Mesh) -> None:
    """Without the UV layers that nothing uses."""
    kept = _layers(mesh, {material for material in mesh.materials if material is not None})
    for name in [layer.name for layer in mesh.uv_layers if layer.name not in kept]:
        mesh.uv_layers.remove(mesh.uv_layers[name])


def _demand_cycles() -> None:
    if not bpy.app.build_options.cycles:
        raise EngineError(
            "This Blender has no Cycles, which bakes procedural materials; bake them by another Blender, or use image "
            "textures."
        )
    import addon_utils

    if not addon_utils.check("cycles")[1]:
        addon_utils.enable("cycles")


def _single_users(scene: bpy.types.Scene, materials: set[bpy.types.Material]) -> None:
    """What looks different wherever it stands is baked for every object by itself, on a mesh of its own."""
    placed = {material for material in materials if depends_on_place(material)}
    for obj in scene.objects:
        if obj.data.users > 1 and _used_materials(obj) & placed:
            obj.data = obj.data.copy()


def _apply(scene: bpy.types.Scene, matrices: dict[str, Matrix]) -> None:
    """Put every mesh where it stands, which glTF's own transforms cannot say of all of them."""
    for obj in scene.objects:
        obj.hide_render = False
        if obj.data.users > 1:
            obj.data = obj.data.copy()
        obj.data.transform(matrices[obj.name])
        if matrices[obj.name].is_negative:
            obj.data.flip_normals()
        obj.matrix_world = Matrix.Identity(4)


def _write(target: Path) -> None:
    wanted = {
        "filepath": str(target),
        "export_format": "GLB",
        "export_apply": False,
        "export_animations": False,
        "export_skins": False,
        "export_morph": False,
        "export_vertex_color": "NONE",  # what a material makes of them has been baked
        "use_active_scene": True,
    }
    known = bpy.ops.export_scene.gltf.get_rna_type().properties.keys()
    outcome = bpy.ops.export_scene.gltf(**{name: value for name, value in wanted.items() if name in known})
    if "FINISHED" not in outcome or not target.is_file():
        raise EngineError("Blender's exporter wrote no file.")
