"""What the drafts of pictures look like from six sides, to be looked at.

    python benchmarks/draft_sheet.py PICTURE_OR_FOLDER [...] --output sheet.png [--size 300] [--seed 0] [--rows 5]

One row per picture: the picture, then its draft from the front, the front's right, the left, the back, the right and
above, all at one scale. More pictures than `--rows` make several sheets. A picture without a plain background is taken
whole. Nothing is asserted: the sheets are for the eye.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trellis_addon.core.errors import ImageError
from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.engine import Order
from trellis_addon.formats.glb import preview
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.formats.glb.textured_mesh import TexturedMesh
from trellis_addon.images import WHOLE, find_images, load_image
from trellis_addon.task.settings import Settings

# Degrees around the asset, 0 is in front of it and 90 on its own left, and above the ground.
VIEWS = {
    "front": (0.0, 0.0),
    "three-quarter": (35.0, 16.0),
    "right": (90.0, 0.0),
    "back": (180.0, 0.0),
    "left": (-90.0, 0.0),
    "top": (0.0, 89.9),
}
PAPER = (206, 208, 212)


def seen_from(mesh: TexturedMesh, around: float, above: float, size: int) -> Image.Image:
    """The mesh from one side, `size` pixels square, where its own longest diagonal just fits."""
    turned = mesh.vertices.astype(np.float64) @ (_eye(around, above).T @ _eye(35.0, 16.0))
    there = dataclasses.replace(mesh, vertices=turned.astype(np.float32))
    picture = preview.render_preview(there, size)
    # The preview fills its frame whatever it shows; the views of one draft are to have one scale.
    seen = np.ptp((turned @ _eye(35.0, 16.0).T)[:, :2], axis=0).max()
    shown = max(1, round(size * seen / (1.25 * np.ptp(mesh.vertices, axis=0).max())))
    out = Image.new("RGBA", (size, size))
    picture = picture.resize((shown, shown), Image.Resampling.LANCZOS)
    out.paste(picture, ((size - shown) // 2, (size - shown) // 2))
    return out


def _eye(around: float, above: float) -> np.ndarray:
    """(3, 3): right, up and towards the eye, as rows."""
    a, b = np.radians(around), np.radians(above)
    towards = np.array([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    return np.stack([right, np.cross(towards, right), towards])


def row(path: Path, size: int, seed: int, settings: Settings, keep: Path | None) -> Image.Image:
    """The picture and its draft from all sides, with what can be said in figures below its name."""
    try:
        picture = load_image(path).rgba
    except ImageError:
        picture = load_image(path, mask=WHOLE).rgba
    start, cpu = time.perf_counter(), time.process_time()
    glb = ReliefEngine().generate(Order(picture, settings, seed), Progress()).glb
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    if keep is not None:
        (keep / f"{path.stem}.glb").write_bytes(glb)
    mesh = read_glb(glb)
    extent = np.ptp(mesh.vertices, axis=0)
    strip = Image.new("RGB", (size * (1 + len(VIEWS)), size), PAPER)
    picture.thumbnail((size - 20, size - 50))
    strip.paste(picture, ((size - picture.width) // 2, 10), picture)
    for column, (around, above) in enumerate(VIEWS.values(), 1):
        shown = seen_from(mesh, around, above, size)
        strip.paste(shown, (column * size, 0), shown)
    note = (
        f"{path.stem}: depth {extent[2]:.2f} of 1, {extent[2] / extent[0]:.2f} of its width\n"
        f"{len(mesh.faces) // 1000}k triangles, {len(glb) / 1e6:.1f} MB, {took:.2f} s, {cpu:.2f} s of processor"
    )
    print(note.replace("\n", ", "))
    ImageDraw.Draw(strip).text((6, size - 34), note, fill=(30, 30, 30))
    return strip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=5, help="pictures on one sheet")
    parser.add_argument("--keep", type=Path, help="folder to leave the GLBs in")
    options = parser.parse_args()
    paths = [p for given in options.pictures for p in (find_images(given) if given.is_dir() else [given])]
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(paths), options.rows):
        strips = [
            row(path, options.size, options.seed, Settings(), options.keep)
            for path in paths[first : first + options.rows]
        ]
        sheet = Image.new("RGB", (strips[0].width, options.size * len(strips)), PAPER)
        for index, strip in enumerate(strips):
            sheet.paste(strip, (0, index * options.size))
        several = f"-{first // options.rows + 1}" if len(paths) > options.rows else ""
        sheet.save(options.output.with_stem(options.output.stem + several))


if __name__ == "__main__":
    main()
