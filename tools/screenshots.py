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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zip", type=Path, help="the extension, built for this Blender's Python")
    add_arguments(parser)
    options = parser.parse_args()
    window = Window(options)
    window.stage.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(options.zip, window.stage / "trellis2.zip")
    (window.stage / "pictures").mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "examples" / "lantern.png", window.stage / "pictures" / "lantern.png")
    with window.open():
        tell_story(window)


def tell_story(window: Window) -> None:
    window.run(
        "import sys\n"
        f"bpy.ops.extensions.package_install_files(filepath='{window.inside}/trellis2.zip',"
        " repo='user_default', enable_on_install=True)"
    )
    prepare_view(window)
    window.shot(PICTURES / "start.png")

    drop(window)
    window.shot(PICTURES / "drop.png")
    window.run(
        "settings = bpy.context.scene.trellis2.settings\nsettings.resolution, settings.texture_size = '1536', '4096'"
    )
    window.click(330, 493)
    window.wait_for(f"any(g.share > 0.3 for g in {QUEUE}.generations())")
    window.shot(PICTURES / "progress.png", settle=0.0)
    window.wait_for(f"all(g.state == 'done' for g in {QUEUE}.generations())")
    window.run("bpy.context.scene.trellis2.settings.texture_size = '2048'")
    show_material(window)
    window.shot(PICTURES / "asset.png")
    window.run(
        "scene = bpy.context.scene\n"
        "scene.trellis2.image = bpy.data.images.load('" + window.inside + "/pictures/lantern.png')\n"
        "scene.trellis2.settings.number_results = 4\n"
        "scene.cursor.location = (1.2, 0.6, 0.0)"
    )
    window.shot(PICTURES / "ready.png", settle=3)
    window.click(866, 450)
    window.wait_for(f"any(g.state == 'choose' and len(g.previews) == 4 for g in {QUEUE}.generations())")
    window.shot(PICTURES / "results.png", settle=3)
    window.click(805, 665)
    window.click(920, 785)
    window.shot(PICTURES / "picked.png", settle=1)
    window.run(
        f"bpy.ops.trellis2.keep_results(generation=next(g for g in {QUEUE}.generations() if g.state == 'choose').id)"
    )
    show_history(window)
    window.shot(PICTURES / "history.png", settle=3)
    show_preferences(window)
    window.shot(PICTURES / "preferences.png", settle=2)


def show_history(window: Window) -> None:
    window.run(
        "browser = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == 'FILE_BROWSER')\n"
        "with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=browser,"
        " region=browser.regions[0]):\n"
        "    bpy.ops.screen.area_close()\n"
        "bpy.context.view_layer.objects.active = None\n"
        "bpy.context.scene.trellis2.image = None\n"
        f"for generation in {QUEUE}.generations():\n"
        "    bpy.ops.trellis2.forget(generation=generation.id)\n"
    )
    time.sleep(2)
    window.shot(PICTURES / "before_history.png")
    window.click(1060, 504)


def show_preferences(window: Window) -> None:
    window.run(
        f"area = {VIEW}\n"
        "area.ui_type = 'PREFERENCES'\n"
        "name = next(n for n in bpy.context.preferences.addons.keys() if n.endswith('.trellis2'))\n"
        "bpy.context.preferences.active_section = 'ADDONS'\n"
        "bpy.context.window_manager.addon_search = 'TRELLIS'\n"
        "bpy.ops.preferences.addon_expand(module=name)\n"
    )


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
    window.run("pass", timeout=240.0)
    time.sleep(20)
    window.run("pass", timeout=240.0)


def drop(window: Window) -> None:
    """From a file browser onto the ground, with the mouse; then the browser is closed again."""
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
    window.shot(PICTURES / "browser.png")
    window.drag((1085, 160), (400, 500))


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
