"""Low poly measured: as it is made here, and by Blender's Decimate of the source, each beside the source.

    python benchmarks/geometry/low_poly.py FILE.glb ... [--faces 10000 2000 500] [--texture-size 1024]

Prints, for each file, number and way: the triangles, the decibels of the base colour as it is and lit (the mean over
views, where either is seen), open edges, and CPU seconds; ours makes all numbers at once. Decimate keeps the source's
UVs and maps; where the source has fewer triangles than asked for it is left out. Needs bpy. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from finishing_render import Picture, Scene, psnr

from trellis_addon.formats.glb.read import read_glb
from trellis_addon.geometry.finish.roundtrip import round_trip_levels
from trellis_addon.geometry.mesh.clean import clean
from trellis_addon.geometry.mesh.topology import Edges, TriMesh

_PIXELS = 320
_VIEWS = (0, 2, 5, 7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.glb")
    parser.add_argument("--faces", type=int, nargs="+", default=[10_000, 2_000, 500])
    parser.add_argument("--texture-size", type=int, default=1024)
    parser.add_argument("--resolution", type=int, default=256)
    options = parser.parse_args()
    print(f"{'':34}{'faces':>8}{'flat dB':>9}{'lit dB':>8}{'open':>7}{'CPU s':>7}")
    for file in options.files:
        mesh = read_glb(file)
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        frame = (low + high) / 2, float((high - low).max())
        before = _pictures(file.read_bytes(), frame)
        begun = time.process_time()
        made = round_trip_levels(
            mesh, options.faces, resolution=options.resolution, texture_size=options.texture_size, name=file.stem
        )
        seconds = time.process_time() - begun
        for count, asset in zip(options.faces, made, strict=True):
            _tell(f"{file.stem}, {count}, ours", asset.glb, before, frame, seconds)
            seconds = 0.0  # all of them are told beside the first
        for count in options.faces:
            if count < len(mesh.faces):
                begun = time.process_time()
                glb = _decimated(file, count)
                _tell(f"{file.stem}, {count}, Decimate", glb, before, frame, time.process_time() - begun)


def _tell(name: str, glb: bytes, before: list[Picture], frame: tuple[np.ndarray, float], seconds: float) -> None:
    mesh = read_glb(glb)
    after = _pictures(glb, frame)
    figures = [
        (psnr(one.flat, two.flat, shown), psnr(one.lit, two.lit, shown))
        for one, two in zip(before, after, strict=True)
        if (shown := (one.cover + two.cover) > 0).any()
    ]
    flat, lit = np.mean(figures, 0)
    whole = clean(TriMesh.of(mesh.vertices, mesh.faces), resolution=1024)
    border = int((Edges.of(whole.faces).counts == 1).sum()) if len(whole.faces) else 0
    print(f"{name:<34}{len(mesh.faces):8d}{flat:9.1f}{lit:8.1f}{border:7d}{seconds:7.1f}", flush=True)


def _pictures(glb: bytes, frame: tuple[np.ndarray, float]) -> list[Picture]:
    mesh = read_glb(glb)
    scene = Scene(mesh, (mesh.vertices - frame[0]) / frame[1])
    return [scene.picture(view, _PIXELS) for view in _VIEWS]


def _decimated(file: Path, count: int) -> bytes:
    """By its modifier, on everything in the file as one mesh, welded as its importer can."""
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(file), merge_vertices=True)
    meshes = [obj for obj in bpy.context.scene.objects if obj.type == "MESH"]
    for obj in bpy.context.scene.objects:
        obj.select_set(obj in meshes)
    bpy.context.view_layer.objects.active = meshes[0]
    bpy.ops.object.join()
    obj = bpy.context.view_layer.objects.active
    modifier = obj.modifiers.new("Decimate", "DECIMATE")
    modifier.ratio = count / (len(obj.data.loops) - 2 * len(obj.data.polygons))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.glb")
        bpy.ops.export_scene.gltf(filepath=str(path), export_apply=True, use_selection=True)
        return path.read_bytes()


if __name__ == "__main__":
    main()
