"""Unwrapping measured against xatlas, on the same meshes: why charts are our own.

    python benchmarks/geometry/charts.py FILE.glb ... [--texture-size 2048]

Prints, for each file and way, the charts, those of fewer than ten faces, the share of the atlas that they fill, the
stretch, texels that lie in two charts, and CPU seconds. Stretch is that of P. Sander et al., "Texture mapping
progressive meshes", 2001 (L2, 1 where every length is kept), and the mean by area of how much longer a circle is than
it is wide.
xatlas is asked only where `pip install xatlas` has put it. Nothing is asserted: the figures are for reading.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from trellis_addon.formats.glb.read import read_glb
from trellis_addon.geometry.mesh.topology import TriMesh, weld
from trellis_addon.geometry.unwrap.charts import connected_faces
from trellis_addon.geometry.unwrap.unwrap import unwrap

F = NDArray[np.float64]
I = NDArray[np.integer]  # noqa: E741


def stretch(vertices: F, faces: I, uvs: F) -> tuple[float, float]:
    """(L2, mean of the longer by the shorter axis) of a mesh (V, 3) whose vertices have `uvs` (V, 2)."""
    corners, flat = vertices[faces].astype(np.float64), uvs[faces].astype(np.float64)
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = 0.5 * np.linalg.norm(np.cross(one, two), axis=1)
    length = np.maximum(np.linalg.norm(one, axis=1), 1e-30)
    x, y = (one * two).sum(1) / length, np.maximum(2 * area / length, 1e-30)
    along = (flat[:, 1] - flat[:, 0]) / length[:, None]
    across = (flat[:, 2] - flat[:, 0] - x[:, None] * along) / y[:, None]
    e, g, f = (along**2).sum(1), (across**2).sum(1), (along * across).sum(1)
    root = np.sqrt((e - g) ** 2 + 4 * f * f)
    large, small = np.sqrt((e + g + root) / 2), np.sqrt(np.maximum((e + g - root) / 2, 0.0))
    good = (area > 1e-9 * area.mean()) & (small > 1e-12)
    large, small, area = large[good], small[good], area[good]
    square = ((1 / large**2 + 1 / small**2) / 2 * area).sum() * (large * small * area).sum() / area.sum() ** 2
    return float(np.sqrt(square)), float((np.minimum(large / small, 20.0) * area).sum() / area.sum())


def line(name: str, sizes: I, fill: float, stretched: tuple[float, float], overlapping: object, seconds: float) -> None:
    crumbs = int((sizes < 10).sum())
    figures = (
        f"{len(sizes):7d}{crumbs:9d}{fill:7.2f}{stretched[0]:8.3f}{stretched[1]:8.3f}{overlapping!s:>9}{seconds:7.1f}"
    )
    print(f"{name:<28}{figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--texture-size", type=int, default=2048)
    options = parser.parse_args()
    try:
        import xatlas
    except ImportError:
        xatlas = None
    print(f"{'':<28} charts under 10   fill      L2    axes overlaps  CPU s")
    for path in options.files:
        mesh = read_glb(path)
        shape = weld(TriMesh.of(mesh.vertices, mesh.faces))
        unwrap(shape.vertices, shape.faces[:100], 64)  # compiles what Warp compiles once
        start = time.process_time()
        ours = unwrap(shape.vertices, shape.faces, options.texture_size)
        seconds = time.process_time() - start
        measured = stretch(shape.vertices[ours.source], ours.faces, ours.uvs)
        fill = ours.raster.covered / ours.raster.owner.size
        line(f"{path.stem} ours", np.bincount(ours.charts), fill, measured, ours.raster.overlapping, seconds)
        if xatlas is None:
            continue
        start = time.process_time()
        atlas, packing = xatlas.Atlas(), xatlas.PackOptions()
        atlas.add_mesh(shape.vertices, shape.faces.astype(np.uint32))
        packing.resolution, packing.padding = options.texture_size, 2
        atlas.generate(pack_options=packing)
        source, faces, uvs = atlas[0]
        seconds = time.process_time() - start
        sizes = np.bincount(connected_faces(faces.astype(np.int32)))
        measured = stretch(shape.vertices[source], faces.astype(np.int64), uvs)
        line(f"{path.stem} xatlas", sizes, atlas.utilization, measured, "-", seconds)


if __name__ == "__main__":
    main()
