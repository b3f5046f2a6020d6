"""The task's settings as Blender properties, derived from `settings.SETTABLE`.

Blender itself remembers which properties were set: what was not is not sent.
"""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..trellis_addon.task.settings import INT32_MAX, OWN_IN_PANEL, SETTABLE, Field, Settings
from .numbers import items_of
from .preferences import preferences

IN_PANEL = (*SETTABLE, *OWN_IN_PANEL)


def _property(field: Field) -> Any:
    """The Blender property for a field, showing the default that holds while it is not set."""
    named = {"name": field.label, "description": field.description}
    default = field.effective_default
    if field.values:
        return EnumProperty(items=items_of(field.name, field.values), default=str(default), **named)
    if field.type is bool:
        return BoolProperty(default=bool(default), **named)
    if field.type is float:
        return FloatProperty(default=default, min=field.minimum, max=field.maximum, precision=2, step=10, **named)
    if field.is_text_in_blender:
        return StringProperty(**named)
    minimum, maximum = int(field.minimum or 0), int(field.maximum or INT32_MAX)
    return IntProperty(default=default or minimum, min=minimum, max=maximum, **named)


# A class made from data, so that there is no second list of settings to keep.
TRELLIS2_PG_settings = type(
    "TRELLIS2_PG_settings",
    (bpy.types.PropertyGroup,),
    {"__doc__": "The task's settings", "__annotations__": {field.name: _property(field) for field in IN_PANEL}},
)


def _height(self: bpy.types.PropertyGroup) -> float:
    """The scene's own height, or else that of the preferences."""
    stored = preferences()
    return float(self.get(_OWN_HEIGHT, stored.height if stored else 1.0))


def _set_height(self: bpy.types.PropertyGroup, value: float) -> None:
    self[_OWN_HEIGHT] = value


_OWN_HEIGHT = "own_height"


def _look_again(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Have the picture looked at, in a thread, for the panel to warn in time."""
    _look_at(self.image if isinstance(self, TRELLIS2_PG_scene) else self.id_data)


def _look_soon(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """The same while a value is being dragged."""
    if bpy.app.background:
        return
    from ..trellis_addon.scene import cutout_preview

    cutout_preview.look_soon(self.id_data)


def _look_at(image: bpy.types.Image | None) -> None:
    if image is None or bpy.app.background:
        return
    from ..trellis_addon.scene import cutout_preview

    cutout_preview.look_later(image)


def _ask_device(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Have the graphics card's memory asked for, in a thread, when it is chosen to run on."""
    if self.backend == "local" and not bpy.app.background:
        from ..trellis_addon.scene import device

        device.ask_later()


def _contracts(self: bpy.types.PropertyGroup, context: bpy.types.Context, text: str) -> list[str]:
    from ..trellis_addon.contract.presets import PRESETS

    return list(PRESETS)


def _search(self: bpy.types.WindowManager, context: bpy.types.Context) -> None:
    """Have the history read for the jobs of this name, in a thread."""
    if not bpy.app.background:
        from ..trellis_addon.scene.session import history

        history.search(self.trellis2_search)


def _percent(name: str, description: str, least: float, most: float, usual: float) -> Any:
    """A share of the subject's size by which something of the picture is corrected."""
    return FloatProperty(
        name=name,
        description=description,
        subtype="PERCENTAGE",
        min=least,
        max=most,
        soft_min=max(least, -usual),
        soft_max=min(most, usual),
        precision=1,
        step=10,
        update=_look_soon,
    )


class TRELLIS2_PG_image(bpy.types.PropertyGroup):
    """What a picture keeps of how it is cut out, whichever scene it is used in."""

    cutout: EnumProperty(
        name="Cutout",
        description="How the subject is told from its background",
        items=[
            ("AUTO", "Automatic", "By the picture's transparency; without any, a plain background is removed", 0),
            (
                "MARKED",
                "Marked Subject",
                "By a box around the subject, and strokes: out of a background of any kind",
                3,
            ),
            ("MASK", "Mask", "By another image: white, or opaque, is the subject", 1),
            ("ALPHA", "Transparency", "By the picture's own transparency", 5),
            ("STUDIO", "Plain Background", "A plain background is removed, whatever transparency there is", 6),
            ("KEY", "Colour Key", "All of one colour is background, wherever it is: a green screen", 4),
            ("WHOLE", "Whole Picture", "Nothing is cut out; the background becomes part of the asset", 2),
        ],
        update=_look_again,
    )
    mask: PointerProperty(
        type=bpy.types.Image,
        name="Mask",
        description="Image of the picture's proportions whose transparency, or else brightness, is the subject",
        update=_look_again,
    )
    subject: FloatVectorProperty(
        name="Subject",
        description="The box around the subject: left, top, right, bottom in the picture's pixels from its upper left",
        size=4,
        update=_look_again,
    )
    strokes: StringProperty(
        name="Strokes",
        description="What was drawn over the picture to correct what the box gives",
        options={"HIDDEN"},
    )
    key_auto: BoolProperty(
        name="Colour of the Border",
        description="The commonest colour along the picture's border is the background",
        default=True,
        update=_look_again,
    )
    key_colour: FloatVectorProperty(
        name="Colour",
        description="The colour of the background",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        default=(0.0, 0.7, 0.25),
        update=_look_soon,
    )
    key_tolerance: FloatProperty(
        name="Tolerance",
        description="How different from it a colour may be: 2 is hardly seen, 100 is black beside white",
        min=1.0,
        max=100.0,
        default=18.0,
        precision=0,
        step=100,
        update=_look_soon,
    )
    grow: _percent(
        name="Grow",
        description="Moves the outline outwards, or below 0 inwards; in percent of the subject's size",
        least=-20.0,
        most=20.0,
        usual=5.0,
    )
    margin: _percent(
        name="Margin",
        description="Room around the subject; below 0 it is cut into; in percent of the subject's size",
        least=-45.0,
        most=200.0,
        usual=50.0,
    )
    right: _percent(
        name="Move Right",
        description="Moves the square that the model looks at; below 0 to the left; in percent of the subject's size",
        least=-100.0,
        most=100.0,
        usual=50.0,
    )
    up: _percent(
        name="Move Up",
        description="Moves the square that the model looks at; below 0 downwards; in percent of the subject's size",
        least=-100.0,
        most=100.0,
        usual=50.0,
    )


def _view(name: str, description: str) -> Any:
    """The property for a further picture of the object."""

    def look(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
        for name in ("view_right", "view_back", "view_left"):
            _look_at(getattr(self, name))

    return PointerProperty(type=bpy.types.Image, name=name, description=description, update=look)


class TRELLIS2_PG_scene(bpy.types.PropertyGroup):
    """What the panel keeps in the scene; nothing secret."""

    image: PointerProperty(
        type=bpy.types.Image, name="Image", description="The picture to make an asset of", update=_look_again
    )
    view_right: _view(name="Right", description="What Blender's Right view would show of the object: its own left side")
    view_back: _view(name="Back", description="The object from behind")
    view_left: _view(name="Left", description="What Blender's Left view would show of the object: its own right side")
    shown: EnumProperty(
        name="Picture",
        description="Which of the pictures is looked at and corrected",
        items=[
            ("FRONT", "Front", "The picture of the front", 0),
            ("RIGHT", "Right", "That of the right view", 1),
            ("BACK", "Back", "That of the back", 2),
            ("LEFT", "Left", "That of the left view", 3),
        ],
    )
    on_black: BoolProperty(
        name="On Black",
        description="Show the picture on black, exactly as the model gets it",
    )
    backend: EnumProperty(
        name="Run On",
        description="Where the asset is made",
        items=[
            ("draft", "Draft", "A quick relief, made on this computer without any weights", 0),
            ("local", "Local GPU", "TRELLIS.2 on this computer; the draft where its weights are not installed", 1),
            ("remote", "Remote", "TRELLIS.2 at Runware; needs an API key and costs a few cents", 2),
            ("service", "Service", "A service of your own, at the address in the preferences", 3),
        ],
        update=_ask_device,
    )
    edited: StringProperty(
        name="Edited",
        description="The job whose picture and settings were taken back into the panel",
        options={"HIDDEN"},
    )
    edited_kind: StringProperty(name="Edited Kind", description="What that job made", options={"HIDDEN"})
    asset_name: StringProperty(name="Name", description="Name of the asset; empty takes the image's")
    height: FloatProperty(
        name="Height",
        description="How tall the asset stands",
        min=0.001,
        max=1000.0,
        unit="LENGTH",
        get=_height,
        set=_set_height,
    )
    contract: StringProperty(
        name="Contract",
        description="What assets have to keep: one of the presets, or a JSON file of rules",
        search=_contracts,
        search_options={"SUGGESTION"},
    )
    face_view: BoolProperty(
        name="Face the View",
        description="New assets are turned towards the view, in steps of 90 degrees, so that they show their front",
        default=True,
    )
    settings: PointerProperty(type=TRELLIS2_PG_settings)


def is_locked(group: bpy.types.PropertyGroup) -> bool:
    """Whether a seed is set; an emptied text is as good as none, which draws one at random."""
    return group.is_property_set("seed") and bool(group.seed.strip())


def read_settings(group: bpy.types.PropertyGroup) -> Settings:
    """The settings that the artist set; raises `FieldError` for a text that is not a legal value."""
    values = {}
    for field in IN_PANEL:
        if not group.is_property_set(field.name):
            continue
        value = getattr(group, field.name)
        if field.type is float:
            # Blender keeps 32 bits: 0.7 comes back as 0.699999988
            value = float(f"{value:.6g}")
        text = str(value)
        if text.strip():  # an emptied text is as good as none
            values[field.name] = field.parse(text)
    return Settings(values)


def write_settings(group: bpy.types.PropertyGroup, settings: Settings) -> None:
    """Set exactly these settings, and unset every other."""
    for field in IN_PANEL:
        if field.name not in settings:
            group.property_unset(field.name)
            continue
        value = settings[field.name]
        setattr(group, field.name, str(value) if field.is_text_in_blender else value)


_classes = (TRELLIS2_PG_settings, TRELLIS2_PG_image, TRELLIS2_PG_scene)


def register() -> None:
    for cls in _classes:
        bpy.utils.register_class(cls)
    bpy.types.Image.trellis2 = PointerProperty(type=TRELLIS2_PG_image)
    bpy.types.Scene.trellis2 = PointerProperty(type=TRELLIS2_PG_scene)
    bpy.types.WindowManager.trellis2_search = StringProperty(
        name="Search", description="Part of a name", options={"TEXTEDIT_UPDATE", "SKIP_SAVE"}, update=_search
    )


def unregister() -> None:
    del bpy.types.WindowManager.trellis2_search
    del bpy.types.Scene.trellis2
    del bpy.types.Image.trellis2
    for cls in reversed(_classes):
        bpy.utils.unregister_class(cls)
