"""Build the extension: one zip per platform in dist/, with the wheels that Blender does not bring, and index.json.

    python tools/build.py                        every platform, for Blender's Python 3.11 and 3.13
    python tools/build.py --platform here        only this machine's, or linux-x64, windows-arm64, ...
    python tools/build.py --base-url https://example.org/trellis2
                                                 index.json names the zips there, not beside itself
    python tools/build.py --dev                  this machine's platform and `--python` only, into dist/dev/

The folder dist/ is then a repository: served over HTTP, Blender subscribes to the address of its index.json
(Preferences, Get Extensions, Repositories, Add Remote Repository) and offers upgrades from there.
The same sources and wheels always give the same bytes. Needs pip, packaging, markdown, Pillow and the package index;
nothing of Blender.
"""

from __future__ import annotations

import argparse
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from make_manual import manual_pages
from repository import write_index
from wheel_licences import third_party
from zip_check import check

ROOT = Path(__file__).resolve().parents[1]
# Everything below these goes in, whatever its kind: code, presets, translations, pictures.
CONTENTS = (
    "__init__.py",
    "blender_manifest.toml",
    "LICENSE",
    "README.md",
    "trellis_addon",
    "addon",
    "operators",
    "presets",
    "translations",
    "ui",
)
# Names of developers' commands in a checkout, whose code is in devtools/
ALIASES = ("trellis_addon/ovoxel", "trellis_addon/pipeline/check.py", "trellis_addon/pipeline/make_small.py")
# The files of the page: only a service that is started by hand has one, and it comes from a wheel or a checkout.
PAGE = ("trellis_addon/service/page/site/", "trellis_addon/service/page/built/")
WHEELS = Path(__file__).with_name("wheels")
REQUIREMENTS = WHEELS / "all.txt"
# What some systems get besides, by the first word of the platform's name.
MORE = {name: WHEELS / f"{name}.txt" for name in ("windows", "macos")}

# Blender's name of a platform -> the wheel tags that run there, the oldest system first.
PLATFORMS = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64"),
    "windows-x64": ("win_amd64",),
    "windows-arm64": ("win_arm64",),
    "macos-arm64": ("macosx_11_0_arm64",),
    "macos-x64": ("macosx_10_13_x86_64", "macosx_10_12_x86_64", "macosx_10_10_x86_64"),
}
PYTHONS = ("3.11", "3.13")
EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip's earliest date: the time of building must not change the hash


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dev", action="store_true", help="for one platform and Python, into dist/dev/")
    parser.add_argument("--platform", choices=["here", *PLATFORMS], action="append", help="which (default: all)")
    parser.add_argument("--python", help="with --dev: the Python of the Blender to test with (default: 3.14)")
    parser.add_argument("--base-url", default="", help="where the zips will lie (default: beside index.json)")
    options = parser.parse_args()
    platforms = [this_platform() if name == "here" else name for name in options.platform or []]
    if options.dev:
        for name in platforms or [this_platform()]:
            print(build(name, (options.python or "3.14",), ROOT / "dist" / "dev"))
        return
    folder = ROOT / "dist"
    for old in folder.glob("*.zip"):  # index.json names the zips of one version, and Blender's own tool all it finds
        old.unlink()
    for name in platforms or PLATFORMS:
        path = build(name, PYTHONS, folder)
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1e6:.1f} MB")
    print(write_index(folder, options.base_url).relative_to(ROOT))


def build(target_platform: str, pythons: tuple[str, ...], folder: Path) -> Path:
    """One zip, checked; returns its path."""
    manifest = (ROOT / "blender_manifest.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"', manifest, re.M)
    assert found and "\n[permissions]" in manifest, "the manifest has another shape than this expects"
    files = sources()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"trellis2-{found[1]}-{target_platform}.zip"
    with tempfile.TemporaryDirectory() as temporary:
        for python in pythons:
            download(Path(temporary), target_platform, python)
        wheels = sorted(Path(temporary).iterdir())
        listed = "".join(f'  "./wheels/{path.name}",\n' for path in wheels)
        # before the first table, or TOML would read them as part of it
        extra = f'platforms = ["{target_platform}"]\nwheels = [\n{listed}]\n\n'
        manifest = manifest.replace("[permissions]", extra + "[permissions]", 1)
        # what the exclusions of `extension build` are for does not arise: only CONTENTS goes in
        manifest = manifest.partition("\n[build]")[0] + "\n"
        contents = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in files}
        contents["blender_manifest.toml"] = manifest.encode()
        contents |= manual_pages()
        contents["THIRD_PARTY.md"] = third_party(wheels).encode()
        contents |= {f"wheels/{path.name}": path.read_bytes() for path in wheels}
        write_zip(target, contents)
    check(target, files, ROOT, pythons)
    return target


def download(folder: Path, target_platform: str, python: str) -> None:
    """The wheels of `wheels/all.txt`, and of the system's own list, for a platform and a Python, unmodified."""
    tags = [argument for tag in PLATFORMS[target_platform] for argument in ("--platform", tag)]
    # twice quiet: errors are still shown
    command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:"]
    command += ["--dest", str(folder), "--python-version", python, "--implementation", "cp", *tags]
    more = MORE.get(target_platform.partition("-")[0])
    lists = [REQUIREMENTS] if more is None else [REQUIREMENTS, more]
    subprocess.run([*command, *(f"--requirement={path}" for path in lists)], check=True)


def sources() -> list[Path]:
    """The files of the checkout that go in, without what Python, editors and desktops leave lying about."""
    found: list[Path] = []
    for name in CONTENTS:
        path = ROOT / name
        found += sorted(path.rglob("*")) if path.is_dir() else [path]
    return [path for path in found if path.is_file() and not _is_left_out(path.relative_to(ROOT))]


def this_platform() -> str:
    """Blender's name of the platform that this runs on."""
    system = {"linux": "linux", "win32": "windows", "darwin": "macos"}[sys.platform]
    return f"{system}-{'arm64' if platform.machine().lower() in ('arm64', 'aarch64') else 'x64'}"


def write_zip(target: Path, contents: dict[str, bytes]) -> None:
    """The same contents always give the same bytes: sorted, undated, with plain rights."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, compresslevel=9)


def _is_left_out(path: Path) -> bool:
    return _is_litter(path) or path.as_posix().startswith((*ALIASES, *PAGE))


def _is_litter(path: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    return hidden or path.name.endswith((".pyc", ".orig", ".rej", ".bak", "~", ".blend1"))


if __name__ == "__main__":
    main()
