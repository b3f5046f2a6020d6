"""What assistants may do in the open scene. Main thread only; each raises `TrellisError` with a sentence."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface

from ...contract.budgets import BUDGETS
from ...core.errors import FieldError, TrellisError
from ...core.messages import message
from ...jobs.job import Job
from ..rules.units import metres_per_unit

_MOST = 200  # objects of one answer


class _Keys:
    """Who has the keys and tokens: not this folder."""

    of: Callable[[Job], str] = staticmethod(lambda job: "")


def take_keys(of: Callable[[Job], str]) -> None:
    """`of` has the key or token for a job from now on."""
    _Keys.of = staticmethod(of)


def objects() -> dict[str, Any]:
    """The mesh objects of the scene that is shown."""
    scene = bpy.context.scene
    meshes = [obj for obj in scene.objects if obj.type == "MESH"]
    selected = {obj.name for obj in bpy.context.view_layer.objects.selected}
    return {
        "file": bpy.data.filepath,
        "scene": scene.name,
        "metres_per_unit": metres_per_unit(scene),
        "objects": [
            {**_told(obj), "selected": obj.name in selected, "visible": obj.visible_get()} for obj in meshes[:_MOST]
        ],
        "more": max(0, len(meshes) - _MOST),
    }


def import_glb(
    path: str, name: str = "", height: float | None = 1.0, location: Sequence[float] | None = None
) -> dict[str, Any]:
    """A GLB as one object, standing on the ground; `height` in metres, None as the file has it."""
    from ..importing.importer import import_asset

    where = None if location is None else _three("location", location)
    obj = import_asset(_file(path), height=height, location=where, name=name)
    return _told(obj)


def place(
    name: str,
    location: Sequence[float] | None = None,
    turn_degrees: float | None = None,
    height: float | None = None,
    on_ground: bool = False,
) -> dict[str, Any]:
    """Where an object stands, which way it is turned about Z, how tall it is in metres."""
    from ..asset.height import set_height
    from ..asset.orientation import drop_to_ground
    from ..rules.guards import require_not_edited, require_own

    obj = _mesh(name)
    require_own(obj)
    require_not_edited(obj)
    if height is not None:
        set_height(obj, height)
    if location is not None:
        obj.location = _three("location", location)
    if turn_degrees is not None:
        obj.rotation_mode = "XYZ"
        obj.rotation_euler.z = math.radians(_finite("turn_degrees", turn_degrees))
    bpy.context.view_layer.update()
    if on_ground:
        drop_to_ground(obj)
    bpy.context.view_layer.update()
    return _told(obj)


def measure(name: str, contract: str = "") -> dict[str, Any]:
    """Size, triangles, soundness in words, and what fails of a contract."""
    from ..asset.contracts import check_contract
    from ..asset.judging import verdict
    from ..asset.statistics import measure as measured

    obj = _mesh(name)
    found = measured(obj)
    told = {
        "triangles": found.surface.triangles,
        "dimensions_metres": _rounded(found.dimensions),
        "textures": [f"{texture.name}: {texture.width} x {texture.height}" for texture in found.textures],
        "soundness": [text for _, text in verdict(found)],
    }
    if contract:
        told["contract"] = [str(finding) for finding in check_contract(obj, contract)]
    return told


def game_ready(name: str, budget: str = "mobile") -> dict[str, Any]:
    """Begin to bring an object within a budget; the new one takes its place when it is done."""
    if budget not in BUDGETS:
        raise FieldError("budget", budget, message("allowed: {allowed}", allowed=list(BUDGETS)))
    obj = _mesh(name)
    from ...runtime.child import has_finishing

    if not has_finishing():
        raise TrellisError(
            "The packages that this needs are not installed; the panel's Remesh and Rebake installs them."
        )
    from ..remaking import begin_game_ready

    begin_game_ready(bpy.context.scene, obj, budget, pgettext_iface(budget.capitalize()), _Keys.of)
    return {"begun": True, "look": "call objects again in a while: the new object stands in the place of the old one"}


def export(names: Sequence[str], path: str, engine: str = "", overwrite: bool = False) -> dict[str, Any]:
    """Objects to a GLB, FBX, USD, OBJ, STL or 3MF."""
    from ..delivery.exporting import export_asset

    files = export_asset([_mesh(name) for name in names], Path(path), engine=engine, overwrite=overwrite)
    return {"files": [str(file) for file in files]}


TOOLS: dict[str, Callable[..., dict[str, Any]]] = {
    "objects": objects,
    "import_glb": import_glb,
    "place": place,
    "measure": measure,
    "game_ready": game_ready,
    "export": export,
}
CHANGING = ("import_glb", "place")  # game_ready makes an undo step of its own when it is done


def fault_of(tool: str, arguments: dict[str, Any]) -> str:
    """What is wrong with a call before it is done; empty where nothing is. In any thread."""
    if tool not in TOOLS:
        return f"There is no tool {tool!r}; there are {', '.join(TOOLS)}."
    try:
        inspect.signature(TOOLS[tool]).bind(**arguments)
    except TypeError as error:
        return f"{tool}: {error}."
    return ""


def _told(obj: bpy.types.Object) -> dict[str, Any]:
    scale = metres_per_unit(bpy.context.scene)
    size = _rounded(side * scale for side in obj.dimensions)
    return {"name": obj.name, "location": _rounded(obj.location), "size_metres": size, "faces": len(obj.data.polygons)}


def _mesh(name: str) -> bpy.types.Object:
    obj = bpy.context.scene.objects.get(name) if isinstance(name, str) else None
    if obj is None or obj.type != "MESH":
        raise FieldError("name", name, message("the scene has no mesh object of this name"))
    return obj


def _file(path: str) -> Path:
    found = Path(path)
    if not found.is_file():
        raise FieldError("path", path, message("there is no such file"))
    return found


def _three(name: str, values: Sequence[float]) -> tuple[float, ...]:
    if not isinstance(values, (list, tuple)) or len(values) != 3:
        raise FieldError(name, f"{values}", message("give three numbers"))
    return tuple(_finite(name, value) for value in values)


def _finite(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e6:
        raise FieldError(name, f"{value}", message("give a number"))
    return float(value)


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 6) for value in values]
