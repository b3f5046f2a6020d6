"""The static extension repository: index.json, which Blender subscribes to, made of the zips beside it.

It holds what `blender --command extension server-generate` would write, without a Blender (a test compares the two).
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any


def write_index(folder: Path, base_url: str = "") -> Path:
    """`folder`'s index.json over all its zips; their addresses are relative to it unless there is a `base_url`."""
    index = {"version": "v1", "blocklist": [], "data": [entry(path, base_url) for path in sorted(folder.glob("*.zip"))]}
    target = folder / "index.json"
    target.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return target


def entry(archive: Path, base_url: str = "") -> dict[str, Any]:
    """What Blender must know of a zip before it fetches it: its manifest, where it lies, its size and its hash."""
    with zipfile.ZipFile(archive) as opened:
        manifest = tomllib.loads(opened.read("blender_manifest.toml").decode())
    wheels = manifest.pop("wheels", [])
    manifest.pop("build", None)
    if versions := python_versions(wheels):
        manifest["python_versions"] = versions
    data = archive.read_bytes()
    return {
        **manifest,
        "archive_url": f"{base_url.rstrip('/') or '.'}/{archive.name}",
        "archive_size": len(data),
        "archive_hash": "sha256:" + hashlib.sha256(data).hexdigest(),
    }


def python_versions(wheels: list[str]) -> list[str]:
    """The Pythons that wheels are for: "3.11" of a cp311 wheel; "3" where only that is said, or a stable ABI."""
    found = set()
    for wheel in wheels:
        python, abi, _ = wheel.removesuffix(".whl").rsplit("-", 2)
        tags = re.findall(r"abi(3)()", abi) or re.findall(r"(?:py|cp)(3)(\d*)", python)
        found |= {(int(major), int(minor or -1)) for major, minor in tags}
    if any(minor >= 0 for _, minor in found):  # the narrower statement is the one that counts
        found.discard((3, -1))
    return [f"{major}.{minor}" if minor >= 0 else str(major) for major, minor in sorted(found)]
