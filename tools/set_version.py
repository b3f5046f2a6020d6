"""Give the project a version: in blender_manifest.toml, which is the truth, and from there in core/version.py.

    python tools/set_version.py 0.2.0     both
    python tools/set_version.py           core/version.py, from the manifest as it is

The library has it in a file of its own because it also runs where no manifest lies beside it: installed by pip, or
copied into the folder of the local backend. pyproject.toml reads that file.
"""

from __future__ import annotations

import re
import sys

from environments import ROOT

MANIFEST = ROOT / "blender_manifest.toml"
TARGET = ROOT / "trellis_addon" / "core" / "version.py"
LINE = re.compile(r'^version = "(.+)"$', re.M)


def main(arguments: list[str]) -> int:
    manifest = MANIFEST.read_text(encoding="utf-8")
    if arguments:
        manifest = LINE.sub(f'version = "{arguments[0]}"', manifest, count=1)
        MANIFEST.write_text(manifest, encoding="utf-8")
    TARGET.write_text(version_file(manifest), encoding="utf-8")
    return 0


def version_file(manifest: str) -> str:
    """The text of core/version.py for a manifest."""
    found = LINE.search(manifest)
    assert found, "the manifest names no version"
    return f'"""The version, of blender_manifest.toml: written by tools/set_version.py."""\n\nVERSION = "{found[1]}"\n'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
