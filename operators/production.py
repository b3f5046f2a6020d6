"""Making an asset fit for a production: which way it stands, and the contract that it is to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.core.messages import Message
from ..trellis_addon.scene.words import translate
from .asset_tools import OnMesh, busy

_ENDINGS = "*.glb;*.fbx;*.usd;*.usda;*.usdc;*.usdz;*.obj;*.stl;*.3mf"
_WITH_SURFACE = ("MESH", "CURVE", "SURFACE", "FONT", "META")
_FRONTS = [
    ("+X", "+X", "What looks along +X now is its front", 0),
    ("-X", "-X", "What looks along -X now is its front", 1),
    ("+Y", "+Y", "What looks along +Y now is its front", 2),
    ("-Y", "-Y", "What looks along -Y now is its front", 3),
]


class TRELLIS2_OT_turn(OnMesh, bpy.types.Operator):
    """Turn the asset by 90 degrees about its origin; its own rotation stays 0"""

    bl_idname = "trellis2.turn"
    bl_label = "Turn"

    axis: EnumProperty(
        name="Axis",
        description="The axis of the world that it is turned about",
        items=[
            ("X", "X", "About the X axis", 0),
            ("Y", "Y", "About the Y axis", 1),
            ("Z", "Z", "About the vertical", 2),
        ],
        default="Z",
    )
    quarters: IntProperty(name="Quarters", description="Turns of 90 degrees", default=1, min=-3, max=3)

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import turn

        turn(obj, self.axis, self.quarters)
        return pgettext_rpt("Turned by {degrees} degrees").format(degrees=90 * self.quarters)


class TRELLIS2_OT_front_is(OnMesh, bpy.types.Operator):
    """Say which way the asset's front looks now: it is turned so that it looks to the front (-Y)"""

    bl_idname = "trellis2.front_is"
    bl_label = "Front Is"

    axis: EnumProperty(name="Axis", description="Where its front looks now", items=_FRONTS, default="-Y")

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import set_front

        set_front(obj, self.axis)
        return pgettext_rpt("Its front looks along -Y")


class TRELLIS2_OT_drop_to_ground(OnMesh, bpy.types.Operator):
    """Move the asset straight up or down until it stands on the ground"""

    bl_idname = "trellis2.drop_to_ground"
    bl_label = "Drop to Ground"

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import drop_to_ground

        drop_to_ground(obj)
        return pgettext_rpt("It stands on the ground")


class TRELLIS2_OT_apply_transform(OnMesh, bpy.types.Operator):
    """Put rotation and scale into the mesh: it looks the same, and stands unturned at scale 1"""

    bl_idname = "trellis2.apply_transform"
    bl_label = "Apply Rotation and Scale"

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import apply_transform

        apply_transform(obj)
        return pgettext_rpt("Rotation and scale are applied")


class TRELLIS2_OT_set_origin(OnMesh, bpy.types.Operator):
    """Move the asset's origin; the asset stays where it stands"""

    bl_idname = "trellis2.set_origin"
    bl_label = "Origin"

    origin: EnumProperty(
        name="Origin",
        description="Where its origin is to be",
        items=[
            ("bottom", "Bottom", "The centre of its bottom, where it stands on the ground", 0),
            ("centre", "Centre", "The centre of its box", 1),
        ],
    )

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import set_origin

        set_origin(obj, self.origin)
        return pgettext_rpt("The origin is moved")


class TRELLIS2_OT_export_asset(bpy.types.Operator):
    """Export the selected meshes for another program, with the switches that it needs"""

    bl_idname = "trellis2.export_asset"
    bl_label = "Export Selected"
    bl_options = {"REGISTER"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=_ENDINGS, options={"HIDDEN"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    overwrite: BoolProperty(
        name="Overwrite", description="Replace a file of this name that is there", options={"SKIP_SAVE"}
    )
    engine: EnumProperty(
        name="For",
        description="The program that the file is for",
        items=[
            ("none", "Any Program", "Pictures as they are, normals as OpenGL has them", 0),
            ("unreal", "Unreal Engine", "PNG pictures, normals as DirectX has them", 1),
            ("unity", "Unity", "PNG pictures; scale 1 and no rotation in an FBX", 2),
            ("godot", "Godot", "Pictures as they are, normals as OpenGL has them", 3),
            ("print", "3D Print", "Millimetres in an OBJ too; no levels of detail", 4),
            ("film", "Film", "PNG pictures; Y up in a USD, and subdivision left to the renderer", 5),
        ],
    )
    textures: EnumProperty(
        name="Textures",
        description="Where the pictures go, for a format that leaves the choice",
        items=[
            ("inside", "Inside", "In the file itself, where it can hold them", 0),
            ("beside", "Beside", "In a folder beside the file", 1),
        ],
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not any(obj.type in _WITH_SURFACE or obj.instance_collection for obj in context.selected_objects):
            cls.poll_message_set("Select at least one mesh object")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..trellis_addon.images import clean_name

        folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
        name = (context.object or context.selected_objects[0]).name
        self.filepath = f"{folder / clean_name(name)}.glb"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.scene import export_asset

        # the file dialog has asked already whether a file may be replaced
        may_replace = self.overwrite or (not bpy.app.background and self.options.is_invoke)
        told: list[Message] = []
        try:
            written = export_asset(
                list(context.selected_objects),
                bpy.path.abspath(self.filepath),
                engine="" if self.engine == "none" else self.engine,
                textures=self.textures,
                overwrite=may_replace,
                told=told,
            )
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        done = pgettext_rpt("Exported to {path}").format(path=written[0])
        if told:
            done = pgettext_rpt("{done}. {told}").format(done=done, told=" ".join(map(translate, told)))
        self.report({"WARNING" if told else "INFO"}, done)
        return {"FINISHED"}


class TRELLIS2_OT_contract_open(bpy.types.Operator):
    """Choose a JSON file of rules that assets have to keep"""

    bl_idname = "trellis2.contract_open"
    bl_label = "Open Contract"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.contract.contract import find_contract

        try:
            find_contract(bpy.path.abspath(self.filepath))
        except TrellisError as error:
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        context.scene.trellis2.contract = self.filepath
        return {"FINISHED"}


class _WithContract(OnMesh):
    """What the two share: the scene's contract."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not context.scene.trellis2.contract:
            cls.poll_message_set("Choose a contract first")
            return False
        return True

    def said(self, obj: bpy.types.Object, found: Any) -> str:
        from ..trellis_addon.scene.asset.contracts import remember_findings

        remember_findings(obj, bpy.context.scene.trellis2.contract, found)
        if not found:
            return pgettext_rpt("It keeps the contract")
        return pgettext_rpt("It breaks {count} rules of the contract").format(count=len(found))


class TRELLIS2_OT_check_contract(_WithContract, bpy.types.Operator):
    """Hold the asset against the contract: height, front, origin, name, triangles, textures, maps"""

    bl_idname = "trellis2.check_contract"
    bl_label = "Check"

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import check_contract

        return self.said(obj, check_contract(obj, _contract()))


class TRELLIS2_OT_mend_contract(_WithContract, bpy.types.Operator):
    """Mend what can be mended here: name, height, front, origin, transforms, triangles, texture size"""

    bl_idname = "trellis2.mend_contract"
    bl_label = "Mend"

    def run(self, obj: bpy.types.Object) -> str:
        from ..trellis_addon.scene import mend

        with busy() as progress:
            return self.said(obj, mend(obj, _contract(), progress=progress))


def _contract() -> str:
    """The scene's: a preset's name, or a file's path, which may be relative to the .blend."""
    chosen: str = bpy.context.scene.trellis2.contract
    return bpy.path.abspath(chosen) if chosen.startswith("//") else chosen


register, unregister = bpy.utils.register_classes_factory(
    (
        TRELLIS2_OT_turn,
        TRELLIS2_OT_front_is,
        TRELLIS2_OT_drop_to_ground,
        TRELLIS2_OT_apply_transform,
        TRELLIS2_OT_set_origin,
        TRELLIS2_OT_export_asset,
        TRELLIS2_OT_contract_open,
        TRELLIS2_OT_check_contract,
        TRELLIS2_OT_mend_contract,
    )
)
