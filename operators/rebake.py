"""Remesh and rebake what is selected into one clean asset, and the packages that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bpy
from bpy.app.translations import pgettext_iface, pgettext_rpt
from bpy.props import BoolProperty, EnumProperty, FloatVectorProperty, IntProperty

from ..addon.loaded import loaded
from ..addon.preferences import backend_for_job
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.core.sizes import size_words
from ..trellis_addon.scene.words import translate
from .asset_tools import MOST_LEVELS, MakesLevels, busy
from .mixin import Mixin

if TYPE_CHECKING:
    from ..trellis_addon.core.progress import Progress
    from ..trellis_addon.jobs.job import Asset

_HAVE_SURFACES = ("MESH", "CURVE", "SURFACE", "FONT", "META")
# With the numbers that Blender keeps them by: what is added has a new one, wherever it stands.
_RESOLUTIONS = {"128": 4, "256": 0, "512": 1, "1024": 2, "1536": 3}
_TEXTURE_SIZES = {"512": 3, "1024": 0, "2048": 1, "4096": 2, "8192": 4}
_NORMAL_MAPS = {"AUTO": None, "ON": True, "OFF": False}


class TRELLIS2_OT_rebake(bpy.types.Operator):
    """Make one clean, textured asset of the selected objects as they look, in their place"""

    bl_idname = "trellis2.rebake"
    bl_label = "Remesh and Rebake"
    bl_options = {"REGISTER"}  # the scene changes later, in an undo step of its own

    resolution: EnumProperty(
        name="Resolution",
        description="Voxels along the longest side",
        items=[(size, size, "", "", number) for size, number in _RESOLUTIONS.items()],
        default="512",
    )
    texture_size: EnumProperty(
        name="Texture Size",
        description="Texels along each side of the textures",
        items=[(size, size, "", "", number) for size, number in _TEXTURE_SIZES.items()],
        default="2048",
    )
    faces: IntProperty(
        name="Triangles",
        description="The most triangles of the result",
        default=50_000,
        min=100,
        max=5_000_000,
        soft_max=1_000_000,
        step=10_000,
    )
    topology: EnumProperty(
        name="Faces",
        description="What the surface is made of",
        items=[
            ("TRIANGLES", "Triangles", "As few as the form allows, for games", "", 0),
            ("QUADS", "Quads", "Even quads that follow the form, to model, sculpt and rig on", "", 1),
        ],
    )
    quads: IntProperty(
        name="Quads",
        description="About how many quads the result has",
        default=8_000,
        min=24,
        max=500_000,
        soft_max=50_000,
        step=1_000,
    )
    solidity: EnumProperty(
        name="Parts",
        description="What becomes of parts that are not closed",
        items=[
            ("automatic", "Automatic", "Close what is meant to be solid, and keep what is truly open as sheets", "", 0),
            ("solid", "Solid", "Close every part", "", 1),
            ("sheets", "Sheets", "Keep every open part open: cloth, leaves, paper", "", 2),
        ],
    )
    remesh: BoolProperty(
        name="Remesh",
        description="Build the surface anew; without it, it is cleaned and keeps its triangles",
        default=True,
    )
    normal_map: EnumProperty(
        name="Normal Map",
        description="Whether fine detail of the surface is kept in a normal map",
        items=[
            ("AUTO", "Where It Helps", "Where it brings the shading nearer to the source's", "", 0),
            ("ON", "Always", "", "", 1),
            ("OFF", "Never", "", "", 2),
        ],
    )
    texture_format: EnumProperty(
        name="Texture Format",
        description="File format of the textures inside the GLB",
        items=[("webp", "Small", "WebP", "", 0), ("png", "PNG", "Larger, and every program reads it", "", 1)],
    )
    source: EnumProperty(
        name="Source",
        description="What becomes of the selected objects once the new one is there",
        items=[
            ("HIDE", "Hide", "Hide them, in renders too; undo, or Show Hidden Objects, brings them back", "", 0),
            ("KEEP", "Keep", "Leave them where they are", "", 1),
        ],
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not any(obj.type in _HAVE_SURFACES or obj.is_instancer for obj in context.selected_objects):
            cls.poll_message_set("Select at least one mesh object")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.runtime.child import has_finishing

        if not has_finishing():  # what it is to be asked for comes first
            return _ask_for_packages(self)
        return context.window_manager.invoke_props_dialog(self, width=340, confirm_text=pgettext_iface(self.bl_label))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.row().prop(self, "topology", expand=True)
        for name in ("quads" if self.topology == "QUADS" else "faces", "resolution", "texture_size"):
            layout.prop(self, name)
        layout.row().prop(self, "solidity", expand=True)
        layout.prop(self, "remesh")
        layout.prop(self, "normal_map")
        layout.prop(self, "texture_format")
        layout.row().prop(self, "source", expand=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        objects = list(context.selected_objects)
        active = context.active_object
        name = (active if active in objects else objects[0]).name
        try:
            _begin(context, objects, f"{name} Rebuilt", self._options(), hides_sources=self.source == "HIDE")
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def _options(self) -> dict[str, Any]:
        return {
            "resolution": int(self.resolution),
            "texture_size": int(self.texture_size),
            "faces": self.faces,
            **({"quads": self.quads} if self.topology == "QUADS" else {}),
            "solidity": self.solidity,
            "remesh": self.remesh,
            "normal_map": _NORMAL_MAPS[self.normal_map],
            "texture_format": self.texture_format,
        }


def _begin(
    context: bpy.types.Context,
    objects: list[bpy.types.Object],
    name: str,
    options: dict[str, Any],
    *,
    hides_sources: bool,
) -> None:
    """Have the objects rebaked while the artist goes on; the new one takes their place. Raises `TrellisError`."""
    from ..trellis_addon.images import clean_name
    from ..trellis_addon.scene import remaking
    from ..trellis_addon.scene.rebaking import rebuilding

    program, called = bpy.app.binary_path, clean_name(name)
    copies = rebuilding.save_objects(objects, remaking.work_folder())

    def make(progress: Progress) -> Asset:
        return rebuilding.rebuilt_asset(copies, called, progress, program, **options)

    remaking.begin(context.scene, objects, called, make, hides_sources=hides_sources)


def _begin_levels(
    context: bpy.types.Context, obj: bpy.types.Object, ratios: list[float], texture_size: int, arrange: str
) -> None:
    """Have levels of detail of an object baked. Raises `TrellisError`."""
    from ..trellis_addon.images import clean_name
    from ..trellis_addon.scene import remaking
    from ..trellis_addon.scene.rebaking import rebuilding
    from ..trellis_addon.scene.rebaking.levels import level_options

    options = level_options(obj, ratios, arrange, texture_size)
    program, called = bpy.app.binary_path, clean_name(f"{obj.name} LODs")
    copies = rebuilding.save_objects([obj], remaking.work_folder())

    def make(progress: Progress) -> Asset:
        return rebuilding.rebuilt_asset(copies, called, progress, program, **options)

    remaking.begin(context.scene, [obj], called, make, levels=arrange)


class TRELLIS2_OT_game_ready(bpy.types.Operator):
    """Bring the asset within a budget of triangles and texels, with its detail baked into maps; the asset is hidden"""

    bl_idname = "trellis2.game_ready"
    bl_label = "Game Ready"
    bl_options = {"REGISTER"}  # the scene changes later, in an undo step of its own

    budget: EnumProperty(
        name="Budget",
        description="What the asset is to be",
        items=[
            ("hero", "Hero", "At most 100,000 triangles, textures of 4096", "", 0),
            ("prop", "Prop", "At most 20,000 triangles, textures of 2048", "", 1),
            ("mobile", "Mobile", "At most 5,000 triangles, textures of 1024", "", 2),
            ("background", "Background", "At most 500 triangles, textures of 512", "", 3),
        ],
        default="mobile",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        obj = context.object
        if obj is None or not (obj.type in _HAVE_SURFACES or obj.is_instancer):
            cls.poll_message_set("Select a mesh object")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.runtime.child import has_finishing
        from ..trellis_addon.scene.rebaking.game import has_latents

        if not has_finishing() and not has_latents(context.object):  # what it is to be asked for comes first
            return _ask_for_packages(self)
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.remaking import begin_game_ready

        label = bpy.types.UILayout.enum_item_name(self, "budget", self.budget)
        try:
            begin_game_ready(context.scene, context.object, self.budget, label, lambda job: backend_for_job(job).key)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class TRELLIS2_OT_bake_lods(MakesLevels, bpy.types.Operator):
    """Make levels of detail of the asset, which stays the finest of them; a former chain is replaced"""

    bl_idname = "trellis2.bake_lods"
    bl_label = "Levels of Detail"
    bl_options = {"REGISTER"}  # the scene changes later, in an undo step of its own

    maps: EnumProperty(
        name="UVs and Maps",
        description="What the levels wear",
        items=[
            ("OWN", "Their Own", "Each is baked from the asset's surface: it shows the less how coarse it is", "", 0),
            ("SHARED", "The Asset's", "All share the asset's UVs and textures, and are there at once", "", 1),
        ],
    )
    levels: IntProperty(
        name="Levels", description="How many, beside the asset itself", default=2, min=1, max=MOST_LEVELS
    )
    ratios: FloatVectorProperty(
        name="Triangles",
        description="Share of the triangles that each level keeps, in percent, each smaller than the one before",
        size=MOST_LEVELS,
        default=(25.0, 6.0, 1.5, 0.5, 0.2, 0.1),
        min=0.01,
        max=99.0,
        precision=1,
    )
    texture_size: EnumProperty(
        name="Texture Size",
        description="Texels along each side of a level's own textures",
        items=[("2048", "2048", "", "", 0), ("1024", "1024", "", "", 1), ("512", "512", "", "", 2)],
        default="1024",
    )
    arrange: EnumProperty(
        name="Arrange",
        description="Where the levels stand",
        items=[
            ("BY_DISTANCE", "By Distance", "The asset shows the others from afar", "", 0),
            ("SIDE_BY_SIDE", "Side by Side", "To the right of the asset, to compare them", "", 1),
            ("HIDDEN", "Hidden", "In the asset's place, out of sight until they are exported", "", 2),
            ("IN_PLACE", "In Place", "In the asset's place, all to be seen", "", 3),
        ],
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=320, confirm_text=pgettext_iface("Make Levels"))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.row().prop(self, "maps", expand=True)
        layout.prop(self, "levels")
        column = layout.column(align=True)
        count = _triangles(context.object)
        for number in range(self.levels):
            text = pgettext_iface("Level {number} (%)").format(number=number + 1)
            row = column.row(align=True)
            row.prop(self, "ratios", index=number, text=text, translate=False)
            row.label(text=f"{round(count * self.ratios[number] / 100):,}", translate=False)
        if self.maps == "OWN":
            layout.prop(self, "texture_size")
        layout.prop(self, "arrange")

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.runtime.child import has_finishing

        if self.maps == "OWN" and not has_finishing() and not bpy.app.background:
            return _ask_for_packages(self)  # what it is to be asked for comes first
        return super().execute(context)

    def run(self, obj: bpy.types.Object) -> str:
        if self.maps == "SHARED":
            from ..trellis_addon.scene import make_lods

            with busy() as progress:
                made = make_lods(obj, self.shares(), arrange=self.arrange, progress=progress)
            bpy.ops.ed.undo_push(message=pgettext_iface(self.bl_label))
            counts = ", ".join(f"{level.triangles:,}" for level in made)
            return pgettext_rpt("Triangles of the levels: {counts}").format(counts=counts)
        _begin_levels(bpy.context, obj, self.shares(), int(self.texture_size), self.arrange)
        return pgettext_rpt("The levels are being made; they come when they are done")


def _triangles(obj: bpy.types.Object) -> int:
    return len(obj.data.loops) - 2 * len(obj.data.polygons)


def _ask_for_packages(operator: bpy.types.Operator) -> set[str]:
    """The question whether to get the packages; or in words why they cannot be had now."""
    if bpy.ops.trellis2.finishing_install.poll():
        bpy.ops.trellis2.finishing_install("INVOKE_DEFAULT")
    elif bpy.app.online_access:
        operator.report({"ERROR"}, pgettext_rpt("Something is being done already: wait, or cancel it"))
    else:
        operator.report(
            {"ERROR"},
            pgettext_rpt(
                "This needs packages that are downloaded once, and online access is off: switch it on in Preferences > "
                "System"
            ),
        )
    return {"CANCELLED"}


class _Packages(Mixin):
    """What the buttons for the packages share."""

    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        work = loaded("scene.setup.local_work")
        if work is not None and work.is_running():
            cls.poll_message_set("Something is being done already: wait, or cancel it")
            return False
        return True


class TRELLIS2_OT_finishing_install(_Packages, bpy.types.Operator):
    """Download what Remesh and Rebake needs, without PyTorch, into a folder of its own beside Blender"""

    bl_idname = "trellis2.finishing_install"
    bl_label = "Get Packages"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not bpy.app.online_access:
            cls.poll_message_set("Online access is off: switch it on in Preferences > System")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.scene.setup import finishing_setup

        found = finishing_setup.look()
        if found.obstacle:
            self.report({"ERROR"}, translate(found.obstacle))
            return {"CANCELLED"}
        text = pgettext_iface("{download} are downloaded once and take {disk} of disk; nothing goes into Blender")
        return context.window_manager.invoke_confirm(
            self,
            event,
            title=pgettext_iface("Get the Packages of Remesh and Rebake?"),
            message=text.format(download=size_words(found.download), disk=size_words(found.disk)),
            confirm_text=pgettext_iface("Download"),
        )

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.setup import finishing_setup

        try:
            finishing_setup.install(allow_network=bpy.app.online_access)
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class TRELLIS2_OT_finishing_remove(_Packages, bpy.types.Operator):
    """Delete the packages of Remesh and Rebake; they can be downloaded again"""

    bl_idname = "trellis2.finishing_remove"
    bl_label = "Remove Packages"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene.setup import finishing_setup

        try:
            finishing_setup.remove()
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        return {"FINISHED"}


_classes = (
    TRELLIS2_OT_rebake,
    TRELLIS2_OT_game_ready,
    TRELLIS2_OT_bake_lods,
    TRELLIS2_OT_finishing_install,
    TRELLIS2_OT_finishing_remove,
)


def _in_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator("trellis2.rebake", text="Remesh and Rebake...")


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)
    bpy.types.VIEW3D_MT_object_convert.append(_in_menu)


def unregister() -> None:
    bpy.types.VIEW3D_MT_object_convert.remove(_in_menu)
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
