"""A real Blender in a window on a virtual screen, driven by mouse, keyboard and Python, and photographed.

Needs Blender, Xvfb, xdotool and ImageMagick's `import`. They may be in another root: `prefix` is put before every
command, such as `chroot /srv/blender env HOME=/root`, and `stage` is a folder of both, as HERE:THERE.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

NAME = "next(n for n in bpy.context.preferences.addons.keys() if n.endswith('.trellis2'))"
"""Code for the extension's name there."""

# What every script has there: the extension's modules and properties, and the places of its window.
_HELPERS = f"""
import importlib
def part(module):
    return importlib.import_module({NAME} + '.' + module)
def state():
    return bpy.context.scene.trellis2
def window():
    return bpy.context.window_manager.windows[0]
def areas(kind):
    return [a for a in window().screen.areas if a.ui_type == kind]
def viewport():
    return max(areas('VIEW_3D'), key=lambda a: a.width)
def region(kind, area=None):
    return next(r for r in (area or viewport()).regions if r.type == kind)
def view(kind='WINDOW'):
    return dict(window=window(), area=viewport(), region=region(kind))
def states():
    return [g.state for g in part('trellis_addon.scene.queue').generations()]
def ours():
    return sorted((o for o in bpy.data.objects if 'trellis2_provenance' in o), key=lambda o: o.name)
def cards():
    return part('trellis_addon.scene.place.placeholder').all_cards()
"""

# Run inside Blender: executes what it finds in do.py, on the main thread, and says in done.json what came of it.
_DRIVER = """
import bpy, json, os, traceback
stage, names = {stage!r}, {{"bpy": bpy}}
exec({helpers!r}, names)
bpy.context.preferences.view.show_splash = False
def tick():
    path = stage + "/do.py"
    if os.path.exists(path):
        code = open(path).read()
        os.remove(path)
        answer = {{}}
        names["answer"] = answer
        try:
            exec(compile(code, "do.py", "exec"), names)
        except Exception:
            answer["error"] = traceback.format_exc()
        for area in (area for window in bpy.context.window_manager.windows for area in window.screen.areas):
            area.tag_redraw()
        with open(stage + "/done.part", "w") as file:
            json.dump(answer, file)
        os.replace(stage + "/done.part", stage + "/done.json")
    return 0.05
bpy.app.timers.register(tick, first_interval=1.0, persistent=True)
"""


def make_parser(description: str | None, *, pictures: Path | None = None, only: bool = True) -> argparse.ArgumentParser:
    """The arguments that every script has; `pictures` is where its pictures go where nobody says."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zip", type=Path, help="the extension, built for this Blender's Python")
    add_arguments(parser)
    if only:
        parser.add_argument("--only", default="", help="the test whose name contains this")
    if pictures is not None:
        parser.add_argument("--pictures", type=Path, default=pictures, help="where the pictures go")
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prefix", default="", help="put before every command, such as a chroot")
    parser.add_argument("--stage", default="/tmp/stage", help="a folder for files, HERE or HERE:THERE")
    parser.add_argument("--display", default=":83", help="number of the virtual screen")
    parser.add_argument("--blender", default="blender")
    parser.add_argument("--size", default="1280x800", help="of the screen, in pixels")


class Window:
    """One Blender; all coordinates in pixels of the screen, from the upper left."""

    def __init__(self, options: argparse.Namespace) -> None:
        here, _, there = options.stage.partition(":")
        self.stage, self.inside = Path(here), there or here
        environment = {
            "DISPLAY": options.display,
            "PYTHONUNBUFFERED": "1",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "XDG_RUNTIME_DIR": f"{self.inside}/run",
            "BLENDER_USER_RESOURCES": f"{self.inside}/user",
            "TRELLIS2_HOME": f"{self.inside}/jobs",
        }
        assignments = [f"{name}={value}" for name, value in environment.items()]
        self.prefix = [*shlex.split(options.prefix), "env", *assignments]
        self.display, self.blender = options.display, options.blender
        self.width, self.height = map(int, options.size.split("x"))
        self.processes: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def open(self, *arguments: str) -> Iterator[Window]:
        """Start with the factory's settings in a fresh user folder, and end everything afterwards."""
        for folder in ("user", "jobs", "run"):
            shutil.rmtree(self.stage / folder, ignore_errors=True)
            (self.stage / folder).mkdir(parents=True)
        for name in ("do.py", "done.json"):
            (self.stage / name).unlink(missing_ok=True)
        (self.stage / "driver.py").write_text(_DRIVER.format(stage=self.inside, helpers=_HELPERS), encoding="utf-8")
        try:
            self._start("Xvfb", self.display, "-screen", "0", f"{self.width}x{self.height}x24", "-nolisten", "tcp")
            time.sleep(1.0)
            self._start_blender(*arguments)
            yield self
        finally:
            for process in reversed(self.processes):
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
            self.processes.clear()

    def _start_blender(self, *arguments: str) -> None:
        geometry = ["--window-geometry", "0", "0", str(self.width), str(self.height)]
        driver = ["--python", f"{self.inside}/driver.py"]
        self._start(self.blender, "--factory-startup", "--gpu-backend", "opengl", *geometry, *arguments, *driver)
        self.run("", timeout=120.0)

    def kill(self, *arguments: str) -> None:
        """End Blender as a crash does, and start it again with these arguments, in the same user folder."""
        blender = self.processes.pop()
        blender.kill()
        blender.wait()
        self._start_blender(*arguments)

    def install(self, archive: Path) -> None:
        """Install the extension's zip as its users do, and enable it."""
        shutil.copyfile(archive, self.stage / "trellis2.zip")
        self.run(
            f"bpy.ops.extensions.package_install_files(filepath='{self.inside}/trellis2.zip',"
            " repo='user_default', enable_on_install=True)"
        )

    def run(self, code: str, timeout: float = 60.0) -> dict[str, Any]:
        """Execute Python in Blender, between two redraws; what the code puts into the dict `answer` comes back."""
        done = self.stage / "done.json"
        done.unlink(missing_ok=True)
        (self.stage / "do.part").write_text(code, encoding="utf-8")
        os.replace(self.stage / "do.part", self.stage / "do.py")
        give_up = time.monotonic() + timeout
        while not done.exists():
            if time.monotonic() > give_up or any(process.poll() is not None for process in self.processes):
                raise RuntimeError(f"Blender did not answer: {self.log()[-2000:]}")
            time.sleep(0.05)
        answer = json.loads(done.read_text(encoding="utf-8"))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def value(self, expression: str) -> Any:
        return self.run(f"answer['value'] = {expression}")["value"]

    def wait_for(self, expression: str, timeout: float = 180.0) -> None:
        """Until the expression holds in Blender."""
        give_up = time.monotonic() + timeout
        while not self.value(f"bool({expression})"):
            if time.monotonic() > give_up:
                raise RuntimeError(f"It did not come to be: {expression}")
            time.sleep(0.2)

    def click(self, x: int, y: int, button: int = 1) -> None:
        self._tool("xdotool", "mousemove", str(x), str(y), "sleep", "0.4", "click", str(button), "sleep", "0.6")

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Press, move in steps as a hand does, let go."""
        words = ["mousemove", *map(str, start), "sleep", "0.5", "mousedown", "1", "sleep", "0.2"]
        for step in range(1, 13):
            x, y = (round(a + (b - a) * step / 12) for a, b in zip(start, end, strict=True))
            words += ["mousemove", str(x), str(y), "sleep", "0.06"]
        self._tool("xdotool", *words, "sleep", "0.5", "mouseup", "1", "sleep", "0.8")

    def point(self, x: int, y: int) -> None:
        self._tool("xdotool", "mousemove", str(x), str(y), "sleep", "0.3")

    def key(self, *keys: str) -> None:
        for name in keys:
            self._tool("xdotool", "key", name, "sleep", "0.4")

    def type(self, text: str) -> None:
        self._tool("xdotool", "type", "--delay", "30", text)

    def shot(self, path: Path, crop: tuple[int, int, int, int] | None = None, settle: float = 1.0) -> Path:
        """A picture of the screen as a PNG; `crop` is (left, top, width, height)."""
        time.sleep(settle)
        cut = ["-crop", "{2}x{3}+{0}+{1}".format(*crop), "+repage"] if crop else []
        self._tool("import", "-window", "root", *cut, f"{self.inside}/shot.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.stage / "shot.png", path)
        return path

    def log(self) -> str:
        """What Blender has said on its console."""
        return (self.stage / "console.log").read_text(encoding="utf-8", errors="replace")

    def _start(self, *command: str) -> None:
        log = "screen.log" if command[0] == "Xvfb" else "console.log"
        with open(self.stage / log, "wb") as console:
            process = subprocess.Popen([*self.prefix, *command], stdout=console, stderr=subprocess.STDOUT)
        self.processes.append(process)

    def _tool(self, *command: str) -> None:
        subprocess.run([*self.prefix, *command], check=True, stdout=subprocess.DEVNULL)


def run_tests(
    window: Window,
    options: argparse.Namespace,
    tests: Iterable[Callable[..., None]],
    prepare: Callable[[Callable[..., None]], None],
    *arguments: Any,
    nothing_of: Sequence[str] = ("Traceback",),
) -> NoReturn:
    """Each test in a Blender of its own, with the extension from `options.zip`, and the process's end by how they went.

    `prepare(test)` comes before `test(window, *arguments)`; afterwards the log must have `nothing_of` these. Where
    `options` have a folder for pictures, one is left there.
    """
    failed = 0
    for test in tests:
        if options.only not in test.__name__:
            continue
        with window.open():
            window.install(options.zip)
            prepare(test)
            try:
                test(window, *arguments)
                log = window.log()
                assert not any(word in log for word in nothing_of), log[-2000:]
                print(f"passed  {test.__name__}", flush=True)
            except (AssertionError, RuntimeError) as error:
                failed += 1
                print(f"FAILED  {test.__name__}: {error!r}", flush=True)
            if hasattr(options, "pictures"):
                window.shot(options.pictures / f"{test.__name__}.png")
    sys.exit(1 if failed else 0)
