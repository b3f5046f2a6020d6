"""The card that stands where an asset will be: the picture, upright, until the asset takes its place.

A card is an image empty, and its id, which is its job's taskUUID, is all that ties the two. So it may be
moved, scaled, renamed, copied, saved and opened again in another session, and still be found.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

import bpy
from mathutils import Matrix, Vector

from ..rules.guards import require_own
from ..rules.units import metres_per_unit, scene_of
from .showing import join_local_views

PROPERTY = "trellis2_card"
_EARLY = "trellis2_early"  # of an image: which of the pictures of what is being made it is
_LABEL = "trellis2_card_label"  # the name it was given: another one now is the artist's, and the asset's

# An image empty shows its picture in its own XY plane; the card stands, its front towards -Y as an asset's is.
_STANDING = Matrix.Rotation(math.radians(90), 4, "X")


def stand(
    id: str, label: str, parent: bpy.types.Collection, location: Sequence[float], height: float, turn: float = 0.0
) -> bpy.types.Object:
    """A card of this height, in metres, its bottom centre at `location`; without a picture as yet.

    `turn` is about Z, in radians. Raises `InputError` for a collection of another file.
    """
    require_own(parent)
    card = bpy.data.objects.new(label, None)
    card.empty_display_type = "IMAGE"
    card.empty_image_offset = (-0.5, 0.0)
    card.use_empty_image_alpha = True
    card.color = (1.0, 1.0, 1.0, 0.9)
    card.matrix_world = Matrix.Translation(Vector(location)) @ Matrix.Rotation(turn, 4, "Z") @ _STANDING
    card[PROPERTY] = id
    card[_LABEL] = card.name
    parent.objects.link(card)
    card.empty_display_size = height / metres_per_unit(scene_of(card))
    join_local_views([card])
    return card


def find(id: str) -> list[bpy.types.Object]:
    """The cards of a job in the open file: one, several where the artist copied it, or none."""
    return [card for card in all_cards() if card[PROPERTY] == id] if id else []


def all_cards() -> list[bpy.types.Object]:
    """Every card that stands in a scene of the open file and can be replaced there."""
    cards = [obj for obj in bpy.data.objects if PROPERTY in obj and obj.type == "EMPTY"]
    return [card for card in cards if card.users_scene and card.is_editable]


def show_picture(id: str, path: Path) -> None:
    """Put a picture, packed into the file, onto the cards of a job."""
    cards = [card for card in find(id) if card.data is None]
    if not cards or not path.is_file():
        return
    image = _packed(path)
    if image is None:
        return
    image.name = cards[0].name
    for card in cards:
        card.data = image
        card.empty_display_size *= _wider(image)  # the height is what was asked for


def show_early(id: str, path: Path) -> None:
    """Have the cards of a job show what is being made, packed into the file, in the place of its picture.

    The card stays as tall as it is.
    """
    cards = [card for card in find(id) if card.data is None or card.data.get(_EARLY) != path.name]
    image = _packed(path) if cards else None
    if image is None:
        return
    image.name = cards[0].name
    image[_EARLY] = path.name
    former = {card.data for card in cards if card.data is not None}
    for card in cards:
        before = _wider(card.data) if card.data is not None else 1.0
        card.data = image
        card.empty_display_size *= _wider(image) / before
    bpy.data.batch_remove([picture for picture in former if picture.users == 0])


def _packed(path: Path) -> bpy.types.Image | None:
    """A picture's file as an image of its own; None where it cannot be read."""
    try:
        image = bpy.data.images.load(str(path), check_existing=False)
    except RuntimeError:
        return None  # a card without a picture does as well
    if not all(image.size):  # damaged
        bpy.data.images.remove(image)
        return None
    image.pack()
    return image


def _wider(image: bpy.types.Image) -> float:
    """How much longer the longer side is than the height: a card's size is that of the longer side."""
    width, height = image.size
    return max(1.0, width / max(height, 1))


def label_of(card: bpy.types.Object) -> str:
    """The name that the artist gave the card since; empty where it still has its own, or that of a copy."""
    return "" if _stem(card.name) == _stem(str(card.get(_LABEL, card.name))) else card.name


def _stem(name: str) -> str:
    """Without the number that Blender adds to the name of a copy."""
    return re.sub(r"\.\d{3,}$", "", name)


def replace(card: bpy.types.Object, objects: Sequence[bpy.types.Object]) -> None:
    """Stand the objects where the card is, side by side, with its turn, scale and parent; then the card goes."""
    x = 0.0
    was_selected = [layer for scene in card.users_scene for layer in scene.view_layers if _is_selected(card, layer)]
    was_active = [layer for layer in was_selected if layer.objects.active == card]
    for obj in objects:
        # taken before the object is moved, in the asset's own size
        width = obj.dimensions.x
        obj.parent, obj.parent_type, obj.parent_bone = card.parent, card.parent_type, card.parent_bone
        obj.matrix_parent_inverse = card.matrix_parent_inverse
        obj.matrix_basis = card.matrix_basis @ _STANDING.inverted() @ Matrix.Translation((x, 0.0, 0.0))
        x += width * 1.15
        for layer in was_selected:
            if obj.name in layer.objects:
                obj.select_set(True, view_layer=layer)
    for layer in was_active:
        if objects and objects[0].name in layer.objects:
            layer.objects.active = objects[0]
    name = card.name
    remove([card])
    for obj in objects[:1]:
        obj.name = name  # which was taken until now


def remove(cards: Sequence[bpy.types.Object]) -> None:
    """Take cards away, and their pictures where nothing else shows them."""
    images = {card.data for card in cards if card.data is not None}
    bpy.data.batch_remove(list(cards))
    bpy.data.batch_remove([image for image in images if image.users == 0])


def rename(card: bpy.types.Object, id: str) -> None:
    """Give a card to another job: one that is made again."""
    card[PROPERTY] = id


def _is_selected(obj: bpy.types.Object, layer: bpy.types.ViewLayer) -> bool:
    with contextlib.suppress(RuntimeError):  # it is not in this layer
        return obj.select_get(view_layer=layer)
    return False
