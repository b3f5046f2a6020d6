"""Messy reality in the factory scene: odd files dropped, odd scenes, a narrow panel, and a Blender that is killed.

    python tests/by_hand/messy_window.py dist/dev/trellis2-0.1.0-linux-x64.zip --stage /tmp/stage [--pictures FOLDER]

Run by hand, as it needs a real Blender and a virtual screen; tools/window.py says what exactly. Each part leaves
pictures of the window in FOLDER, to be looked at.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "tests" / "by_hand"))

from first_minute_window import _SETUP  # noqa: E402
from PIL import Image  # noqa: E402
from window import Window, make_parser, run_tests  # noqa: E402

_MORE = """
def lines():
    return [[g.name, g.state, str(g.message)] for g in part('trellis_addon.scene.queue').generations()]
def at_rest():
    return all(g.state in ('done', 'failed', 'kept', 'choose') for g in part('trellis_addon.scene.queue').generations())
def drop(*names):
    "What Blender's file handler hands over."
    return generate(directory=STAGE, files=[{'name': name} for name in names])
"""
_ODD_NAME = "日本 Käse (1).png"


def main() -> None:
    options = make_parser(__doc__, pictures=ROOT / "build" / "messy").parse_args()
    window = Window(options)
    window.stage.mkdir(parents=True, exist_ok=True)
    lantern = Image.open(ROOT / "examples" / "lantern.png")
    lantern.save(window.stage / "lantern.png")
    for name in (_ODD_NAME, "pot.webp", "pot.tga", "second.png"):
        lantern.resize((256, 256)).save(window.stage / name)
    lantern.resize((8192, 8192)).save(window.stage / "huge.png", compress_level=1)
    (window.stage / "broken.png").write_bytes((window.stage / "lantern.png").read_bytes()[:3000])
    (window.stage / "folder.png").mkdir(exist_ok=True)

    def prepare(test: Callable[..., None]) -> None:
        window.run(f"STAGE = {window.inside!r}\n{_SETUP}{_MORE}")
        window.run("viewport().spaces.active.show_region_ui = True")
        time.sleep(1.0)  # its tabs are there once it has been drawn
        window.run("region('UI').active_panel_category = 'TRELLIS.2'")

    run_tests(window, options, TESTS, prepare, options.pictures)


def what_is_dropped_arrives_or_says_why(window: Window, pictures: Path) -> None:
    """An EXR, a WebP, several at once, names in any script, what is broken, a folder that is called like a picture."""
    window.run(
        "image = bpy.data.images.load(STAGE + '/second.png')\n"
        "scene = bpy.context.scene\n"
        "scene.render.image_settings.file_format = 'OPEN_EXR'\n"
        "scene.render.image_settings.color_mode = 'RGBA'\n"
        "image.save_render(STAGE + '/render.exr', scene=scene)\n"
        "bpy.data.images.remove(image)\n"
    )
    window.run(f"drop('render.exr', 'pot.webp', 'pot.tga', {_ODD_NAME!r}, 'broken.png', 'folder.png', 'gone.png')")
    window.wait_for("at_rest() and len(lines()) == 7", timeout=600)
    told = {name: (state, message) for name, state, message in window.value("lines()")}
    window.shot(pictures / "dropped.png")
    for name in ("render", "pot", "pot 2", "日本 Käse (1)"):
        assert told[name][0] == "done", told
    for name in ("broken", "folder", "gone"):
        assert told[name][0] == "failed" and len(told[name][1]) > 20, told
    assert window.value("len(ours()), len(cards())") == [4, 3], "cards of what failed stand until they are taken away"


def a_picture_of_8192_pixels(window: Window, pictures: Path) -> None:
    window.run("state().image = bpy.data.images.load(STAGE + '/huge.png')")
    window.run("generate()", timeout=180)
    window.wait_for("states() == ['done']", timeout=600)
    assert window.value("on_screen(ours()[0])") is True


def a_narrow_panel_and_a_screen_of_twice_the_pixels(window: Window, pictures: Path) -> None:
    window.run("generate(filepath=STAGE + '/lantern.png')")
    window.wait_for("states() == ['done']")
    window.run("state().image = bpy.data.images.load(STAGE + '/lantern.png')")
    for scale in (1.0, 2.0):
        window.run(f"bpy.context.preferences.view.ui_scale = {scale}")
        window.shot(pictures / f"scale-{scale:.0f}.png", settle=3.0)
    window.run("bpy.context.preferences.view.ui_scale = 1.0")
    time.sleep(2.0)
    x, y = window.value("[region('UI').x + 1, window().height - region('UI').y - 200]")
    window.drag((x - 1, y), (x + 130, y))
    window.shot(pictures / "narrow.png", settle=3.0)
    width = window.value("region('UI').width")
    print("width of the sidebar", width)


def a_mesh_of_two_million_faces_is_selected(window: Window, pictures: Path) -> None:
    """The panel draws at once, whatever is selected."""
    window.run(
        "import numpy as np\n"
        "n = 1415\n"
        "mesh = bpy.data.meshes.new('Huge')\n"
        "x, y = np.meshgrid(np.arange(n), np.arange(n))\n"
        "points = np.stack([x, y, np.sin(x / 40) * 20], -1).reshape(-1, 3).astype(np.float32) / n\n"
        "corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()\n"
        "faces = np.stack([corner, corner + 1, corner + n + 1, corner + n], -1).astype(np.int32)\n"
        "mesh.vertices.add(n * n); mesh.vertices.foreach_set('co', points.ravel())\n"
        "mesh.loops.add(faces.size); mesh.loops.foreach_set('vertex_index', faces.ravel())\n"
        "mesh.polygons.add(len(faces)); mesh.polygons.foreach_set('loop_start', np.arange(0, faces.size, 4))\n"
        "mesh.update(calc_edges=True)\n"
        "obj = bpy.data.objects.new('Huge', mesh)\n"
        "bpy.context.scene.collection.objects.link(obj)\n"
        "for o in bpy.context.view_layer.objects: o.select_set(o == obj)\n"
        "bpy.context.view_layer.objects.active = obj\n",
        timeout=300,
    )
    time.sleep(10.0)
    window.run(
        "import time\n"
        "panels = [c for c in bpy.types.Panel.__subclasses__() if getattr(c, 'bl_category', '') == 'TRELLIS.2']\n"
        "spent = {}\n"
        "def timed(cls, name):\n"
        "    own = getattr(cls, name)\n"
        "    def draw(self, context):\n"
        "        begun = time.perf_counter()\n"
        "        own(self, context)\n"
        "        spent[cls.__name__] = max(spent.get(cls.__name__, 0), time.perf_counter() - begun)\n"
        "    setattr(cls, name, draw)\n"
        "for cls in panels: timed(cls, 'draw')\n"
        "region('UI').tag_redraw()\n"
    )
    time.sleep(5.0)
    window.run("region('UI').tag_redraw()")
    time.sleep(3.0)
    print("seconds of each panel", window.value("spent"))
    window.shot(pictures / "two-million.png")


def an_odd_scene(window: Window, pictures: Path) -> None:
    """Units of 1 cm, feet, the active collection hidden, Local View, a cursor far away: seen, of the right height."""
    window.run(
        "scene = bpy.context.scene\n"
        "scene.unit_settings.scale_length = 0.01\n"
        "scene.unit_settings.system = 'IMPERIAL'\n"
        "hidden = bpy.data.collections.new('Hidden')\n"
        "scene.collection.children.link(hidden)\n"
        "layer = window().view_layer\n"
        "layer.active_layer_collection = layer.layer_collection.children['Hidden']\n"
        "layer.layer_collection.children['Hidden'].hide_viewport = True\n"
        "scene.cursor.location = (400000, -3000, 200)\n"
        "for o in layer.objects: o.select_set(o.name == 'Cube')\n"
        "with bpy.context.temp_override(**view()): bpy.ops.view3d.localview()\n"
    )
    window.run("generate(filepath=STAGE + '/lantern.png')")
    window.wait_for("states() == ['done']")
    found = window.value(
        "(lambda o: [o.visible_get(view_layer=window().view_layer), o.local_view_get(viewport().spaces.active),"
        " round(o.dimensions.z, 3), [round(v) for v in o.location], o.users_collection[0].name])(ours()[0])"
    )
    assert found[:3] == [True, True, 1.0], found
    assert abs(found[3][0] - 400000) < 2000, found
    window.run("bpy.ops.trellis2.show(generation=part('trellis_addon.scene.queue').generations()[0].id)")
    window.shot(pictures / "odd-scene.png", settle=3.0)
    assert window.value("on_screen(ours()[0])") is True


def an_asset_looks_the_same_under_any_view_transform(window: Window, pictures: Path) -> None:
    """In the panel's pictures of results: they are no renders of the scene."""
    window.run("bpy.context.scene.view_settings.view_transform = 'AgX'\nstate().settings.number_results = 2")
    window.run("generate(filepath=STAGE + '/lantern.png')")
    window.wait_for("states() == ['choose']")
    time.sleep(20.0)
    window.shot(pictures / "agx.png")
    window.run("bpy.context.scene.view_settings.view_transform = 'Standard'")
    window.shot(pictures / "standard.png", settle=3.0)


def other_files_while_it_works(window: Window, pictures: Path) -> None:
    """Saved, undone, redone, and a new file, all before it is there: it waits in the list, and comes when asked for."""
    window.run("state().settings.resolution = '1536'\ngenerate(filepath=STAGE + '/lantern.png')")
    window.run("bpy.ops.wm.save_as_mainfile(filepath=STAGE + '/saved.blend')")
    window.point(500, 450)
    window.key("ctrl+z", "ctrl+shift+z")
    window.run("bpy.ops.wm.read_homefile(use_factory_startup=False)")
    window.run(_SETUP)
    window.wait_for("at_rest() and lines()", timeout=300)
    assert window.value("states()") == ["kept"] and window.value("len(ours()), len(cards())") == [0, 0]
    window.run("bpy.ops.wm.open_mainfile(filepath=STAGE + '/saved.blend')")
    window.run(_SETUP)
    window.wait_for("states() == ['done']", timeout=120)
    assert window.value("len(ours()), len(cards())") == [1, 0]


def blender_is_killed_meanwhile(window: Window, pictures: Path) -> None:
    """And started again: what was begun arrives in the file that it belongs to."""
    window.run("bpy.ops.wm.save_as_mainfile(filepath=STAGE + '/killed.blend')")
    window.run("state().settings.resolution = '1536'\ngenerate(filepath=STAGE + '/lantern.png')")
    window.run("bpy.ops.wm.save_mainfile()")
    window.kill(f"{window.inside}/killed.blend")
    window.run(f"STAGE = {window.inside!r}\nbpy.ops.preferences.addon_enable(module='bl_ext.user_default.trellis2')")
    window.run(f"{_SETUP}{_MORE}")
    window.wait_for("len(ours()) == 1 and not cards()", timeout=300)
    assert window.value("states()") == ["done"]


def why_it_is_grey(window: Window, pictures: Path) -> None:
    """Remote without a key, and offline: the tooltip says it."""
    window.run("state().image = bpy.data.images.load(STAGE + '/lantern.png')\nstate().backend = 'REMOTE'")
    time.sleep(2.0)
    window.shot(pictures / "offline.png")
    assert window.value("bool(part('addon.picture_state').refusal(state())) or True")


TESTS: tuple[Callable[[Window, Path], None], ...] = (
    what_is_dropped_arrives_or_says_why,
    an_odd_scene,
    a_mesh_of_two_million_faces_is_selected,
    a_narrow_panel_and_a_screen_of_twice_the_pixels,
    a_picture_of_8192_pixels,
    other_files_while_it_works,
    blender_is_killed_meanwhile,
    an_asset_looks_the_same_under_any_view_transform,
    why_it_is_grey,
)

if __name__ == "__main__":
    main()
