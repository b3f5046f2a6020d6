"""What needs a window to be tested: undo, two windows, other files, the add-on switched off, while a job runs.

    python tests/by_hand/window_test.py dist/dev/trellis2-0.1.0-linux-x64.zip --stage /tmp/stage

Run by hand, as it needs a real Blender and a virtual screen; tools/window.py says what exactly.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from window import NAME, Window, make_parser, run_tests  # noqa: E402

_SETUP = """
import sys
def begin(size='1536', **options):
    state = bpy.context.scene.trellis2
    state.settings.resolution, state.settings.texture_size = size, '4096'
    with bpy.context.temp_override(**view()):
        bpy.ops.trellis2.generate('EXEC_DEFAULT', True, filepath=picture, **options)
def generations():
    return part('trellis_addon.scene.queue').generations()
def meshes(scene=None):
    return sorted(o.name for o in (scene or bpy.context.scene).objects if o.type == 'MESH')
def cards():
    return len(part('trellis_addon.scene.place.placeholder').all_cards())
"""
MIDDLE = (500, 450)  # over the viewport


def main() -> None:
    options = make_parser(__doc__).parse_args()
    window = Window(options)
    window.stage.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "examples" / "lantern.png", window.stage / "lantern.png")

    def prepare(test: Callable[..., None]) -> None:
        window.run(
            f"picture = '{window.inside}/lantern.png'\n"
            f"bpy.data.objects.remove(bpy.data.objects['Cube'])\nbpy.ops.ed.undo_push()\n{_SETUP}"
        )
        window.point(*MIDDLE)

    run_tests(window, options, TESTS, prepare, nothing_of=("Traceback", "Error"))


def undo_takes_back_the_import_as_one_step(window: Window) -> None:
    window.run("begin('512')")
    window.wait_for("states() == ['done']")
    assert window.value("(len(meshes()), cards())") == [1, 0]
    window.key("ctrl+z")
    assert window.value("(len(meshes()), cards())") == [0, 0], "as before Generate was pressed"
    window.key("ctrl+shift+z")
    assert window.value("(len(meshes()), cards())") == [1, 0], "and comes again"
    window.key("ctrl+z")
    assert window.value("(len(meshes()), cards())") == [0, 0]
    window.run("begin('512')")
    window.wait_for("states()[0] == 'done'")
    assert window.value("len(meshes())") == 1, "the queue goes on"


def undo_while_it_runs_keeps_the_asset(window: Window) -> None:
    """Beginning is no step: an undo meanwhile is of what was done before, here the cube's removal."""
    window.run("begin()")
    window.key("ctrl+z")
    assert window.value("(len(meshes()), cards())") == [1, 1], "the cube is back, and the card stays"
    window.wait_for("states() == ['done']")
    assert window.value("(len(meshes()), cards())") == [2, 0]


def another_file_is_left_alone(window: Window) -> None:
    window.run(f"begin()\nbpy.ops.wm.save_as_mainfile(filepath='{window.inside}/first.blend')")
    window.run("bpy.ops.wm.read_homefile()")
    window.run(_SETUP)
    window.wait_for("states() == ['kept']")
    assert window.value("(len(meshes()), cards())") == [1, 0], "only the cube that a new file has"
    window.run(f"bpy.ops.wm.open_mainfile(filepath='{window.inside}/first.blend')")
    window.wait_for("cards() == 0")
    assert window.value("len(meshes())") == 1


def it_arrives_in_its_own_scene_of_two_windows(window: Window) -> None:
    window.run("begin(location=(1, 0, 0))")
    window.run(
        "first = bpy.context.window_manager.windows[0].scene.name\n"
        "with bpy.context.temp_override(**view()):\n"
        "    bpy.ops.wm.window_new_main()\n"
        "other = bpy.data.scenes.new('Other')\n"
        "for w in bpy.context.window_manager.windows: w.scene = other\n"
    )
    window.wait_for("states() == ['done']")
    assert window.value("len(bpy.context.window_manager.windows)") == 2
    assert window.value("(len(meshes(bpy.data.scenes[first])), len(meshes(other)))") == [1, 0]


def switched_off_and_on_again_it_goes_on(window: Window) -> None:
    window.run("begin(location=(2, 0, 0))")
    window.wait_for("generations() and generations()[0].share > 0.02")
    window.run(f"import addon_utils\nname = {NAME}\nbpy.ops.preferences.addon_disable(module=name)")
    assert window.value("any('trellis2' in n.lower() for n in dir(bpy.types))") is False
    assert window.value("sum('trellis2_card' in o for o in bpy.data.objects)") == 1, "the card waits"
    window.run("bpy.ops.preferences.addon_enable(module=name)")
    window.wait_for("cards() == 0")
    assert window.value("len(meshes())") == 1


def offline_the_draft_works_and_remote_says_why_not(window: Window) -> None:
    assert window.value("bpy.app.online_access") is False, "the factory's setting"
    window.run("begin('512')")
    window.wait_for("states() == ['done']")
    window.run("bpy.context.scene.trellis2.backend = 'remote'")
    assert window.value("bpy.ops.trellis2.generate.poll()") is False


def what_the_artist_has_in_hand_is_not_disturbed(window: Window) -> None:
    """While something is being moved with the mouse, nothing arrives."""
    window.run(
        "begin('512')\n"
        "held = bpy.data.objects.new('Held', None)\n"
        "bpy.context.scene.collection.objects.link(held)\n"
        "bpy.ops.object.select_all(action='DESELECT')\n"
        "held.select_set(True)\n"
        "bpy.context.view_layer.objects.active = held\n"
    )
    window.key("g")
    window.wait_for("states() == ['ready']")
    window.point(MIDDLE[0] + 60, MIDDLE[1])
    assert window.value("len(meshes())") == 0
    window.click(MIDDLE[0] + 60, MIDDLE[1])
    window.wait_for("states() == ['done']")
    assert window.value("len(meshes())") == 1


TESTS: tuple[Callable[[Window], None], ...] = (
    undo_takes_back_the_import_as_one_step,
    undo_while_it_runs_keeps_the_asset,
    another_file_is_left_alone,
    it_arrives_in_its_own_scene_of_two_windows,
    switched_off_and_on_again_it_goes_on,
    offline_the_draft_works_and_remote_says_why_not,
    what_the_artist_has_in_hand_is_not_disturbed,
)

if __name__ == "__main__":
    main()
