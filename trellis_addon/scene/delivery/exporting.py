"""Objects to files that other programs take as they are: Blender's own exporters with the switches that each needs."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import bpy

from ...core.errors import FieldError, InputError, OutputError, TrellisError
from ...core.given import path_of
from ...core.messages import Message, message
from ...core.output import demand_free, put_in_place, reason_of, shortened, try_places
from ...formats.glb.scenes import SCALE_NODE
from ..rules.guards import require_not_edited, several
from ..rules.saying import reason_of as blender_reason
from ..rules.units import metres_per_unit
from .chains import distances_of, with_chains
from .godot import godot_scene
from .losses import losses_of_materials, losses_of_objects
from .selection import only_selected
from .stand_ins import is_exportable, with_stand_ins
from .writers import ENGINES, TEXTURES, WITH_LEVELS, WITH_MATRICES, WITH_SKELETONS, WRITERS, unwritten_scale

log = logging.getLogger(__name__)


def export_asset(
    objects: bpy.types.Object | Sequence[bpy.types.Object],
    target: str | os.PathLike[str],
    *,
    engine: str = "",
    textures: str = "inside",
    levels: bool = True,
    overwrite: bool = False,
    told: list[Message] | None = None,
) -> list[Path]:
    """Write objects, modifiers applied, to a .glb, .fbx, .usd (.usda, .usdc, .usdz), .obj, .stl or .3mf.

    Curves, texts, metaballs and instances go out as the meshes that they show. GLB, FBX and USD carry skeletons and
    shape keys too. What the file cannot hold of an object is logged, and added to `told`, a sentence each.
    `engine`: "unreal", "unity", "godot", "print", "film", or "" for none in particular. `textures`: "inside" the file
    where it can hold them (GLB, FBX, USDZ), else as PNGs in a folder "<name> textures" beside it. `levels`: a GLB, FBX
    or USD carries the levels of detail of an object too, in its place, named NAME_LOD0 and on, for Unreal's FBX in an
    LOD group; and its convex parts (`make_collision`), named as the engine knows them. For Godot a scene NAME.tscn
    comes beside such a GLB, in which each level is seen at its distance. STL and 3MF are in millimetres, for "print" an
    OBJ too; the others in metres. Quads stay quads but in GLB, STL and 3MF, which have none. Returns the files, the
    asset first.
    Main thread only. Raises `FieldError` for the target, `InputError`, `TrellisError`; then nothing was written.
    """
    given = several(objects)
    meshes = [obj for obj in dict.fromkeys(given) if is_exportable(obj)]
    told = [] if told is None else told
    path = path_of(target, "target", of_home=True)
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise FieldError("target", f"{path}", message("give a name that ends in {endings}", endings=list(WRITERS)))
    for name, value, allowed in (("engine", engine, tuple(ENGINES)), ("textures", textures, TEXTURES)):
        if value not in allowed:
            raise FieldError(name, value, message("allowed: {allowed}", allowed=[one for one in allowed if one]))
    if not meshes:
        raise InputError("There is no mesh with faces among the objects; select at least one.")
    require_not_edited(*meshes)
    demand_free(path, overwrite)
    try_places([path], "target")
    ending = path.suffix.lower()
    told += losses_of_objects(given, ending)
    with tempfile.TemporaryDirectory(prefix="trellis2-") as temporary:
        folder = Path(temporary)
        try:
            is_grouped = engine == "unreal" and ending == ".fbx"
            has_levels = levels and engine != "print" and ending in WITH_LEVELS
            with (
                with_chains(meshes, has_levels=has_levels, engine=engine, is_grouped=is_grouped) as exported,
                only_selected(exported),
                with_stand_ins(
                    exported,
                    has_skeletons=ending in WITH_SKELETONS,
                    has_matrices=ending in WITH_MATRICES,
                    told=told,
                    scale=unwritten_scale(ending),
                ) as shown,
                only_selected(shown),
            ):
                _require_faces(shown)
                told += losses_of_materials(shown, ending)
                write(shown, folder / path.name, ENGINES[engine], textures == "beside")
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
    for sentence in told:
        log.warning("%s: %s", path.name, sentence)
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


def _require_faces(objects: Sequence[bpy.types.Object]) -> None:
    """Raise `InputError` where modifiers leave nothing of any of them: exporters write an empty file of that."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    meshes = [obj for obj in objects if obj.type == "MESH"]
    if not meshes:
        raise InputError("There is no mesh with faces among the objects; select at least one.")
    if not any(len(obj.evaluated_get(depsgraph).data.polygons) for obj in meshes):
        name = meshes[0].name
        raise InputError('"{name}" has no faces left once its modifiers are applied; look at them first.', name=name)
