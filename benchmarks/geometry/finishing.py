"""Finishing measured: seconds and memory per stage, and how much a round trip changes what one sees.

    python benchmarks/geometry/finishing.py [--resolution 512] [--faces 100000] [--texture-size 2048] [--no-remesh]
                                            [--cores 2] [--peer]
    python benchmarks/geometry/finishing.py --roundtrip FOLDER [--resolution 256] [--models crate,sheets] [--peer]
    python benchmarks/geometry/finishing.py --torture [--resolution 128] [--models helmet,x.glb] [--checkout FOLDER]

The first finishes a synthetic dense mesh (512: 1.7 million faces, 1024: 6.7 million) and prints CPU and wall seconds
and the peak of memory, next to earlier measurements of the best free tools; `alone` are the CPU seconds of the thread
that leads, which no further core makes any shorter. The second rebakes textured models, or GLBs, as the command does,
renders both from eight sides, prints a table and writes a picture sheet for each model into FOLDER:
before and after as it is, before and after lit, four times the difference. `--peer` does the same the way TRELLIS.2's
own exporter does, through voxels: a double shell, clusters of 90 degrees, xatlas for each, nearest fill. The third
finishes meshes as bad as people's are (`devtools/geometry/torture.py`), with `--checkout` by the package of another
checkout of this repository. Nothing is asserted: the figures are for reading.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

if "--checkout" in sys.argv:
    # The package of another checkout comes first, everything else from here.
    sys.path.insert(0, sys.argv[sys.argv.index("--checkout") + 1])
    __import__("trellis_addon")
    del sys.path[0]
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from trellis_addon.core.progress import Progress
from trellis_addon.geometry.finish.finish import DenseAsset, FinishedAsset, finish

F = NDArray[np.float64]

# CPU seconds of the best free tools on 2 cores of a shared cloud machine, 1.74 million faces to 100,000 with 2048
# texels, and 6.94 million to 500,000 with 4096: one run each, no remeshing; numpy and scipy, fast-simplification,
# xatlas's packing, warp, Pillow.
EARLIER = {512: {"clean": 3.5, "simplify": 3.0, "unwrap": 2.0, "bake": 5.2, "encode": 1.0, "all": 14.0}}
EARLIER[1024] = {"clean": 14.0, "simplify": 13.3, "unwrap": 11.1, "bake": 25.9, "encode": 3.7, "all": 70.0}
# CPU seconds to stay below: without remeshing, and with it.
AIM = {512: (10.0, 18.0), 1024: (45.0, 75.0)}
STAGES = ("clean", "simplify", "unwrap", "bake", "encode", "quality")


@dataclass
class Stopwatch:
    """CPU and wall seconds of each stage that progress names, and the most memory so far at its end, in GB.

    `alone` are the CPU seconds of the thread that tells of it: what no further core makes any shorter.
    """

    cpu: dict[str, float] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)
    wall: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _since: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def note(self, stage: str, _: float) -> None:
        now = time.process_time(), time.perf_counter(), time.thread_time()
        if self._stage:
            self.cpu[self._stage] = self.cpu.get(self._stage, 0.0) + now[0] - self._since[0]
            self.wall[self._stage] = self.wall.get(self._stage, 0.0) + now[1] - self._since[1]
            self.alone[self._stage] = self.alone.get(self._stage, 0.0) + now[2] - self._since[2]
            self.memory[self._stage] = peak()
        self._stage, self._since = stage, now


def surface(points: F) -> F:
    """Where this is 0 there is a wavy body, a ring around it and two rods through it."""
    x, y, z = points.T / 1.2
    waves = 0.035 * np.sin(9 * x + 2 * np.sin(7 * y)) * np.cos(8 * z)
    waves += 0.012 * np.sin(31 * x) * np.sin(29 * y) * np.sin(33 * z)
    waves += 0.003 * np.sin(90 * x) * np.sin(88 * y + 1) * np.sin(91 * z)
    body = np.sqrt(x**2 + (y / 0.8) ** 2 + (z / 1.2) ** 2) - 0.27 + waves
    ring = np.hypot(np.hypot(x, y) - 0.36, z - 0.05) - 0.035
    rods = np.minimum(np.hypot(x - 0.12, y - 0.05), np.hypot(x + 0.15, y + 0.1)) - 0.012
    return 1.2 * np.minimum(np.minimum(body, ring), np.maximum(rods, np.abs(z) - 0.4))


def attributes(points: F) -> NDArray[np.float32]:
    x, y, z = points.T
    stripe = np.sin(60 * (x + y + z)) > 0
    colour = [0.5 + 0.4 * np.sin(40 * x), 0.5 + 0.3 * np.sin(25 * y + 10 * z), 0.45 + 0.35 * np.sin(30 * z)]
    return np.stack([*colour, np.where(stripe, 0.9, 0.05), 0.4 + 0.3 * np.sin(200 * x * y), 1 + 0 * x], 1).astype("f4")


def dense_asset(resolution: int) -> DenseAsset:
    """The surface's dual grid on a sparse shell, with a face in ten thousand missing."""
    step = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cells, side = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), -1).reshape(-1, 3), 32
    while True:
        reach = 1.4 / side + (0.005 if side < resolution else 0.0)
        cells = np.concatenate(
            [part[np.abs(surface((part + 0.5) / side - 0.5)) < reach] for part in np.array_split(cells, 64)]
        )
        if side >= resolution:
            break
        cells, side = (cells[:, None] * 2 + step).reshape(-1, 3), side * 2
    pitch = resolution + 1

    def number(places: NDArray[np.int64]) -> NDArray[np.int64]:
        return (places[:, 0] * pitch + places[:, 1]) * pitch + places[:, 2]

    corners = np.unique(np.concatenate([number(cells + offset) for offset in step]))
    places = np.stack([corners // pitch**2, corners // pitch % pitch, corners % pitch], 1)
    values = np.concatenate([surface(part / resolution - 0.5) for part in np.array_split(places, 64)]).astype("f4")
    at_corner = np.stack([values[np.searchsorted(corners, number(cells + offset))] for offset in step], 1)
    inside = at_corner < 0
    crossed = inside.any(1) & ~inside.all(1)
    cells, at_corner, inside = cells[crossed], at_corner[crossed], inside[crossed]
    total, count = np.zeros((len(cells), 3)), np.zeros(len(cells))
    for low in range(8):
        for axis in range(3):
            if not step[low][axis]:
                high = low + (4, 2, 1)[axis]
                cut = np.flatnonzero(inside[:, low] != inside[:, high])
                share = at_corner[cut, low] / (at_corner[cut, low] - at_corner[cut, high])
                total[cut] += step[low]
                total[cut, axis] += share
                count[cut] += 1
    vertices = ((cells + total / count[:, None]) / resolution - 0.5).astype(np.float32)
    key = number(cells)
    order = np.argsort(key)
    faces = []
    strides = (pitch * pitch, pitch, 1)
    for axis in range(3):
        b, c = strides[(axis + 1) % 3], strides[(axis + 2) % 3]
        cut = inside[:, 0] != inside[:, (4, 2, 1)[axis]]
        around = key[cut][:, None] - np.array([0, b, b + c, c])
        found = np.minimum(np.searchsorted(key[order], around), len(key) - 1)
        whole = (key[order][found] == around).all(1)
        quads = order[found][whole]
        outwards = inside[cut, 0][whole]
        quads[~outwards] = quads[~outwards][:, ::-1]
        faces += [quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]
    triangles = np.concatenate(faces).astype(np.int32)
    kept = np.random.default_rng(0).random(len(triangles)) > 1e-4
    coords = cells.astype(np.int32)
    return DenseAsset(vertices, triangles[kept], coords, attributes((coords + 0.5) / resolution - 0.5), resolution)


def speed(options: argparse.Namespace) -> None:
    if options.cores:
        use_cores(options.cores)
    warm_up()
    start = time.process_time()
    dense = dense_asset(options.resolution)
    print(f"{len(dense.faces):,} faces at {options.resolution} voxels, made in {time.process_time() - start:.1f} CPU s")
    before = peak()
    watch = Stopwatch()
    made = finish(
        dense,
        decimation_target=options.faces,
        texture_size=options.texture_size,
        remesh=not options.no_remesh,
        progress=Progress(watch.note),
    )
    watch.note("", 0.0)
    earlier = EARLIER.get(options.resolution, {})
    print(f"{'stage':<10}{'CPU s':>8}{'alone s':>8}{'wall s':>8}{'GB':>8}   earlier best of free tools, CPU s")
    for stage in STAGES:
        figures = watch.cpu[stage], watch.alone[stage], watch.wall[stage], watch.memory[stage]
        print(f"{stage:<10}" + "".join(f"{value:8.2f}" for value in figures) + f"   {earlier.get(stage, '-')}")
    total = sum(watch.cpu.values())
    alone, wall = sum(watch.alone.values()), sum(watch.wall.values())
    print(f"{'all':<10}{total:8.2f}{alone:8.2f}{wall:8.2f}{peak():8.2f}   {earlier.get('all', '-')}", end="")
    aim = AIM.get(options.resolution)
    print(f"   (aim: {aim[not options.no_remesh] if aim else '-'})")
    print(f"{before:.2f} GB were the most before finishing; the file has {len(made.glb) / 1e6:.1f} MB")
    report("ours", made)
    if options.peer:
        from finishing_peer import finish_as_reference

        start = time.process_time()
        other = finish_as_reference(dense, options.faces, options.texture_size, remesh=not options.no_remesh)
        print(f"the reference's way: {time.process_time() - start:.1f} CPU s", other.seconds)
        report("reference", other)


def use_cores(count: int) -> None:
    """Have finishing take the machine for one of so many cores; nothing where the checkout knows of one only."""
    from trellis_addon.core.machine import parallel

    parallel.cores = lambda: count


def warm_up() -> None:
    """Compiles what Warp compiles once on a machine."""
    finish(dense_asset(64), decimation_target=2000, texture_size=64)


def report(name: str, made: FinishedAsset) -> None:
    print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in made.quality.items()))


def peak() -> float:
    """The most memory this process has had, in GB; not known on Windows."""
    try:
        import resource
    except ImportError:
        return float("nan")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**30 if sys.platform == "darwin" else 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--texture-size", type=int, default=2048)
    parser.add_argument("--no-remesh", action="store_true")
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--roundtrip", type=Path, metavar="FOLDER")
    parser.add_argument("--torture", action="store_true")
    parser.add_argument("--checkout", type=Path, metavar="FOLDER", help="measure the package that lies there")
    parser.add_argument("--models", default="")
    parser.add_argument("--cores", type=int, default=0, help="as many threads; by default as many as there are cores")
    parser.add_argument("--pixels", type=int, default=320)
    options = parser.parse_args()
    if options.torture:
        from torture import torture

        warm_up()
        names = options.models.split(",") if options.models else []
        torture(names, options.resolution, options.faces, options.texture_size)
    elif options.roundtrip:
        from roundtrip import round_trip

        warm_up()
        round_trip(options)
    else:
        speed(options)


if __name__ == "__main__":
    main()
