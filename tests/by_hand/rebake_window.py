"""Remesh and Rebake in a fresh installation: one button for its packages, then Suzanne in a procedural material.

    python tests/by_hand/rebake_window.py dist/dev/trellis2-0.1.0-linux-x64.zip --stage /tmp/stage [--pictures FOLDER]

Run by hand, as it needs a real Blender, a virtual screen and a package index (PIP_INDEX_URL where that Blender's Python
has no pip to name one); tools/window.py says what exactly. It leaves pictures of the window in FOLDER.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from window import Window, make_parser  # noqa: E402

_SETUP = """
import time
def line():
    return part('trellis_addon.scene.queue').generations()[0]
def work():
    return part('trellis_addon.scene.setup.local_work').current()
def selected():
    return [o.name for o in window().view_layer.objects if o.select_get(view_layer=window().view_layer)]
beats = dict(last=time.monotonic(), longest=0.0)
def beat():
    now = time.monotonic()
    beats['longest'] = max(beats['longest'], now - beats['last'])
    beats['last'] = now
    return 0.02
bpy.app.timers.register(beat)
"""
_SUZANNE = """
bpy.data.objects.remove(bpy.data.objects['Cube'])
with bpy.context.temp_override(**view()):
    bpy.ops.mesh.primitive_monkey_add(size=2, location=(0, 0, 1), rotation=(-0.3, 0, 0.6))
obj = window().view_layer.objects.active
obj.modifiers.new('Smooth', 'SUBSURF').levels = 2
material = bpy.data.materials.new('Rock')
nodes, links = material.node_tree.nodes, material.node_tree.links
shader = nodes['Principled BSDF']
stone, ramp, bump = (nodes.new(k) for k in ('ShaderNodeTexVoronoi', 'ShaderNodeValToRGB', 'ShaderNodeBump'))
stone.inputs['Scale'].default_value = 6
ramp.color_ramp.elements[0].color = (0.05, 0.2, 0.6, 1)
ramp.color_ramp.elements[1].color = (0.9, 0.45, 0.05, 1)
links.new(stone.outputs['Distance'], ramp.inputs[0])
links.new(ramp.outputs[0], shader.inputs['Base Color'])
links.new(stone.outputs['Distance'], shader.inputs['Roughness'])
links.new(stone.outputs['Distance'], bump.inputs['Height'])
links.new(bump.outputs[0], shader.inputs['Normal'])
obj.data.materials.append(material)
viewport().spaces.active.region_3d.view_distance = 6
bpy.ops.ed.undo_push(message='Suzanne')
"""


def main() -> None:
    options = make_parser(__doc__, pictures=ROOT / "build" / "rebake", only=False).parse_args()
    window = Window(options)
    window.stage.mkdir(parents=True, exist_ok=True)
    with window.open():
        window.install(options.zip)
        window.run(_SETUP)
        window.run("viewport().spaces.active.show_region_ui = True")
        time.sleep(1.0)  # its tabs are there once it has been drawn
        window.run("region('UI').active_panel_category = 'TRELLIS.2'")
        _offline(window, options.pictures)
        _get_packages(window, options.pictures)
        _rebake(window, options.pictures)
        log = window.log()
        assert "Traceback" not in log, log[-2000:]
    print("passed")


def _offline(window: Window, pictures: Path) -> None:
    """The cube is a mesh of anybody's: what can be done with it, and what is missing for that, is said."""
    window.wait_for("part('trellis_addon.scene.setup.finishing_setup').known() is not None")
    assert window.value("bpy.ops.trellis2.finishing_install.poll()") is False, "online access is off"
    window.run("region('UI').tag_redraw()")
    window.shot(pictures / "1 what is missing.png")


def _get_packages(window: Window, pictures: Path) -> None:
    window.run("bpy.context.preferences.system.use_online_access = True")
    window.point(500, 450)
    window.run("with bpy.context.temp_override(**view()): bpy.ops.trellis2.rebake('INVOKE_DEFAULT')")
    time.sleep(1.0)
    window.shot(pictures / "2 the question.png")
    window.key("Return")
    window.wait_for("work() is not None and work().share > 0.05")
    window.shot(pictures / "3 on the way.png")
    window.wait_for("work().state != 'running'", 600.0)
    assert window.value("[work().state, str(work().message)]") == ["done", ""]
    time.sleep(0.5)
    window.shot(pictures / "4 there.png")


def _rebake(window: Window, pictures: Path) -> None:
    window.run(_SUZANNE)
    window.run("viewport().spaces.active.shading.type = 'MATERIAL'")
    time.sleep(5.0)  # its shader is compiled
    window.shot(pictures / "5 before.png")
    window.run("with bpy.context.temp_override(**view()): bpy.ops.trellis2.rebake('INVOKE_DEFAULT')")
    time.sleep(1.0)
    window.shot(pictures / "6 the choices.png")
    window.key("Escape")
    window.run("viewport().spaces.active.shading.type = 'SOLID'")  # without a card, a drawing takes seconds
    before = window.value("sorted(o.name for o in bpy.data.objects)")
    window.run("beats['last'], beats['longest'] = time.monotonic(), 0.0")
    begun = window.run(
        "begun = time.monotonic()\n"
        "with bpy.context.temp_override(**view()):\n"
        "    bpy.ops.trellis2.rebake(resolution='256', texture_size='1024', faces=20000)\n"
        "answer['seconds'] = time.monotonic() - begun\n"
    )
    print("the window stands still at the beginning:", round(begun["seconds"], 2), "s")
    window.wait_for("line().share > 0.1")
    window.run("beats['last'], beats['longest'] = time.monotonic(), 0.0")
    window.shot(pictures / "7 on the way.png")
    told = set()
    give_up = time.monotonic() + 600
    while window.value("line().state") == "running" and time.monotonic() < give_up:
        told.add(window.value("line().stage"))
        time.sleep(0.3)
    print("stages:", sorted(told))
    print("meanwhile:", round(window.value("beats['longest']"), 2), "s")
    window.wait_for("line().state != 'ready'")
    print("with the import:", round(window.value("beats['longest']"), 2), "s")
    assert window.value("[line().state, str(line().message)]")[0] == "done", window.value("str(line().message)")
    window.run("viewport().spaces.active.shading.type = 'MATERIAL'")
    time.sleep(5.0)
    window.shot(pictures / "8 after.png")
    assert window.value("selected()") == ["Suzanne Rebuilt"]
    assert window.value("window().view_layer.objects.active.name") == "Suzanne Rebuilt"
    assert window.value("[o.hide_get(view_layer=window().view_layer) for o in bpy.data.objects if o.name == 'Suzanne']")
    assert window.value("len(bpy.data.objects['Suzanne Rebuilt'].data.polygons)") <= 20000
    window.point(500, 450)
    window.key("ctrl+z")
    assert window.value("sorted(o.name for o in bpy.data.objects)") == before, "one undo step"
    assert window.value("bpy.data.objects['Suzanne'].hide_get(view_layer=window().view_layer)") is False
    assert window.value("selected()") == ["Suzanne"]


if __name__ == "__main__":
    main()
