"""What several views of one object cost in the model, counted, and what they bring in the draft, measured.

    python benchmarks/views.py [MODEL.glb ...] [--kind ortho|perspective] [--size 640]

The first table counts passes through the flow models and their operations at the published sizes for 1, 2 and 4 views.
The second renders each model with Cycles from its four sides and from between two, before nothing, and holds the drafts
against it: intersection over union of what is filled, on a grid of 40 cells for the model's height, both equally tall
and with one middle. The peer is the draft of the front alone, in the same run. Processor seconds of the draft.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.engine import Order
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.pipeline.costs import PUBLISHED_FLOW, context_flops, flow_flops
from trellis_addon.pipeline.sizes import TYPICAL
from trellis_addon.task.settings import SAMPLER_DEFAULTS, Settings
from trellis_addon.task.views import yaw_of

SETS = {"front": (), "+ left": ("left",), "four": ("right", "back", "left"), "five": ("right", "135", "back", "left")}
CELLS, SPAN = 40, 2.4  # for the height, and how many heights the grid is wide


def count() -> None:
    """Passes and operations of whole runs at 1024, by the samplers' defaults."""
    from trellis_addon.pipeline.configs import SamplerSettings

    stages = (("sparse_structure", 4096, 1029), ("shape_slat", TYPICAL[512].tokens, 1029))
    stages += tuple((name, TYPICAL[1024].tokens, TYPICAL[1024].context) for name in ("shape_slat", "tex_slat"))
    print("views   passes with a picture   without   operations (10^15)   of one view's")
    single = 0.0
    for views in (1, 2, 4):
        seen = unseen = 0
        flops = 0.0
        for name, tokens, context in stages:
            known = SAMPLER_DEFAULTS[name]
            sampler = SamplerSettings(
                known.steps, known.guidance_strength, known.guidance_rescale, known.guidance_interval, known.rescale_t
            )
            guided = sampler.guided_steps()
            seen, unseen = seen + views * sampler.steps, unseen + guided
            flops += views * sampler.steps * flow_flops(PUBLISHED_FLOW, tokens, context)
            flops += guided * flow_flops(PUBLISHED_FLOW, tokens, context, False)
            flops += views * context_flops(PUBLISHED_FLOW, context)
        single = single or flops
        print(f"{views:5} {seen:23} {unseen:9} {flops / 1e15:20.2f} {flops / single:15.2f}")


def render(model: Path, folder: Path, size: int, kind: str) -> tuple[dict[str, Image.Image], NDArray[np.bool_]]:
    """The model's pictures by view, and what it fills."""
    import bpy
    from mathutils import Vector

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(model))
    scene = bpy.context.scene
    bpy.context.view_layer.update()
    points, faces = _triangles(bpy)
    low, high = points.min(0), points.max(0)
    middle, extent = Vector(0.5 * (low + high)), float((high - low).max())
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 12, False
    scene.render.film_transparent = True
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.view_settings.view_transform = "Standard"
    scene.world = bpy.data.worlds.new("Even")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (1, 1, 1, 1)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    camera.data.clip_start, camera.data.clip_end = extent * 1e-3, extent * 1e3
    distance = 5.0 * extent
    if kind == "ortho":
        camera.data.type, camera.data.ortho_scale = "ORTHO", 1.75 * extent
    else:
        camera.data.angle = math.radians(35.0)
        distance = 1.75 * extent / 2.0 / math.tan(math.radians(17.5))
    pictures = {}
    for name in ("front", "right", "135", "back", "left"):
        turn = math.radians(yaw_of(name))
        camera.location = middle + distance * Vector((math.sin(turn), -math.cos(turn), 0.0))
        camera.rotation_euler = (math.pi / 2.0, 0.0, turn)
        scene.render.filepath = str(folder / f"{name}.png")
        bpy.ops.render.render(write_still=True)
        pictures[name] = Image.open(scene.render.filepath).convert("RGBA")
    return pictures, filled(points, faces)


def _triangles(bpy: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    graph = bpy.context.evaluated_depsgraph_get()
    points: list[NDArray[np.float64]] = []
    faces: list[NDArray[np.int64]] = []
    count = 0
    for obj in (obj for obj in bpy.context.scene.objects if obj.type == "MESH"):
        mesh = obj.evaluated_get(graph).to_mesh()
        mesh.calc_loop_triangles()
        points.append(np.array([obj.matrix_world @ vertex.co for vertex in mesh.vertices]))
        faces.append(np.array([triangle.vertices for triangle in mesh.loop_triangles]) + count)
        count += len(points[-1])
    return np.concatenate(points), np.concatenate(faces)


def filled(points: NDArray[Any], faces: NDArray[Any]) -> NDArray[np.bool_]:
    """The cells that lie in the surface or behind it, as seen from everywhere outside; z is up, the height is 1."""
    from scipy.ndimage import binary_fill_holes

    low, high = points.min(0), points.max(0)
    side = round(CELLS * SPAN)
    placed = ((points - (low + high) / 2.0) / (high[2] - low[2]) / SPAN + 0.5) * side
    a, b, c = (placed[faces[:, k]] for k in range(3))
    longest = np.maximum.reduce([np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (b, c), (c, a))])
    steps = np.maximum(1, np.ceil(2.0 * longest)).astype(int)
    grid = np.zeros((side,) * 3, bool)
    for step in np.unique(steps):
        of = steps == step
        for i in range(step + 1):
            for j in range(step + 1 - i):
                places = a[of] + (b[of] - a[of]) * (i / step) + (c[of] - a[of]) * (j / step)
                grid[tuple(np.clip(places.astype(int), 0, side - 1).T)] = True
    return np.asarray(binary_fill_holes(grid), bool)


def measure(model: Path, kind: str, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pictures, truth = render(model, Path(folder), size, kind)
    told = []
    for views in SETS.values():
        began = time.process_time()
        made = ReliefEngine().generate(
            Order(pictures["front"], Settings(), 1, views={view: pictures[view] for view in views}), Progress()
        )
        seconds = time.process_time() - began
        mesh = read_glb(made.glb)
        x, y, z = np.asarray(mesh.vertices, float).T
        found = filled(np.stack([x, -z, y], 1), np.asarray(mesh.faces))
        told.append(f"{(found & truth).sum() / (found | truth).sum():.3f} ({seconds:.1f} s)")
    print(f"{model.stem:12}" + "".join(f"{text:>16}" for text in told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--kind", choices=("ortho", "perspective"), default="perspective")
    parser.add_argument("--size", type=int, default=640)
    options = parser.parse_args()
    count()
    if options.models:
        print(f"\n{'overlap':12}" + "".join(f"{name:>16}" for name in SETS))
    for model in options.models:
        measure(model, options.kind, options.size)


if __name__ == "__main__":
    main()
