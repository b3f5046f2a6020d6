"""A photograph with a busy background, in Blender's factory scene: told why not, marked with the mouse, and generated.

    python tests/by_hand/subject_window.py dist/dev/trellis2-0.1.0-linux-x64.zip --stage /tmp/stage [--pictures FOLDER]

Run by hand, as it needs a real Blender and a virtual screen; tools/window.py says what exactly. Each part leaves
pictures of the window in FOLDER, to be looked at.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from window import Window, make_parser, run_tests  # noqa: E402

_SETUP = """
def look():
    return part('trellis_addon.scene.cutout_preview').known(state().image)
def refusal():
    return part('addon.picture_state').refusal(state())
def marking():
    return part('trellis_addon.scene.marking').session() is not None
def on_screen(x, y):
    'A pixel of the picture in the Image Editor, in pixels of the screen from the upper left.'
    r, size = region('WINDOW', areas('IMAGE_EDITOR')[0]), state().image.size
    u, v = r.view2d.view_to_region(x / size[0], 1 - y / size[1], clip=False)
    return [r.x + u, window().height - (r.y + v)]
def is_seen(obj):
    'Whether all of it lies in what the sidebar leaves of the viewport.'
    from bpy_extras.view3d_utils import location_3d_to_region_2d
    from mathutils import Vector
    r, r3d, sidebar = region('WINDOW'), viewport().spaces.active.region_3d, region('UI')
    found = [location_3d_to_region_2d(r, r3d, obj.matrix_world @ Vector(c)) for c in obj.bound_box]
    return all(p is not None and 0 < p.x < sidebar.x - r.x and 0 < p.y < r.height for p in found)
def press(operator, **values):
    with bpy.context.temp_override(**view('UI')):
        return list(getattr(bpy.ops.trellis2, operator)('INVOKE_DEFAULT', **values))
"""
_BOX = (330, 60, 770, 900)  # around the lantern in the photograph


def main() -> None:
    options = make_parser(__doc__, pictures=ROOT / "build" / "subject").parse_args()
    window = Window(options)
    window.stage.mkdir(parents=True, exist_ok=True)
    _photograph().save(window.stage / "photo.jpg", quality=92)

    def prepare(test: Callable[..., None]) -> None:
        window.run(_SETUP)
        window.run("viewport().spaces.active.show_region_ui = True")
        time.sleep(1.0)  # its tabs are there once it has been drawn
        window.run("region('UI').active_panel_category = 'TRELLIS.2'")
        window.run(f"bpy.ops.trellis2.image_open(filepath='{window.inside}/photo.jpg')")
        window.run("state().settings.resolution, state().settings.texture_size = '512', '1024'")
        window.wait_for("look() is not None")

    run_tests(window, options, TESTS, prepare, options.pictures)


def _photograph() -> Image.Image:
    """The lantern on a lawn before a hedge, 1100 x 960, out of the camera: no transparency."""
    width, height = 1100, 960
    dice = np.random.default_rng(3)
    leaves = np.zeros((height, width, 3))
    for cells in (12, 40, 130):
        noise = dice.integers(0, 255, (cells, cells, 3)).astype(np.uint8)
        leaves += np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC), float) / 3
    leaves *= (0.45, 0.8, 0.4)
    leaves[700:] *= (1.2, 1.3, 0.8)
    photo = Image.fromarray(leaves.clip(0, 255).astype(np.uint8)).convert("RGBA")
    lantern = Image.open(ROOT / "examples" / "lantern.png").convert("RGBA")
    lantern = lantern.crop(lantern.getbbox())
    lantern.thumbnail((400, 800))
    left, top = (_BOX[0] + _BOX[2] - lantern.width) // 2, (_BOX[1] + _BOX[3] - lantern.height) // 2
    photo.alpha_composite(lantern, (left, top))
    return photo.convert("RGB").filter(ImageFilter.GaussianBlur(0.7))


def _drag(window: Window, start: tuple[int, int], end: tuple[int, int]) -> None:
    """From one pixel of the photograph to another."""
    time.sleep(1.0)  # the editor is laid out a moment after it is there
    first, last = (window.value(f"on_screen({x}, {y})") for x, y in (start, end))
    window.drag((round(first[0]), round(first[1])), (round(last[0]), round(last[1])))


def a_photograph_is_no_dead_end(window: Window, pictures: Path) -> None:
    """Generate is off, the reason is there once, and nothing is begun by it."""
    assert "no transparency" in window.value("str(refusal())")
    said = window.run(
        "try: press('generate')\nexcept RuntimeError as error: answer['said'] = str(error)\n"
        "answer['left'] = [len(cards()), len(states())]"
    )
    assert "no transparency" in said["said"] and said["left"] == [0, 0]
    window.shot(pictures / "refused.png")
    window.run("state().backend = 'remote'")
    assert window.value("refusal()") is None, "which cuts it out itself"
    window.shot(pictures / "remote.png")
    window.run("state().backend = 'draft'\npress('take_whole')")
    window.wait_for("look() and look().cutout == 'whole'")
    assert window.value("refusal()") is None


def marked_with_the_mouse_and_generated(window: Window, pictures: Path) -> None:
    window.run("press('mark_subject')")
    window.wait_for("marking()")
    assert window.value("len(areas('IMAGE_EDITOR')), len(areas('VIEW_3D'))") == [1, 1]
    window.shot(pictures / "editor.png")
    _drag(window, _BOX[:2], _BOX[2:])
    window.wait_for("look() and look().cutout == 'marked'")
    window.shot(pictures / "marked.png")
    found = window.value("list(state().image.trellis2.subject)")
    assert all(abs(a - b) < 8 for a, b in zip(found, _BOX, strict=True)), found
    _drag(window, (550, 300), (560, 600))
    window.wait_for("len(part('trellis_addon.scene.marking').strokes_of(state().image)) == 1")
    window.wait_for("look() and look().cutout == 'marked'")
    window.shot(pictures / "stroke.png")
    window.key("ctrl+z")
    assert window.value("state().image.trellis2.strokes") == ""
    window.wait_for("look() and look().cutout == 'marked'")
    window.key("Return")
    assert window.value("marking()") is False
    window.run("press('generate')")
    window.wait_for("states() == ['done']")
    assert window.value("len(ours()), len(cards())") == [1, 0]
    sides = window.value("list(ours()[0].dimensions)")
    assert sides[0] < 0.7 * sides[2], "the lantern, not the photograph"
    assert window.value("[o.name for o in window().view_layer.objects if o.select_get()] == [ours()[0].name]")
    assert window.value("is_seen(ours()[0])"), "beside the cube, and not behind the sidebar"


def escape_leaves_all_as_it_was(window: Window, pictures: Path) -> None:
    window.run("press('mark_subject')")
    window.wait_for("marking()")
    _drag(window, _BOX[:2], _BOX[2:])
    assert window.value("state().image.trellis2.cutout") == "MARKED"
    window.key("Escape")
    assert window.value("state().image.trellis2.cutout, marking()") == ["AUTO", False]
    window.run("press('mark_subject')")
    window.wait_for("marking()")
    assert window.value("len(areas('IMAGE_EDITOR'))") == 1, "the editor that is there is used"
    x, y = window.value("(lambda a: [a.x + a.width // 3, window().height - a.y - a.height // 3])(viewport())")
    window.click(x, y)
    assert window.value("marking()") is False, "a click elsewhere is the end of it"


def a_photograph_that_was_dropped_is_marked_from_its_line(window: Window, pictures: Path) -> None:
    window.run("state().image = None")
    window.run(f"press('generate', directory='{window.inside}', files=[{{'name': 'photo.jpg'}}])")
    window.wait_for("states() == ['failed']")
    time.sleep(1.0)
    window.shot(pictures / "dropped.png")
    window.run("press('mark_failed', generation=part('trellis_addon.scene.queue').generations()[0].id)")
    window.wait_for("marking()")
    assert window.value("len(cards()), len(states()), state().image is not None") == [0, 0, True]
    _drag(window, _BOX[:2], _BOX[2:])
    window.wait_for("look() and look().cutout == 'marked'")
    window.key("Return")
    assert window.value("refusal()") is None


def the_preview_follows_what_is_painted_on_a_mask(window: Window, pictures: Path) -> None:
    window.run(f"bpy.ops.trellis2.mark_subject(box={_BOX})\nbpy.ops.trellis2.mask_new()\npress('mask_paint')")
    window.wait_for("areas('IMAGE_EDITOR') and areas('IMAGE_EDITOR')[0].spaces.active.mode == 'PAINT'")
    window.wait_for("look() and look().cutout == 'mask'")
    time.sleep(1.0)
    window.run("before = look()")
    _drag(window, (300, 620), (800, 620))  # black, as the brush comes from the factory
    window.wait_for("look() and look().preview != before.preview", timeout=30.0)


TESTS: tuple[Callable[[Window, Path], None], ...] = (
    a_photograph_is_no_dead_end,
    marked_with_the_mouse_and_generated,
    escape_leaves_all_as_it_was,
    a_photograph_that_was_dropped_is_marked_from_its_line,
    the_preview_follows_what_is_painted_on_a_mask,
)

if __name__ == "__main__":
    main()
