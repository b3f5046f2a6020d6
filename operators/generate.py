"""Starting generations: the panel's button, a dropped file, a script's call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from bpy.app.translations import pgettext_iface, pgettext_rpt
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    StringProperty,
)

from ..addon.backend_state import price_of
from ..addon.picture_state import refusal, views_of
from ..addon.preferences import backend_of, preferences, remote_key_source, service_url
from ..addon.properties import read_settings, write_settings
from ..trellis_addon.core.errors import FieldError, TrellisError
from ..trellis_addon.core.messages import message
from ..trellis_addon.images import DROPPED_EXTENSIONS, OTHER_EXTENSIONS
from ..trellis_addon.scene.words import translate
from ..trellis_addon.task.settings import BY_NAME, OWN_IN_PANEL
from ..trellis_addon.task.views import FRONT, by_object, name_of_object
from .mixin import Mixin
from .placing import free_ground, select_cards, target_here, turn_to_view
from .sources import is_over_sidebar

if TYPE_CHECKING:
    from ..trellis_addon.core.progress import Progress
    from ..trellis_addon.images import PreparedImage

    Loader = Callable[[], PreparedImage]


class _Generate(Mixin):
    """What every way to begin a generation shares."""

    # Nothing that is undone: one generation is one step, the asset's arrival, and the card comes back where an undo
    # takes it away. Not REGISTER: changing a value in the panel of the last operation would generate, and pay, again.
    bl_options: set[str] = set()

    filepath: StringProperty(
        name="Image File",
        description="Picture to use instead of the panel's",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    location: FloatVectorProperty(
        name="Location",
        description="Where the asset stands; the 3D cursor where nothing is given",
        subtype="TRANSLATION",
        options={"SKIP_SAVE"},
    )
    beside: BoolProperty(
        name="On Free Ground",
        description="Beside what stands at the location; otherwise exactly there",
        options={"SKIP_SAVE"},
    )
    turn: FloatProperty(
        name="Turn", description="About the vertical", subtype="ANGLE", unit="ROTATION", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        state = getattr(context.scene, "trellis2", None)
        if state is None:
            return False
        if state.backend == "remote" and not bpy.app.online_access:
            cls.poll_message_set("Online access is off: switch it on in Preferences > System")
            return False
        if state.backend == "remote" and not remote_key_source():
            cls.poll_message_set("There is no API key: enter it in the extension's preferences")
            return False
        if state.backend == "service" and not service_url():
            cls.poll_message_set("There is no address of a service: enter it in the extension's preferences")
            return False
        return True

    def _is_to_ask(self, context: bpy.types.Context) -> bool:
        """Whether a person should say yes first: several files at once, and each of them paid."""
        return context.scene.trellis2.backend == "remote" and len(by_object(self._paths())) > 1

    def _ask(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        count = len(by_object(self._paths()))
        return context.window_manager.invoke_confirm(
            self,
            event,
            title=pgettext_rpt("Generate {count} Assets?").format(count=count),
            message=pgettext_rpt("About {price}").format(price=price_of(context.scene.trellis2, count)),
            confirm_text=pgettext_iface("Generate"),
        )

    def execute(self, context: bpy.types.Context) -> set[str]:
        state = context.scene.trellis2
        try:
            pictures = self._pictures(state)
            settings = read_settings(state.settings)
            backend = backend_of(state.backend)
            if backend.is_remote:  # which has none of them, and the panel does not show them
                settings = settings.replace(**{field.name: None for field in OWN_IN_PANEL})
            begun = []
            for place, (label, load, views, source) in enumerate(pictures):
                name = state.asset_name if len(pictures) == 1 and state.asset_name else label
                location = self._location(context, place)
                begun.append(_start(context, name, load, views, source, backend, settings, location, self.turn))
            select_cards(context, begun)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def _location(self, context: bpy.types.Context, place: int) -> tuple[float, float, float]:
        """Where the asset stands; of several, each a place further to the right."""
        given = self.properties.is_property_set("location")
        x, y, z = self.location if given else context.scene.cursor.location
        wanted = (x + place * 1.5 * context.scene.trellis2.height, y, z)
        return free_ground(context, wanted) if self.beside else wanted

    def _paths(self) -> list[Path]:
        paths = [Path(self.directory, file.name) for file in self.files if file.name] if self.directory else []
        return paths or ([Path(bpy.path.abspath(self.filepath))] if self.filepath else [])

    def _pictures(self, state: bpy.types.PropertyGroup) -> list[tuple[str, Loader, dict[str, Loader], Path | None]]:
        """(name, loader, those of further views, file where it is one) of each object: of the given files, or else of
        the panel's image and views. Files whose names end in _front, _back and so on are of one object.

        What cannot be cut out here may be by the service: `prepare_task` asks it, and refuses where it cannot.
        """
        from ..trellis_addon.core.errors import ImageError
        from ..trellis_addon.images import clean_name
        from ..trellis_addon.scene.cutout_preview import loader_of
        from ..trellis_addon.scene.images import name_of

        if paths := self._paths():
            return [
                (
                    clean_name(name_of_object(path.stem) if views else path.stem),
                    loader_of_file(path),
                    {view: loader_of_file(other) for view, other in views.items()},
                    path,
                )
                for path, views in by_object(paths)
            ]
        image = state.image
        if image is None:
            raise ImageError("There is no image: choose one in the panel, or drop a file onto the viewport.")
        if problem := refusal(state):  # before there is a card of it, or a job
            raise ImageError(problem)
        views = {view: loader_of(other, may_leave=True) for view, other in views_of(state).items()}
        name = name_of(image)
        return [
            (
                clean_name(name_of_object(name) if views else name),
                loader_of(image, may_leave=True),
                views,
                None,
            )
        ]


class TRELLIS2_OT_generate(_Generate, bpy.types.Operator):
    """Make a textured 3D asset of the picture; you can go on working meanwhile"""

    bl_idname = "trellis2.generate"
    bl_label = "Generate 3D Asset"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Pressed in the panel the asset comes beside what stands at the 3D cursor, dropped to where that was.

        Either way it shows its front. A script's call is `execute`: exactly where it says, and as it is.
        """
        stored = preferences()
        is_at_pointer = self.files and (stored is None or stored.drop_place == "POINTER")
        if is_at_pointer and (point := _under_mouse(context, event)) is not None:
            self.location = point
        elif not self.properties.is_property_set("location"):
            self.beside = True
        self.turn = turn_to_view(context, self._location(context, 0))
        if self._is_to_ask(context):
            return self._ask(context, event)
        return self.execute(context)


class TRELLIS2_OT_generate_file(_Generate, bpy.types.Operator):
    """Choose a picture file, and make a textured 3D asset of it; you can go on working meanwhile"""

    bl_idname = "trellis2.generate_file"
    bl_label = "3D Asset from Picture (TRELLIS.2)"

    filter_image: BoolProperty(default=True, options={"HIDDEN"})
    filter_folder: BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.beside = True
        self.turn = turn_to_view(context, self._location(context, 0))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class TRELLIS2_FH_images(bpy.types.FileHandler):
    """A picture dropped onto the viewport becomes an asset"""

    bl_idname = "TRELLIS2_FH_images"
    bl_label = "Generate a 3D Asset (TRELLIS.2)"
    bl_import_operator = "trellis2.generate"
    bl_file_extensions = ";".join(DROPPED_EXTENSIONS)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        # over the sidebar a drop is meant for the panel
        return context.area is not None and context.area.type == "VIEW_3D" and not is_over_sidebar(context)


class TRELLIS2_OT_unset(bpy.types.Operator):
    """Back to the default: the setting is not sent"""

    bl_idname = "trellis2.unset"
    bl_label = "Reset"
    bl_options = {"INTERNAL", "UNDO"}

    field: StringProperty()

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.trellis2.settings
        if self.field not in settings.bl_rna.properties:
            return {"CANCELLED"}
        settings.property_unset(self.field)
        return {"FINISHED"}


class TRELLIS2_OT_choose_budget(bpy.types.Operator):
    """Make assets for games: at most so many triangles, with their detail baked into maps of such a size"""

    bl_idname = "trellis2.choose_budget"
    bl_label = "Game Budget"
    bl_options = {"INTERNAL", "UNDO"}

    budget: EnumProperty(
        name="Budget",
        description="What assets are to be",
        items=[
            ("hero", "Hero", "At most 100,000 triangles, textures of 4096", 0),
            ("prop", "Prop", "At most 20,000 triangles, textures of 2048", 1),
            ("mobile", "Mobile", "At most 5,000 triangles, textures of 1024", 2),
            ("background", "Background", "At most 500 triangles, the smallest textures", 3),
        ],
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.contract.budgets import BUDGETS

        settings, budget = context.scene.trellis2.settings, BUDGETS[self.budget]
        settings.faces = budget.faces
        sizes = BY_NAME["texture_size"].values
        settings.texture_size = str(min(sizes, key=lambda size: abs(int(size) - budget.texture_size)))
        return {"FINISHED"}


class TRELLIS2_OT_choose_quads(bpy.types.Operator):
    """Make assets of quads that follow the form, in place of triangles"""

    bl_idname = "trellis2.choose_quads"
    bl_label = "Quads Instead of Triangles"
    bl_options = {"INTERNAL", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.trellis2.settings.quads = 8_000
        return {"FINISHED"}


def loader_of_file(path: Path) -> Callable[[], PreparedImage]:
    """The file's loader; one of another format than the usual ones is read by Blender, here and now."""
    from ..trellis_addon.images import load_image
    from ..trellis_addon.scene.images import png_of_file

    if path.suffix.lower() not in OTHER_EXTENSIONS:
        return partial(load_image, path, may_leave=True)
    try:
        return partial(load_image, png_of_file(path), name=path.stem, may_leave=True)
    except TrellisError:
        return partial(load_image, path)  # which says what is wrong with it, in its own line of the queue


def _preset_names(self: Any, context: bpy.types.Context | None, text: str) -> list[str]:
    from ..trellis_addon.task.presets import shipped

    return [*shipped(), NO_PRESET]


NO_PRESET = "DEFAULT"  # nothing set: the service decides


class TRELLIS2_OT_preset(bpy.types.Operator):
    """Take over the settings of a preset that comes with the extension"""

    bl_idname = "trellis2.preset"
    bl_label = "Load Preset"
    bl_options = {"REGISTER", "UNDO"}

    preset: StringProperty(
        name="Preset", description="Its name; DEFAULT sets nothing, so that the service decides", search=_preset_names
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.task.presets import preset, shipped
        from ..trellis_addon.task.settings import Settings

        found = Settings() if self.preset == NO_PRESET else preset(self.preset)
        if found is None:
            problem = FieldError("preset", self.preset, message("choose one of {names}", names=", ".join(shipped())))
            self.report({"ERROR"}, translate(problem))
            return {"CANCELLED"}
        write_settings(context.scene.trellis2.settings, found)
        return {"FINISHED"}


def _start(
    context: bpy.types.Context,
    name: str,
    load: Loader,
    views: Mapping[str, Loader],
    source: Path | None,
    backend: Any,
    settings: Any,
    location: tuple[float, float, float],
    turn: float,
) -> str:
    """Begin one generation, or without a window see it to its end; returns its taskUUID."""
    from ..trellis_addon.api import differences_of, finish, prepare_task
    from ..trellis_addon.jobs.store import JobStore
    from ..trellis_addon.scene.session import arrival, queue
    from ..trellis_addon.task.task import new_uuid

    uuid, name = new_uuid(), queue.free_name(name)
    target = target_here(context, uuid, name, location, turn)
    state = context.scene.trellis2
    edited = "" if source is not None else state.edited  # of the panel's own picture, and once
    if edited:
        state.edited = state.edited_kind = ""

    def make(progress: Progress, report: Callable[..., None]):  # type: ignore[no-untyped-def]
        picture = load()
        further = {view: load_view() for view, load_view in views.items()}
        pictures = {FRONT: picture, **further}
        report(*[warning for each in pictures.values() for warning in each.warnings], *differences_of(pictures))
        prepared = prepare_task(picture, backend, settings, name=name, uuid=uuid, views=further)
        if edited:
            prepared = dataclasses.replace(prepared, source={"task_uuid": edited, "stage": "edit"})
        store = JobStore()
        job = prepared.write_down(store, backend, target=target.to_json())
        queue.show_picture(uuid, job.thumbnail)
        return finish(job, backend, store, progress)

    arrival.run(name, make, target, source=source)
    return uuid


def _under_mouse(context: bpy.types.Context, event: bpy.types.Event) -> tuple[float, float, float] | None:
    """The surface under the mouse, or else the ground at the 3D cursor's height; None where neither is."""
    from bpy_extras.view3d_utils import region_2d_to_origin_3d, region_2d_to_vector_3d
    from mathutils.geometry import intersect_line_plane

    region, view = context.region, context.region_data
    if region is None or region.type != "WINDOW" or view is None:
        return None
    mouse = (event.mouse_region_x, event.mouse_region_y)
    origin, towards = region_2d_to_origin_3d(region, view, mouse), region_2d_to_vector_3d(region, view, mouse)
    is_hit, point, *_ = context.scene.ray_cast(context.evaluated_depsgraph_get(), origin, towards)
    if is_hit:
        return tuple(point)
    reach = max(context.space_data.clip_end, 1000.0)
    ground = intersect_line_plane(origin, origin + towards * reach, context.scene.cursor.location, (0.0, 0.0, 1.0))
    # a line meets the ground behind the eye as well, and near the horizon very far away
    if ground is None or (ground - origin).dot(towards) <= 0 or (ground - origin).length > reach:
        return None
    return tuple(ground)


def _menu_entry(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    """In Add > Mesh and File > Import, where people look."""
    self.layout.operator_context = "INVOKE_DEFAULT"
    self.layout.operator(TRELLIS2_OT_generate_file.bl_idname, icon="IMAGE_DATA")


_classes = (
    TRELLIS2_OT_generate,
    TRELLIS2_OT_generate_file,
    TRELLIS2_FH_images,
    TRELLIS2_OT_unset,
    TRELLIS2_OT_choose_budget,
    TRELLIS2_OT_choose_quads,
    TRELLIS2_OT_preset,
)
_MENUS = ("VIEW3D_MT_mesh_add", "TOPBAR_MT_file_import")


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)
    for menu in _MENUS:
        getattr(bpy.types, menu).append(_menu_entry)


def unregister() -> None:
    for menu in _MENUS:
        getattr(bpy.types, menu).remove(_menu_entry)
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
