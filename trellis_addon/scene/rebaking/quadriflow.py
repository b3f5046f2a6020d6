"""The Blender without a window that makes quads of surfaces: its QuadriFlow, for `geometry.quads.quadriflow`."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree

from ...geometry.quads.fitting import Made, fitted
from ...geometry.quads.pairs import quad_edges
from ...runtime.child import parent_progress

# It refuses a mesh with an edge under 1e-4 units, and takes that for one that is not manifold.
_SIZE = 100.0
_TRIES, _CLOSE = 6, 0.045
_FEW, _MORE_TRIES = 2_500, 10  # so few are quickly made, and their number jumps
_MORE = 1.08  # it makes somewhat fewer than it is asked for
# Of a part with more irregular corners than this share the flow is tried on its smoothed form too, so many times drawn
# towards its neighbours' middles and out again; the corners are put back onto the part (Taubin 1995).
_MANY, _ROUNDS, _IN, _OUT = 0.08, 10, 0.5, -0.53
# Processor seconds of one try after which it comes to no end, at the least and for each quad; and by the longest so
# far of the same part, with as many more of them at the least.
_PATIENCE, _PATIENCE_EACH = 15.0, 0.004
_TIMES, _LEAST = 5.0, 3.0
_LOOK = 0.2  # seconds


def main(arguments: Sequence[str]) -> int:
    """`PARTS.npz QUADS.npz`: do it, and end the process, as some Blenders come down when they clean up.

    Where a part comes to no end, what there is of it and of those before it is written, with its number as `stuck`.
    """
    if hasattr(os, "nice"):  # the artist goes on working
        os.nice(5)
    source, target = map(Path, arguments)
    report = parent_progress()
    with np.load(source) as given:
        counts, creased = given["counts"].tolist(), given["creased"].tolist()
        parts = [(given[f"vertices{number}"], given[f"faces{number}"]) for number in range(len(counts))]
    watch = _Watch(target)
    for number, (count, part) in enumerate(zip(counts, parts, strict=True)):
        report.update("simplify", number / len(counts))
        watch.part = number
        _make_quads(*part, count, creased[number], watch)
    watch.write()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class _Watch:
    """What was made so far, and an eye on the try under way: Blender's operators let other threads run meanwhile."""

    def __init__(self, target: Path) -> None:
        self.target, self.part = target, 0
        self._made: dict[int, Made] = {}
        self._until = float("inf")
        self._lock = threading.Lock()
        threading.Thread(target=self._look, daemon=True).start()

    def keep(self, made: Made) -> None:
        self._made[self.part] = made

    def write(self, **more: int) -> None:
        with self._lock:
            self._until = float("inf")
            made: dict[str, Any] = {f"vertices{number}": one[0] for number, one in self._made.items()}
            made |= {f"quads{number}": one[1] for number, one in self._made.items()}
            np.savez(self.target, allow_pickle=False, **made, **{key: np.array(value) for key, value in more.items()})

    def limit(self, seconds: float) -> None:
        """So long may the try that begins take, in seconds of the processor."""
        self._until = time.process_time() + seconds

    def over(self) -> None:
        self._until = float("inf")

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK)
            if time.process_time() > self._until:
                self.write(stuck=self.part)
                os._exit(0)


def _make_quads(vertices: np.ndarray, faces: np.ndarray, count: int, is_creased: bool, watch: _Watch) -> None:
    """About `count` quads of one part (V, 3), (F, 3), kept by the watch; nothing where it is refused.

    Of a part with creases both ways are tried, as keeping these leads it astray as often as not, and where many corners
    are irregular the smoothed part as well: what has fewer of these, and lies nearer to the part, is the better one,
    where both, or neither, have the right number.
    """
    longest = 0.0
    tree = BVHTree.FromPolygons(vertices.tolist(), faces.tolist(), all_triangles=True)
    smooth: list[np.ndarray] = []

    def make(asked: int, way: _Way) -> Made | None:
        nonlocal longest
        begun = time.process_time()
        patience = _PATIENCE + _PATIENCE_EACH * asked
        watch.limit(min(patience, _LEAST + _TIMES * longest) if longest else patience)
        if way.is_smooth and not smooth:
            smooth.append(_smoothed(vertices, faces))
        made = _remeshed(smooth[0] if way.is_smooth else vertices, faces, asked, way.keeps_creases)
        watch.over()
        longest = max(longest, time.process_time() - begun)
        if made is None or not way.is_smooth:
            return made
        return _put_onto(made[0], tree), made[1]

    first = round(_MORE * count)
    begun: dict[_Way, Made] = {}

    def begin(is_smooth: bool) -> None:
        for keeps_creases in (False, True) if is_creased else (False,):
            way = _Way(keeps_creases, is_smooth)
            made = make(first, way)
            if made is not None and (way == _Way(False, False) or np.isfinite(made[0]).all()):
                begun[way] = made
                if len(begun) == 1:
                    watch.keep(made)

    def best_of() -> _Way:
        fitting = [way for way, made in begun.items() if abs(len(made[1]) / count - 1) <= _CLOSE] or [*begun]
        return fitting[0] if len(fitting) == 1 else min(fitting, key=lambda way: _badness(begun[way], tree))

    begin(is_smooth=False)
    if not begun:
        return
    watch.keep(begun[best_of()])
    if _irregular(begun[best_of()]) > _MANY:
        begin(is_smooth=True)
    best = best_of()
    watch.keep(begun[best])
    tries = _MORE_TRIES if count <= _FEW else _TRIES

    def again(asked: int) -> Made | None:
        return begun[best] if asked == first else make(asked, best)

    fitted(again, count, first, tries, _CLOSE, watch.keep, second=count)


class _Way(NamedTuple):
    """How a part is given to it."""

    keeps_creases: bool
    is_smooth: bool


def _badness(made: Made, tree: BVHTree) -> float:
    """The share of corners without four edges, times the mean distance of the quads' middles from the surface."""
    vertices, quads = made
    middles = np.nan_to_num(vertices[quads].mean(1))
    found = [tree.find_nearest(middle)[3] for middle in middles[:: max(len(middles) // 4000, 1)].tolist()]
    return _irregular(made) * float(np.mean([distance or 0.0 for distance in found]))


def _irregular(made: Made) -> float:
    """The share of corners without four edges."""
    edges = np.bincount(quad_edges(made[1]).reshape(-1), minlength=len(made[0]))
    return float((edges != 4).mean())


def _smoothed(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    ends = np.sort(np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2), axis=1)
    ends = np.unique(ends, axis=0)
    both = np.concatenate([ends, ends[:, ::-1]])
    count = np.maximum(np.bincount(both[:, 0], minlength=len(vertices)), 1)[:, None]
    places = vertices.astype(np.float64)
    for _ in range(_ROUNDS):
        for step in (_IN, _OUT):
            sums = [np.bincount(both[:, 0], places[both[:, 1], axis], len(places)) for axis in range(3)]
            places = places + step * (np.stack(sums, 1) / count - places)
    return places.astype(np.float32)


def _put_onto(points: np.ndarray, tree: BVHTree) -> np.ndarray:
    found = [tree.find_nearest(point)[0] if np.isfinite(point).all() else None for point in points]
    rows = [tuple(point) if near is None else tuple(near) for point, near in zip(points, found, strict=True)]
    return np.array(rows, np.float32)


def _remeshed(vertices: np.ndarray, faces: np.ndarray, count: int, is_creased: bool) -> Made | None:
    middle = vertices.mean(0)
    scale = _SIZE / max(float(np.ptp(vertices, axis=0).max()), 1e-30)
    mesh = bpy.data.meshes.new("Part")
    mesh.from_pydata(((vertices - middle) * scale).tolist(), [], faces.tolist())
    obj = bpy.data.objects.new("Part", mesh)
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)
    wanted = {
        "use_paint_symmetry": False,
        "use_mesh_symmetry": False,
        "use_preserve_sharp": is_creased,
        "use_preserve_boundary": True,
        "mode": "FACES",
        "target_faces": count,
        "seed": 0,
    }
    known = bpy.ops.object.quadriflow_remesh.get_rna_type().properties.keys()
    try:
        outcome = bpy.ops.object.quadriflow_remesh(**{name: value for name, value in wanted.items() if name in known})
        made = _arrays(obj.data) if "FINISHED" in outcome else None
    except RuntimeError:  # what it says of a mesh that it refuses
        made = None
    finally:
        mesh = obj.data
        bpy.data.batch_remove([obj, mesh])
    return None if made is None else ((made[0] / scale + middle).astype(np.float32), made[1])


def _arrays(mesh: bpy.types.Mesh) -> Made | None:
    """None where not all of its faces are quads."""
    if not len(mesh.polygons) or len(mesh.loops) != 4 * len(mesh.polygons):
        return None
    vertices = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", vertices.reshape(-1))
    quads = np.empty((len(mesh.polygons), 4), np.int32)
    mesh.loops.foreach_get("vertex_index", quads.reshape(-1))
    return vertices, quads
