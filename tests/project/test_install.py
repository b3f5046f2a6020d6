"""The zip in Blender as users have it: installed from a file, and from a repository that offers an upgrade.

Each runs in a Blender of its own whose user folder is fresh; what that Blender says on the console is part of the test.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import re
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import repository
from conftest import PATIENCE, ROOT, ZIP, run_python

from trellis_addon.core.version import VERSION

pytest.importorskip("bpy")
pytestmark = pytest.mark.blender

# What every script below begins with. `leftovers` is all that an extension can leave behind in a running Blender.
BLENDER = '''
import json, os, sys, types
import bpy, addon_utils

FACTS = {}

def leftovers(package):
    """Whatever of the package Blender still knows, by kind."""
    def is_ours(thing):
        name = getattr(thing, "__module__", None)
        return isinstance(name, str) and (name + ".").startswith(package + ".")
    found = {"types": [n for n in dir(bpy.types) if "trellis2" in n.lower()]}
    owners = ("Scene", "WindowManager", "Object", "World")
    found["properties"] = [owner for owner in owners if hasattr(getattr(bpy.types, owner), "trellis2")]
    found["operators"] = [n for n in dir(bpy.ops.trellis2)] if "trellis2" in dir(bpy.ops) else []
    lists = {n: getattr(bpy.app.handlers, n) for n in dir(bpy.app.handlers)}
    found["handlers"] = [f"{n}: {f}" for n, fs in lists.items() if isinstance(fs, list) for f in fs if is_ours(f)]
    modules = [vars(module) for name, module in list(sys.modules.items()) if (name + ".").startswith(package + ".")]
    functions = {f for names in modules for f in names.values() if type(f) is types.FunctionType}
    found["timers"] = [str(f) for f in functions if bpy.app.timers.is_registered(f)]
    drawn = [(n, getattr(getattr(bpy.types, n), "draw", None)) for n in dir(bpy.types)]
    found["menus"] = [n for n, draw in drawn for f in getattr(draw, "_draw_funcs", ()) if is_ours(f)]
    return {kind: names for kind, names in found.items() if names}

def children():
    """The processes that this Blender started and that still run; None where it cannot be told."""
    try:
        return len(open(f"/proc/self/task/{os.getpid()}/children").read().split())
    except OSError:
        return None

def end():
    print("FACTS", json.dumps(FACTS))
'''

FROM_A_FILE = """
archive, picture = sys.argv[1:]
bpy.ops.wm.read_homefile(use_empty=True)
bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
name = "bl_ext.user_default.trellis2"
FACTS["file"] = sys.modules[name].__file__
before = children()

def work():
    settings = bpy.context.scene.trellis2.settings
    settings.resolution, settings.texture_size = "512", "1024"
    bpy.ops.trellis2.generate("EXEC_DEFAULT", filepath=picture)

work()
import httpx, PIL
FACTS["wheels"] = [httpx.__file__, PIL.__file__]
FACTS["objects"] = len(bpy.data.objects)
FACTS["left"] = []
for _ in range(3):
    addon_utils.disable(name, default_set=True)
    FACTS["left"].append(leftovers(name))
    FACTS["services"] = (before, children())
    addon_utils.enable(name, default_set=True)
work()
FACTS["objects again"] = len(bpy.data.objects)
addon_utils.disable(name, default_set=True)
end()
"""

FROM_A_REPOSITORY = """
url, index, newer = sys.argv[1:]
preferences = bpy.context.preferences
preferences.system.use_online_access = True
for other in preferences.extensions.repos:
    other.enabled = False  # the public one is none of our business
repo = preferences.extensions.repos.new(name="Ours", module="ours", remote_url=url)
name, where = "bl_ext.ours.trellis2", {"repo_directory": repo.directory}

def version():
    return sys.modules[name + ".trellis_addon.core.version"].VERSION if name in sys.modules else None

def sync():
    bpy.ops.extensions.repo_sync(**where)

sync()
bpy.ops.extensions.package_install(pkg_id="trellis2", enable_on_install=True, **where)
import importlib
importlib.import_module(name + ".trellis_addon.core.version")
FACTS["installed"] = version()
FACTS["enabled"] = [a.module for a in preferences.addons if "trellis2" in a.module]
addon_utils.disable(name, default_set=True)
FACTS["left when disabled"] = leftovers(name)
addon_utils.enable(name, default_set=True)

os.replace(newer, index)
sync()
bpy.ops.extensions.package_upgrade_all()
importlib.import_module(name + ".trellis_addon.core.version")
FACTS["upgraded"] = version()
FACTS["classes"] = "TRELLIS2_OT_generate" in dir(bpy.types)

bpy.ops.extensions.package_uninstall(pkg_id="trellis2", **where)
FACTS["left when gone"] = leftovers(name)
FACTS["modules"] = [m for m in sys.modules if (m + ".").startswith(name + ".")]
FACTS["enabled at last"] = [a.module for a in preferences.addons if "trellis2" in a.module]
folder = os.path.dirname(repo.directory.rstrip("/"))
files = [os.path.join(top, name) for top, _, names in os.walk(folder) for name in names]
FACTS["files"] = [name for name in files if "trellis2" in name or "site-packages" in name]
end()
"""


def in_blender(script: str, *arguments: str, home: Path) -> dict[str, Any]:
    """The script's facts, once it is certain that Blender had no complaint to print."""
    folders = {"BLENDER_USER_RESOURCES": str(home / "blender"), "TRELLIS2_HOME": str(home / "jobs")}
    done = run_python("-c", BLENDER + script, *arguments, timeout=PATIENCE, **folders)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert done.stderr == ""
    for line in done.stdout.splitlines():
        assert not re.search(r"error|warning|traceback|already registered", line, re.I), line
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
    return json.loads(line.removeprefix("FACTS "))


def test_installed_from_a_file(extension_zip: Path, disc_file: Path, tmp_path: Path) -> None:
    found = in_blender(FROM_A_FILE, str(extension_zip), str(disc_file), home=tmp_path)
    assert Path(found["file"]).is_relative_to(tmp_path / "blender" / "extensions" / "user_default" / "trellis2")
    if ZIP:  # where the suite runs on the zip; in the checkout's environment they are installed, and found first
        assert all(Path(path).is_relative_to(ROOT / "site") for path in found["wheels"]), found["wheels"]
    assert found["objects"] == 1 and found["objects again"] == 2
    assert found["left"] == [{}, {}, {}]
    before, after = found["services"]
    assert before == after, "the service that made the asset outlives the extension"


def test_subscribed_to_upgraded_and_removed(extension_zip: Path, tmp_path: Path) -> None:
    served, future = tmp_path / "served", tmp_path / "future"
    served.mkdir()
    future.mkdir()
    shutil.copy(extension_zip, served)
    index = repository.write_index(served)
    shutil.copy(release(extension_zip, future, "99.0.0"), served)
    with serving(served) as url:
        arguments = (f"{url}/index.json", str(index), str(repository.write_index(future)))
        found = in_blender(FROM_A_REPOSITORY, *arguments, home=tmp_path)
    assert found["installed"] == VERSION and found["enabled"] == ["bl_ext.ours.trellis2"]
    assert found["left when disabled"] == {}
    assert found["upgraded"] == "99.0.0" and found["classes"]
    assert found["left when gone"] == {} and found["modules"] == [] and found["enabled at last"] == []
    assert found["files"] == []


def release(archive: Path, folder: Path, version: str) -> Path:
    """The same extension as another version of itself."""
    target = folder / archive.name.replace(VERSION, version)
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename in ("blender_manifest.toml", "trellis_addon/core/version.py"):
                assert data.count(f'"{VERSION}"'.encode()) == 1
                data = data.replace(f'"{VERSION}"'.encode(), f'"{version}"'.encode())
            new.writestr(entry, data)
    return target


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A folder over HTTP, as any web server has it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
