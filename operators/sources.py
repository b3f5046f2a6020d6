"""Pictures into the panel from everywhere, and whole folders of them; the menu that offers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface, pgettext_n, pgettext_rpt
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, StringProperty

from ..addon.backend_state import obstacles
from ..addon.picture_state import VIEWS, slot_of, views_of
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.core.messages import reason_of
from ..trellis_addon.images import DROPPED_EXTENSIONS
from ..trellis_addon.scene.words import translate
from ..trellis_addon.task.views import FRONT, by_object
from .mixin import Mixin

_asked: dict[str, object] = {}  # by view: of several that are being read the one that was asked for last is taken


class _Source(Mixin):
    """What the operators share: each one's `take(context)` gives the datablock that becomes the panel's image."""

    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            image = self.take(context)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        if image is not None:  # else it is being fetched
            use_picture(context.scene, image, getattr(self, "views", {}))
        return {"FINISHED"}


class TRELLIS2_OT_image_open(Mixin, bpy.types.Operator):
    """Choose a picture file; it is packed into the .blend"""

    bl_idname = "trellis2.image_open"
    bl_label = "Set TRELLIS.2 Image"
    bl_options = {"REGISTER"}  # the step of undo is that of the taking

    filepath: StringProperty(name="Image File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    filter_image: BoolProperty(default=True, options={"HIDDEN"})
    filter_folder: BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.is_by_hand = True
        if _paths(self) or self.filepath:  # dropped
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """A script has the picture at once, and an artist as soon as a thread has unpacked it."""
        objects = by_object(_paths(self) or [Path(bpy.path.abspath(self.filepath))])
        if len(objects) > 1:
            self.report({"INFO"}, pgettext_rpt("Of several pictures the panel takes the first"))
        front, views = objects[0]

        def take(scene: bpy.types.Scene, images: Mapping[str, bpy.types.Image]) -> None:
            use_picture(scene, images[FRONT], {view: images[view] for view in views})

        return _take(self, context, {FRONT: front, **views}, take)


class TRELLIS2_OT_view_open(Mixin, bpy.types.Operator):
    """Choose a picture of the same object from another side; it is packed into the .blend"""

    bl_idname = "trellis2.view_open"
    bl_label = "Open View"
    bl_options = {"REGISTER"}  # the step of undo is that of the taking

    view: EnumProperty(
        name="View",
        items=[("right", "Right", "", 0), ("back", "Back", "", 1), ("left", "Left", "", 2)],
        default="back",
        options={"SKIP_SAVE"},
    )
    filepath: StringProperty(name="Image File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_image: BoolProperty(default=True, options={"HIDDEN"})
    filter_folder: BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.is_by_hand = True
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        view = self.view

        def take(scene: bpy.types.Scene, images: Mapping[str, bpy.types.Image]) -> None:
            setattr(scene.trellis2, slot_of(view), images[view])

        return _take(self, context, {view: Path(bpy.path.abspath(self.filepath))}, take)


class _Views(Mixin):
    """What the operators on all views share."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not views_of(context.scene.trellis2):
            cls.poll_message_set("There are no other views")
            return False
        return True


class TRELLIS2_OT_views_swap(_Views, bpy.types.Operator):
    """The left picture to the right and the right one to the left: for pictures named after the object's own sides"""

    bl_idname = "trellis2.views_swap"
    bl_label = "Swap Left and Right"

    def execute(self, context: bpy.types.Context) -> set[str]:
        state = context.scene.trellis2
        state.view_left, state.view_right = state.view_right, state.view_left
        return {"FINISHED"}


class TRELLIS2_OT_views_clear(_Views, bpy.types.Operator):
    """Use the picture alone, without the other views"""

    bl_idname = "trellis2.views_clear"
    bl_label = "Clear Views"

    def execute(self, context: bpy.types.Context) -> set[str]:
        for view in VIEWS:
            setattr(context.scene.trellis2, slot_of(view), None)
        context.scene.trellis2.shown = "FRONT"
        return {"FINISHED"}


class TRELLIS2_OT_image_paste(_Source, bpy.types.Operator):
    """Take the picture from the clipboard, or the one whose path or web address was copied"""

    bl_idname = "trellis2.image_paste"
    bl_label = "Paste Image"

    def take(self, context: bpy.types.Context) -> bpy.types.Image | None:
        from ..trellis_addon.scene.sources import clipboard

        found = clipboard(context)
        return _named(context, found) if isinstance(found, str) else found


class TRELLIS2_OT_image_address(_Source, bpy.types.Operator):
    """Take the picture at a web address or a path; a data URI or Base64 will do as well"""

    bl_idname = "trellis2.image_address"
    bl_label = "Image from Address"

    text: StringProperty(name="Address", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=400)

    def take(self, context: bpy.types.Context) -> bpy.types.Image | None:
        return _named(context, self.text)


class TRELLIS2_OT_image_view(_Source, bpy.types.Operator):
    """Take what the 3D viewport shows, without its background"""

    bl_idname = "trellis2.image_view"
    bl_label = "Image from View"

    def take(self, context: bpy.types.Context) -> bpy.types.Image:
        from ..trellis_addon.scene.sources import view_image

        return view_image(context)


class TRELLIS2_OT_image_camera(_Source, bpy.types.Operator):
    """Render what the scene's camera sees, without its background; the render settings stay as they are"""

    bl_idname = "trellis2.image_camera"
    bl_label = "Image from Camera"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene.camera is None:
            cls.poll_message_set("The scene has no camera")
            return False
        return True

    def take(self, context: bpy.types.Context) -> bpy.types.Image:
        from ..trellis_addon.scene.sources import camera_image

        return camera_image(context.scene)


class TRELLIS2_OT_image_render(_Source, bpy.types.Operator):
    """Take the last render"""

    bl_idname = "trellis2.image_render"
    bl_label = "Image from Last Render"

    def take(self, context: bpy.types.Context) -> bpy.types.Image:
        from ..trellis_addon.scene.sources import render_result_image

        return render_result_image()


class _Several(Mixin):
    """What the operators share: each one's `pictures()` gives the files that become an asset each."""

    bl_options = {"REGISTER"}

    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    filter_image: BoolProperty(default=True, options={"HIDDEN"})
    filter_folder: BoolProperty(default=True, options={"HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        for obstacle in obstacles(context.scene.trellis2):
            cls.poll_message_set(obstacle.text)
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.is_asked = True
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            paths = self.pictures()
            files = [{"name": path.name} for path in paths]
            # a person is asked first where it costs much, a script never
            mode = "INVOKE_DEFAULT" if getattr(self, "is_asked", False) else "EXEC_DEFAULT"
            return bpy.ops.trellis2.generate(mode, directory=str(paths[0].parent), files=files)
        except (TrellisError, RuntimeError) as error:
            # what the other operator has reported is in the artist's language already
            told = error if isinstance(error, TrellisError) else str(error).removeprefix("Error: ").strip()
            self.report({"ERROR"}, translate(told))
            return {"CANCELLED"}


class TRELLIS2_OT_generate_files(_Several, bpy.types.Operator):
    """Choose several picture files; each becomes an asset of its own"""

    bl_idname = "trellis2.generate_files"
    bl_label = "Generate from Files"

    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})

    def pictures(self) -> list[Path]:
        from ..trellis_addon.core.errors import ImageError

        paths = _paths(self)
        if not paths:
            raise ImageError("There is no picture among what was chosen; choose PNG, JPEG or WebP files.")
        return paths


class TRELLIS2_OT_generate_folder(_Several, bpy.types.Operator):
    """Choose a folder; every picture directly in it becomes an asset of its own"""

    bl_idname = "trellis2.generate_folder"
    bl_label = "Generate from Folder"

    def pictures(self) -> list[Path]:
        from ..trellis_addon.core.errors import ImageError
        from ..trellis_addon.images import find_pictures

        folder = Path(bpy.path.abspath(self.directory))
        try:
            paths = find_pictures(folder)
        except OSError as error:
            raise ImageError(
                "The folder {folder} cannot be read: {reason}.", folder=folder, reason=reason_of(error)
            ) from error
        if not paths:
            raise ImageError("There is no PNG, JPEG or WebP picture in {folder}.", folder=folder)
        return paths


class TRELLIS2_FH_panel(bpy.types.FileHandler):
    """A picture dropped onto the sidebar becomes the panel's image"""

    bl_idname = "TRELLIS2_FH_panel"
    bl_label = "Use as Image (TRELLIS.2)"
    bl_import_operator = "trellis2.image_open"
    bl_file_extensions = ";".join(DROPPED_EXTENSIONS)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return is_over_sidebar(context)


class TRELLIS2_MT_sources(bpy.types.Menu):
    bl_label = "Image From"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator("trellis2.image_open", text="File...", icon="FILE_IMAGE")
        layout.operator("trellis2.image_paste", text="Clipboard", icon="PASTEDOWN")
        layout.operator("trellis2.image_address", text="Web Address...", icon="URL")
        layout.separator()
        layout.operator("trellis2.image_view", text="Current View", icon="VIEW3D")
        layout.operator("trellis2.image_camera", text="Camera", icon="CAMERA_DATA")
        layout.operator("trellis2.image_render", text="Last Render", icon="RENDER_RESULT")
        layout.separator()
        layout.operator("trellis2.generate_files", text="Generate from Several Files...", icon="DOCUMENTS")
        layout.operator("trellis2.generate_folder", text="Generate from Folder...", icon="FILE_FOLDER")


def is_over_sidebar(context: bpy.types.Context) -> bool:
    """Whether the mouse is over the sidebar of a 3D viewport, where a drop is meant for the panel."""
    area, region = context.area, context.region
    return area is not None and area.type == "VIEW_3D" and region is not None and region.type == "UI"


def _paths(operator: bpy.types.Operator) -> list[Path]:
    names = [file.name for file in operator.files if file.name]
    return [Path(bpy.path.abspath(operator.directory), name) for name in names] if operator.directory else []


def use_picture(
    scene: bpy.types.Scene, image: bpy.types.Image, views: Mapping[str, bpy.types.Image] | None = None
) -> None:
    """The picture, and the others of the same object: those of another one are taken away."""
    _asked.pop(FRONT, None)  # one that is still being read comes too late
    scene.trellis2.image = image
    scene.trellis2.edited = scene.trellis2.edited_kind = ""
    for view in VIEWS:
        setattr(scene.trellis2, slot_of(view), (views or {}).get(view))


def _named(context: bpy.types.Context, text: str) -> bpy.types.Image | None:
    """The picture that a text names; in a window one from the web is fetched meanwhile, and set when it is there."""
    from ..trellis_addon.scene import sources

    kind, what = sources.text_of(text)
    online = bpy.app.online_access
    if kind != "url" or bpy.app.background or not online:
        return sources.image_of_text(text, allow_network=online)
    _fetch(what, context.scene.name)
    return None


def _fetch(url: str, scene_name: str) -> None:
    from ..trellis_addon.images import decode, read_image_bytes
    from ..trellis_addon.scene import sources

    def read() -> Callable[[bpy.types.Scene], None]:
        data, name = read_image_bytes(url)
        decode(data)
        return lambda scene: use_picture(scene, sources.image_of_sound_bytes(data, name))

    _when_read(scene_name, FRONT, pgettext_n("Fetch Image"), read)


def _take(
    operator: Any,
    context: bpy.types.Context,
    paths: Mapping[str, Path],
    take: Callable[[bpy.types.Scene, Mapping[str, bpy.types.Image]], None],
) -> set[str]:
    """The files' datablocks, given to `take`: at once to a script, and to an artist's hand without waiting for them."""
    from ..trellis_addon.scene.sources import image_of_file, image_of_sound_file, sound_file

    if not getattr(operator, "is_by_hand", False) or not _has_window():
        try:
            take(context.scene, {view: image_of_file(path) for view, path in paths.items()})
        except TrellisError as error:
            operator.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def read() -> Callable[[bpy.types.Scene], None]:
        sound = {view: sound_file(path) for view, path in paths.items()}
        return lambda scene: take(scene, {view: image_of_sound_file(path) for view, path in sound.items()})

    _when_read(context.scene.name, next(iter(paths)), operator.bl_label, read)
    return {"CANCELLED"}  # nothing has changed yet


def _has_window() -> bool:
    """Whether timers run, so that something can be taken later."""
    return not bpy.app.background


def _when_read(scene_name: str, view: str, step: str, read: Callable[[], Callable[[bpy.types.Scene], None]]) -> None:
    """Have a thread `read` a view's picture, and the scene take it afterwards, as a step of undo of that name."""
    from ..trellis_addon.scene import pump

    mine = _asked[view] = object()

    def work() -> Callable[[], None]:
        try:
            take = read()
        except TrellisError as error:
            sentence = error.message
            return lambda: _tell(sentence)
        return lambda: show(take)

    def show(take: Callable[[bpy.types.Scene], None]) -> None:
        scene = bpy.data.scenes.get(scene_name)
        if scene is None or _asked.get(view) is not mine:
            return
        try:
            take(scene)
        except TrellisError as error:
            _tell(error.message)
            return
        bpy.ops.ed.undo_push(message=pgettext_iface(step))

    pump.in_thread(work)


def _tell(sentence: str) -> None:
    """What went wrong after the operator was over, where the artist looks."""
    text = translate(sentence)
    bpy.context.window_manager.popup_menu(
        lambda menu, context: menu.layout.label(text=text, translate=False), icon="ERROR"
    )


register, unregister = bpy.utils.register_classes_factory(
    (
        TRELLIS2_OT_image_open,
        TRELLIS2_OT_view_open,
        TRELLIS2_OT_views_swap,
        TRELLIS2_OT_views_clear,
        TRELLIS2_OT_image_paste,
        TRELLIS2_OT_image_address,
        TRELLIS2_OT_image_view,
        TRELLIS2_OT_image_camera,
        TRELLIS2_OT_image_render,
        TRELLIS2_OT_generate_files,
        TRELLIS2_OT_generate_folder,
        TRELLIS2_FH_panel,
        TRELLIS2_MT_sources,
    )
)
