"""The pictures of the manual, taken of a real Blender window, so that they are never stale.

    python tools/screenshots.py dist/dev/trellis2-0.1.0-linux-x64.zip --stage /tmp/stage

Installs the zip, drops a picture, presses Generate, waits, chooses, and photographs each step into docs/manual/.
See window.py for what it needs.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from window import Window, add_arguments  # noqa: E402

PICTURES = ROOT / "docs" / "manual"
VIEW = "next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'VIEW_3D')"
QUEUE = "next(m for name, m in sys.modules.items() if name.endswith('trellis2.trellis_addon.scene.queue'))"

# A picture without transparency: the example on a plain ground.
_PLAIN = """
import numpy as np
image = bpy.data.images.load("{folder}/lantern.png")
pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
image.pixels.foreach_get(pixels)
pixels = pixels.reshape(-1, 4)
pixels[:, :3] = pixels[:, :3] * pixels[:, 3:] + 0.85 * (1 - pixels[:, 3:])
pixels[:, 3] = 1.0
image.pixels.foreach_set(pixels.reshape(-1))
image.filepath_raw, image.file_format = "{folder}/plain.png", "PNG"
image.save()
bpy.data.images.remove(image)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zip", type=Path, help="the extension, built for this Blender's Python")
    add_arguments(parser)
    options = parser.parse_args()
    window = Window(options)
    window.stage.mkdir(parents=True, exist_ok=True)
    (window.stage / "pictures").mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "examples" / "lantern.png", window.stage / "pictures" / "lantern.png")
    with window.open():
        window.run(_PLAIN.format(folder=f"{window.inside}/pictures"))
        window.install(options.zip)
        tell_story(window)


def tell_story(window: Window) -> None:
    window.run("import sys")
    prepare_view(window)
    _come_to_rest(window)
    window.run(f"next(r for r in {VIEW}.regions if r.type == 'UI').active_panel_category = 'TRELLIS.2'")
    _come_to_rest(window)
    window.shot(PICTURES / "start.png")

    open_browser(window)
    window.drag((1085, 160), (400, 500))
    window.shot(PICTURES / "drop.png")
    # the largest that there is, so that there is time to see it work
    window.run(
        "settings = bpy.context.scene.trellis2.settings\nsettings.resolution, settings.texture_size = '1536', '4096'"
    )
    window.click(330, 493)
    window.wait_for(f"any(g.share > 0.3 for g in {QUEUE}.generations())")
    window.shot(PICTURES / "progress.png", settle=0.0)
    window.wait_for(f"all(g.state == 'done' for g in {QUEUE}.generations())")
    close_browser(window)
    window.run("bpy.context.scene.trellis2.settings.texture_size = '2048'")
    show_material(window)
    window.shot(PICTURES / "asset.png")

    choose_picture(window, "lantern.png")
    window.run(
        "bpy.context.scene.trellis2.settings.number_results = 4\nbpy.context.scene.cursor.location = (1.1, 0.2, 0.0)"
    )
    time.sleep(2)
    window.click(1122, 450)
    window.wait_for(f"any(g.state == 'choose' and len(g.previews) == 4 for g in {QUEUE}.generations())")
    choose = f"next(g for g in {QUEUE}.generations() if g.state == 'choose').id"
    # panels slide into place with one redraw after the other, and software takes a second for each of this view
    window.run(f"{VIEW}.spaces.active.shading.type = 'SOLID'")
    window.run(f"bpy.ops.trellis2.pick_result(generation={choose}, result=1)\nbpy.context.scene.trellis2.image = None")
    _come_to_rest(window)
    window.shot(PICTURES / "results.png")
    window.run(f"bpy.ops.trellis2.keep_results(generation={choose})")
    clear_queue(window)
    choose_picture(window, "plain.png")
    _come_to_rest(window)
    window.shot(PICTURES / "mask.png")
    window.run("bpy.context.scene.trellis2.image = None")
    _come_to_rest(window)
    window.shot(PICTURES / "selected.png")
    window.run("bpy.context.view_layer.objects.active = None")
    _come_to_rest(window)
    window.click(1050, 382)  # History, the last of the panels then
    _come_to_rest(window)
    window.shot(PICTURES / "history.png")
    show_preferences(window)
    window.shot(PICTURES / "preferences.png", settle=2)


def _come_to_rest(window: Window) -> None:
    """Until the panels have slid to their places: each redraw brings them a step further."""
    for _ in range(6):
        window.run(f"{VIEW}.tag_redraw()")
        time.sleep(0.7)


def choose_picture(window: Window, name: str) -> None:
    window.run(f"bpy.context.scene.trellis2.image = bpy.data.images.load('{window.inside}/pictures/{name}')")


def clear_queue(window: Window) -> None:
    window.run(f"for generation in {QUEUE}.generations():\n    bpy.ops.trellis2.forget(generation=generation.id)\n")


def show_preferences(window: Window) -> None:
    window.run(
        f"area = {VIEW}\n"
        "area.ui_type = 'PREFERENCES'\n"
        "name = next(n for n in bpy.context.preferences.addons.keys() if n.endswith('.trellis2'))\n"
        "bpy.context.preferences.active_section = 'ADDONS'\n"
        "bpy.context.window_manager.addon_search = 'TRELLIS'\n"
        "bpy.ops.preferences.addon_expand(module=name)\n"
        "bpy.context.preferences.addons[name].preferences.page = 'REMOTE'\n"
    )
    window.point(700, 790)


def show_material(window: Window) -> None:
    """Material Preview, once its shaders are compiled."""
    window.run(
        "for area in bpy.context.window_manager.windows[0].screen.areas:\n"
        "    if area.type == 'VIEW_3D':\n"
        "        area.spaces.active.shading.type = 'MATERIAL'\n"
        "bpy.ops.object.select_all(action='DESELECT')\n"
        "obj = next(o for o in bpy.context.view_layer.objects if o.type == 'MESH')\n"
        "obj.select_set(True)\n"
        "bpy.context.view_layer.objects.active = obj\n"
    )
    for _ in range(12):  # while it compiles, Blender draws what it has
        time.sleep(5)
        window.run(f"{VIEW}.tag_redraw()", timeout=240.0)


def open_browser(window: Window) -> None:
    """A file browser on the right, with the pictures."""
    window.run(
        f"view = {VIEW}\n"
        "with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=view,"
        " region=next(r for r in view.regions if r.type == 'WINDOW')):\n"
        "    bpy.ops.screen.area_split(direction='VERTICAL', factor=0.8)\n"
    )
    window.run(
        "areas = bpy.context.window_manager.windows[0].screen.areas\n"
        "browser = min((a for a in areas if a.type == 'VIEW_3D'), key=lambda area: area.width)\n"
        "browser.ui_type = 'FILES'\n"
    )
    window.run(
        "browser = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'FILE_BROWSER')\n"
        f"browser.spaces.active.params.directory = b'{window.inside}/pictures/'\n"
        "browser.spaces.active.params.display_type = 'THUMBNAIL'\n"
        "browser.spaces.active.show_region_toolbar = False\n"
    )
    time.sleep(2)


def close_browser(window: Window) -> None:
    window.run(
        "browser = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'FILE_BROWSER')\n"
        "with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=browser,"
        " region=browser.regions[0]):\n"
        "    bpy.ops.screen.area_close()\n"
    )


def prepare_view(window: Window) -> None:
    """The viewport over the whole window, its sidebar open at our tab, nothing in the scene."""
    window.run(
        f"view = {VIEW}\n"
        "view.spaces.active.show_region_ui = True\n"
        "bpy.data.objects.remove(bpy.data.objects['Cube'])\n"
        "window = bpy.context.window_manager.windows[0]\n"
        "for kind in ('OUTLINER', 'PROPERTIES', 'DOPESHEET_EDITOR'):\n"
        "    area = next(a for a in window.screen.areas if a.type == kind)\n"
        "    with bpy.context.temp_override(window=window, area=area, region=area.regions[0]):\n"
        "        bpy.ops.screen.area_close()\n"
    )
    window.run(
        f"view = {VIEW}\n"
        "next(r for r in view.regions if r.type == 'UI').active_panel_category = 'TRELLIS.2'\n"
        "space = view.spaces.active\n"
        "space.shading.color_type = 'TEXTURE'\n"
        "space.region_3d.view_distance, space.region_3d.view_location = 4.5, (0.3, 0.0, 0.4)\n"
        "from mathutils import Euler\n"
        "space.region_3d.view_rotation = Euler((1.25, 0.0, 0.45)).to_quaternion()\n"
    )


if __name__ == "__main__":
    main()
