"""The writers of files, one for each kind: Blender's own exporters with the switches that each needs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ...core.errors import TrellisError
from ...formats.glb.scenes import scaled
from ...formats.threemf import write_3mf
from ..importing.gltf import without_hooks
from ..rules.units import metres_per_unit
from .pictures import as_they_are, has_normal_maps, with_pictures

_PRINTERS = 1000.0  # STL has no unit, and printers take millimetres


@dataclass(frozen=True)
class Engine:
    """What a program asks of an export: `png` where it reads no WebP, `directx` where its normal maps have green
    down, `fbx` the switches of Blender's FBX exporter, `print` where the unit is a printer's, `film` where Y is up
    in a USD and what is to be subdivided is left to the renderer."""

    png: bool = False
    directx: bool = False
    fbx: tuple[tuple[str, Any], ...] = ()
    print: bool = False
    film: bool = False


# Unreal: normals are DirectX's, scale stays in the file's unit. Unity: the axes baked in and the scale 1, or every
# object comes in turned by -90 degrees at scale 100.
ENGINES: dict[str, Engine] = {
    "": Engine(),
    "unreal": Engine(png=True, directx=True, fbx=(("apply_scale_options", "FBX_SCALE_NONE"),)),
    "unity": Engine(png=True, fbx=(("apply_scale_options", "FBX_SCALE_ALL"), ("bake_space_transform", True))),
    "godot": Engine(),
    "print": Engine(print=True),
    "film": Engine(png=True, film=True),
}
TEXTURES = ("inside", "beside")


def _write_glb(meshes: Sequence[bpy.types.Object], path: Path, engine: Engine, beside: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="trellis2-") as pictures:  # they go into the file
        is_changed = engine.png or engine.directx
        swap = with_pictures(meshes, Path(pictures), engine.directx) if is_changed else as_they_are()
        with swap, without_hooks():
            bpy.ops.export_scene.gltf(
                filepath=f"{path}",
                export_format="GLB",
                use_selection=True,
                use_active_scene=True,
                export_apply=True,
                export_extras=True,
                export_tangents=has_normal_maps(meshes),  # else each program makes its own
                export_animations=False,
                export_rest_position_armature=not _rigs(meshes),  # as they are posed
            )
    metres = metres_per_unit(bpy.context.scene)
    if metres != 1.0:  # Blender's exporter writes its units as metres
        path.write_bytes(scaled(path.read_bytes(), metres))


def _write_fbx(meshes: Sequence[bpy.types.Object], path: Path, engine: Engine, beside: bool) -> None:
    if "fbx" not in dir(bpy.ops.export_scene):
        raise TrellisError("FBX is switched off; switch on the FBX format under Preferences > Add-ons.")
    with tempfile.TemporaryDirectory(prefix="trellis2-") as inside:
        pictures = _beside(path) if beside else Path(inside)
        with with_pictures(meshes, pictures, engine.directx, is_split=True):
            bpy.ops.export_scene.fbx(
                filepath=f"{path}",
                use_selection=True,
                object_types={"MESH", "EMPTY", "ARMATURE"},
                add_leaf_bones=False,
                mesh_smooth_type="FACE",
                use_custom_props=True,
                path_mode="RELATIVE" if beside else "COPY",
                embed_textures=not beside,
                bake_anim=False,
                **_fbx_switches(meshes, engine),
            )


def _fbx_switches(meshes: Sequence[bpy.types.Object], engine: Engine) -> dict[str, Any]:
    """Without the axes baked in where there is a skeleton, whose bones that would leave behind."""
    return {name: value for name, value in engine.fbx if name != "bake_space_transform" or not _rigs(meshes)}


def _rigs(objects: Sequence[bpy.types.Object]) -> list[bpy.types.Object]:
    return [obj for obj in objects if obj.type == "ARMATURE"]


def _write_obj(meshes: Sequence[bpy.types.Object], path: Path, engine: Engine, beside: bool) -> None:
    with with_pictures(meshes, _beside(path), engine.directx, is_split=True):
        bpy.ops.wm.obj_export(
            filepath=f"{path}",
            export_selected_objects=True,
            export_pbr_extensions=True,
            path_mode="RELATIVE",
            global_scale=metres_per_unit(bpy.context.scene) * (_PRINTERS if engine.print else 1.0),
        )


def _write_usd(meshes: Sequence[bpy.types.Object], path: Path, engine: Engine, beside: bool) -> None:
    known = _usd_switches()
    textures = {"export_textures_mode": "KEEP"} if "export_textures_mode" in known else {"export_textures": False}
    if path.suffix.lower() == ".usdz":
        textures = {"export_textures_mode": "NEW"} if "export_textures_mode" in known else {"export_textures": True}
    switches: dict[str, Any] = {
        "evaluation_mode": "VIEWPORT",
        "export_subdivision": "BEST_MATCH" if engine.film else "TESSELLATE",
    }
    if "convert_scene_units" in known:
        switches["convert_scene_units"] = "METERS"
    if engine.film:
        switches |= {
            "convert_orientation": True,
            "export_global_forward_selection": "NEGATIVE_Z",
            "export_global_up_selection": "Y",
        }
    with tempfile.TemporaryDirectory(prefix="trellis2-") as inside:
        pictures = Path(inside) if path.suffix.lower() == ".usdz" else _beside(path)
        with with_pictures(meshes, pictures, engine.directx), _meshes_named(meshes):
            bpy.ops.wm.usd_export(
                filepath=f"{path}",
                selected_objects_only=True,
                export_animation=False,
                export_materials=True,
                relative_paths=True,
                **textures,
                **{name: value for name, value in switches.items() if name in known},
            )


@contextmanager
def _meshes_named(objects: Sequence[bpy.types.Object]) -> Iterator[None]:
    """While it lasts each mesh is called as its object: a USD's readers take the name of the one for the other's."""
    wanted = {obj.data: obj.name for obj in reversed(objects) if obj.type == "MESH" and obj.data.is_editable}
    others = {mesh.name: mesh for mesh in bpy.data.meshes if mesh.is_editable}
    kept = {mesh: mesh.name for mesh, name in wanted.items() if mesh.name != name}
    for name in [wanted[mesh] for mesh in kept]:
        if name in others:
            kept.setdefault(others[name], name)
    for number, mesh in enumerate(kept):
        mesh.name = f"trellis2 {number}"  # out of each other's way
    for mesh in kept:
        mesh.name = wanted.get(mesh, mesh.name)
    try:
        yield
    finally:
        for number, mesh in enumerate(kept):
            mesh.name = f"trellis2 {number}"
        for mesh, name in kept.items():
            mesh.name = name


def _write_stl(meshes: Sequence[bpy.types.Object], path: Path, engine: Engine, beside: bool) -> None:
    bpy.ops.wm.stl_export(
        filepath=f"{path}",
        export_selected_objects=True,
        apply_modifiers=True,
        forward_axis="Y",
        up_axis="Z",
        global_scale=_PRINTERS * metres_per_unit(bpy.context.scene),
    )


def _write_3mf(meshes: Sequence[bpy.types.Object], path: Path, engine: Engine, beside: bool) -> None:
    scale = _PRINTERS * metres_per_unit(bpy.context.scene)
    path.write_bytes(write_3mf({obj.name: _triangles_of(obj, scale) for obj in meshes if obj.type == "MESH"}))


def _triangles_of(obj: bpy.types.Object, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The object as it stands, modifiers applied, in triangles that face outwards."""
    evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    try:
        mesh.transform(obj.matrix_world)
        if obj.matrix_world.is_negative:
            mesh.flip_normals()
        mesh.calc_loop_triangles()
        points = np.empty((len(mesh.vertices), 3), np.float32)
        mesh.vertices.foreach_get("co", points.reshape(-1))
        faces = np.empty((len(mesh.loop_triangles), 3), np.int32)
        mesh.loop_triangles.foreach_get("vertices", faces.reshape(-1))
    finally:
        evaluated.to_mesh_clear()
    return points * np.float32(scale), faces


Writer = Callable[[Sequence[bpy.types.Object], Path, Engine, bool], None]
WRITERS: dict[str, Writer] = {
    ".glb": _write_glb,
    ".fbx": _write_fbx,
    ".usd": _write_usd,
    ".usda": _write_usd,
    ".usdc": _write_usd,
    ".usdz": _write_usd,
    ".obj": _write_obj,
    ".stl": _write_stl,
    ".3mf": _write_3mf,
}
ENDINGS = tuple(WRITERS)
WITH_LEVELS = (".glb", ".fbx", ".usd", ".usda", ".usdc", ".usdz")
WITH_SKELETONS = WITH_LEVELS
WITH_MATRICES = (".usd", ".usda", ".usdc", ".usdz", ".obj", ".stl", ".3mf")  # a shear is in them, or in the mesh


def unwritten_scale(ending: str) -> float:
    """What a unit of the scene is in metres where Blender's exporter takes it for one; 1 where what is written here
    goes by it."""
    if not ending.startswith(".usd") or "convert_scene_units" not in _usd_switches():
        return 1.0  # before it had a choice of units, it wrote down what the scene's are
    return metres_per_unit(bpy.context.scene)


def _usd_switches() -> list[str]:
    return list(bpy.ops.wm.usd_export.get_rna_type().properties.keys())


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem} textures")
