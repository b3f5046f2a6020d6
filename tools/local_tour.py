"""The local backend from nothing to an asset and back to nothing, by mouse and keyboard in a real Blender window.

    python tools/local_tour.py dist/dev/trellis2-0.1.0-linux-x64.zip --library-python PYTHON --stage /tmp/stage

On a machine without a graphics card: sets up the processor's build in a fresh folder from the package index, breaks
it off and goes on, fetches small random weights (of the published layout) from a web server that is slow, hangs up
once and damages a file once, has everything examined, makes an asset, and removes it all again. Every step is checked
and photographed into docs/manual/local-*.png. `--library-python` is a Python with the `local` extra, to make the
weights; window.py says what else it needs. Where Blender is in another root, `--bind` takes a Python and package
folders of this one in there, with --root:

    --prefix "chroot /srv/blender env HOME=/root PATH=/opt/python/bin:/usr/bin:/bin" --root /srv/blender
    --stage /srv/blender/stage:/stage --bind /opt/python
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from screenshots import PICTURES, QUEUE, prepare_view  # noqa: E402
from window import Window, add_arguments  # noqa: E402

SIZE = "1280x1200"
PORT = 8642

_SETUP = """
import importlib, sys
name = next(n for n in bpy.context.preferences.addons.keys() if n.endswith('.trellis2'))
stored = bpy.context.preferences.addons[name].preferences
state = bpy.context.scene.trellis2
def part(module):
    return importlib.import_module(f'{name}.trellis_addon.{module}')
def found():
    return part('scene.setup.local_setup').known()
def work():
    return part('scene.setup.local_work').current()
"""

# The asset in the middle of the view.
_FRAME = """
window = bpy.context.window_manager.windows[0]
area = next(a for a in window.screen.areas if a.type == 'VIEW_3D')
with bpy.context.temp_override(window=window, area=area, region=next(r for r in area.regions if r.type == 'WINDOW')):
    bpy.ops.object.select_all(action='DESELECT')
    made = next(o for o in bpy.data.objects if 'trellis2_provenance' in o)
    made.select_set(True)
    bpy.context.view_layer.objects.active = made
    bpy.ops.view3d.view_selected()
"""
PREFERENCES_SHOWN = "any(a.type == 'PREFERENCES' for w in bpy.context.window_manager.windows for a in w.screen.areas)"
# What there is to click on, in pixels of the screen.
BACK = (335, 14)
SET_UP = (1132, 396)
FOLDER = (925, 414)
WEIGHTS_FROM = (935, 557)
ADDRESS = (935, 581)
ACCEPT = (196, 609)
INSTALL = (722, 665)
CANCEL = (1246, 511)
GO_ON = (722, 688)
START = (465, 914)
EXAMINE = (465, 982)
PREFERENCES = (1232, 397)
GENERATE = (1132, 473)
REMOVE = (722, 1096)
ASIDE = (700, 1190)  # where the mouse is in nobody's way


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zip", type=Path, help="the extension, built for this Blender's Python")
    parser.add_argument("--library-python", default=sys.executable, help="a Python with the local extra")
    parser.add_argument("--root", type=Path, default=Path("/"), help="of what the prefix changes into")
    parser.add_argument("--bind", type=Path, action="append", default=[], help="what is to be seen in there")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="where they go")
    add_arguments(parser)
    parser.set_defaults(size=SIZE)
    options = parser.parse_args()
    window = Window(options)
    window.stage.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "examples" / "lantern.png", window.stage / "lantern.png")
    shutil.rmtree(window.stage / "local", ignore_errors=True)
    weights = make_weights(options.library_python, window.stage / "mirror")
    with contextlib.ExitStack() as stack:
        for path in options.bind:
            stack.enter_context(bound(path, options.root))
        mirror = stack.enter_context(serving(weights))
        stack.enter_context(window.open())
        Tour(window, mirror, options.pictures).go(options.zip)


def make_weights(python: str, folder: Path) -> Path:
    """Small random weights in the published layout, with the list that makes a folder a mirror."""
    shutil.rmtree(folder, ignore_errors=True)
    for arguments in (
        ["devtools.pipeline.make_small", str(folder)],
        ["trellis_addon", "local", "weights", "manifest", str(folder), "--name", "Small Test Weights"],
    ):
        subprocess.run([python, "-m", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder


@contextlib.contextmanager
def bound(path: Path, root: Path) -> Iterator[None]:
    """A folder or a file of this root, at the same place in another one, to be read only."""
    place = root / path.relative_to("/")
    was_there = place.exists()
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    elif not was_there:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    subprocess.run(["mount", "--bind", "-o", "ro", str(path), str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


# --- the mirror ---


@dataclass
class Mirror:
    """What the mirror does wrong, and what it was asked: (path, where the range begins)."""

    address: str = ""
    bytes_per_second: int = 60_000
    cut: str = "ckpts/shape_dec_next_dc_f16c32_fp16.safetensors"
    damaged: str = "facebook/dinov3-vitl16-pretrain-lvd1689m/model.safetensors"
    asked: list[tuple[str, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def starts(self, path: str) -> list[int]:
        """Where the deliveries of a file began."""
        return [start for asked, start in self.asked if asked == path]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Mirror]:
    mirror = Mirror(f"http://127.0.0.1:{PORT}")

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            deliver(self, folder, mirror)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield mirror
    finally:
        server.shutdown()


def deliver(request: SimpleHTTPRequestHandler, folder: Path, mirror: Mirror) -> None:
    """A file, or the rest of it from a byte on: slowly, and wrong where it is this file's turn."""
    path = request.path.lstrip("/")
    if not (folder / path).is_file():
        request.send_error(404)
        return
    content = (folder / path).read_bytes()
    asked = request.headers.get("Range", "")
    start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
    mirror.asked.append((path, start))
    rest = bytearray(content[start:])
    if path == mirror.damaged and mirror.damaged not in mirror.faults:
        mirror.faults.append(path)
        rest[len(rest) // 2] ^= 0xFF
    end = len(rest)
    if path == mirror.cut and mirror.cut not in mirror.faults:
        mirror.faults.append(path)
        end //= 2
    request.send_response(206 if asked else 200)
    if asked:
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    request.send_header("Accept-Ranges", "bytes")
    request.send_header("Content-Length", str(len(rest)))
    request.end_headers()
    piece = max(mirror.bytes_per_second // 20, 1)
    with contextlib.suppress(ConnectionError):
        for at in range(0, end, piece):
            request.wfile.write(rest[at : min(at + piece, end)])
            time.sleep(0.05)
    if end < len(rest):
        request.close_connection = True
        request.connection.close()


# --- the tour ---


class Tour:
    def __init__(self, window: Window, mirror: Mirror, pictures: Path) -> None:
        self.window = window
        self.mirror = mirror
        self.pictures = pictures
        self.folder = window.stage / "local"  # as seen from here

    def go(self, archive: Path) -> None:
        self.window.install(archive)
        prepare_view(self.window)
        # the preferences in this window and not in one of their own; online access as answered at the first start
        self.window.run(
            "bpy.context.preferences.view.preferences_display_type = 'SCREEN'\n"
            f"bpy.context.preferences.system.use_online_access = True\n{_SETUP}"
        )
        for step in (
            self.open_the_wizard,
            self.choose,
            self.install,
            self.examine,
            self.generate,
            self.remove,
        ):
            print(step.__name__.replace("_", " "), flush=True)
            step()
            log = self.window.log()
            assert "Traceback" not in log, log[-3000:]

    def open_the_wizard(self) -> None:
        settings = "state.settings.resolution, state.settings.texture_size"
        self.window.run(f"state.backend = 'local'\n{settings} = '512', '1024'")
        self.shot("start", 800, settle=4.0)
        self.press(SET_UP, PREFERENCES_SHOWN)
        self.window.wait_for("stored.page == 'LOCAL' and found() is not None", timeout=60.0)

    def choose(self) -> None:
        """A fresh folder, the mirror, the terms."""
        self.enter(FOLDER, f"{self.window.inside}/local")
        self.window.click(*WEIGHTS_FROM)
        self.window.key("m")
        self.enter(ADDRESS, self.mirror.address)
        self.window.click(*ACCEPT)
        chosen = self.window.value("(stored.local_source, stored.local_mirror, stored.accept_dinov3)")
        assert chosen == ["MIRROR", self.mirror.address, True], chosen
        self.window.wait_for(f"str(found().folder.root) == '{self.window.inside}/local'")
        assert not self.folder.exists(), "looking makes nothing"
        self.window.point(*ASIDE)
        self.shot("wizard", 800)

    def install(self) -> None:
        """Broken off, gone on with, and then the weights, over a bad line."""
        self.press(INSTALL, "work()")
        self.window.wait_for("work().stage.startswith('Downloading')")
        self.window.click(*CANCEL)
        self.window.wait_for("work().state == 'cancelled' and found().state is not None", timeout=60.0)
        assert any((self.folder / "downloads").iterdir()), "what was downloaded is kept"
        self.window.point(*ASIDE)
        self.shot("broken-off", 890)
        self.press(GO_ON, "work().state != 'cancelled'")
        self.window.wait_for("work().state != 'running' or 'of 1.' in work().stage", timeout=600.0)
        self.shot("installing", 660, settle=2.0)
        self.window.wait_for("work().state != 'running' or 'kB/s' in work().stage", timeout=1200.0)
        self.shot("weights", 660)
        self.window.wait_for("work().state != 'running' and found().is_ready", timeout=300.0)
        assert self.window.value("(work().state, work().message)") == ["done", ""]
        assert set(self.mirror.faults) == {self.mirror.cut, self.mirror.damaged}, self.mirror.faults
        assert max(self.mirror.starts(self.mirror.cut)) > 0, "what was cut went on where it was"
        assert self.mirror.starts(self.mirror.damaged) == [0, 0], "what was damaged came once more"
        assert self.window.value("found().has_weights")
        self.window.point(*ASIDE)
        self.shot("ready", 1120)

    def examine(self) -> None:
        """The worker started by hand, and the doctor."""
        self.press(START, "work().kind == 'worker'")
        self.window.wait_for("work().state == 'done'", timeout=120.0)
        self.press(EXAMINE, "work().kind == 'doctor'")
        self.window.wait_for("work().state != 'running'", timeout=180.0)
        told = self.window.value("str(part('scene.setup.local_setup').report())")
        assert "Self-test" in told, told
        self.window.point(*ASIDE)
        self.shot("doctor", 1140)

    def generate(self) -> None:
        """An asset through the panel, with the weights that know nothing."""
        self.press(BACK, f"not {PREFERENCES_SHOWN}")
        self.window.run(f"state.image = bpy.data.images.load('{self.window.inside}/lantern.png')")
        self.window.wait_for("part('scene.device').known().machine is not None")
        time.sleep(3)
        self.shot("panel", 800)
        self.press(GENERATE, f"{QUEUE}.generations()")
        self.window.wait_for(f"any(g.share > 0.1 for g in {QUEUE}.generations())", timeout=300.0)
        self.shot("generating", 800, settle=0.0)
        self.window.wait_for(f"{QUEUE}.generations()[0].state not in ('running', 'ready')", timeout=600.0)
        states = self.window.value(f"[(g.state, g.message) for g in {QUEUE}.generations()]")
        assert [state for state, _ in states] == ["done"], states
        made = self.window.value("[o['trellis2_provenance'] for o in bpy.data.objects if 'trellis2_provenance' in o]")
        assert made and "trellis-2" in made[0], made
        self.window.run(_FRAME)
        self.window.point(*ASIDE)  # off the button, whose tooltip would cover the panel
        self.shot("asset", 800, settle=3.0)

    def remove(self) -> None:
        """All of it, with the worker still running."""
        self.press(PREFERENCES, PREFERENCES_SHOWN)
        self.window.point(*ASIDE)
        time.sleep(2)
        self.window.click(*REMOVE)
        self.shot("remove", 1200)
        self.window.key("Return")
        self.window.wait_for("work().kind == 'remove'", timeout=30.0)
        self.window.wait_for("work().state != 'running'", timeout=300.0)
        assert self.window.value("(work().state, work().message)") == ["done", ""]
        assert not self.folder.exists(), sorted(map(str, self.folder.rglob("*")))
        self.window.wait_for("found().state is None")
        self.window.point(*ASIDE)
        self.shot("removed", 860)

    def press(self, place: tuple[int, int], holds: str) -> None:
        """Click on a button, once more where a busy machine has missed it, until what it does has begun."""
        for attempt in range(3):
            self.window.click(*place)
            try:
                self.window.wait_for(holds, timeout=15.0)
            except RuntimeError:
                if attempt == 2:
                    raise
            else:
                return

    def enter(self, place: tuple[int, int], text: str) -> None:
        """Put text into a field, in place of what is in it."""
        self.window.click(*place)
        self.window.key("ctrl+a")
        self.window.type(text)
        self.window.key("Return")

    def shot(self, name: str, height: int, settle: float = 1.0) -> None:
        """The upper part of the screen, as far as there is something to see."""
        crop = (0, 0, self.window.width, height)
        self.window.shot(self.pictures / f"local-{name}.png", crop=crop, settle=settle)


if __name__ == "__main__":
    main()
