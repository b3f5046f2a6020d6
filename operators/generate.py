"""Starting generations: the panel's button, a dropped file, a script's call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import CollectionProperty, EnumProperty, StringProperty

from ..trellis_addon.errors import TrellisError
from ..ui.preferences import backend_of, remote_key_source
from ..ui.properties import read_settings, write_settings

if TYPE_CHECKING:
    from ..trellis_addon.images import PreparedImage
    from ..trellis_addon.progress import Progress


class TRELLIS2_OT_generate(bpy.types.Operator):
    """Make a textured 3D asset of the picture; you can go on working meanwhile"""

    bl_idname = "trellis2.generate"
    bl_label = "Generate"
    bl_options = {"REGISTER"}  # the scene changes later, in an undo step of its own

    filepath: StringProperty(  # type: ignore[valid-type]
        name="Image File",
        description="Picture to use instead of the panel's",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})  # type: ignore[valid-type]
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})  # type: ignore[valid-type]

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
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        state = context.scene.trellis2
        try:
            pictures = self._pictures(state)
            settings = read_settings(state.settings)
            backend = backend_of(state.backend)
            for place, (label, load) in enumerate(pictures):
                name = state.asset_name if len(pictures) == 1 and state.asset_name else label
                _start(context, name, load, backend, settings, place)
        except TrellisError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def _pictures(self, state: bpy.types.PropertyGroup) -> list[tuple[str, Callable[[], PreparedImage]]]:
        """(name, loader) of each picture asked for: the given files, or else the panel's image."""
        from ..trellis_addon.errors import ImageError
        from ..trellis_addon.images import clean_name, load_image
        from ..trellis_addon.scene.images import datablock_loader

        paths = [Path(self.directory, file.name) for file in self.files if file.name] if self.directory else []
        if not paths and self.filepath:
            paths = [Path(bpy.path.abspath(self.filepath))]
        if paths:
            return [(clean_name(path.stem), lambda path=path: load_image(path)) for path in paths]  # type: ignore[misc]
        if state.image is None:
            raise ImageError("There is no image: choose one in the panel, or drop a file onto the viewport.")
        return [(clean_name(Path(state.image.name).stem), datablock_loader(state.image))]


class TRELLIS2_FH_images(bpy.types.FileHandler):
    """A picture dropped onto the viewport becomes an asset"""

    bl_idname = "TRELLIS2_FH_images"
    bl_label = "Generate a 3D Asset (TRELLIS.2)"
    bl_import_operator = "trellis2.generate"
    bl_file_extensions = ".png;.jpg;.jpeg;.webp"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


class TRELLIS2_OT_unset(bpy.types.Operator):
    """Back to the default: the setting is not sent"""

    bl_idname = "trellis2.unset"
    bl_label = "Reset"
    bl_options = {"INTERNAL", "UNDO"}

    field: StringProperty()  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.trellis2.settings.property_unset(self.field)
        return {"FINISHED"}


def _preset_items(self: Any, context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    global _kept_items  # Blender does not keep the strings alive itself
    if not _kept_items:
        from ..trellis_addon.preset_scripts import shipped

        _kept_items = [(name, name, "") for name in shipped()]
        _kept_items.append(("", "", ""))
        _kept_items.append(("DEFAULT", "Defaults", "Nothing set: the service decides"))
    return _kept_items


_kept_items: list[tuple[str, str, str]] = []


class TRELLIS2_OT_preset(bpy.types.Operator):
    """Take over the settings of a preset that comes with the extension"""

    bl_idname = "trellis2.preset"
    bl_label = "Load Preset"
    bl_options = {"REGISTER", "UNDO"}

    preset: EnumProperty(name="Preset", items=_preset_items)  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.preset_scripts import shipped
        from ..trellis_addon.settings import Settings

        write_settings(context.scene.trellis2.settings, shipped().get(self.preset, Settings()))
        return {"FINISHED"}


def _start(
    context: bpy.types.Context,
    name: str,
    load: Callable[[], PreparedImage],
    backend: Any,
    settings: Any,
    place: int,
) -> None:
    """Begin one generation, or without a window see it to its end."""
    from ..trellis_addon.api import finish, prepare_task
    from ..trellis_addon.jobs.store import JobStore
    from ..trellis_addon.scene import queue

    target = target_here(context, place)

    def make(progress: Progress, report: Callable[[str], None]):  # type: ignore[no-untyped-def]
        picture = load()
        report(" ".join(picture.warnings))
        prepared = prepare_task(picture, backend, settings, name=name)
        store = JobStore()
        return finish(prepared.write_down(store, backend, target=target.to_json()), backend, store, progress)

    queue.run(name, make, target)


def target_here(context: bpy.types.Context, place: int = 0):  # type: ignore[no-untyped-def]
    """The 3D cursor of the open scene, with the panel's height; of several, each a place further to the right."""
    from ..trellis_addon.scene.queue import SESSION, Target

    scene = context.scene
    height = scene.trellis2.height
    x, y, z = scene.cursor.location
    return Target(scene.name, bpy.data.filepath, (x + place * 1.5 * height, y, z), height, SESSION)


register, unregister = bpy.utils.register_classes_factory(
    (TRELLIS2_OT_generate, TRELLIS2_FH_images, TRELLIS2_OT_unset, TRELLIS2_OT_preset)
)
