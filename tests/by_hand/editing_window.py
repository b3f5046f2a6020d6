"""Views, a corrected frame, a textured Suzanne, a changed part and a game-ready asset, in Blender's factory scene.

    python tests/by_hand/editing_window.py dist/dev/trellis2-0.1.0-linux-x64.zip --stage /tmp/stage [--pictures FOLDER]

Run by hand, as it needs a real Blender and a virtual screen; tools/window.py says what exactly. Neither key nor card is
needed; the last part, which remeshes, is for `--online`, as it gets Remesh and Rebake's packages as the button does
(from PIP_INDEX_URL where that Blender's Python has no pip to name an index). Each part leaves pictures of the window in
FOLDER, and a rendered one of what came of it, to be looked at.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "support")]

from views_tools import pictures as views_of  # noqa: E402
from window import Window, make_parser, run_tests  # noqa: E402

_SETUP = """
import json, time
def press(operator, **values):
    with bpy.context.temp_override(**view()):
        return list(getattr(bpy.ops.trellis2, operator)('INVOKE_DEFAULT', **values))
def said():
    return [str(g.message) for g in part('trellis_addon.scene.queue').generations()]
def look(view='FRONT'):
    image = state().image if view == 'FRONT' else getattr(state(), 'view_' + view.lower())
    return part('trellis_addon.scene.cutout_preview').known(image)
def choose(*objects):
    layer = window().view_layer
    for o in layer.objects:
        o.select_set(o in objects, view_layer=layer)
    layer.objects.active = objects[-1]
def opened(*names):
    'These panels of the sidebar open, as a click on their names has them.'
    for name in names:
        cls = getattr(bpy.types, name)
        bpy.utils.unregister_class(cls)
        cls.bl_options = set()
        bpy.utils.register_class(cls)
def unfold(*names):
    'These parts of the panel of the selected asset, as clicks on their names open them.'
    def shown(layout, key, label):
        is_open = key in names
        name = 'trellis2_asset_' + key + ('_open' if is_open else '')
        header, body = layout.panel(name, default_closed=not is_open)
        header.label(text=label, translate=False)
        return body
    part('ui.asset_panel')._part = shown
def look_at(*objects):
    'These fill the viewport.'
    choose(*objects)
    with bpy.context.temp_override(**view()):
        bpy.ops.view3d.view_selected()
def rendered(path, *objects):
    'The objects alone, from the front left, as Eevee or Workbench has them.'
    scene = bpy.context.scene
    hidden = [o for o in bpy.data.objects if o not in objects and not o.hide_render]
    for o in hidden:
        o.hide_render = True
    scene.render.engine = 'BLENDER_WORKBENCH'
    scene.display.shading.light, scene.display.shading.color_type = 'STUDIO', 'TEXTURE'
    from mathutils import Vector
    corners = [o.matrix_world @ Vector(c) for o in objects for c in o.bound_box]
    middle = sum(corners, Vector()) / len(corners)
    size = max((c - middle).length for c in corners)
    camera = bpy.data.objects.new('Tour', bpy.data.cameras.new('Tour'))
    scene.collection.objects.link(camera)
    towards = Vector((-0.55, -1.0, 0.45)).normalized()
    camera.location = middle + towards * size * 3.4
    camera.rotation_euler = towards.to_track_quat('Z', 'Y').to_euler()
    former, scene.camera = scene.camera, camera
    scene.render.resolution_x = scene.render.resolution_y = 640
    scene.render.filepath = path
    bpy.ops.render.render(write_still=True)
    scene.camera = former
    bpy.data.objects.remove(camera)
    for o in hidden:
        o.hide_render = False
beats = dict(last=time.monotonic(), longest=0.0, last_busy=time.thread_time(), busy=0.0)
def beat():
    now, busy = time.monotonic(), time.thread_time()
    beats['longest'] = max(beats['longest'], now - beats['last'])
    beats['busy'] = max(beats['busy'], busy - beats['last_busy'])
    beats['last'], beats['last_busy'] = now, busy
    return 0.02
def standstill():
    'The longest time that the window stood still since it was asked the last time.'
    longest, beats['longest'], beats['busy'] = beats['longest'], 0.0, 0.0
    return longest
bpy.app.timers.register(beat)
"""


def main() -> None:
    parser = make_parser(__doc__, pictures=ROOT / "build" / "editing")
    parser.set_defaults(size="1400x1500")
    parser.add_argument("--views", type=Path, help="a folder of object_front.png, _right, _back and _left to use")
    parser.add_argument("--online", action="store_true", help="with the part that needs packages, which it gets")
    options = parser.parse_args()
    window = Window(options)
    window.stage.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "examples" / "lantern.png", window.stage / "lantern.png")
    _put_views(window.stage, options.views)
    tests = [test for test in TESTS if options.online or test is not a_game_ready_asset]

    def prepare(test: Callable[..., None]) -> None:
        window.run(_SETUP)
        if test is four_views_each_corrected:
            window.run("opened('TRELLIS2_PT_frame', 'TRELLIS2_PT_views')")
        window.run("viewport().spaces.active.show_region_ui = True")
        time.sleep(1.0)  # its tabs are there once it has been drawn
        window.run("region('UI').active_panel_category = 'TRELLIS.2'")

    run_tests(window, options, tests, prepare, options.pictures)


def _put_views(stage: Path, folder: Path | None) -> None:
    for view in ("front", "right", "back", "left"):
        target = stage / f"object_{view}.png"
        if folder is None:
            picture = views_of(view)[view]
            picture.resize((3 * picture.width, 3 * picture.height)).save(target)
        else:
            shutil.copyfile(next(folder.glob(f"*_{view}.png")), target)


def _shot(window: Window, path: Path) -> None:
    """The window once its panels have slid to their places: each redraw brings them a step further."""
    for _ in range(6):
        window.run("viewport().tag_redraw()")
        time.sleep(0.5)
    window.shot(path)


def _render(window: Window, path: Path, objects: str) -> None:
    window.run(f"rendered('{window.inside}/rendered.png', {objects})", timeout=120.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(window.stage / "rendered.png", path)


def _ended(window: Window, count: int = 1) -> None:
    window.wait_for(f"len(states()) >= {count} and not set(states()) & {{'running', 'waiting', 'ready'}}", 900.0)
    assert window.value("states()[0]") == "done", window.value("said()")


def four_views_each_corrected(window: Window, pictures: Path) -> None:
    window.run(
        f"state().image = bpy.data.images.load('{window.inside}/object_front.png')\n"
        "for view in ('right', 'back', 'left'):\n"
        f"    setattr(state(), 'view_' + view, bpy.data.images.load('{window.inside}/object_' + view + '.png'))"
    )
    window.wait_for("all(look(view) for view in ('FRONT', 'RIGHT', 'BACK', 'LEFT'))")
    _shot(window, pictures / "views-1-four.png")
    window.run("state().shown = 'BACK'")
    window.run("image = state().view_back.trellis2\nimage.margin, image.right, image.grow = 25.0, 12.0, 2.0")
    window.wait_for("look('BACK') and look('BACK').gets > look('FRONT').gets")
    _shot(window, pictures / "views-2-back-corrected.png")
    print("the window stood still for", round(window.value("standstill()"), 2), "s")
    for step in range(40):  # as a hand drags a slider
        window.run(f"state().view_back.trellis2.margin = {step}")
    window.wait_for("look('BACK') is not None")
    print("... while a value was dragged", round(window.value("standstill()"), 2), "s")
    window.run("state().on_black = True\npress('mask_paint')")
    window.wait_for("areas('IMAGE_EDITOR') and areas('IMAGE_EDITOR')[0].spaces.active.mode == 'PAINT'")
    window.wait_for("look('BACK') and look('BACK').cutout == 'mask'")
    _shot(window, pictures / "views-3-mask.png")
    window.run("press('frame_reset')\nstate().shown = 'FRONT'\nstate().on_black = False")
    assert window.value("[state().view_back.trellis2.cutout, state().view_back.trellis2.margin]") == ["AUTO", 0.0]
    window.run(
        "state().image.trellis2.margin = 10.0\nbpy.ops.ed.undo_push(message='margin')\n"
        "state().image.trellis2.margin = 60.0\nbpy.ops.ed.undo_push(message='more')"
    )
    window.wait_for("look() is not None")
    window.point(300, 900)
    window.key("ctrl+z")
    assert abs(window.value("state().image.trellis2.margin") - 10.0) < 1e-3
    window.wait_for("look() is not None")
    window.run("press('generate')")
    _ended(window)
    window.run("made = json.loads(ours()[0]['trellis2_provenance'])")
    assert window.value("made['pictures']") == {"front": {"cutout": "alpha", "margin": 0.1}}
    assert window.value("sorted(made['views'])") == ["back", "left", "right"]
    _render(window, pictures / "views-4-made.png", "*ours()")


def suzanne_gets_the_look_of_a_picture(window: Window, pictures: Path) -> None:
    """Her own UV map, modifier, name and place are kept, and the end is waited for."""
    window.run(
        "bpy.data.objects.remove(bpy.data.objects['Cube'])\n"
        "with bpy.context.temp_override(**view()):\n"
        "    bpy.ops.mesh.primitive_monkey_add(size=2, location=(0, 0, 1))\n"
        "suzanne = window().view_layer.objects.active\n"
        "suzanne.modifiers.new('Smooth', 'SUBSURF').levels = 2\n"
        "group = suzanne.vertex_groups.new(name='Half')\ngroup.add(range(100), 0.5, 'REPLACE')\n"
        "def kept():\n"
        "    values = [0.0] * (2 * len(suzanne.data.loops))\n"
        "    suzanne.data.uv_layers[0].uv.foreach_get('vector', values)\n"
        "    return [suzanne.name, [l.name for l in suzanne.data.uv_layers], hash(tuple(values)),\n"
        "            [list(r) for r in suzanne.matrix_world], [m.name for m in suzanne.modifiers],\n"
        "            [g.name for g in suzanne.vertex_groups], len(suzanne.data.vertices)]\n"
        f"state().image = bpy.data.images.load('{window.inside}/lantern.png')\n"
        "viewport().spaces.active.region_3d.view_distance = 7\n"
        "bpy.ops.ed.undo_push(message='Suzanne')"
    )
    window.wait_for("look() is not None")
    before = window.value("kept()")
    window.point(600, 500)
    window.run("standstill()\npress('texture_mesh')")
    _shot(window, pictures / "suzanne-1-front.png")
    print("the question took", round(window.value("standstill()"), 2), "s")
    window.key("Escape")
    window.run("press('texture_mesh', facing='RIGHT', uvs='KEEP')")
    _shot(window, pictures / "suzanne-2-right.png")
    window.key("Escape")
    window.run("press('texture_mesh', facing='FRONT', uvs='KEEP')")
    time.sleep(1.0)
    window.key("Return")
    window.wait_for("len(states()) == 1")
    _shot(window, pictures / "suzanne-3-on-the-way.png")
    _ended(window)
    print("the window stood still for", round(window.value("standstill()"), 2), "s")
    assert window.value("kept()") == before
    _shot(window, pictures / "suzanne-4-done.png")
    window.run("viewport().spaces.active.shading.color_type = 'TEXTURE'")
    _shot(window, pictures / "suzanne-5-textured.png")
    _render(window, pictures / "suzanne-6-rendered.png", "suzanne")
    window.run("press('former_material')")
    window.run("press('former_material')")
    window.point(600, 500)
    window.key("ctrl+z", "ctrl+z", "ctrl+z")
    assert window.value("len(bpy.data.objects['Suzanne'].data.materials)") == 0, "one step takes it back"


def a_part_is_changed(window: Window, pictures: Path) -> None:
    window.run(
        "bpy.data.objects.remove(bpy.data.objects['Cube'])\n"
        f"state().image = bpy.data.images.load('{window.inside}/lantern.png')\nstate().settings.resolution = '512'"
    )
    window.wait_for("look() is not None")
    window.run("press('generate')")
    _ended(window)
    _render(window, pictures / "part-1-before.png", "*ours()")
    window.run(
        "asset = ours()[0]\nhigh = max((asset.matrix_world @ __import__('mathutils').Vector(c)).z"
        " for c in asset.bound_box)\n"
        "with bpy.context.temp_override(**view()):\n"
        "    bpy.ops.mesh.primitive_cube_add(size=1, location=(*asset.location[:2], high - 0.1))\n"
        "box = window().view_layer.objects.active\nbox.scale = (1.2, 1.2, 0.4)\nbox.display_type = 'WIRE'\n"
    )
    window.run("choose(asset)")
    _shot(window, pictures / "part-2-alone.png")
    assert window.value("bpy.ops.trellis2.change_part.poll()") is False
    window.run(f"choose(box, asset)\nstate().image = bpy.data.images.load('{window.inside}/object_front.png')")
    window.wait_for("look() is not None")
    window.point(600, 500)
    window.run("press('change_part', source='PANEL')")
    _shot(window, pictures / "part-3-question.png")
    window.key("Return")
    window.wait_for("len(states()) >= 2 or states() == ['running']")
    _ended(window)
    _shot(window, pictures / "part-4-changed.png")
    assert window.value("json.loads(ours()[-1]['trellis2_provenance'])['source']['stage']") == "change"
    _render(window, pictures / "part-5-after.png", "*[o for o in ours() if not o.hide_get()]")


def a_game_ready_asset(window: Window, pictures: Path) -> None:
    """Mobile, then quads, levels of detail, a contract and an export."""
    window.run("bpy.context.preferences.system.use_online_access = True")
    if not window.value("part('trellis_addon.runtime.child').has_finishing()"):
        window.run("press('finishing_install')")
        time.sleep(1.0)
        window.key("Return")
        window.run("def work(): return part('trellis_addon.scene.setup.local_work').current()")
        window.wait_for("work() is not None and work().state != 'running'", 900.0)
        outcome = window.value("[work().state, str(work().message)]")
        assert outcome == ["done", ""], outcome
    window.run(
        "bpy.data.objects.remove(bpy.data.objects['Cube'])\n"
        f"state().image = bpy.data.images.load('{window.inside}/lantern.png')\nstate().settings.resolution = '512'"
    )
    window.wait_for("look() is not None")
    window.run("press('generate')")
    _ended(window)
    window.run("standstill()\npress('game_ready', budget='mobile')")
    _stood(window, "as it began")
    window.wait_for("states()[0] == 'running' or len(states()) > 1")
    _shot(window, pictures / "game-1-on-the-way.png")
    _ended(window, 2)
    _stood(window, "until it was in the scene")
    window.run("light = window().view_layer.objects.active")
    assert window.value("len(light.data.polygons)") <= 5000
    facts = window.value("list(part('trellis_addon.scene').measure(light).surface.__dict__.items())")
    print("Mobile:", facts)
    assert dict(facts)["open_edges"] == 0, "what was closed is closed still"
    window.run("viewport().spaces.active.shading.color_type = 'TEXTURE'\nlook_at(light)")
    _shot(window, pictures / "game-2-mobile.png")
    _render(window, pictures / "game-3-mobile.png", "light")
    window.run("standstill()\npress('bake_lods', levels=2)")
    time.sleep(1.0)
    window.key("Return")
    _ended(window, 3)
    _stood(window, "for levels of detail")
    assert window.value("len(part('trellis_addon.scene').lods_of(light).objects)") == 2
    window.run("unfold('levels')\nlook_at(light)")
    _shot(window, pictures / "game-4-levels.png")
    levels = "part('trellis_addon.scene').lods_of(light).objects"
    window.run(
        f"part('trellis_addon.scene').lods_of(light).hide_render = False\nfor o in {levels}:\n    o.hide_render = False"
    )
    for number in (0, 1):
        _render(window, pictures / f"game-4-level-{number + 1}.png", f"list({levels})[{number}]")
    window.run("unfold('contract')\nstandstill()\nstate().contract = 'unreal'\nchoose(light)\npress('check_contract')")
    told = "part('trellis_addon.scene.asset.contracts').recall_findings(light, 'unreal')[0]"
    print("against the contract for Unreal:", window.value(f"[str(finding.sentence) for finding in {told}]"))
    _shot(window, pictures / "game-5-contract.png")
    window.run("press('mend_contract')")
    _stood(window, "for the contract")
    assert window.value(f"[str(finding.sentence) for finding in {told}]") == []
    _shot(window, pictures / "game-6-mended.png")
    window.run(
        "standstill()\nwith bpy.context.temp_override(**view()):\n"
        f"    bpy.ops.trellis2.export_asset(filepath='{window.inside}/out.fbx', engine='unreal', overwrite=True)"
    )
    window.wait_for(f"__import__('os').path.getsize('{window.inside}/out.fbx') > 10000")
    _stood(window, "for the export")
    _shot(window, pictures / "game-7-exported.png")
    window.run("press('rebake', topology='QUADS', quads=4000, resolution='256', texture_size='1024')")
    _shot(window, pictures / "game-8-quads.png")
    window.run("standstill()")
    window.key("Return")
    _ended(window, 4)
    _stood(window, "for quads")
    window.run("quads = window().view_layer.objects.active")
    share = window.value("sum(len(p.vertices) == 4 for p in quads.data.polygons) / len(quads.data.polygons)")
    assert share > 0.9, share
    window.run("viewport().spaces.active.overlay.show_wireframes = True\nlook_at(quads)")
    _shot(window, pictures / "game-9-quads.png")
    _render(window, pictures / "game-10-quads.png", "quads")


def _stood(window: Window, when: str) -> None:
    busy, still = window.value("[beats['busy'], standstill()]")  # others may have had the processor meanwhile
    print(f"the window stood still for {still:.2f} s, {busy:.2f} of them at work, {when}", flush=True)


TESTS: tuple[Callable[[Window, Path], None], ...] = (
    four_views_each_corrected,
    suzanne_gets_the_look_of_a_picture,
    a_part_is_changed,
    a_game_ready_asset,
)

if __name__ == "__main__":
    main()
