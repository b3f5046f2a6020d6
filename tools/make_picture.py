"""Make docs/lantern.png: the example picture beside the draft made of it, from three sides. Needs bpy."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import bpy  # noqa: E402
from PIL import Image  # noqa: E402

import trellis_addon  # noqa: E402

SIDE = 480


def main() -> None:
    picture = ROOT / "examples" / "lantern.png"
    asset = trellis_addon.generate(picture, seed=7)
    bpy.ops.wm.read_homefile(use_empty=True)
    obj = trellis_addon.scene.import_asset(asset)
    sheet = Image.new("RGB", (4 * SIDE, SIDE), (226, 227, 229))
    with Image.open(picture) as opened:
        original = opened.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        sheet.paste(original, (0, 0), original)
    with tempfile.TemporaryDirectory() as folder:
        for place, view in enumerate(("three_quarter", "side", "back"), 1):
            path = trellis_addon.scene.render_object(
                obj, Path(folder) / f"{view}.png", size=SIDE, samples=48, view=view
            )
            with Image.open(path) as rendered:
                sheet.paste(rendered, (place * SIDE, 0))
    sheet.save(ROOT / "docs" / "lantern.png", optimize=True)


if __name__ == "__main__":
    main()
