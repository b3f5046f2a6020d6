"""A picture into a studio's asset library: versioned, to the studio's budget, filed under its catalog.

    python examples/studio_pipeline.py helmet.png LIBRARY --catalog Props/Armour --height 0.35 --triangles 20000

LIBRARY/helmet/v001 gets the GLB as it came with its provenance, LIBRARY the .blend for the asset browser. The next
run makes v002. It refuses what is over budget or open, with the numbers, before anybody finds it in a shot.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import bpy

import trellis_addon
from trellis_addon import scene


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("library", type=Path)
    parser.add_argument("--catalog", default="TRELLIS.2")
    parser.add_argument("--height", type=float, default=1.0, help="metres")
    parser.add_argument("--triangles", type=int, default=50_000, help="the most that the studio allows")
    parser.add_argument("--backend", default="draft", help="draft, local, remote, or the address of a service")
    options = parser.parse_args()
    version = next_version(options.library / options.picture.stem)
    try:
        asset = trellis_addon.generate(
            options.picture,
            backend=options.backend,
            output=version / f"{options.picture.stem}.glb",
            resolution=512,
            texture_size=1024,
        )
        bpy.ops.wm.read_homefile(use_empty=True)
        obj = scene.import_asset(asset, height=options.height)
        triangles = scene.measure(obj).surface.triangles
        if triangles > options.triangles:
            (level,) = scene.make_lods(obj, (options.triangles / triangles,), arrange="IN_PLACE")
            obj = level.object
        scene.shrink_textures(obj, 1024)
        found = scene.measure(obj)
        blend = scene.save_to_library(obj, options.library, catalog=options.catalog)
    except trellis_addon.TrellisError as error:
        print(error, file=sys.stderr)
        return 1
    report = {
        "blend": str(blend),
        "engine": asset.engine,
        "seed": asset.seed,
        "cost_usd": asset.provenance.get("cost_usd"),
        "triangles": found.surface.triangles,
        "open_edges": found.surface.open_edges,
        "verdict": [sentence for _, sentence in scene.verdict(found)],
    }
    (version / "report.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    print(json.dumps(report, indent=2))
    return 0


def next_version(folder: Path) -> Path:
    """`folder/v001`, or the first number that is free; made here, so that no other run takes it too."""
    for number in range(1, 1000):
        version = folder / f"v{number:03}"
        try:
            version.mkdir(parents=True)
        except FileExistsError:
            continue
        return version
    raise SystemExit(f"{folder} has no number left.")


if __name__ == "__main__":
    sys.exit(main())
