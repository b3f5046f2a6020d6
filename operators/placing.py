"""Where new assets come to stand, as the scene, its panel and the view say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import bpy

from ..addon.preferences import preferences

if TYPE_CHECKING:
    from ..trellis_addon.scene.target import Target

Location = tuple[float, float, float]


def target_here(
    context: bpy.types.Context,
    uuid: str = "",
    name: str = "",
    location: Sequence[float] | None = None,
    turn: float = 0.0,
) -> Target:
    """A place in the open scene, the 3D cursor unless told, with the panel's height.

    With a taskUUID, in a window, a card with this name is stood there.
    """
    from ..trellis_addon.scene.rules.units import metres_per_unit
    from ..trellis_addon.scene.target import SESSION, Target

    scene = context.scene
    height = scene.trellis2.height * metres_per_unit(scene)
    x, y, z = scene.cursor.location if location is None else location
    card = uuid if uuid and not bpy.app.background else ""
    target = Target(scene.name, bpy.data.filepath, (x, y, z), height, SESSION, card, turn=turn, **_filing())
    if card:
        target.stand_card(name)
    return target


def target_in_view(context: bpy.types.Context, uuid: str = "", name: str = "") -> Target:
    """`target_here` for what a button brings in: on free ground by the 3D cursor, its front to the view."""
    if bpy.app.background:
        return target_here(context, uuid, name)
    place = free_ground(context, context.scene.cursor.location)
    return target_here(context, uuid, name, place, turn_to_view(context, place))


def free_ground(context: bpy.types.Context, wanted: Sequence[float]) -> Location:
    """The nearest place to the one wanted where nothing stands that is to be seen; it is looked for to the right."""
    from ..trellis_addon.scene.place.free_ground import eye_of, frame_of, free_place, right_of

    height = context.scene.trellis2.height
    area = _viewport(context)
    if area is None:
        return free_place(context.view_layer, wanted, height, height)
    view = area.spaces.active.region_3d
    return free_place(
        context.view_layer,
        wanted,
        height,
        height,
        right_of(view),
        eye_of(view),
        None if bpy.app.background else frame_of(area),
    )


def turn_to_view(context: bpy.types.Context, place: Sequence[float]) -> float:
    """The turn about Z that shows the view its front, where the panel says so."""
    from ..trellis_addon.scene.place.free_ground import turn_towards

    view = _view(context)
    return turn_towards(view, place) if view is not None and context.scene.trellis2.face_view else 0.0


def select_cards(context: bpy.types.Context, uuids: Iterable[str]) -> None:
    """Select what was just begun, as Blender selects what is added: the asset is selected then where its card still is.

    Not while something is being edited, whose selection is another one.
    """
    from ..trellis_addon.scene.place import placeholder

    context.view_layer.update()  # only then it knows the cards
    cards = [card for uuid in uuids for card in placeholder.find(uuid) if card.name in context.view_layer.objects]
    if not cards or context.mode != "OBJECT":
        return
    for obj in context.view_layer.objects:
        obj.select_set(False)
    for card in cards:
        card.select_set(True)
    context.view_layer.objects.active = cards[0]


def _filing() -> dict[str, Any]:
    """What the preferences say of the collection, the catalog and the library of new assets."""
    stored = preferences()
    if stored is None:
        return {}
    libraries = bpy.context.preferences.filepaths.asset_libraries
    library = libraries.get(stored.asset_library) if stored.auto_mark else None
    return {
        "collection": stored.collection.strip(),
        "catalog": (stored.asset_catalog or "TRELLIS.2") if stored.auto_mark else "",
        "library": library.path if library else "",
    }


def _view(context: bpy.types.Context) -> bpy.types.RegionView3D | None:
    """The 3D view that is looked at."""
    area = _viewport(context)
    return area.spaces.active.region_3d if area is not None else None


def _viewport(context: bpy.types.Context) -> bpy.types.Area | None:
    """The viewport that is looked at: the one under the mouse, or else the window's largest."""
    return context.area if context.area is not None and context.area.type == "VIEW_3D" else largest_view(context)


def largest_view(context: bpy.types.Context) -> bpy.types.Area | None:
    """The window's largest 3D view; None without one."""
    window = context.window
    areas = [area for area in window.screen.areas if area.type == "VIEW_3D"] if window is not None else []
    return max(areas, key=lambda area: area.width * area.height, default=None)
