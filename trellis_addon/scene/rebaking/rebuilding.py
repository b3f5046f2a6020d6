"""Remesh and rebake: any pile of objects becomes one clean asset, in its place and in its size.

Copies of the objects as they look go to a Blender without a window, which bakes what is procedural and exports a GLB;
that goes to a Python with what finishing needs, which remeshes it and bakes its maps anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from ...core.errors import EngineError, FieldError, InputError
from ...core.files import discard
from ...core.given import plain, whole
from ...core.machine.awake import awake
from ...core.messages import message
from ...core.progress import Progress
from ...formats.glb.write import GENERATOR
from ...jobs.job import Asset
from ...runtime.child import finishing_packages, run_blender, run_child
from ..asset.lod_import import import_in_place
from ..place.succession import take_place_of
from ..rules.guards import several
from ..words import REBUILT
from .copies import save_copies

SOLIDITIES = ("automatic", "solid", "sheets")
_EXPORTED = 0.3  # of the whole way
FEWEST = 4  # triangles: a closed form has no fewer
FEWEST_QUADS, MOST_QUADS = 24, 1_000_000


def save_objects(objects: Sequence[bpy.types.Object], folder: Path) -> Path:
    """Keep these objects as they look now, for `rebuilt_asset`: the file in `folder` that holds them.

    Main thread only. Raises `InputError` where there is no surface among them, `EngineError` where the packages that
    rebaking needs are not here.
    """
    finishing_packages()
    path = folder / "copies.blend"
    save_copies(objects, path)
    return path


def rebuilt_asset(copies: Path, name: str, progress: Progress, program: str, **options: Any) -> Asset:
    """What `save_objects` kept as one clean asset that knows where it comes from; its file lies beside. For threads.

    `program` is Blender's own (`bpy.app.binary_path`), `options` are those of `rebake`. Raises `EngineError` with what
    a process said, `Cancelled`.
    """
    target = copies.with_name("rebuilt.glb")
    with awake("rebaking"):
        _rebuild(copies, target, progress, program, options)
    return Asset(target, name, {"engine": REBUILT, "image": name, "settings": options, "generator": GENERATOR})


def _rebuild(copies: Path, target: Path, progress: Progress, program: str, options: dict[str, Any]) -> None:
    source = copies.with_name("source.glb")
    chosen = _arguments(**options)
    size = str(options.get("texture_size", 2048))
    arguments = [str(copies), str(source), "--texture-size", size]
    progress.update("Reading the objects", 0.0)
    exported = progress.part(0.0, _EXPORTED)
    what = run_blender(program, ".scene.rebaking.process", arguments, progress.check, exported.update)
    for path in (copies, *copies.parent.glob("*.npy")):  # they may be large
        discard(path)
    if what:
        raise EngineError("The objects could not be read: {what}", what=what)
    rebuilt = progress.part(_EXPORTED, 1.0)
    packages = finishing_packages()
    arguments = [str(source), "--output", str(target), *chosen, "--report"]
    what = run_child(".geometry.finish.rebake", arguments, progress.check, rebuilt.update, packages=packages)
    if what:
        raise EngineError("The objects could not be rebuilt: {what}", what=what)


def rebake(
    objects: bpy.types.Object | Sequence[bpy.types.Object], *, hide_sources: bool = False, **options: Any
) -> bpy.types.Object:
    """One clean asset of a pile of objects as they look, in their place and size; waits for it.

    `options`: `resolution` (512) in voxels along the longest side; `texture_size` (2048) in texels a side; `faces`
    (50 000), the most triangles, of several levels of detail those of each; `quads`, about how many of them in place of
    triangles; `lods`, how many levels of detail where `faces` is one number, each with UVs and maps of its own, which
    it shows by distance (`make_lods`); `solidity`: "automatic",
    "solid" closes every part, "sheets" keeps open ones so; `normal_map`: None (where it helps), True or False;
    `remesh` (True), False cleans the surface and keeps its triangles; `texture_format`: "webp" or "png". The objects
    stay as they are; `hide_sources` hides them.
    Main thread only. Raises `InputError`, `EngineError`; then nothing has changed.
    """
    options = {option: plain(value) for option, value in options.items()}
    check_options(**options)  # what cannot be is told before anything is done
    objects = several(objects)
    with tempfile.TemporaryDirectory() as folder:
        copies = save_objects(objects, Path(folder))
        name = f"{objects[0].name} Rebuilt"
        asset = rebuilt_asset(copies, name, Progress(), bpy.app.binary_path, **options)
        made = import_in_place(asset)
        take_place_of(bpy.context.scene, [made], {obj.session_uid for obj in objects}, is_hiding=hide_sources)
        return made


def check_options(**options: Any) -> None:
    """Raises `InputError` for options of `rebake` that cannot be."""
    _arguments(**options)


def _arguments(
    *,
    resolution: int = 512,
    texture_size: int = 2048,
    faces: int | Sequence[int] = 50_000,
    solidity: str = "automatic",
    normal_map: bool | None = None,
    remesh: bool = True,
    texture_format: str = "webp",
    quads: int | None = None,
    lods: int = 1,
) -> list[str]:
    """The options as the command takes them."""
    if solidity not in SOLIDITIES:
        raise InputError(
            "solidity: {given} cannot be used; choose one of {allowed}.", given=solidity, allowed=SOLIDITIES
        )
    budgets: Sequence[Any] = [plain(each) for each in (faces if isinstance(faces, (list, tuple)) else [faces])]
    texture_size = plain(texture_size)
    if not budgets or not all(isinstance(each, int) and each >= FEWEST for each in budgets):
        raise FieldError("faces", faces, message("give at least {fewest} triangles", fewest=FEWEST))
    if not isinstance(texture_size, int) or not 16 <= texture_size <= 16384:
        raise FieldError("texture_size", texture_size, "it must be 16 to 16384 texels")
    for field, value, (least, most) in (("resolution", resolution, (8, 2048)), ("lods", lods, (1, 8))):
        whole(value, field, least, most, message("give a whole number from {least} to {most}", least=least, most=most))
    if quads is not None:
        rule = message("give a whole number from {least} to {most}", least=FEWEST_QUADS, most=MOST_QUADS)
        quads = whole(quads, "quads", FEWEST_QUADS, MOST_QUADS, rule)
    if texture_format not in ("webp", "png"):
        raise FieldError("texture_format", texture_format, message("allowed: {allowed}", allowed=["webp", "png"]))
    found = ["--resolution", str(resolution), "--texture-size", str(texture_size)]
    found += ["--faces", ",".join(map(str, budgets))]
    found += ["--format", texture_format]
    if solidity != "automatic":
        found.append(f"--{solidity}")
    if normal_map is not None:
        found.append("--normal-map" if normal_map else "--no-normal-map")
    if lods != 1:
        found += ["--lods", str(lods)]
    if quads is not None:
        found += ["--quads", str(quads)]
    if not remesh:
        found.append("--keep-topology")
    return found
