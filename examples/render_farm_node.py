"""One node of a farm: takes pictures from a shared folder, and leaves a GLB and a rendered picture of each.

    python examples/render_farm_node.py SHARED --service http://gpu-box:8000/v1 --token SECRET

SHARED/in has the pictures. A node claims one by renaming it into SHARED/work, which only one of them can do; what it
makes comes into SHARED/out, the picture into SHARED/done, or into SHARED/failed with a sentence beside it. Any number
of nodes run at once, each ends when nothing is left. Without --service a node makes drafts on its own machine.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import bpy

import trellis_addon


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--service", default="draft", help="address of a service of your own")
    parser.add_argument("--token", default="")
    options = parser.parse_args()
    for name in ("in", "work", "out", "done", "failed"):
        (options.shared / name).mkdir(parents=True, exist_ok=True)
    while (picture := claim(options.shared)) is not None:
        try:
            make(picture, options.shared / "out", options.service, options.token)
        except trellis_addon.TrellisError as error:
            (options.shared / "failed" / f"{picture.name}.txt").write_text(f"{error}\n", encoding="utf-8")
            os.replace(picture, options.shared / "failed" / picture.name)
            print(f"{picture.name}: {error}")
        else:
            os.replace(picture, options.shared / "done" / picture.name)
            print(f"{picture.name}: done")


def claim(shared: Path) -> Path | None:
    """Take a picture that no other node has taken."""
    for waiting in sorted((shared / "in").iterdir()):
        mine = shared / "work" / waiting.name
        try:
            os.rename(waiting, mine)
        except FileNotFoundError:  # another node was quicker
            continue
        return mine
    return None


def make(picture: Path, out: Path, service: str, token: str) -> None:
    asset = trellis_addon.generate(
        picture, backend=service, key=token, output=out / f"{picture.stem}.glb", resolution=512, texture_size=1024
    )
    bpy.ops.wm.read_homefile(use_empty=True)
    obj = trellis_addon.scene.import_asset(asset, height=1.0)
    trellis_addon.scene.render_object(obj, out / f"{picture.stem}.png", size=512, samples=8)


if __name__ == "__main__":
    main()
