"""Build the extension: one zip per platform in dist/, with the wheels that Blender does not bring.

    python tools/build.py                 every platform, for Blender's Python 3.11 and 3.13
    python tools/build.py --dev           this machine's platform and `--python` only, into dist/dev/

Needs pip and the package index; nothing of Blender.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONTENTS = (
    "__init__.py",
    "blender_manifest.toml",
    "LICENSE",
    "README.md",
    "trellis_addon",
    "operators",
    "presets",
    "ui",
)
REQUIREMENTS = Path(__file__).with_name("wheels.txt")

# Blender's name of a platform -> the wheel tags that run there, the oldest system first.
PLATFORMS = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64"),
    "windows-x64": ("win_amd64",),
    "windows-arm64": ("win_arm64",),
    "macos-arm64": ("macosx_11_0_arm64",),
    "macos-x64": ("macosx_10_13_x86_64", "macosx_10_12_x86_64", "macosx_10_10_x86_64"),
}
PYTHONS = ("3.11", "3.13")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dev", action="store_true", help="for one platform and Python, into dist/dev/")
    parser.add_argument("--platform", choices=PLATFORMS, default="linux-x64", help="with --dev")
    parser.add_argument("--python", default="3.14", help="with --dev: the Python of the Blender to test with")
    options = parser.parse_args()
    if options.dev:
        print(build(options.platform, (options.python,), ROOT / "dist" / "dev"))
        return
    for platform in PLATFORMS:
        print(build(platform, PYTHONS, ROOT / "dist"))


def build(platform: str, pythons: tuple[str, ...], folder: Path) -> Path:
    """One zip; returns its path."""
    manifest = (ROOT / "blender_manifest.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"', manifest, re.M)
    assert found, "the manifest has no version"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"trellis2-{found[1]}-{platform}.zip"
    with tempfile.TemporaryDirectory() as wheels:
        for python in pythons:
            download(Path(wheels), platform, python)
        paths = sorted(Path(wheels).iterdir())
        listed = "".join(f'  "./wheels/{path.name}",\n' for path in paths)
        # before the first table, or TOML would read them as part of it
        extra = f'platforms = ["{platform}"]\nwheels = [\n{listed}]\n\n'
        manifest = manifest.replace("[permissions]", extra + "[permissions]", 1)
        # what the exclusions of `extension build` are for does not arise: only CONTENTS goes in
        manifest = manifest.partition("\n[build]")[0] + "\n"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("blender_manifest.toml", manifest)
            for path in _files():
                archive.write(path, path.relative_to(ROOT).as_posix())
            for path in paths:
                archive.write(path, f"wheels/{path.name}", zipfile.ZIP_STORED)
    return target


def download(folder: Path, platform: str, python: str) -> None:
    """The wheels of `wheels.txt` for a platform and a Python, unmodified."""
    tags = [argument for tag in PLATFORMS[platform] for argument in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--dest", str(folder), "--python-version", python, "--implementation", "cp", *tags]
    subprocess.run([*command, "--requirement", str(REQUIREMENTS)], check=True)


def _files() -> list[Path]:
    found: list[Path] = []
    for name in CONTENTS:
        path = ROOT / name
        found += sorted(path.rglob("*")) if path.is_dir() else [path]
    return [p for p in found if p.is_file() and "__pycache__" not in p.parts and p.name != "blender_manifest.toml"]


if __name__ == "__main__":
    main()
