"""A folder of pictures into one .blend, each an asset with three levels of detail.

    blender --background --python examples/batch_import.py -- pictures/ assets.blend
    python examples/batch_import.py pictures/ assets.blend                              with bpy as a module

Started again, it goes on: what stands in the .blend already is left alone.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import bpy


def library() -> ModuleType:
    """The add-on's library: beside this script's project, or wherever Blender has installed the extension."""
    try:
        import trellis_addon
    except ImportError:
        addons = bpy.context.preferences.addons
        name = next(addon.module for addon in addons if addon.module.endswith(".trellis2"))
        return importlib.import_module(name + ".trellis_addon")
    return trellis_addon


def main(pictures: Path, target: Path) -> int:
    trellis = library()
    if target.exists():
        bpy.ops.wm.open_mainfile(filepath=str(target))
    else:
        bpy.ops.wm.read_homefile(use_empty=True)
    there = {trellis.scene.read_provenance(obj).get("image") for obj in bpy.data.objects}
    failed = 0
    for picture in sorted(path for path in pictures.iterdir() if path.suffix.lower() in (".png", ".jpg", ".webp")):
        if picture.stem in there:
            continue
        try:
            asset = trellis.generate(picture, resolution=512, texture_size=1024)
            obj = trellis.scene.import_asset(asset, height=1.0, location=(1.5 * len(there), 0.0, 0.0))
            trellis.scene.make_lods(obj, (1.0, 0.25, 0.05), arrange="HIDDEN")
            trellis.scene.mark_asset(obj)
        except trellis.TrellisError as error:
            failed += 1
            print(f"{picture.name}: {error}")
            continue
        there.add(picture.stem)
        bpy.ops.wm.save_as_mainfile(filepath=str(target.resolve()), compress=True)
        print(f"{picture.name}: {len(obj.data.polygons)} triangles, made by {asset.engine}")
    return 1 if failed else 0


if __name__ == "__main__":
    given = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    sys.exit(main(Path(given[0]), Path(given[1])))
