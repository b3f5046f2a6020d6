"""Going on from what was kept of the selected asset: texture it, change a part of it, vary it, finish it again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import bpy
from bpy.app.translations import pgettext_iface, pgettext_n, pgettext_rpt
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ..addon.numbers import items_of
from ..addon.preferences import backend_for_job
from ..trellis_addon.core.errors import TrellisError
from ..trellis_addon.scene.words import translate
from ..trellis_addon.task.region import RIM
from ..trellis_addon.task.settings import BY_NAME
from .assets import OnAsset
from .placing import target_here

if TYPE_CHECKING:
    from ..trellis_addon.core.progress import Progress
    from ..trellis_addon.jobs.job import Asset, Job

# Why a button is off, by the names that the library has for it.
WHY_NOT = {
    "level": "This is a level of detail itself: select the object that it was made of",
    "mesh": "Select a mesh object",
    "linked": "It is linked from another file: make it local first",
    "mode": "Go to Object Mode first",
    "busy": "It is being made again already: wait for it, or cancel it in the list",
    "foreign": "It was not generated here, so nothing was kept of it: Remesh and Rebake works on any mesh",
    "remote": "The remote API keeps no stages of its assets: Remesh and Rebake works on any mesh",
    "picture": "The picture that it was made from is not kept on this computer any more",
    "latents": "What it was decoded from is not kept on this computer: generate it again to have it kept",
    "draft": "A draft is made without voxels: export its GLB",
    "rough": "It is a rough shape: choose Go On first",
    "whole": "It is a whole asset already, and no rough shape",
}
_DRAFT_ANEW = pgettext_n("Make the Draft Anew")
_FACES, _SIZE, _REMESH = (BY_NAME[name] for name in ("decimation_target", "texture_size", "remesh"))
_STEPS, _GUIDANCE = (BY_NAME[f"tex_slat_{name}"] for name in ("steps", "guidance_strength"))


class _Rework(OnAsset):
    """What the buttons share: `changes()` are the settings that were chosen, `texture_again` what is done."""

    bl_options = {"REGISTER"}  # the scene changes later, in an undo step of its own
    texture_again = False
    in_any_mode = False  # whether it may be asked for while the asset is edited or painted on
    goes_on = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        from ..trellis_addon.scene import rework

        why = rework.why_not(
            context.object, texture_again=cls.texture_again, in_any_mode=cls.in_any_mode, goes_on=cls.goes_on
        )
        if why:
            cls.poll_message_set(pgettext_rpt(WHY_NOT[why]))
            return False
        return True

    def changes(self) -> dict[str, Any]:
        raise NotImplementedError

    def prepare(self, context: bpy.types.Context, asset: Asset, uuid: str, changes: Any, key: str) -> Any:
        """The task and where it goes; whatever is to be refused is refused now, and not in the list a moment later."""
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.stages import prepare_rework

        return prepare_rework(
            asset, changes, JobStore(), texture_again=self.texture_again, uuid=uuid, key=key,
            allow_network=bpy.app.online_access,
        )  # fmt: skip

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.scene import rework
        from ..trellis_addon.scene.place import waiting
        from ..trellis_addon.scene.session import arrival
        from ..trellis_addon.stages import source_of
        from ..trellis_addon.task.settings import Settings
        from ..trellis_addon.task.task import new_uuid

        obj, uuid = context.object, new_uuid()
        mode = obj.mode
        if mode != "OBJECT":  # where its faces can be read, and what comes of it can arrive
            bpy.ops.object.mode_set(mode="OBJECT")
        asset = rework.asset_of(obj)
        try:
            changes, store = Settings(self.changes()), JobStore()
            key = backend_for_job(source_of(asset, store)[0]).key
            prepared, backend = self.prepare(context, asset, uuid, changes, key)
            if mode != "OBJECT":
                bpy.ops.ed.undo_push(message=pgettext_iface(self.bl_label))
            _start(context, obj, asset, uuid, prepared, backend, self.keep_old)
        except TrellisError as error:
            waiting.unmark(uuid)
            if mode != obj.mode:
                bpy.ops.object.mode_set(mode=mode)
            self.report({"ERROR"}, translate(error))
            return {"CANCELLED"}
        if bpy.app.background and not self.keep_old and rework.keeps_old_levels([obj]):
            self.report({"WARNING"}, pgettext_rpt(arrival.LEVELS_STAY))
        return {"FINISHED"}


def _start(
    context: bpy.types.Context,
    obj: bpy.types.Object,
    asset: Asset,
    uuid: str,
    prepared: Any,
    backend: Any,
    keep_old: bool,
) -> None:
    """Begin it, or without a window see it to its end."""
    from ..trellis_addon.api import finish
    from ..trellis_addon.jobs.store import JobStore
    from ..trellis_addon.scene.place import waiting
    from ..trellis_addon.scene.session import arrival, queue

    target = _beside(context, obj, uuid, asset.name) if keep_old else _in_place(context, obj, uuid)

    def make(progress: Progress, report: Callable[..., None]) -> Asset:
        store = JobStore()
        job = prepared.write_down(store, backend, target=target.to_json())
        queue.show_picture(uuid, job.thumbnail)
        return finish(job, backend, store, progress)

    if not keep_old:
        waiting.mark(obj, uuid)
    arrival.run(asset.name, make, target, kind=prepared.kind)


def _in_place(context: bpy.types.Context, obj: bpy.types.Object, uuid: str) -> Any:
    """The old one's place; what the preferences say of new assets' catalogs is not for this one."""
    place = tuple(obj.matrix_world.translation)
    return dataclasses.replace(target_here(context, location=place), card=uuid, catalog="", library="")


def _beside(context: bpy.types.Context, obj: bpy.types.Object, uuid: str, name: str) -> Any:
    """A place at its right, in a window with a card there, which is an undo step."""
    from ..trellis_addon.scene import height_of, rework
    from ..trellis_addon.scene.place import placeholder

    height, place = height_of(obj), rework.place_beside(obj)
    target = dataclasses.replace(target_here(context, location=place), height=height)
    if bpy.app.background:
        return target
    placeholder.stand(uuid, name, target.parent_in(context.scene), place, height)
    bpy.ops.ed.undo_push(message=pgettext_iface("Rework {name}").format(name=name))
    return dataclasses.replace(target, card=uuid)


def _picture_property() -> Any:
    """What a part, or a variant, is made of."""
    return EnumProperty(
        name="Picture",
        description="What it is made of",
        items=[
            ("SEED", "Its Own", "The asset's own picture, with another seed", 0),
            ("PANEL", "The Panel's", "The picture that is in the panel", 1),
        ],
        options={"SKIP_SAVE"},
    )


def _panel_picture(context: bpy.types.Context, source: str) -> Any:
    """The panel's picture, where that was chosen; None for the asset's own."""
    from ..trellis_addon.scene.cutout_preview import loader_of

    if source != "PANEL":
        return None
    if (shown := context.scene.trellis2.image) is None:
        raise TrellisError("There is no image: choose one in the panel, or take the asset's own.")
    return loader_of(shown, may_leave=True)()


def is_draft(obj: bpy.types.Object) -> bool:
    from ..trellis_addon.scene.importing.provenance import read_provenance

    return str(read_provenance(obj).get("engine", "")).startswith("draft:")


def _former(obj: bpy.types.Object) -> Any:
    """The settings that the object was made with; none where they cannot be read any more."""
    from ..trellis_addon.scene import settings_of
    from ..trellis_addon.task.settings import Settings

    try:
        return settings_of(obj)
    except TrellisError:
        return Settings()


class TRELLIS2_OT_go_on(_Rework, bpy.types.Operator):
    """Make the whole asset of the selected rough shape; nothing that was made is made again"""

    bl_idname = "trellis2.go_on"
    bl_label = "Go On from Rough Shape"
    goes_on = True

    keep_old: BoolProperty(
        name="Keep Old", description="The new asset comes beside the old one, not in its place", options={"SKIP_SAVE"}
    )

    def changes(self) -> dict[str, Any]:
        return {}

    def prepare(self, context: bpy.types.Context, asset: Asset, uuid: str, changes: Any, key: str) -> Any:
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.stages import prepare_going_on

        return prepare_going_on(
            asset, changes, JobStore(), uuid=uuid, key=key, allow_network=bpy.app.online_access
        )  # fmt: skip


class TRELLIS2_OT_texture_again(_Rework, bpy.types.Operator):
    """Paint the selected asset anew on the shape that it has; a draft is made anew as a whole"""

    bl_idname = "trellis2.texture_again"
    bl_label = "Texture Again"
    texture_again = True

    seed: StringProperty(
        name="Seed", description="Another seed paints another surface; empty draws one at random", options={"SKIP_SAVE"}
    )
    steps: IntProperty(
        name=_STEPS.label,
        description=_STEPS.description,
        default=_STEPS.effective_default,
        min=int(_STEPS.minimum or 0),
        max=int(_STEPS.maximum or 0),
        options={"SKIP_SAVE"},
    )
    guidance: FloatProperty(
        name=_GUIDANCE.label,
        description=_GUIDANCE.description,
        default=_GUIDANCE.effective_default,
        min=float(_GUIDANCE.minimum or 0),
        max=float(_GUIDANCE.maximum or 0),
        options={"SKIP_SAVE"},
    )
    keep_old: BoolProperty(
        name="Keep Old", description="The new asset comes beside the old one, not in its place", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        former = _former(context.object)
        self.steps = former.value("tex_slat_steps")
        self.guidance = former.value("tex_slat_guidance_strength")
        words = _DRAFT_ANEW if is_draft(context.object) else pgettext_n("Paint It Anew")
        return context.window_manager.invoke_props_dialog(self, width=320, confirm_text=pgettext_iface(words))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "seed")
        if not is_draft(context.object):
            layout.prop(self, "steps")
            layout.prop(self, "guidance")
        layout.prop(self, "keep_old")

    def changes(self) -> dict[str, Any]:
        former = _former(bpy.context.object)
        found: dict[str, Any] = {}
        if self.seed.strip():
            found["seed"] = BY_NAME["seed"].parse(self.seed)
        for name, own in (("tex_slat_steps", "steps"), ("tex_slat_guidance_strength", "guidance")):
            value = getattr(self, own)
            if self.properties.is_property_set(own) and value != former.value(name):
                found[name] = value
        return found


class TRELLIS2_OT_change_part(_Rework, bpy.types.Operator):
    """Make a part of the asset anew: in the other selected object, at the selected faces or on a vertex group"""

    bl_idname = "trellis2.change_part"
    bl_label = "Change a Part"
    texture_again = True  # it needs the picture as that does
    in_any_mode = True

    where: EnumProperty(
        name="Part",
        description="What is made anew",
        items=[
            ("OBJECT", "Other Object", "What lies in the box of the other selected object, or in a sphere empty", 0),
            ("FACES", "Selected Faces", "What lies at the faces that are selected in Edit Mode", 1),
            ("GROUP", "Vertex Group", "What lies where the active vertex group is painted by half or more", 2),
            ("BEFORE", "As Before", "The part of the job that was taken back into the panel", 3),
        ],
        options={"SKIP_SAVE"},
    )
    reach: FloatProperty(
        name="Reach",
        description="How far from these faces all is new, as a share of the asset's longest side",
        default=0.06,
        min=0.005,
        max=0.5,
        options={"SKIP_SAVE"},
    )
    source: _picture_property()
    seed: StringProperty(
        name="Seed", description="Another seed makes another part; empty draws one at random", options={"SKIP_SAVE"}
    )
    rim: FloatProperty(
        name="Soft Edge",
        description="How wide the change fades in, as a share of the asset's longest side",
        default=RIM,
        min=0.0,
        max=0.5,
        options={"SKIP_SAVE"},
    )
    keep_old: BoolProperty(
        name="Keep Old", description="The new asset comes beside the old one, not in its place", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        obj = context.object
        if context.scene.trellis2.edited_kind == "change":
            return True
        if len(_others(context)) != 1 and obj.mode != "EDIT" and not obj.data.total_face_sel and not obj.vertex_groups:
            cls.poll_message_set(
                "Select the part's faces in Edit Mode, paint a vertex group on it, or select a cube around it and then "
                "the asset as well"
            )
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        obj, before = context.object, _edited(context, "change")
        if before is not None and before.task.region is not None:
            self.where, self.source, self.rim = "BEFORE", "PANEL", before.task.region.rim
            self.seed = str(before.settings.get("seed", ""))
        elif obj.mode == "OBJECT" and len(_others(context)) == 1:
            self.where = "OBJECT"
        elif obj.vertex_groups and obj.mode != "EDIT":
            self.where = "GROUP"
        else:
            self.where = "FACES"
        return context.window_manager.invoke_props_dialog(self, width=320, confirm_text=pgettext_iface("Change It"))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        reach = ("reach",) if self.where in ("FACES", "GROUP") else ()
        for name in ("where", *reach, "source", "seed", "rim", "keep_old"):
            layout.prop(self, name)

    def changes(self) -> dict[str, Any]:
        return {"seed": BY_NAME["seed"].parse(self.seed)} if self.seed.strip() else {}

    def prepare(self, context: bpy.types.Context, asset: Asset, uuid: str, changes: Any, key: str) -> Any:
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.scene import rework
        from ..trellis_addon.stages import outside, prepare_change, source_of
        from ..trellis_addon.task.region import as_region

        store, obj = JobStore(), context.object
        original, edited = source_of(asset, store)[1], _edited(context, "change")
        if self.where == "BEFORE":
            if edited is None or edited.task.region is None:
                raise TrellisError("No change was taken back into the panel: choose another part.")
            if edited.source.get("task_uuid") != original.provenance.get("task_uuid"):
                raise TrellisError("That part was one of another asset: select that one, or choose another part.")
            told = edited.task.region.to_json()
        elif self.where != "OBJECT":
            told = rework.region_of_faces(obj, painted=self.where == "GROUP", reach=self.reach, rim=self.rim)
        elif len(_others(context)) == 1:
            told = rework.region_of(obj, _others(context)[0])
        else:
            raise TrellisError("Select one object around the part, such as a cube, and then the asset as well.")
        region, image = as_region({**told, "rim": round(self.rim, 6)}), _panel_picture(context, self.source)
        prepared, backend = prepare_change(
            original, region, store, image=image, seed=changes.get("seed"), name=asset.name,
            uuid=uuid, key=key, allow_network=bpy.app.online_access,
        )  # fmt: skip
        if warning := outside(original, region):
            self.report({"WARNING"}, translate(warning))
        return _linked(context, prepared, edited), backend


def _edited(context: bpy.types.Context, kind: str) -> Job | None:
    """The job of this kind that was taken back into the panel."""
    from ..trellis_addon.jobs.store import JobStore

    state = context.scene.trellis2
    return JobStore().get(state.edited) if state.edited_kind == kind else None


def _linked(context: bpy.types.Context, prepared: Any, edited: Job | None) -> Any:
    """The task, with what it takes the place of told beside what it goes on from; once."""
    if edited is None:
        return prepared
    state = context.scene.trellis2
    state.edited = state.edited_kind = ""
    return dataclasses.replace(prepared, source={**prepared.source, "edited": edited.uuid})


def _others(context: bpy.types.Context) -> list[bpy.types.Object]:
    """What is selected besides the asset."""
    return [obj for obj in context.selected_objects if obj != context.object]


class TRELLIS2_OT_vary(_Rework, bpy.types.Operator):
    """Make relatives of the selected asset, near to it or far, beside it"""

    bl_idname = "trellis2.vary"
    bl_label = "Variations"
    texture_again = True  # it needs the picture as that does
    keep_old = True

    strength: FloatProperty(
        name="Strength",
        description="How far they may go from it: 0 is the asset itself, 1 as free as another seed",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        options={"SKIP_SAVE"},
    )
    count: IntProperty(name="Variations", description="How many", default=4, min=1, max=4, options={"SKIP_SAVE"})
    source: _picture_property()
    seed: StringProperty(
        name="Seed", description="Another seed makes other ones; empty draws one at random", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if (before := _edited(context, "vary")) is not None:
            self.strength, self.source = before.settings.value("variation"), "PANEL"
            self.count, self.seed = before.settings.value("number_results"), str(before.settings.get("seed", ""))
        return context.window_manager.invoke_props_dialog(self, width=320, confirm_text=pgettext_iface("Make Them"))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        for name in ("strength", "count", "source", "seed"):
            layout.prop(self, name)

    def changes(self) -> dict[str, Any]:
        return {"seed": BY_NAME["seed"].parse(self.seed)} if self.seed.strip() else {}

    def prepare(self, context: bpy.types.Context, asset: Asset, uuid: str, changes: Any, key: str) -> Any:
        from ..trellis_addon.jobs.store import JobStore
        from ..trellis_addon.stages import prepare_vary, source_of

        store = JobStore()
        prepared, backend = prepare_vary(
            source_of(asset, store)[1], round(self.strength, 4), store, count=self.count,
            image=_panel_picture(context, self.source), seed=changes.get("seed"), name=asset.name, uuid=uuid, key=key,
            allow_network=bpy.app.online_access,
        )  # fmt: skip
        return _linked(context, prepared, _edited(context, "vary")), backend


class TRELLIS2_OT_finish_again(_Rework, bpy.types.Operator):
    """Make the selected asset's mesh and textures anew of what was kept of it, with other sizes"""

    bl_idname = "trellis2.finish_again"
    bl_label = "Finish Again"

    decimation_target: IntProperty(
        name=_FACES.label,
        description=_FACES.description,
        default=_FACES.default,
        min=int(_FACES.minimum or 0),
        max=int(_FACES.maximum or 0),
        step=10_000,
        options={"SKIP_SAVE"},
    )
    texture_size: EnumProperty(
        name=_SIZE.label,
        description=_SIZE.description,
        items=items_of(_SIZE.name, _SIZE.values),
        default=str(_SIZE.default),
        options={"SKIP_SAVE"},
    )
    remesh: BoolProperty(name=_REMESH.label, description=_REMESH.description, default=True, options={"SKIP_SAVE"})
    quads: IntProperty(
        name="Quads",
        description="About how many quads it is made of in place of triangles; 0 for triangles",
        min=0,
        max=500_000,
        options={"SKIP_SAVE"},
    )
    texture_format: EnumProperty(
        name="Texture Format",
        description="File format of the textures inside the GLB",
        items=[
            ("webp", "Small", "WebP, or JPEG for a draft", 0),
            ("png", "PNG", "Larger, and every program reads it", 1),
        ],
        options={"SKIP_SAVE"},
    )
    keep_old: BoolProperty(
        name="Keep Old", description="The new asset comes beside the old one, not in its place", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        former = _former(context.object)
        self.decimation_target = former.value("decimation_target")
        self.texture_size = str(former.value("texture_size"))
        self.remesh = former.value("remesh")
        self.quads = former.value("quads") or 0
        self.texture_format = former.value("texture_format")
        words = _DRAFT_ANEW if is_draft(context.object) else pgettext_n("Make Mesh and Textures Anew")
        return context.window_manager.invoke_props_dialog(self, width=320, confirm_text=pgettext_iface(words))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "decimation_target")
        layout.prop(self, "texture_size")
        if not is_draft(context.object):  # which has no voxels to build a surface of
            layout.prop(self, "remesh")
            layout.prop(self, "quads")
        layout.prop(self, "texture_format")
        layout.prop(self, "keep_old")

    def changes(self) -> dict[str, Any]:
        former = _former(bpy.context.object)
        chosen = {
            "decimation_target": self.decimation_target,
            "texture_size": int(self.texture_size),
            "remesh": self.remesh,
            "quads": self.quads or None,
            "texture_format": self.texture_format,
        }
        return {
            name: value
            for name, value in chosen.items()
            if self.properties.is_property_set(name) and value != former.value(name)
        }


register, unregister = bpy.utils.register_classes_factory(
    (
        TRELLIS2_OT_go_on,
        TRELLIS2_OT_texture_again,
        TRELLIS2_OT_change_part,
        TRELLIS2_OT_vary,
        TRELLIS2_OT_finish_again,
    )
)
