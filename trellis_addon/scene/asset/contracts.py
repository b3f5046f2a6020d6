"""An asset of the scene held against a contract, and what of it can be mended here and now."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ...contract.check import Finding, check
from ...contract.contract import LARGEST_SIDE, Contract, find_contract
from ...contract.facts import FRONT, AssetFacts, Image, front_of, parts_of
from ...contract.surface import MeshArrays
from ...core.messages import from_store, to_store
from ...core.progress import Progress
from ..importing.materials import images_behind, images_of, principled_of
from ..importing.staging import staging_scene
from ..rules.guards import mesh_as_it_is, require_own, require_surface
from ..rules.units import metres_per_unit, scene_of
from .decimate import decimated
from .height import set_height
from .orientation import apply_transform, box_about_origin, require_movable, set_front, set_origin, with_levels
from .statistics import fingerprint, measure_surface, read_mesh, texture_of
from .texture_size import fit_textures

PROPERTY = "trellis2_contract"  # of an object: what was found when it was last held against one
_INPUTS = {
    "base_colour": ("Base Color",),
    "metallic_roughness": ("Metallic", "Roughness"),
    "normal": ("Normal",),
    "emission": ("Emission Color",),
}
# Where a height may be a range, it is made this much of its nearer end, so that rounding does not break it again.
_INSIDE = 1e-3


def asset_facts(obj: bpy.types.Object) -> AssetFacts:
    """The facts of a mesh object as it stands, without its modifiers; raises `InputError` for anything else."""
    require_surface(obj)
    bpy.context.view_layer.update()
    low, high = box_about_origin(obj)
    metres = metres_per_unit(scene_of(obj))
    rotation, scale = parts_of(np.array(obj.matrix_world))
    used = _materials_in_use(obj)
    arrays = read_mesh(obj)
    x0, y0, z0 = (low * metres).tolist()
    x1, y1, z1 = (high * metres).tolist()
    return AssetFacts(
        names=(obj.name,),
        low=(x0, y0, z0),
        high=(x1, y1, z1),
        surface=measure_surface(arrays),
        turns=rotation[None],
        scales=scale[None],
        fronts=front_of(rotation * np.sign(scale), obj.get(FRONT))[None],
        materials=tuple(material.name if material else "" for material in used),
        maps=frozenset.intersection(*map(_maps_of, used)) if used else frozenset(),
        images=tuple(Image(fact.name, fact.width, fact.height) for fact in map(texture_of, images_of(obj))),
        mesh=_in_metres(arrays, np.array(obj.matrix_world)[:3, :3] * metres),
    )


def _in_metres(arrays: MeshArrays, matrix: np.ndarray) -> MeshArrays:
    """The mesh about its origin; one that is mirrored is turned over, so that it faces outwards still."""
    positions = (arrays.positions @ matrix.T).astype(np.float32)
    if np.linalg.det(matrix) >= 0:
        return MeshArrays(positions, arrays.corners, arrays.starts, None)
    ends = np.append(arrays.starts[1:], len(arrays.corners))
    starts = (len(arrays.corners) - ends[::-1]).astype(np.int32)
    return MeshArrays(positions, arrays.corners[::-1].copy(), starts, None)


def check_contract(
    obj: bpy.types.Object, contract: str | os.PathLike[str] | Mapping[str, Any] | Contract
) -> list[Finding]:
    """What of a contract (a preset's name, a JSON file, or its rules) the object does not keep.

    Raises `InputError` for what has no surface and for a contract that cannot be read.
    """
    return check(asset_facts(obj), find_contract(contract))


def mend(
    obj: bpy.types.Object,
    contract: str | os.PathLike[str] | Mapping[str, Any] | Contract,
    *,
    progress: Progress | None = None,
) -> list[Finding]:
    """Mend what can be mended without making the asset anew, and return what is left.

    Name, height, front, origin, transforms, the most triangles and the sides of textures are; for what needs a new
    surface or new maps there is *Remesh and Rebake*. Raises `InputError`, `TrellisError` as the tools do.
    """
    rules = find_contract(contract)
    broken = {finding.rule for finding in check_contract(obj, rules)}
    with_levels(obj)  # which says what stands in the way, before anything is changed
    if broken & {"front", "origin", "applied"}:
        require_movable(obj)
    for rule, cure in _CURES.items():
        if rule in broken:
            cure(obj, rules, progress or Progress())
    return check_contract(obj, rules)


def _mend_name(obj: bpy.types.Object, rules: Contract, progress: Progress) -> None:
    """By the first pattern with one star: what stands around the star is put around the name."""
    pattern = next((p for p in rules.names or () if p.count("*") == 1 and not set(p) & set("?[")), None)
    if pattern is None:
        return
    before, after = pattern.split("*")
    obj.name = before + obj.name.removeprefix(before).removesuffix(after) + after


def _mend_height(obj: bpy.types.Object, rules: Contract, progress: Progress) -> None:
    allowed = rules.height
    assert allowed is not None
    slack = min(_INSIDE * allowed.most, (allowed.most - allowed.least) / 2)
    height = asset_facts(obj).height
    set_height(obj, allowed.least + slack if height < allowed.least else allowed.most - slack)


def _mend_front(obj: bpy.types.Object, rules: Contract, progress: Progress) -> None:
    front = asset_facts(obj).front
    if not front:  # it is turned by an odd angle: as it was made is how it was meant
        place = Matrix.Translation(obj.matrix_world.translation)
        back = Matrix.Rotation(-obj.matrix_world.to_euler().z, 4, "Z")
        obj.matrix_world = place @ back @ place.inverted() @ obj.matrix_world
        bpy.context.view_layer.update()
        front = asset_facts(obj).front
    if front and rules.front:
        set_front(obj, front, rules.front)


def _mend_triangles(obj: bpy.types.Object, rules: Contract, progress: Progress) -> None:
    allowed = rules.triangles
    assert allowed is not None
    count = asset_facts(obj).surface.triangles
    most = int(allowed.most)
    require_own(obj, obj.data)
    while count > most:
        progress.check()
        old, name = obj.data, obj.data.name
        with staging_scene():  # at whose end goes what nobody uses
            obj.data = made = decimated(old, max(most / count, 1e-4) * 0.995, obj)
        if old.users == 0:
            bpy.data.meshes.remove(old)
            made.name = name
        now = asset_facts(obj).surface.triangles
        if now >= count:
            return  # nothing more can go
        count = now


def _mend_textures(obj: bpy.types.Object, rules: Contract, progress: Progress) -> None:
    """To the largest power of two that is allowed, or, where that alone is asked for, each side to the nearest one."""
    most = 1 << ((rules.texture_size or LARGEST_SIDE).bit_length() - 1)
    fit = _power_of_two if rules.power_of_two else int
    fit_textures(obj, lambda side: min(fit(side), most), most, progress=progress)


def _power_of_two(side: int) -> int:
    return int(2 ** round(math.log2(side)))


_CURES: dict[str, Callable[[bpy.types.Object, Contract, Progress], None]] = {
    "names": _mend_name,
    "front": _mend_front,
    "applied": lambda obj, rules, progress: apply_transform(obj),
    "height": _mend_height,
    "origin": lambda obj, rules, progress: set_origin(obj, rules.origin or "bottom"),
    "triangles": _mend_triangles,
    "texture_size": _mend_textures,
    "power_of_two": _mend_textures,
}
MENDED = frozenset(_CURES)
"""The rules that `mend` knows a cure for."""


def _materials_in_use(obj: bpy.types.Object) -> list[bpy.types.Material | None]:
    if not obj.material_slots:
        return [None]
    with mesh_as_it_is(obj) as mesh:
        numbers = np.zeros(len(mesh.polygons), np.int32)
        mesh.polygons.foreach_get("material_index", numbers)
    last = len(obj.material_slots) - 1
    return list(dict.fromkeys(obj.material_slots[min(number, last)].material for number in np.unique(numbers)))


def _maps_of(material: bpy.types.Material | None) -> frozenset[str]:
    principled = principled_of(material) if material else None
    if principled is None or material is None:
        return frozenset()
    found = {
        name
        for name, inputs in _INPUTS.items()
        if any(images_behind(principled.inputs[one]) for one in inputs if one in principled.inputs)
    }
    if any(node.type == "GROUP" and _has_occlusion(node) for node in material.node_tree.nodes):
        found.add("occlusion")
    return frozenset(found)


def _has_occlusion(node: bpy.types.Node) -> bool:
    """Whether it is the group that glTF's exporter and importer keep the occlusion map in."""
    return "Occlusion" in node.inputs and bool(images_behind(node.inputs["Occlusion"]))


def remember_findings(obj: bpy.types.Object, contract: str, found: Sequence[Finding]) -> None:
    """Keep on the object what it does not keep of a contract, where the panel finds it; raises `InputError` for an
    object of another file."""
    require_own(obj)
    rows = [[finding.rule, to_store(finding.sentence)] for finding in found]
    obj[PROPERTY] = json.dumps({"of": _state_of(obj), "contract": contract, "found": rows})


def recall_findings(obj: bpy.types.Object, contract: str) -> tuple[list[Finding], bool] | None:
    """What was found of this contract, and whether the object still is what was looked at; None where nobody has."""
    try:
        kept = json.loads(obj.get(PROPERTY, ""))
        if kept["contract"] != contract:
            return None
        found = [Finding(str(rule), from_store(sentence)) for rule, sentence in kept["found"]]
        return found, kept["of"] == _state_of(obj)
    except (ValueError, TypeError, KeyError):
        return None


def _state_of(obj: bpy.types.Object) -> list[Any]:
    """What changes with nearly everything that a contract asks for, and costs nothing to ask."""
    place = [round(value, 5) for row in obj.matrix_world.to_3x3() for value in row]
    return [obj.name, *fingerprint(obj), *place, *(round(value, 5) for corner in obj.bound_box for value in corner)]
