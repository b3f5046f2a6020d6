"""Seconds per picture, by stage, from the file to the object in the scene.

    python benchmarks/stages.py [PICTURE ...] [--runs N]

Needs bpy. Each stage stands beside a peer measured in the same run: reading beside Pillow's bare decoding,
the import beside Blender's own importer alone. Without pictures, the example's is used.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import bpy  # noqa: E402
from PIL import Image  # noqa: E402

from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines import create_engine  # noqa: E402
from trellis_addon.engines.engine import Order  # noqa: E402
from trellis_addon.formats.glb.check import check_glb  # noqa: E402
from trellis_addon.images import load_image  # noqa: E402
from trellis_addon.scene import import_asset  # noqa: E402
from trellis_addon.task.settings import DRAFT_MODEL, Settings  # noqa: E402

STAGES = ("decode", "(Pillow)", "draft + GLB", "check GLB", "import", "(Blender's)", "all ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, default=[ROOT / "examples" / "lantern.png"])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"Blender {bpy.app.version_string}; seconds, the median of {options.runs}; in brackets: a peer\n")
    print(f"{'picture':<16} {'triangles':>9} {'MB':>5}  " + " ".join(f"{stage:>11}" for stage in STAGES))
    for picture in options.pictures:
        runs = [measure(picture) for _ in range(options.runs + 1)][1:]  # the first one warms up
        triangles, size = runs[0][0], runs[0][1]
        medians = [statistics.median(run[2][stage] for run in runs) for stage in STAGES]
        print(f"{picture.stem[:16]:<16} {triangles:>9} {size:>5.1f}  " + " ".join(f"{s:>11.3f}" for s in medians))
    print(
        "\nThe limit: decoding and the import are Pillow's and Blender's own work; of the draft, encoding the textures"
        "\nand solving for the depth take most (benchmarks/draft.py has its stages)."
    )


def measure(picture: Path) -> tuple[int, float, dict[str, float]]:
    """(triangles, megabytes, seconds by stage) of one picture."""
    times: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], object]):  # type: ignore[no-untyped-def]
        started = time.perf_counter()
        result = work()
        times[stage] = time.perf_counter() - started
        return result

    prepared = timed("decode", lambda: load_image(picture))
    timed("(Pillow)", lambda: Image.open(picture).convert("RGBA").load())
    engine = create_engine(DRAFT_MODEL)
    glb = timed("draft + GLB", lambda: engine.generate(Order(prepared.rgba, Settings(), 1), Progress()).glb)
    info = timed("check GLB", lambda: check_glb(glb))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asset.glb"
        path.write_bytes(glb)
        bpy.ops.wm.read_homefile(use_empty=True)
        timed("import", lambda: import_asset(path))
        bpy.ops.wm.read_homefile(use_empty=True)
        timed("(Blender's)", lambda: bpy.ops.import_scene.gltf(filepath=str(path), merge_vertices=True))
    # the import checks the file once more
    times["all ours"] = times["decode"] + times["draft + GLB"] + times["import"]
    return info.triangles, len(glb) / 1e6, times


if __name__ == "__main__":
    main()
