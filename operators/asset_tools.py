"""The tools for an asset that is there: measure, height, levels of detail, textures, asset library, original."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from bpy.app.translations import pgettext_rpt
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, StringProperty

from ..addon.numbers import number_of
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.scene.words import translate
from .assets import OnAsset
from .mixin import Mixin

if TYPE_CHECKING:
    from ..trellis_addon.core.progress import Progress

_CATALOG = "TRELLIS.2"
MOST_LEVELS = 6


class OnMesh(Mixin):
    """What the tools share: they work on the active mesh object; each one's `run(obj)` does it and says what it did."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        obj = context.object
        if obj is None or obj.type != "MESH":
            cls.poll_message_set("Select a mesh object")
            return False
        if obj.mode != "OBJECT" or obj.data.is_editmode:
            cls.poll_message_set("Go to Object Mode first")
            return False
        if not obj.is_editable or not obj.data.is_editable or obj.override_library is not None:
            cls.poll_message_set("It is linked from another file: make it local first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            self.report({"INFO"}, self.run(context.object))
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def run(self, obj: bpy.types.Object) -> str:
        raise NotImplementedError


@contextmanager
def busy() -> Iterator[Progress]:
    """The cursor shows how far it is: for what takes seconds."""
    from ..trellis_addon.core.progress import Progress

    manager = bpy.context.window_manager
    manager.progress_begin(0, 100)
    try:
        yield Progress(lambda stage, share: manager.progress_update(100 * share))
    finally:
        manager.progress_end()


class TRELLIS2_OT_measure(OnMesh, bpy.types.Operator):
    """Count triangles, parts, open edges and textures, and say what the asset is good for as it is"""

    bl_idname = "trellis2.measure"
    bl_label = "Measure"

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import remember, verdict

        return ". ".join(text for _, text in verdict(remember(obj)))


def _metres(obj: bpy.types.Object) -> float:
    """What a length of the interface is in metres: it is in the units of the object's scene."""
    from ..trellis_addon.scene.rules.units import metres_per_unit, scene_of

    return metres_per_unit(scene_of(obj))


class TRELLIS2_OT_set_height(OnMesh, bpy.types.Operator):
    """Give the asset its real-world height; it stays where it stands, and its scale stays 1"""

    bl_idname = "trellis2.set_height"
    bl_label = "Set Height"

    height: FloatProperty(
        name="Height", description="How tall it shall stand", default=1.0, min=0.001, max=1000.0, unit="LENGTH"
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.scene import height_of

        if len(context.object.data.vertices):
            self.height = height_of(context.object) / _metres(context.object)
        return context.window_manager.invoke_props_dialog(self)

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import set_height

        height = self.height * _metres(obj)
        set_height(obj, height)
        return pgettext_rpt("{name} is {height} m tall").format(name=obj.name, height=f"{height:.3g}")


class MakesLevels(OnMesh):
    """What both ways to levels of detail share: whose they are, and the triangles that each keeps."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if "trellis2_lod_level" in context.object:
            cls.poll_message_set("This is a level of detail itself: select the object that it was made of")
            return False
        return True

    def shares(self) -> list[float]:
        """Of the asset's triangles, 0..1, for each level."""
        return [ratio / 100 for ratio in self.ratios[: self.levels]]


class TRELLIS2_OT_make_lods(MakesLevels, bpy.types.Operator):
    """Make a chain of levels of detail beside the asset, which stays as it is; a former chain is replaced"""

    bl_idname = "trellis2.make_lods"
    bl_label = "Levels of Detail"

    levels: IntProperty(name="Levels", description="How many levels the chain has", default=3, min=1, max=MOST_LEVELS)
    ratios: FloatVectorProperty(
        name="Triangles",
        description="Share of the triangles that each level keeps, in percent, each smaller than the one before",
        size=MOST_LEVELS,
        default=(100.0, 25.0, 5.0, 1.0, 0.5, 0.2),
        min=0.01,
        max=100.0,
        precision=1,
    )
    arrange: EnumProperty(
        name="Arrange",
        description="Where the levels stand",
        items=[
            ("SIDE_BY_SIDE", "Side by Side", "To the right of the asset, to compare them", 0),
            ("HIDDEN", "Hidden", "In the asset's place, out of sight until they are exported", 1),
            ("IN_PLACE", "In Place", "In the asset's place, all to be seen", 2),
            ("BY_DISTANCE", "By Distance", "The asset itself is the finest, and shows the others from afar", 3),
        ],
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "levels")
        column = layout.column(align=True)
        for number in range(self.levels):
            text = pgettext_rpt("Level {number} (%)").format(number=number)
            column.prop(self, "ratios", index=number, text=text, translate=False)
        layout.prop(self, "arrange")

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import make_lods

        with busy() as progress:
            made = make_lods(obj, self.shares(), arrange=self.arrange, progress=progress)
        if self.arrange == "BY_DISTANCE":
            away = ", ".join(f"{level.triangles:,} / {level.distance:.3g} m" for level in made)
            return pgettext_rpt("Triangles of the levels, and from where on: {levels}").format(levels=away)
        counts = ", ".join(f"{level.triangles:,}" for level in made)
        return pgettext_rpt("Triangles of the levels: {counts}").format(counts=counts)


class TRELLIS2_OT_make_collision(OnMesh, bpy.types.Operator):
    """Make convex parts around the asset, which game engines let things collide with; exports carry them"""

    bl_idname = "trellis2.make_collision"
    bl_label = "Collision"

    parts: IntProperty(name="Parts", description="The most convex parts", default=8, min=1, max=64)

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import make_collision

        with busy() as progress:
            made = make_collision(obj, self.parts, progress=progress)
        return pgettext_rpt("{count} convex parts").format(count=len(made))


class TRELLIS2_OT_shrink_textures(OnMesh, bpy.types.Operator):
    """Scale the asset's textures down, never up; what other objects show stays as it is"""

    bl_idname = "trellis2.shrink_textures"
    bl_label = "Shrink Textures"

    size: EnumProperty(
        name="Size",
        description="Pixels on the longer side",
        items=[("4096", "4096", "", 0), ("2048", "2048", "", 1), ("1024", "1024", "", 2), ("512", "512", "", 3)],
        default="2048",
    )

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import recall, remember, shrink_textures

        with busy() as progress:
            done = shrink_textures(obj, int(self.size), progress=progress)
        if not done:
            return pgettext_rpt("No texture is larger than {size} pixels").format(size=self.size)
        if recall(obj) is not None:
            remember(obj)
        before, after = (sum(getattr(change, name) for change in done) for name in ("memory_before", "memory_after"))
        text = pgettext_rpt("{count} textures: {before} MB in use before, {after} MB now")
        return text.format(count=len(done), before=f"{before / 2**20:.1f}", after=f"{after / 2**20:.1f}")


class _InLibrary(OnMesh):
    """What is asked for an asset of Blender's asset browser."""

    catalog: StringProperty(
        name="Catalog", description="Where in the asset browser, with slashes between the parts", default=_CATALOG
    )
    author: StringProperty(name="Author", default="TRELLIS.2 for Blender")
    licence: StringProperty(
        name="Licence", description="A note on the licence; empty tells what is known: weights and picture"
    )
    tags: StringProperty(name="Tags", description="More tags, with commas between them")

    def described(self) -> dict[str, Any]:
        tags = [tag.strip() for tag in self.tags.split(",") if tag.strip()]
        return {"catalog": self.catalog, "author": self.author, "licence": self.licence or None, "tags": tags}


class TRELLIS2_OT_mark_asset(_InLibrary, bpy.types.Operator):
    """Mark it as an asset of this file: with a rendered preview, catalog, description, tags and a licence note"""

    bl_idname = "trellis2.mark_asset"
    bl_label = "Mark as Asset"

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import mark_asset

        mark_asset(obj, **self.described())
        return pgettext_rpt("{name} is an asset in the catalog {catalog}").format(name=obj.name, catalog=self.catalog)


def _library_items(self: Any, context: bpy.types.Context | None) -> list[tuple[str, str, str, str, int]]:
    global _kept_items  # Blender does not keep the strings alive itself
    from ..trellis_addon.scene.asset.catalog import library_folders

    _kept_items = [(name, name, str(folder), "NONE", number_of(name)) for name, folder in library_folders().items()]
    return _kept_items or [("NONE", "None", "There is no asset library in the preferences", "NONE", 0)]


_kept_items: list[tuple[str, str, str, str, int]] = []


class TRELLIS2_OT_save_to_library(_InLibrary, bpy.types.Operator):
    """Save it as a file of its own in an asset library, for every project; no file there is replaced"""

    bl_idname = "trellis2.save_to_library"
    bl_label = "Save to Library"
    bl_options = {"REGISTER"}  # this file stays as it is

    library: EnumProperty(name="Library", description="One of the preferences' asset libraries", items=_library_items)
    folder: StringProperty(
        name="Folder", description="Folder to save into instead", subtype="DIR_PATH", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=400)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "library")
        layout.prop(self, "catalog")
        if context.object.asset_data is not None:
            layout.label(text="Saved with the author, licence and tags of its mark", icon="INFO")
            return
        for name in ("author", "licence", "tags"):
            layout.prop(self, name)

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import library_folders, save_to_library

        folder = Path(bpy.path.abspath(self.folder)) if self.folder else library_folders().get(self.library)
        if folder is None:
            raise TrellisError("There is no asset library: add one in Preferences > File Paths > Asset Libraries.")
        path = save_to_library(obj, folder, **self.described())
        return pgettext_rpt("Saved as {path}").format(path=path)


class TRELLIS2_OT_export_original(OnAsset, OnMesh, bpy.types.Operator):
    """Export the GLB as the service delivered it, byte by byte"""

    bl_idname = "trellis2.export_original"
    bl_label = "Export Original GLB"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.glb", options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    overwrite: BoolProperty(
        name="Overwrite", description="Replace a file of this name that is there", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.images import clean_name
        from ..trellis_addon.scene import original_of

        try:
            original_of(context.object)  # before anybody looks for a folder
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
        self.filepath = str(folder / f"{clean_name(context.object.name)}.glb")
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import export_original

        path = export_original(obj, bpy.path.abspath(self.filepath), overwrite=self.overwrite)
        return pgettext_rpt("Exported to {path}").format(path=path)


register, unregister = bpy.utils.register_classes_factory(
    (
        TRELLIS2_OT_measure,
        TRELLIS2_OT_set_height,
        TRELLIS2_OT_make_lods,
        TRELLIS2_OT_make_collision,
        TRELLIS2_OT_shrink_textures,
        TRELLIS2_OT_mark_asset,
        TRELLIS2_OT_save_to_library,
        TRELLIS2_OT_export_original,
    )
)
