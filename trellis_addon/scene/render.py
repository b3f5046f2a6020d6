"""A studio picture of one object: for previews, for the README, and for looking at what was made."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
from mathutils import Matrix, Vector

from ..core.errors import FieldError, TrellisError
from ..core.files import BRIEF, unlink
from ..core.given import path_of
from ..core.messages import message
from .importing.placement import world_bounds
from .rules.colour import set_plain_view
from .rules.guards import require_points, write_back
from .rules.saying import reason_of as blender_reason

# Where the camera stands: degrees around the object (0 is in front) and above the ground.
VIEWS = {"front": (0.0, 8.0), "three_quarter": (35.0, 16.0), "side": (90.0, 8.0), "back": (180.0, 8.0)}
PAPER = (226, 227, 229, 255)


def render_object(
    obj: bpy.types.Object,
    path: str | os.PathLike[str],
    *,
    size: int = 800,
    samples: int = 24,
    view: str = "three_quarter",
    transparent: bool = False,
) -> Path:
    """Render the object alone, in studio light, to a square PNG of `size` pixels; the scene stays as it is.

    Uses Cycles on the CPU, so that it works on every machine and without a window. Raises `InputError` for what is no
    mesh object, `TrellisError` where it cannot be rendered.
    """
    require_points(obj)
    path = path_of(path, "path", of_home=True)
    if view not in VIEWS:
        raise FieldError("view", view, message("allowed: {allowed}", allowed=list(VIEWS)))
    write_back(obj)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _studio(obj, view, floor=not transparent) as scene:
        render = scene.render
        _use_cycles(scene)
        scene.cycles.samples = samples
        scene.cycles.use_denoising = samples >= 16
        scene.cycles.use_adaptive_sampling = True
        render.resolution_x = render.resolution_y = size
        render.resolution_percentage = 100
        render.film_transparent = True
        render.filepath = str(path)
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode = "RGBA"
        set_plain_view(scene)
        _render(scene, path)
    if not transparent:
        _put_on_paper(path)
    return path


def _use_cycles(scene: bpy.types.Scene) -> None:
    try:
        scene.render.engine = "CYCLES"
    except TypeError as error:
        raise TrellisError(
            "Cycles is switched off, and nothing else renders everywhere: switch on Cycles Render Engine in "
            "Preferences > Add-ons."
        ) from error


def _render(scene: bpy.types.Scene, path: Path) -> None:
    """Render to a file that is not there before, so that it shows whether it was made."""
    unlink(path, BRIEF)
    try:
        bpy.ops.render.render(write_still=True, scene=scene.name)
    except RuntimeError as error:
        raise TrellisError("The picture cannot be rendered: {reason}", reason=f"{blender_reason(error)}.") from error
    if not path.is_file():
        raise TrellisError(
            "The picture {path} could not be rendered; wait for other renders, and try again.", path=path
        )


@contextmanager
def _studio(obj: bpy.types.Object, view: str, *, floor: bool) -> Iterator[bpy.types.Scene]:
    """A scene with the object, a camera, three lights and a floor, removed afterwards."""
    made: list[bpy.types.ID] = []
    scene = bpy.data.scenes.new("TRELLIS.2 Studio")
    made.append(scene)
    try:
        scene.collection.objects.link(obj)
        scene.view_layers[0].update()
        low, high = world_bounds(obj)
        centre, radius = (low + high) / 2, max((high - low).length / 2, 1e-3)
        scene.world = world = bpy.data.worlds.new("TRELLIS.2 Studio")
        made.append(world)
        _set_world(world)
        for name, angle, rise, energy, width in (
            ("Key", -45, 40, 95, 1.2),
            ("Fill", 60, 20, 34, 2.0),
            ("Rim", 160, 35, 70, 1.0),
        ):
            light = bpy.data.lights.new(name, "AREA")
            light.energy, light.size = energy * radius**2, width * radius
            made += [_stand(scene, light, centre, angle, rise, 3.2 * radius), light]
        camera = bpy.data.cameras.new("Camera")
        camera.lens = 70
        camera.clip_start, camera.clip_end = radius / 100, radius * 100
        distance = radius / math.sin(camera.angle / 2) * 0.96
        made += [_stand(scene, camera, centre, *VIEWS[view], distance), camera]
        scene.camera = made[-2]
        if floor:
            made += _floor(scene, centre.xy.to_3d() + Vector((0, 0, low.z)), radius)
        yield scene
    finally:
        bpy.data.batch_remove(made)


def _stand(
    scene: bpy.types.Scene, data: bpy.types.ID, centre: Vector, angle: float, rise: float, distance: float
) -> bpy.types.Object:
    """An object around `centre`, looking at it; it looks along -Z, and the asset's front faces -Y."""
    turn = Matrix.Rotation(math.radians(angle), 4, "Z") @ Matrix.Rotation(math.radians(90 - rise), 4, "X")
    obj = bpy.data.objects.new(data.name, data)
    obj.matrix_world = Matrix.Translation(centre) @ turn @ Matrix.Translation((0, 0, distance))
    scene.collection.objects.link(obj)
    return obj


def _set_world(world: bpy.types.World) -> None:
    if world.node_tree is None:  # before 5.0 a new world has no nodes
        world.use_nodes = True
    background = next((n for n in world.node_tree.nodes if n.type == "BACKGROUND"), None)
    if background is not None:
        background.inputs["Color"].default_value = (0.55, 0.57, 0.6, 1.0)
        background.inputs["Strength"].default_value = 0.55


def _floor(scene: bpy.types.Scene, centre: Vector, radius: float) -> list[bpy.types.ID]:
    """A plane that shows nothing but the shadow on it, so that no horizon cuts the picture."""
    mesh = bpy.data.meshes.new("Floor")
    reach = 60 * radius
    corners = [(-reach, -reach, 0), (reach, -reach, 0), (reach, reach, 0), (-reach, reach, 0)]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    obj = bpy.data.objects.new("Floor", mesh)
    obj.location = centre
    obj.is_shadow_catcher = True
    scene.collection.objects.link(obj)
    return [obj, mesh]


def _put_on_paper(path: Path) -> None:
    """Lay a transparent picture onto a plain light grey."""
    from PIL import Image

    with Image.open(path) as picture:
        paper = Image.new("RGBA", picture.size, PAPER)
        paper.alpha_composite(picture.convert("RGBA"))
    paper.convert("RGB").save(path)
