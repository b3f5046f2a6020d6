"""The selected meshes get the look of a picture, on the coordinates that they have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import bpy
from bpy.app.translations import pgettext_iface, pgettext_rpt
from bpy.props import BoolProperty, EnumProperty, FloatProperty, StringProperty

from ..addon.loaded import loaded
from ..addon.picture_state import refusal, views_of
from ..addon.preferences import backend_of, service_url
from ..addon.properties import read_settings
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.scene.words import translate
from .asset_tools import OnMesh
from .generate import loader_of_file
from .placing import target_here

if TYPE_CHECKING:
    from ..trellis_addon.core.progress import Progress
    from ..trellis_addon.jobs.job import Asset
    from ..trellis_addon.scene.texturing.facing import Facing

_FACINGS = [
    ("FRONT", "Front", "The picture shows what the Front view shows", "", 0),
    ("RIGHT", "Right", "The picture shows what the Right view shows", "", 1),
    ("BACK", "Back", "The picture shows what the Back view shows", "", 2),
    ("LEFT", "Left", "The picture shows what the Left view shows", "", 3),
    ("VIEW", "This View", "The picture shows them from where you look now, seen level", "", 4),
    ("ANGLE", "Angle", "The picture shows them from an angle of its own", "", 5),
]
_SIDES = ("FRONT", "RIGHT", "BACK", "LEFT")  # by quarters of a turn
_UVS = [
    ("AUTO", "Keep If Good", "Keep the active UV map where it can hold a texture, and make a new one elsewhere", "", 0),
    ("KEEP", "Keep", "Keep the active UV map, whatever it is", "", 1),
    ("NEW", "New", "Make a new UV map, and leave the others", "", 2),
]


def why_not(context: bpy.types.Context) -> str:
    """Why nothing can be textured now, untranslated; empty where it can."""
    state = getattr(context.scene, "trellis2", None)
    objects = [obj for obj in context.selected_objects if obj.type == "MESH"]
    if state is None or not objects:
        return "Select a mesh object"
    if any(not obj.is_editable or not obj.data.is_editable or obj.override_library is not None for obj in objects):
        return "It is linked from another file: make it local first"
    if state.backend == "remote":
        return "The remote API textures no mesh: choose another backend"
    if state.backend == "service" and not service_url():
        return "There is no address of a service: enter it in the extension's preferences"
    return ""


class TRELLIS2_OT_texture_mesh(bpy.types.Operator):
    """Give the selected meshes the look of the picture; they keep their form, UV maps, modifiers and slots"""

    bl_idname = "trellis2.texture_mesh"
    bl_label = "Texture Selected Mesh"
    bl_options = {"REGISTER"}  # the scene changes later, in an undo step of its own

    filepath: StringProperty(
        name="Image File",
        description="Picture to use instead of the panel's",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    facing: EnumProperty(
        name="Picture Shows", description="Where the picture shows the meshes from", items=_FACINGS, default="FRONT"
    )
    angle: FloatProperty(
        name="Angle",
        description="Counter-clockwise from above: the front is 0, the right 90",
        subtype="ANGLE",
        unit="ROTATION",
    )
    uvs: EnumProperty(name="UV Map", description="Which UV map the texture lies on", items=_UVS, default="AUTO")
    only_selected: BoolProperty(
        name="Selected Faces Only",
        description="Texture the faces that are selected in Edit Mode, and leave the others as they are",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if why := why_not(context):
            cls.poll_message_set(pgettext_rpt(why))
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.scene.cutout_preview import latest
        from ..trellis_addon.scene.rules.guards import write_back
        from ..trellis_addon.scene.texturing import facing

        objects = [obj for obj in context.selected_objects if obj.type == "MESH"]
        if any(obj.mode == "EDIT" for obj in objects):
            self.only_selected = True
        for obj in objects:
            write_back(obj)
        image = context.scene.trellis2.image
        found = latest(image) if image is not None and not self.filepath else None
        facing.icons.forget()
        if not self.filepath and not self.properties.is_property_set("facing"):
            self._as_before(context.scene.trellis2)
        self._yaw = yaw_of_view(context)
        self._shown = facing.take(objects, found.small if found is not None else None)
        return context.window_manager.invoke_props_dialog(self, width=340, confirm_text=pgettext_iface("Texture"))

    def _as_before(self, state: bpy.types.PropertyGroup) -> None:
        """From where the picture of the job showed them that was taken back into the panel, if it textured a mesh."""
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.task.task import facing_of
        from ..trellis_addon.task.views import yaw_of

        job = JobStore().get(state.edited) if state.edited_kind == "mesh" else None
        if job is None:
            return
        name = facing_of(job.settings)
        if name.upper() in _SIDES:
            self.facing = name.upper()
        else:
            self.facing, self.angle = "ANGLE", math.radians(yaw_of(name))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        shown = getattr(self, "_shown", None)
        if shown is not None:
            _draw_facing(layout, shown, self._yaw_there())
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "facing")
        if self.facing == "ANGLE":
            layout.prop(self, "angle")
        layout.prop(self, "uvs")
        layout.prop(self, "only_selected")

    def _yaw_there(self) -> float:
        """From where the picture shows them, as it is chosen now, in degrees."""
        if self.facing == "ANGLE":
            return round(math.degrees(self.angle) % 360.0, 1)
        return round(self._yaw, 1) if self.facing == "VIEW" else float(90 * _SIDES.index(self.facing))

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            self._start(context)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def _start(self, context: bpy.types.Context) -> None:
        """Begin it, or without a window see it to its end."""
        from ..trellis_addon.api import finish
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.scene.rules.guards import require_not_edited
        from ..trellis_addon.scene.session import arrival, queue
        from ..trellis_addon.scene.texturing.asking import prepare, wait_for
        from ..trellis_addon.scene.texturing.taking import take
        from ..trellis_addon.task.task import new_uuid

        state = context.scene.trellis2
        backend, settings = (
            backend_of(state.backend),
            read_settings(state.settings).replace(texture=None, project_picture=None),
        )
        load, views = self._pictures(state)
        objects = [obj for obj in context.selected_objects if obj.type == "MESH"]
        if context.active_object in objects:  # which names it
            objects.sort(key=lambda obj: obj != context.active_object)
        if bpy.app.background:  # in a window what is ready waits for Edit Mode to be left
            require_not_edited(*objects)
        taken = take(objects, uvs=self.uvs.lower(), only_selected=self.only_selected)
        facing, uuid = self._facing(context), new_uuid()
        edited = state.edited if state.edited_kind == "mesh" and not self.filepath else ""
        if edited:
            state.edited = state.edited_kind = ""
        target = dataclasses.replace(target_here(context), card=uuid, catalog="", library="")

        def make(progress: Progress, report: Callable[..., None]) -> Asset:
            picture = load()
            report(*picture.warnings, *taken.notes)
            further = {view: load_view() for view, load_view in views.items()}
            prepared = prepare(taken, picture, backend, settings, facing=facing, uuid=uuid, views=further)
            if edited:
                prepared = dataclasses.replace(prepared, source={"task_uuid": edited, "stage": "edit"})
            store = JobStore()
            job = prepared.write_down(store, backend, target=target.to_json())
            queue.show_picture(uuid, job.thumbnail)
            return finish(job, backend, store, progress)

        wait_for(taken, uuid)
        try:
            arrival.run(taken.name, make, target, kind="mesh")
        except TrellisError:
            from ..trellis_addon.scene.place import waiting

            waiting.unmark(uuid)
            raise

    def _pictures(self, state: bpy.types.PropertyGroup) -> tuple[Callable[[], Any], dict[str, Callable[[], Any]]]:
        """What loads the picture, and the further views: of the given file, or else of the panel's."""
        from pathlib import Path

        from ..trellis_addon.core.errors import ImageError
        from ..trellis_addon.scene.cutout_preview import loader_of

        if self.filepath:
            return loader_of_file(Path(bpy.path.abspath(self.filepath))), {}
        if state.image is None:
            raise ImageError("There is no image: choose one in the panel, or drop a file onto the viewport.")
        if problem := refusal(state):
            raise ImageError(problem)
        further = {view: loader_of(image, may_leave=True) for view, image in views_of(state).items()}
        return loader_of(state.image, may_leave=True), further

    def _facing(self, context: bpy.types.Context) -> str:
        """The view of the picture, by its one name."""
        from ..trellis_addon.task.views import view_name

        if self.facing == "ANGLE":
            return view_name(math.degrees(self.angle))
        if self.facing != "VIEW":
            return self.facing.lower()
        return view_name(round(yaw_of_view(context), 1))


def _draw_facing(layout: bpy.types.UILayout, shown: Facing, yaw: float) -> None:
    """The mesh's outline from there, over the picture, and whether it fits."""
    from ..trellis_addon.scene.texturing.facing import ALIKE, icons

    layout.template_icon(icon_value=icons.of(shown, yaw), scale=11.0)
    column = layout.column(align=True)
    column.scale_y = 0.8
    overlap = shown.overlap(yaw)
    if overlap is None:
        column.label(text="The outline of the mesh, as seen from there", icon="INFO")
        return
    told = pgettext_iface("The outline is the mesh's; it and the picture overlap by {share} %")
    icon = "CHECKMARK" if overlap >= ALIKE else "ERROR"
    column.label(text=told.format(share=round(100 * overlap)), translate=False, icon=icon)
    better = shown.better(yaw, [90.0 * number for number in range(4)])
    if better is not None:
        name = pgettext_iface(dict((side[0], side[1]) for side in _FACINGS)[_SIDES[round(better / 90.0)]])
        share = round(100 * (shown.overlap(better) or 0.0))
        told = pgettext_iface("{side} fits better: {share} %")
        column.label(text=told.format(side=name, share=share), translate=False, icon="BLANK1")


def yaw_of_view(context: bpy.types.Context) -> float:
    """From where the 3D viewport looks, in degrees counter-clockwise from above; the front where there is none."""
    from mathutils import Vector

    space = context.space_data
    if space is None or space.type != "VIEW_3D":
        areas = context.screen.areas if context.screen is not None else ()
        space = next((area.spaces.active for area in areas if area.type == "VIEW_3D"), None)
    if space is None:
        return 0.0
    towards = space.region_3d.view_rotation @ Vector((0.0, 0.0, 1.0))
    if math.hypot(towards.x, towards.y) < 1e-3:  # from above: what is up in the view is behind
        towards = -(space.region_3d.view_rotation @ Vector((0.0, 1.0, 0.0)))
    return math.degrees(math.atan2(towards.x, -towards.y)) % 360.0


class TRELLIS2_OT_former_material(OnMesh, bpy.types.Operator):
    """Show the material that the mesh had before it was textured; once more shows the texture again"""

    bl_idname = "trellis2.former_material"
    bl_label = "Former Material"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        from ..trellis_addon.scene.texturing.former import has_former

        if not has_former(context.object):
            cls.poll_message_set("It was not textured here")
            return False
        return True

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene.texturing.former import swap

        swap(obj)
        slot = obj.material_slots[obj.data.polygons[0].material_index] if len(obj.material_slots) else None
        name = slot.material.name if slot is not None and slot.material is not None else pgettext_rpt("no material")
        return pgettext_rpt("It shows {material}").format(material=name)


_classes = (TRELLIS2_OT_texture_mesh, TRELLIS2_OT_former_material)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)


def unregister() -> None:
    if module := loaded("scene.texturing.facing"):
        module.icons.forget()
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
