"""A new artist's first minute, in Blender's factory scene: a picture, the button, and the asset is there to be seen.

    python tests/by_hand/first_minute_window.py dist/dev/trellis2-0.1.0-linux-x64.zip --stage /tmp/stage
        [--pictures FOLDER]

Run by hand, as it needs a real Blender and a virtual screen; tools/window.py says what exactly. Each part leaves a
picture of the window in FOLDER, to be looked at.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from window import Window, make_parser, run_tests  # noqa: E402

_SETUP = """
from mathutils import Vector
def generate(**values):
    with bpy.context.temp_override(**view()):
        return bpy.ops.trellis2.generate('INVOKE_DEFAULT', **values)
def selected():
    return [o.name for o in window().view_layer.objects if o.select_get(view_layer=window().view_layer)]
def on_screen(obj):
    'Whether all of its box lies in the view.'
    from bpy_extras.view3d_utils import location_3d_to_region_2d
    r, r3d = region('WINDOW'), viewport().spaces.active.region_3d
    found = [location_3d_to_region_2d(r, r3d, obj.matrix_world @ Vector(c)) for c in obj.bound_box]
    return all(p is not None and 0 < p.x < r.width and 0 < p.y < r.height for p in found)
def front_to_eye(obj):
    'The cosine between its front and the way to the eye, seen from above.'
    r3d = viewport().spaces.active.region_3d
    eye = r3d.view_matrix.inverted().translation - obj.matrix_world.translation
    front = obj.matrix_world.to_3x3() @ Vector((0, -1, 0))
    return front.to_2d().normalized().dot(eye.to_2d().normalized())
def overlaps(a, b):
    def box(o):
        points = [o.matrix_world @ Vector(c) for c in o.bound_box]
        return [(min(p[i] for p in points), max(p[i] for p in points)) for i in range(3)]
    return all(x[0] < y[1] and y[0] < x[1] for x, y in zip(box(a), box(b)))
"""


def main() -> None:
    options = make_parser(__doc__, pictures=ROOT / "build" / "first-minute").parse_args()
    window = Window(options)
    window.stage.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "examples" / "lantern.png", window.stage / "lantern.png")

    def prepare(test: Callable[..., None]) -> None:
        window.run(_SETUP)
        window.run("viewport().spaces.active.show_region_ui = True")
        time.sleep(1.0)  # its tabs are there once it has been drawn
        window.run("region('UI').active_panel_category = 'TRELLIS.2'")

    run_tests(window, options, TESTS, prepare)


def _picture(window: Window) -> str:
    return f"filepath='{window.inside}/lantern.png'"


def the_first_asset_is_there_to_be_seen(window: Window) -> None:
    """Cube, camera and light stand as the factory has them."""
    window.run(f"generate({_picture(window)})")
    window.run("answer['card'] = cards()[0].name")
    assert window.value("selected() == [cards()[0].name]"), "the card is what was added"
    window.wait_for("states() == ['done']")
    assert window.value("len(ours()), len(cards())") == [1, 0]
    assert window.value("selected()") == window.value("[ours()[0].name]")
    assert window.value("window().view_layer.objects.active == ours()[0]")
    assert window.value("overlaps(ours()[0], bpy.data.objects['Cube'])") is False
    assert window.value("on_screen(ours()[0])") is True
    assert window.value("front_to_eye(ours()[0])") > 0.7


def several_stand_side_by_side(window: Window) -> None:
    for _ in range(3):
        window.run(f"generate({_picture(window)})")
    window.wait_for("states() == ['done'] * 3")
    assert window.value("len(ours())") == 3
    assert (
        window.value(
            "[overlaps(a, b) for a in ours() for b in [*ours(), bpy.data.objects['Cube']] if a is not b].count(True)"
        )
        == 0
    )


def what_was_selected_since_stays_selected(window: Window) -> None:
    window.run(f"generate({_picture(window)})")
    window.run(
        "layer = window().view_layer\n"
        "for o in layer.objects: o.select_set(o.name == 'Cube')\n"
        "layer.objects.active = bpy.data.objects['Cube']\n"
    )
    window.wait_for("states() == ['done']")
    assert window.value("selected()") == ["Cube"]
    window.run(
        "with bpy.context.temp_override(**view()):\n"
        "    bpy.ops.trellis2.show(generation=part('trellis_addon.scene.queue').generations()[0].id)\n"
    )
    assert window.value("selected() == [ours()[0].name] and on_screen(ours()[0])")


def one_undo_takes_it_back(window: Window) -> None:
    window.run("bpy.ops.object.empty_add()\nbpy.ops.ed.undo_push(message='an empty')")
    window.run(f"generate({_picture(window)})")
    window.wait_for("states() == ['done']")
    window.point(500, 450)
    window.key("ctrl+z")
    assert window.value("len(ours()), len(cards()), 'Empty' in bpy.data.objects") == [0, 0, True], "as before Generate"
    window.key("ctrl+shift+z")
    assert window.value("len(ours()), len(cards())") == [1, 0]


def an_undo_meanwhile_leaves_the_card(window: Window) -> None:
    window.run("bpy.ops.object.empty_add()\nbpy.ops.ed.undo_push(message='an empty')")
    window.run(f"state().settings.resolution = '1536'\ngenerate({_picture(window)})")
    window.point(500, 450)
    window.key("ctrl+z")
    assert window.value("'Empty' in bpy.data.objects") is False
    window.wait_for("states() == ['done']")
    assert window.value("len(ours()), len(cards())") == [1, 0]


def a_cancelled_one_is_tried_again_with_its_card(window: Window) -> None:
    window.run(f"state().settings.resolution = '1536'\ngenerate({_picture(window)})")
    window.wait_for("part('trellis_addon.scene.queue').generations()[0].picture is not None")
    window.run("bpy.ops.trellis2.cancel(generation=part('trellis_addon.scene.queue').generations()[0].id)")
    window.wait_for("states() == ['cancelled']")
    assert window.value("len(cards())") == 0
    window.run("bpy.ops.trellis2.retry(generation=part('trellis_addon.scene.queue').generations()[0].id)")
    assert window.value("len(cards()) or len(ours())") == 1
    window.wait_for("states() == ['done']")
    assert window.value("len(ours()), len(cards())") == [1, 0]


TESTS: tuple[Callable[[Window], None], ...] = (
    the_first_asset_is_there_to_be_seen,
    several_stand_side_by_side,
    what_was_selected_since_stays_selected,
    one_undo_takes_it_back,
    an_undo_meanwhile_leaves_the_card,
    a_cancelled_one_is_tried_again_with_its_card,
)

if __name__ == "__main__":
    main()
