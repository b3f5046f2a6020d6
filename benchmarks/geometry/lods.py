"""Levels of detail as they are seen: each at the distance where it takes over, beside the finest one there.

    python benchmarks/geometry/lods.py FILE.glb ... [--ratios 1 0.25 0.05] [--lines 540] [--anew FACES]

`--anew` makes the levels of one dense surface, each with UVs and maps of its own, the finest of so many triangles and
each next one of a quarter of them; otherwise they are decimated, and share the maps.

Prints, for each file and level, its triangles, the error of its form, the distance from which on it is shown, how many
lines of the picture the asset is tall there, and the difference of the two pictures where the asset is: PSNR in dB, and
the share of its pixels that differ by more than a tenth. Needs bpy with Cycles. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from trellis_addon.scene import import_asset, lods_of, make_lods, rebake
from trellis_addon.scene.asset.lod_switch import as_themselves
from trellis_addon.scene.asset.lods import DISTANCE, ERROR, LEVEL, TRIANGLES, Level
from trellis_addon.scene.importing.placement import world_bounds

_SAMPLES = 32
_FROM = Vector((0.5, -1.0, 0.35)).normalized()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.glb")
    parser.add_argument("--ratios", type=float, nargs="+", default=[1.0, 0.25, 0.05])
    parser.add_argument("--lines", type=int, default=540, help="of the picture (default 540)")
    parser.add_argument("--anew", type=int, metavar="FACES", help="levels with UVs and maps of their own")
    options = parser.parse_args()
    print(f"{'':22}{'triangles':>10}{'error mm':>10}{'from m':>8}{'lines':>7}{'PSNR dB':>9}{'differ':>8}")
    for file in options.files:
        scene = _studio(options.lines)
        obj = import_asset(file, height=1.0)
        if options.anew:
            obj = rebake([obj], hide_sources=True, lods=len(options.ratios), faces=options.anew, resolution=256)
            levels = [_level_of(level) for level in lods_of(obj).objects]
        else:
            levels = make_lods(obj, options.ratios, arrange="BY_DISTANCE")[1:]
        low, high = world_bounds(obj)
        middle = (low + high) / 2
        for level in levels:
            scene.camera.location = middle + _FROM * 1.001 * (level.distance + (middle - obj.location).length)
            scene.camera.rotation_euler = (-_FROM).to_track_quat("-Z", "Y").to_euler()
            shown = _picture(scene)
            with as_themselves([obj]):
                finest = _picture(scene)
            tall = (finest[..., 3] > 0.5).any(1).sum()
            print(
                f"{file.stem + f', level {level.level}':<22}{level.triangles:10,}{1000 * level.error:10.2f}"
                f"{level.distance:8.2f}{tall:7d}{_difference(shown, finest)}",
                flush=True,
            )


def _level_of(obj: bpy.types.Object) -> Level:
    error, distance = float(obj[ERROR]), float(obj[DISTANCE])
    return Level(obj[LEVEL], 0.0, obj[TRIANGLES], obj, error, distance)


def _studio(lines: int) -> bpy.types.Scene:
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    render = scene.render
    render.engine, render.film_transparent = "CYCLES", True
    render.resolution_x, render.resolution_y, render.resolution_percentage = lines, lines, 100
    scene.cycles.samples, scene.cycles.use_denoising = _SAMPLES, False
    scene.view_settings.view_transform = "Standard"
    world = bpy.data.worlds.new("Studio")
    scene.world = world
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.rotation_euler, sun.data.energy = (0.6, 0.3, 0.5), 2.5
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.clip_end = 10_000
    for one in (sun, camera):
        scene.collection.objects.link(one)
    scene.camera = camera
    return scene


def _picture(scene: bpy.types.Scene) -> np.ndarray:
    """(H, W, 4) in 0..1, straight alpha."""
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = f"{folder}/picture.png"
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        pixels = np.empty(len(image.pixels), np.float32)
        image.pixels.foreach_get(pixels)
        width, height = image.size
        bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)


def _difference(one: np.ndarray, other: np.ndarray) -> str:
    """On grey, where either of the two is."""
    seen = (one[..., 3] > 0) | (other[..., 3] > 0)
    grey = [image[..., :3] * image[..., 3:] + 0.5 * (1 - image[..., 3:]) for image in (one, other)]
    away = np.abs(grey[0] - grey[1])[seen]
    error = float((away**2).mean()) if len(away) else 0.0
    return f"{-10 * np.log10(max(error, 1e-9)):9.1f}{(away.max(1) > 0.1).mean() if len(away) else 0.0:8.1%}"


if __name__ == "__main__":
    main()
