"""The end of a generation: its results into the scene, where its card stands, when the artist's hands are free."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface, pgettext_n, pgettext_rpt

from ..core.errors import TrellisError, unforeseen
from ..core.messages import message
from ..core.progress import Progress
from ..jobs.job import Asset
from ..jobs.store import JobStore
from . import previews, pump, queue, rework
from .asset.library import mark_asset, save_to_library
from .asset.lod_import import import_in_place, import_levels_of
from .asset.statistics import measure, measure_surface, read_mesh, remember
from .importing.importer import give_collection, import_asset
from .place import placeholder, waiting
from .place.showing import join_local_views, open_home
from .place.succession import take_place_of
from .previews import picture_of
from .queue import Generation, Make
from .target import Target
from .texturing import giving
from .words import engine_name

log = logging.getLogger(__name__)

LEVELS_STAY = pgettext_n("Its levels of detail are those of the former mesh: make them again")
_KEPT = pgettext_n("Its place is not in this file: choose Import to have it at the 3D cursor")
# What the artist has in hand while one of these runs is not to be disturbed, and an undo step in between would be.
_HANDS_ON = ("TRANSFORM_OT_", "VIEW3D_OT_", "OBJECT_OT_", "MESH_OT_", "SCULPT_OT_", "PAINT_OT_")

# While one of these reads the scene in its thread, nothing may be added to it: Blender can come down.
_JOBS = {"RENDER": pgettext_n("Render"), "OBJECT_BAKE": pgettext_n("Bake"), "COMPOSITE": pgettext_n("Compositor")}


def run(name: str, make: Make, target: Target, *, source: Path | None = None, kind: str = "") -> None:
    """In a window: begin and return. Without one, where timers do not run: wait, and import.

    `source`: the file of the picture, where it is made of one. `kind`: as `Job.kind`.
    """
    if bpy.app.background:
        asset = make(Progress(), lambda *sentences: None)
        deliver(asset.variations or (asset,), target)
    else:
        queue.start(name, make, target, source=source, kind=kind)


@queue.on_results
def settle(generation: Generation) -> None:
    """What becomes of a generation whose results are here: imported soon, chosen from, or kept."""
    if (
        generation.target.catalog
        and not generation.is_rough
        and not generation.previews
        and generation.state == "running"
    ):
        # An asset is marked with its picture, and that is not rendered while the artist waits.
        previews.make(generation, lambda: queue.guarded(generation, _settle))
    else:
        _settle(generation)


def _settle(generation: Generation) -> None:
    if not generation.target.is_open:
        queue.update(generation, state="kept", message=pgettext_rpt(_KEPT))
    elif generation.is_choice and generation.target.card:
        queue.update(generation, state="choose", message="")
    else:
        queue.update(generation, state="ready", message="")
    if generation.is_choice and generation.state != "ready":
        previews.make(generation, partial(previews.make_turns, generation))


@queue.on_turn
def bring_in(generation: Generation) -> None:
    """Import a generation that is ready, as one undo step, unless the artist is in the middle of something."""
    if reason := hands_full():
        generation.message = reason
        return
    if not generation.target.is_open:
        settle(generation)
        return
    is_rework = bool(waiting.find(generation.target.card))
    is_texture = is_rework and giving.is_for_objects(generation.assets[0])
    step = pgettext_iface("Rework {name}") if is_rework else pgettext_iface("Generate {name}")
    if is_texture:
        step = pgettext_iface("Texture {name}")
    if generation.target.sources:
        step = pgettext_iface("Remesh and Rebake {name}")
    try:
        take(generation, range(len(generation.assets)), generation.target)
    except TrellisError as error:
        queue.update(generation, state="failed", message=error.message)
    else:
        bpy.ops.ed.undo_push(message=step.format(name=generation.name))


def take(generation: Generation, picked: Collection[int], target: Target) -> list[bpy.types.Object]:
    """Import these of a generation's results; the rest stays in the history. Raises `TrellisError`, and no other."""
    chosen = [asset for number, asset in enumerate(generation.assets) if number in picked]
    is_rework = bool(waiting.find(target.card))
    try:
        elsewhere = "" if is_rework else _elsewhere(target)
        made = deliver(chosen, target)
    except TrellisError:
        raise
    except Exception as error:
        raise unforeseen(error) from error
    if target.catalog:
        for obj, asset in zip(made, chosen, strict=True):
            _file(obj, picture_of(asset), target)
    generation.target = target
    engine = engine_name(chosen[0].engine)
    has_new_mesh = is_rework and not giving.is_for_objects(chosen[0])
    levels = pgettext_rpt(LEVELS_STAY) if has_new_mesh and rework.keeps_old_levels(made) else ""
    words: str = engine
    for more in filter(None, (generation.said, elsewhere, levels)):
        words = message("{first}. {second}", first=words, second=more)
    made_as = tuple(obj.name for obj in made)
    queue.update(generation, state="done", share=1.0, message=words, made=made_as, has_news=words != engine)
    return made


def objects_of(generation: Generation, layer: bpy.types.ViewLayer) -> list[bpy.types.Object]:
    """What there is to be seen of a generation in a view layer: its objects, or the cards that stand for them."""
    made = [obj for name in generation.made if (obj := layer.objects.get(name)) is not None]
    found = made or placeholder.find(generation.target.card) or waiting.find(generation.target.card)
    return [obj for obj in found if obj.name in layer.objects and obj.visible_get(view_layer=layer)]


def _elsewhere(target: Target) -> str:
    """That the results come into another collection than was asked for, since nobody would see them there."""
    cards = placeholder.find(target.card)
    scene = cards[0].users_scene[0] if cards else target.scene
    if scene is None:
        return ""
    asked = target.wanted_in(scene)
    wanted = cards[0].users_collection[0] if cards else asked
    home = open_home(wanted, scene)
    if asked != home and open_home(asked, scene) == home:
        wanted = asked  # the card has been stood elsewhere already
    if wanted == home:
        return ""
    text = pgettext_rpt("{collection} is hidden or locked: it is in {home}")
    return text.format(collection=wanted.name, home=home.name)


def deliver(assets: Sequence[Asset], target: Target) -> list[bpy.types.Object]:
    """Import results side by side: in the place of the target's cards, or at its location.

    Where objects wait for the result, they get its mesh. All or none: raises `TrellisError`, and then the cards still
    stand. The store knows of it afterwards.
    """
    cards, marked = placeholder.find(target.card), waiting.find(target.card)
    if marked and giving.is_for_objects(assets[0]):
        made = giving.give(marked, assets[0])
        waiting.unmark(target.card)
    elif marked:
        made = rework.replace(marked, assets[0])
    elif target.levels:
        made = _as_levels(assets[0], target)
    else:
        made = _in_place_of(cards, assets, target) if cards else _at(assets, target)
        if target.sources and target.scene is not None:
            take_place_of(target.scene, made, target.sources, is_hiding=target.hides_sources)
    then = [partial(mark_delivered, assets), partial(join_local_views, made), *(partial(_measure, obj) for obj in made)]
    if giving.is_for_objects(assets[0]) and marked:
        then = then[:1]  # the objects are what they were
    for done in then:
        try:
            done()
        except Exception:  # the results are there, whatever becomes of what is said of them
            log.exception("%s has arrived, with a problem", assets[0].name)
    return made


def _as_levels(asset: Asset, target: Target) -> list[bpy.types.Object]:
    """As the levels of detail of what they were made of, which stays the finest one."""
    found = [obj for obj in bpy.data.objects if obj.session_uid in target.sources]
    if not found:
        raise TrellisError("What the levels of detail were made for is not there any more.")
    import_levels_of(found[0], asset, target.levels)
    return found


def _file(obj: bpy.types.Object, picture: Path, target: Target) -> None:
    """Mark an asset, and save it to its library. That it cannot be is no reason not to have it in the scene."""
    preview = picture if picture.is_file() else None
    try:
        mark_asset(obj, preview=preview, catalog=target.catalog)
        if target.library:
            save_to_library(obj, Path(target.library), catalog=target.catalog, preview=preview)
    except Exception as error:
        log.warning("%s is not filed in the asset library: %s", obj.name, error)


def _measure(obj: bpy.types.Object) -> None:
    """Have the panel know what the asset is made of; the counting is done in a thread."""
    if bpy.app.background:
        remember(obj)
        return
    name, arrays = obj.name, read_mesh(obj)

    def count() -> Callable[[], None]:
        surface = measure_surface(arrays)

        def keep() -> None:
            # undone, renamed or edited meanwhile: then the panel has a button for it
            found = bpy.data.objects.get(name)
            if found is not None and found.type == "MESH" and len(found.data.vertices) == len(arrays.positions):
                remember(found, measure(found, surface))

        return keep

    pump.in_thread(count)


@queue.on_dismissed
def _not_again(generation: Generation) -> None:
    """What the artist has taken off the list is not offered again with the next session."""
    if generation.assets:
        mark_delivered(generation.assets)


def mark_delivered(assets: Sequence[Asset]) -> None:
    if uuid := str(assets[0].provenance.get("task_uuid", "")):
        JobStore().deliver(uuid)


def running_job() -> str:
    """What Blender is doing in threads of its own that read the scene meanwhile, untranslated; empty if nothing."""
    return next((name for kind, name in _JOBS.items() if bpy.app.is_job_running(kind)), "")


def require_free() -> None:
    """Raise `TrellisError` while Blender renders or bakes: for what an artist asks for meanwhile."""
    if job := running_job():
        raise TrellisError("Blender is at work ({job}); try again when that is done.", job=job)


def hands_full() -> str:
    """Why nothing should be imported just now, as a sentence; empty when nothing speaks against it.

    In another mode than Object Mode an undo step would be that mode's own, and the import could not be taken back.
    """
    if job := running_job():
        return pgettext_rpt("It is ready, and arrives when this is done: {job}").format(job=pgettext_iface(job))
    for window in bpy.context.window_manager.windows:
        active = window.view_layer.objects.active
        if active is not None and active.mode != "OBJECT":
            mode = pgettext_iface(active.bl_rna.properties["mode"].enum_items[active.mode].name)
            return pgettext_rpt("It is ready, and arrives when you leave {mode}").format(mode=mode)
        if any(operator.bl_idname.startswith(_HANDS_ON) for operator in window.modal_operators):
            return pgettext_rpt("It is ready, and arrives in a moment")
    return ""


def _at(assets: Sequence[Asset], target: Target) -> list[bpy.types.Object]:
    """Each where the one before ends."""
    scene = target.scene
    if scene is None:
        raise TrellisError("The scene {scene} is not in this file any more.", scene=target.scene_name)
    parent = target.parent_in(scene)
    x, y, z = target.location
    with _all_or_none() as made:
        for asset in assets:
            here = (x, y, z)
            if target.sources:
                obj = import_in_place(asset, scene=scene, parent_collection=parent)
                rework.fit_to_source(obj, asset, target.sources)
                made.append(obj)
                continue
            obj = import_asset(asset, height=target.height, location=here, scene=scene, parent_collection=parent)
            made.append(obj)
            made[-1].rotation_euler.z = target.turn
            x += made[-1].dimensions.x * 1.15
    return made


def _in_place_of(cards: Sequence[bpy.types.Object], assets: Sequence[Asset], target: Target) -> list[bpy.types.Object]:
    """Every card is replaced: the first by what is imported, its copies by copies that share the meshes."""
    first, *others = cards
    name = placeholder.label_of(first)
    made: list[bpy.types.Object] = []
    copies: list[tuple[bpy.types.Object, list[bpy.types.Object]]] = []
    with _all_or_none() as everything:
        for asset in assets:
            obj = import_asset(
                asset,
                height=target.height,
                location=(0.0, 0.0, 0.0),
                name=name,
                scene=first.users_scene[0],
                parent_collection=open_home(first.users_collection[0], first.users_scene[0]),
            )
            made.append(obj)
            everything.append(obj)
        for card in others:
            copies.append((card, []))
            home = open_home(card.users_collection[0], card.users_scene[0])
            for obj in made:
                copy = obj.copy()
                everything.append(copy)
                copies[-1][1].append(copy)
                give_collection(copy, placeholder.label_of(card) or obj.name, home)
    for card, copied in copies:
        _update_layers(card.users_scene)
        placeholder.replace(card, copied)
        join_local_views(copied)
    placeholder.replace(first, made)
    return made


def _update_layers(scenes: Sequence[bpy.types.Scene]) -> None:
    for scene in scenes:
        for layer in scene.view_layers:
            layer.update()


@contextmanager
def _all_or_none() -> Iterator[list[bpy.types.Object]]:
    """A list for the objects that are made; on an exception they are removed again, their collections too."""
    made: list[bpy.types.Object] = []
    try:
        yield made
    except BaseException:
        bpy.data.batch_remove(list({block for obj in made for block in (obj.data, *obj.users_collection, obj)}))
        raise
