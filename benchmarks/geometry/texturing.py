"""Texturing a mesh without weights: each model's own colours, on its voxels, baked back onto its own UVs.

    python benchmarks/geometry/texturing.py [MODEL.glb ...] [--resolution 512] [--texture-size 2048] [--transforms 8]

Decibels over eight views of the base colour, the whole picture, as `benchmarks/geometry/finishing.py --roundtrip` has
them; the mean, and the lowest of the transforms. Without files it takes the six models of `models.py`. A model without
a picture is painted first, on new coordinates where it has none.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from finishing_render import VIEWS, Scene, psnr  # noqa: E402
from models import write_all  # noqa: E402
from round_trip import TRANSFORMS, has_colours, painted, placed, there_and_back  # noqa: E402

from trellis_addon.formats.glb.check import split_glb  # noqa: E402
from trellis_addon.formats.glb.read import read_glb  # noqa: E402


def compare(before: bytes, after: bytes, pixels: int) -> float:
    """The mean of eight views, in decibels."""
    one, two = read_glb(before), read_glb(after)
    low, high = one.bounds()
    scenes = [Scene(mesh, (mesh.vertices - (low + high) / 2) / (high - low).max()) for mesh in (one, two)]
    found = []
    for view in range(VIEWS):
        first, second = (scene.picture(view, pixels) for scene in scenes)
        found.append(min(psnr(first.flat, second.flat), 99.0))
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--texture-size", type=int, default=2048)
    parser.add_argument("--transforms", type=int, default=len(TRANSFORMS))
    parser.add_argument("--pixels", type=int, default=320)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = options.models or write_all(Path(folder))
        print(f"{options.resolution} voxels, {options.texture_size} texels, {options.transforms} transforms")
        print(f"{'model':<16}{'mean':>8}{'lowest':>8}  {'of the UVs kept':<18}{'CPU s':>7}")
        for file in files:
            start, figures = time.process_time(), {}
            model = file.read_bytes()
            if not has_colours(model):
                model = painted(model, options.texture_size)
            for name in list(TRANSFORMS)[: options.transforms]:
                before = placed(model, TRANSFORMS[name])
                made = there_and_back(before, options.resolution, options.texture_size)
                figures[name] = compare(before, made.glb, options.pixels)
            worst = min(figures, key=figures.__getitem__)
            kept = _kept(before, made.glb)
            seconds = time.process_time() - start
            mean = float(np.mean(list(figures.values())))
            print(
                f"{file.stem:<16}{mean:>8.1f}{figures[worst]:>8.1f}  {kept:<18}{seconds:>7.0f}  ({worst})", flush=True
            )


def _kept(before: bytes, after: bytes) -> str:
    """How many of the parts have the coordinates that they had."""
    one, two = (
        [primitive["attributes"] for mesh in split_glb(data)[0]["meshes"] for primitive in mesh["primitives"]]
        for data in (before, after)
    )
    same = sum(set(a) == set(b) for a, b in zip(one, two, strict=True))
    return f"{same} of {len(one)} parts"


if __name__ == "__main__":
    main()
