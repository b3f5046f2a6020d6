"""The built zip in a portable Blender, as a user has it: installed as a file, a draft made, saved, and opened again.

    python tools/portable.py 4.5 ZIP                 the newest 4.5 of Blender's site, for this system
    python tools/portable.py /path/to/blender ZIP    a Blender that is here

Only the standard library is needed. What is fetched lies in build/blender/ and is used again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin

ROOT = Path(__file__).resolve().parents[1]
WHERE = ROOT / "build" / "blender"
SITE = "https://download.blender.org/release/"
ENDINGS = {"linux": "tar.xz", "windows": "zip", "macos": "dmg"}
LONGEST = 15 * 60  # seconds for what is done in one Blender

# Run by Blender, with the zip, a picture and a .blend to write.
MAKE = """
import importlib, json, sys, bpy
archive, picture, target = sys.argv[sys.argv.index("--") + 1:]
bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
bpy.ops.wm.save_userpref()
ours = importlib.import_module("bl_ext.user_default.trellis2.trellis_addon")
asset = ours.generate(picture, resolution=512, texture_size=1024, seed=7)
obj = ours.scene.import_asset(asset, height=1.5)
bpy.ops.wm.save_as_mainfile(filepath=target)
print("MADE", json.dumps({"name": obj.name, "triangles": len(obj.data.polygons), "engine": asset.engine}))
"""
# Run by another one, with the .blend opened: the extension is there from the start, and the asset as it was.
LOOK = """
import importlib, json, sys, bpy
ours = importlib.import_module("bl_ext.user_default.trellis2.trellis_addon")
found = [obj for obj in bpy.data.objects if obj.type == "MESH" and ours.scene.read_provenance(obj)]
facts = [{"name": obj.name, "triangles": len(obj.data.polygons),
          "engine": ours.scene.read_provenance(obj)["engine"]} for obj in found]
print("FOUND", json.dumps(facts))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("blender", help="a release such as 4.5, or how a Blender is started")
    parser.add_argument("archive", type=Path, help="the built zip for this system")
    options = parser.parse_args()
    is_release = re.fullmatch(r"\d+\.\d+", options.blender) is not None
    blender = [str(fetch(options.blender))] if is_release else shlex.split(options.blender, posix=os.name == "posix")
    with tempfile.TemporaryDirectory(prefix="trellis2 portable ", ignore_cleanup_errors=True) as folder:
        print(try_out(blender, options.archive.resolve(), Path(folder)))
    return 0


def try_out(blender: Sequence[str], archive: Path, folder: Path) -> str:
    """What was made of the example in that Blender and is there in another one; ends the program where it is not."""
    target = folder / "Über 日本.blend"
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(folder / "user"), "TRELLIS2_HOME": str(folder / "data")}
    picture = ROOT / "examples" / "lantern.png"
    command = [*blender, "--background", "--factory-startup", "--python-exit-code", "1", "--python-expr", MAKE, "--"]
    said = _run([*command, str(archive), str(picture), str(target)], environment)
    made = json.loads(_line(said, "MADE"))
    command = [*blender, "--background", str(target), "--python-exit-code", "1", "--python-expr", LOOK]
    found = json.loads(_line(_run(command, environment), "FOUND"))
    if found != [made]:
        raise SystemExit(f"made was {made}, and found {found}")
    return f"{made['name']}: {made['triangles']} triangles, made by {made['engine']}, saved and opened again"


def fetch(release: str, site: str = SITE, system: str = "") -> Path:
    """The newest Blender of a release for this system, from Blender's site; its program."""
    system = system or this_system()
    folder = urljoin(site, f"Blender{release}/")
    with urllib.request.urlopen(folder, timeout=60) as reply:
        name = newest(reply.read().decode(), release, system)
    if not name:
        raise SystemExit(f"{folder} has no Blender {release} for {system}")
    place = WHERE / name.removesuffix("." + ENDINGS[system.partition("-")[0]])
    if not place.is_dir():
        WHERE.mkdir(parents=True, exist_ok=True)
        archive = WHERE / name
        print(f"== Fetching {name}", flush=True)
        with urllib.request.urlopen(urljoin(folder, name), timeout=60) as reply, archive.open("wb") as file:
            shutil.copyfileobj(reply, file)
        unpack(archive, place)
        archive.unlink()
    return program(place)


def newest(page: str, release: str, system: str) -> str:
    """The last of a release's archives for a system that a page of the site names; "" for none."""
    ending = re.escape(f"-{system}.{ENDINGS[system.partition('-')[0]]}")
    found = re.findall(rf"\bblender-{re.escape(release)}\.(\d+){ending}\b", page)
    number = max(map(int, found), default=-1)
    return f"blender-{release}.{number}-{system}.{ENDINGS[system.partition('-')[0]]}" if number >= 0 else ""


def unpack(archive: Path, place: Path) -> None:
    """An archive's content as `place`, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        inside = Path(folder, "inside")
        if archive.name.endswith(".dmg"):
            mounted = Path(folder, "mounted")
            subprocess.run(
                ["hdiutil", "attach", "-quiet", "-nobrowse", "-readonly", "-mountpoint", str(mounted), str(archive)],
                check=True,
            )
            try:
                shutil.copytree(mounted / "Blender.app", inside / "Blender.app", symlinks=True)
            finally:
                subprocess.run(["hdiutil", "detach", "-quiet", str(mounted)], check=False)
        elif archive.name.endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(inside)
        else:
            with tarfile.open(archive) as opened:
                opened.extractall(inside, filter="tar")
        inside.rename(place)


def program(place: Path) -> Path:
    """Blender's program in an unpacked archive."""
    for pattern in ("Blender.app/Contents/MacOS/Blender", "*/blender.exe", "*/blender"):
        if found := sorted(path for path in place.glob(pattern) if path.is_file()):
            return found[0]
    raise SystemExit(f"there is no Blender in {place}")


def this_system() -> str:
    """As Blender's archives are named: linux-x64, windows-arm64, macos-arm64, ..."""
    system = {"linux": "linux", "win32": "windows", "darwin": "macos"}[sys.platform]
    return f"{system}-{'arm64' if platform.machine().lower() in ('arm64', 'aarch64') else 'x64'}"


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=LONGEST,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout[-4000:]}\nBlender ended with {done.returncode}")
    return done.stdout


def _line(said: str, word: str) -> str:
    for line in said.splitlines():
        if line.startswith(f"{word} "):
            return line.removeprefix(f"{word} ")
    raise SystemExit(f"{said[-4000:]}\nBlender did not say {word}")


if __name__ == "__main__":
    sys.exit(main())
