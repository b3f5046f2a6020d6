"""Objects to files that other programs take as they are: Blender's own exporters with the switches that each needs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ...core.errors import FieldError, InputError, OutputError, TrellisError
from ...core.messages import message
from ...core.output import demand_free, put_in_place, reason_of, shortened, try_places
from ...formats.glb.scenes import SCALE_NODE, scaled
from ...formats.threemf import write_3mf
from ...images import clean_name
from ..importing.gltf import without_hooks
from ..importing.materials import images_behind, principled_of
from ..rules.guards import require_not_edited
from ..rules.saying import reason_of as blender_reason
from ..rules.units import metres_per_unit
from .chains import distances_of, with_chains
from .godot import godot_scene
from .selection import only_selected
from .texture_size import read_picture

_ENDINGS_OF_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".tga", ".tif", ".tiff", ".exr", ".bmp")
_PRINTERS = 1000.0  # STL has no unit, and printers take millimetres


@dataclass(frozen=True)
class Engine:
    """What a program asks of an export: `png` where it reads no WebP, `directx` where its normal maps have green
    down, `fbx` the switches of Blender's FBX exporter."""

    png: bool = False
    directx: bool = False
    fbx: tuple[tuple[str, Any], ...] = ()


# Unreal: normals are DirectX's, scale stays in the file's unit. Unity: the axes baked in and the scale 1, or every
# object comes in turned by -90 degrees at scale 100.
ENGINES: dict[str, Engine] = {
    "": Engine(),
    "unreal": Engine(png=True, directx=True, fbx=(("apply_scale_options", "FBX_SCALE_NONE"),)),
    "unity": Engine(png=True, fbx=(("apply_scale_options", "FBX_SCALE_ALL"), ("bake_space_transform", True))),
    "godot": Engine(),
}
TEXTURES = ("inside", "beside")


def export_asset(
    objects: bpy.types.Object | Sequence[bpy.types.Object],
    target: str | os.PathLike[str],
    *,
    engine: str = "",
    textures: str = "inside",
    levels: bool = True,
    overwrite: bool = False,
) -> list[Path]:
    """Write objects, modifiers applied, to a .glb, .fbx, .usd (.usda, .usdc, .usdz), .obj, .stl or .3mf.

    `engine`: "unreal", "unity", "godot", or "" for none in particular. `textures`: "inside" the file where it can hold
    them (GLB, FBX, USDZ), else as PNGs in a folder "<name> textures" beside it. `levels`: a GLB, FBX or USD carries
    the levels of detail of an object too, in its place, named NAME_LOD0 and on, for Unreal's FBX in an LOD group; and
    its convex parts (`make_collision`), named as the engine knows them. For Godot a scene NAME.tscn comes beside such a
    GLB, in which each level is seen at its distance. STL and 3MF are in millimetres; the others in
    metres. Quads stay quads but in GLB, STL and 3MF, which have none. Returns the files, the asset first.
    Main thread only. Raises `FieldError` for the target, `InputError`, `TrellisError`; then nothing was written.
    """
    meshes = [obj for obj in ([objects] if isinstance(objects, bpy.types.Object) else objects) if _has_surface(obj)]
    path = Path(target)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise FieldError("target", f"{path}", message("give a name that ends in {endings}", endings=list(_WRITERS)))
    for name, value, allowed in (("engine", engine, tuple(ENGINES)), ("textures", textures, TEXTURES)):
        if value not in allowed:
            raise FieldError(name, value, message("allowed: {allowed}", allowed=[one for one in allowed if one]))
    if not meshes:
        raise InputError("There is no mesh with faces among the objects; select at least one.")
    require_not_edited(*meshes)
    demand_free(path, overwrite)
    try_places([path], "target")
    with tempfile.TemporaryDirectory(prefix="trellis2-") as temporary:
        folder = Path(temporary)
        try:
            ending = path.suffix.lower()
            is_grouped = engine == "unreal" and ending == ".fbx"
            has_levels = levels and ending in _WITH_LEVELS
            with (
                with_chains(meshes, has_levels=has_levels, engine=engine, is_grouped=is_grouped) as exported,
                only_selected(exported),
            ):
                _require_faces(exported)
                write(exported, folder / path.name, ENGINES[engine], textures == "beside")
            if engine == "godot" and ending == ".glb" and has_levels and (ranges := distances_of(meshes)):
                parent = "." if metres_per_unit(bpy.context.scene) == 1.0 else SCALE_NODE
                text = godot_scene(path.name, ranges, parent)
                (folder / f"{path.stem}.tscn").write_text(text, encoding="utf-8", newline="\n")
        except RuntimeError as error:
            raise TrellisError("Blender's exporter failed: {reason}", reason=f"{blender_reason(error)}.") from error
        made = sorted((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.name != path.name)
        if not made or made[0].name != path.name:
            raise TrellisError("Blender's exporter failed: {reason}", reason=message("it wrote no file."))
        places = {path.parent / file.relative_to(folder): file for file in made}
        try:
            put_in_place(places)
        except OSError as error:
            raise OutputError(
                "{path} cannot be written: {reason}.", path=shortened(path), reason=reason_of(error)
            ) from error
    return list(places)


def convert_obj(source: Path, target: Path) -> list[Path]:
    """An OBJ with its pictures as one of the other files, its quads as quads; for a process of its own, as the file
    that is open in it is left. Returns the files; raises as `export_asset` does."""
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.obj_import(filepath=f"{source}")
    made = [obj for obj in bpy.context.scene.objects if obj.type == "MESH"]
    for obj in made:
        obj.name = obj.data.name = source.stem
    return export_asset(made, target, overwrite=True)


def _write_glb(meshes: Sequence[bpy.types.Object], path: Path, engine: Engine, beside: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="trellis2-") as pictures:  # they go into the file
        swap = _with_pictures(meshes, Path(pictures), engine) if engine.png or engine.directx else _as_they_are()
        with swap, without_hooks():
            bpy.ops.export_scene.gltf(
                filepath=f"{path}",
                export_format="GLB",
                use_selection=True,
                use_active_scene=True,
                export_apply=True,
                export_extras=True,
                export_animations=False,
            )
    metres = metres_per_unit(bpy.context.scene)
    if metres != 1.0:  # Blender's exporter writes its units as metres
        path.write_bytes(scaled(path.read_bytes(), metres))


def _write_fbx(meshes: Sequence[bpy.types.Object], path: Path, engine: Engine, beside: bool) -> None:
    if "fbx" not in dir(bpy.ops.export_scene):
        raise TrellisError("FBX is switched off; switch on the FBX format under Preferences > Add-ons.")
    with tempfile.TemporaryDirectory(prefix="trellis2-") as inside:
        pictures = _beside(path) if beside else Path(inside)
        with _with_pictures(meshes, pictures, engine):
            bpy.ops.export_scene.fbx(
                filepath=f"{path}",
                use_selection=True,
                object_types={"MESH", "EMPTY"},
                mesh_smooth_type="FACE",
                use_custom_props=True,
                path_mode="RELATIVE" if beside else "COPY",
                embed_textures=not beside,
                bake_anim=False,
                **dict(engine.fbx),
            )


def _write_obj(meshes: Sequence[bpy.types.Object], path: Path, engine: Engine, beside: bool) -> None:
    with _with_pictures(meshes, _beside(path), engine):
        bpy.ops.wm.obj_export(
            filepath=f"{path}",
            export_selected_objects=True,
            export_pbr_extensions=True,
            path_mode="RELATIVE",
            global_scale=metres_per_unit(bpy.context.scene),
        )


def _write_usd(meshes: Sequence[bpy.types.Object], path: Path, engine: Engine, beside: bool) -> None:
    known = bpy.ops.wm.usd_export.get_rna_type().properties.keys()
    textures = {"export_textures_mode": "KEEP"} if "export_textures_mode" in known else {"export_textures": False}
    if path.suffix.lower() == ".usdz":
        textures = {"export_textures_mode": "NEW"} if "export_textures_mode" in known else {"export_textures": True}
    scale = {"convert_scene_units": "METERS"} if "convert_scene_units" in known else {}
    with tempfile.TemporaryDirectory(prefix="trellis2-") as inside:
        pictures = Path(inside) if path.suffix.lower() == ".usdz" else _beside(path)
        with _with_pictures(meshes, pictures, engine):
            bpy.ops.wm.usd_export(
                filepath=f"{path}",
                selected_objects_only=True,
                export_animation=False,
                export_materials=True,
                relative_paths=True,
                **textures,
                **scale,
            )


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
    path.write_bytes(write_3mf({obj.name: _triangles_of(obj, scale) for obj in meshes}))


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


_Writer = Callable[[Sequence[bpy.types.Object], Path, Engine, bool], None]
_WRITERS: dict[str, _Writer] = {
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
ENDINGS = tuple(_WRITERS)


_WITH_LEVELS = (".glb", ".fbx", ".usd", ".usda", ".usdc", ".usdz")


def _has_surface(obj: bpy.types.Object) -> bool:
    return obj.type == "MESH" and bool(len(obj.data.polygons))


def _require_faces(objects: Sequence[bpy.types.Object]) -> None:
    """Raise `InputError` where modifiers leave nothing of any of them: exporters write an empty file of that."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    meshes = [obj for obj in objects if obj.type == "MESH"]
    if not any(len(obj.evaluated_get(depsgraph).data.polygons) for obj in meshes):
        name = meshes[0].name
        raise InputError('"{name}" has no faces left once its modifiers are applied; look at them first.', name=name)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem} textures")


@contextmanager
def _as_they_are() -> Iterator[None]:
    yield


@contextmanager
def _with_pictures(meshes: Sequence[bpy.types.Object], folder: Path, engine: Engine) -> Iterator[None]:
    """While it lasts the materials show PNG files in the folder, under the names of the images that they show else.

    What is linked from another file cannot be changed: that shows its own.
    """
    materials = {slot.material for obj in meshes for slot in obj.material_slots if slot.material}
    nodes = [
        node
        for material in materials
        if material.node_tree and material.is_editable and material.override_library is None
        for node in material.node_tree.nodes
        if node.type == "TEX_IMAGE" and node.image and node.image.is_editable
    ]
    normals = {image for material in materials for image in _normal_maps(material)} if engine.directx else set()
    shown = [(node, node.image) for node in nodes]
    made: dict[bpy.types.Image, bpy.types.Image] = {}
    names: dict[bpy.types.Image, str] = {}
    try:
        for _, image in shown:
            if image not in made and image.source in ("FILE", "GENERATED"):
                # without its picture, whose file is gone, the material goes out as it is
                with suppress(RuntimeError):
                    made[image] = _as_png(image, folder, image in normals)
        for image, new in made.items():
            names[image] = image.name
            image.name, new.name = f"{image.name} (kept)", names[image]
        for node, image in shown:
            node.image = made.get(image, image)
        yield
    finally:
        for node, image in shown:
            node.image = image
        bpy.data.batch_remove(list(made.values()))
        for image, name in names.items():
            image.name = name


def _as_png(image: bpy.types.Image, folder: Path, flip_green: bool) -> bpy.types.Image:
    """A new image, of a PNG file in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    name = clean_name(image.name)
    if Path(name).suffix.lower() in _ENDINGS_OF_IMAGES:  # the name of the file that it came from
        name = Path(name).stem or name
    path = folder / f"{name}.png"
    count = 1
    while path.exists():
        count += 1
        path = folder / f"{name} {count}.png"
    picture, _ = read_picture(image)
    if picture is None:
        copy = image.copy()
        try:
            copy.filepath_raw, copy.file_format = f"{path}", "PNG"
            copy.save()
        finally:
            bpy.data.images.remove(copy)
    else:
        picture.save(path, "PNG", compress_level=6)
    if flip_green:
        _flip_green(path)
    new = bpy.data.images.load(f"{path}")
    new.colorspace_settings.name = image.colorspace_settings.name
    new.alpha_mode = image.alpha_mode
    return new


def _flip_green(path: Path) -> None:
    from PIL import Image as Pillow

    with Pillow.open(path) as picture:
        bands = list(picture.convert("RGB").split())
    bands[1] = bands[1].point(lambda value: 255 - value)
    Pillow.merge("RGB", bands).save(path, "PNG", compress_level=6)


def _normal_maps(material: bpy.types.Material) -> list[bpy.types.Image]:
    principled = principled_of(material)
    return images_behind(principled.inputs["Normal"]) if principled else []
