"""What of the panel needs a window: the view as a picture, drops, the clipboard, the question before paying.

    python tests/by_hand/panel_window_test.py dist/dev/trellis2-0.1.0-linux-x64.zip --stage /tmp/stage

Run by hand, as it needs a real Blender and a virtual screen; tools/window.py says what exactly.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from window import NAME, Window, make_parser, run_tests  # noqa: E402

_SETUP = """
def look():
    return part('trellis_addon.scene.cutout_preview').known(state().image)
def viewport():
    areas = bpy.context.window_manager.windows[0].screen.areas
    return max((a for a in areas if a.type == 'VIEW_3D'), key=lambda a: a.x)
def sidebar():
    return dict(window=bpy.context.window_manager.windows[0], area=viewport(), region=region('UI'))
def show_tab():
    viewport().spaces.active.show_region_ui = True
    region('UI').active_panel_category = 'TRELLIS.2'
def at(kind, x, y):
    'A point of a region, by shares from its lower left, in pixels of the screen from the upper left.'
    r = region(kind)
    return [int(r.x + x * r.width), 800 - int(r.y + y * r.height)]
"""


def main() -> None:
    options = make_parser(__doc__).parse_args()
    window = Window(options)
    pictures = window.stage / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)  # the test that drops a file takes the first of them
    pictures.mkdir(parents=True)
    shutil.copyfile(ROOT / "examples" / "lantern.png", pictures / "lantern.png")

    def prepare(test: Callable[..., None]) -> None:
        window.run(f"folder = '{window.inside}/pictures'\n{_SETUP}viewport().spaces.active.show_region_ui = True")
        window.wait_for("region('UI').width > 1")
        window.run("show_tab()")

    run_tests(window, options, TESTS, prepare)


def the_view_is_taken_without_its_background(window: Window) -> None:
    for kind in ("SOLID", "MATERIAL", "RENDERED"):
        window.run(f"viewport().spaces.active.shading.type = '{kind}'")
        found = window.run(
            "import numpy as np\n"
            "with bpy.context.temp_override(**sidebar()):\n"
            "    bpy.ops.trellis2.image_view('INVOKE_DEFAULT')\n"
            "image = state().image\n"
            "alpha = np.array(image.pixels[:]).reshape(*image.size, 4)[..., 3]\n"
            "solid = np.argwhere(alpha > 0.5)\n"
            "space = viewport().spaces.active\n"
            "answer.update(size=list(image.size), corner=float(alpha[0, 0]), middle=float(alpha[512, 512]),"
            " extent=int((solid.max(axis=0) - solid.min(axis=0)).max()), shading=space.shading.type,"
            " overlays=space.overlay.show_overlays, film=bpy.context.scene.render.film_transparent)",
            timeout=300.0,
        )
        assert found["size"] == [1024, 1024] and found["corner"] == 0 and found["middle"] == 1, found
        assert 850 < found["extent"] < 1000, "the cube fills the picture"
        assert found["shading"] == kind and found["overlays"] and not found["film"], "and the view is as it was"


def an_empty_view_is_told(window: Window) -> None:
    said = window.run(
        "for obj in list(bpy.data.objects): bpy.data.objects.remove(obj)\n"
        "with bpy.context.temp_override(**sidebar()):\n"
        "    try: bpy.ops.trellis2.image_view('INVOKE_DEFAULT')\n"
        "    except RuntimeError as error: answer['said'] = str(error)"
    )
    assert "nothing but the background" in said["said"]


def a_file_dropped_on_the_sidebar_becomes_the_image(window: Window) -> None:
    window.run(
        "with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=viewport()):\n"
        "    bpy.ops.screen.area_split(direction='VERTICAL', factor=0.45)"
    )
    window.run(
        "files = min((a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'VIEW_3D'),"
        " key=lambda a: a.x)\nfiles.ui_type = 'FILES'\nshow_tab()"
    )
    window.wait_for("files.spaces.active.params is not None")
    window.run(
        "space = files.spaces.active\nspace.show_region_toolbar = space.show_region_tool_props = False\n"
        "space.params.directory = folder.encode()\nspace.params.display_type = 'LIST_VERTICAL'"
    )
    window.point(300, 500)
    rows = "next(r for r in files.regions if r.type == 'WINDOW')"
    x, y = window.value(f"[{rows}.x + 60, 800 - ({rows}.y + {rows}.height - 40)]")
    over_sidebar = window.value("at('UI', 0.5, 0.3)")
    window.drag((x, y), over_sidebar)
    # Blender's own handler of pictures is listed as well, and greyed out
    window.point(*over_sidebar)
    time.sleep(1.0)  # nothing tells that the menu is there, and a slow machine needs a moment for it
    window.click(over_sidebar[0], over_sidebar[1] + 2)
    window.wait_for("state().image is not None", timeout=20.0)
    assert window.value("(state().image.name, len(part('trellis_addon.scene.queue').generations()))") == [
        "lantern.png",
        0,
    ]
    window.wait_for("look() and look().cutout")


def a_copied_path_is_pasted(window: Window) -> None:
    window.run("bpy.context.window_manager.clipboard = folder + '/lantern.png'")
    window.run("with bpy.context.temp_override(**sidebar()): bpy.ops.trellis2.image_paste('INVOKE_DEFAULT')")
    assert window.value("state().image.name") == "lantern.png"
    kinds = window.value("sorted(a.ui_type for a in bpy.context.window_manager.windows[0].screen.areas)")
    assert kinds == ["OUTLINER", "PROPERTIES", "TIMELINE", "VIEW_3D"], "no editor stays what it was not"


def a_file_that_is_opened_is_looked_at(window: Window) -> None:
    window.run(
        "bpy.ops.trellis2.image_open(filepath=folder + '/lantern.png')\n"
        "bpy.ops.wm.save_as_mainfile(filepath=folder + '/../kept.blend')\n"
        "part('trellis_addon.scene.cutout_preview').forget()\n"
        "bpy.ops.wm.open_mainfile(filepath=folder + '/../kept.blend')"
    )
    window.run(_SETUP)
    window.wait_for("look() and look().cutout", timeout=30.0)


def several_paid_ones_are_asked_for_first(window: Window) -> None:
    window.run(
        "bpy.context.preferences.system.use_online_access = True\n"
        f"bpy.context.preferences.addons[{NAME}].preferences.api_key = 'x' * 32\n"
        "state().backend = 'remote'\nfiles = [dict(name='lantern.png')] * 2\n"
        "answer['value'] = list(bpy.ops.trellis2.generate('INVOKE_DEFAULT', directory=folder, files=files))"
    )
    window.key("Escape")
    assert window.value("len(part('trellis_addon.jobs.store').JobStore().recent())") == 0


TESTS: tuple[Callable[[Window], None], ...] = (
    the_view_is_taken_without_its_background,
    an_empty_view_is_told,
    a_file_dropped_on_the_sidebar_becomes_the_image,
    a_copied_path_is_pasted,
    a_file_that_is_opened_is_looked_at,
    several_paid_ones_are_asked_for_first,
)

if __name__ == "__main__":
    main()
