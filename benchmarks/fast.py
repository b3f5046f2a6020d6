"""What the fast choice saves, and how far its result is from the full one: beside the distance between two seeds.

    python benchmarks/fast.py [--weights FOLDER] [--picture FILE] [--seeds 3 4 5] [--device auto]

Each stage begins with the same as the full run, so that its own difference is seen: the structure's latent, then the
shape's and the texture's on the full run's voxels. A distance is relative: 0 is the same, and of two seeds it is what
chance makes. Without weights it is tried with small random ones, whose distances say nothing about the published model.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from devtools.pipeline.make_small import make_small
from trellis_addon.core.progress import Progress
from trellis_addon.pipeline import costs
from trellis_addon.pipeline.numerics import exactly
from trellis_addon.pipeline.pipeline import Pipeline
from trellis_addon.pipeline.preprocess import preprocess_image
from trellis_addon.pipeline.request import Request
from trellis_addon.pipeline.sample import Noise

STAGES = ("structure", "shape", "texture")
QUIET = Progress()


def distance(a: Tensor, b: Tensor) -> float:
    """|a - b| relative to the mean of both sizes."""
    return float((a - b).norm() / (0.5 * (a.norm() + b.norm())))


def distances(pipeline: Pipeline, picture: Image.Image, seeds: list[int]) -> Iterator[tuple[str, float, float]]:
    """For each stage the mean distance of fast from full, and of two seeds from each other; at 512."""
    request = pipeline.request({"resolution": 512})
    with exactly():
        cond = pipeline.encode_image(picture, (512,), QUIET)[512]
        full = [_latents(pipeline, cond, request, seed) for seed in seeds]
        reused = [_latents(pipeline, cond, _fast(request), seed, of) for seed, of in zip(seeds, full, strict=True)]
        others = [_latents(pipeline, cond, request, seed + 1000, of) for seed, of in zip(seeds, full, strict=True)]
    for stage in STAGES:
        means = [
            statistics.mean(distance(a[stage], b[stage]) for a, b in zip(full, found, strict=True))
            for found in (reused, others)
        ]
        yield stage, means[0], means[1]


def _latents(
    pipeline: Pipeline, cond: Tensor, request: Request, seed: int, before: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The latents of one seed by stage; each stage begins with what `before` has of the one before it."""
    noise = [Noise(seed, pipeline.device) for _ in STAGES]
    found = {"structure": pipeline._structure(cond, request.structure, noise[0], QUIET)}
    before = before or found
    if "coords" not in before:
        before["coords"] = pipeline._occupied(before["structure"], request.structure_side)
    coords = before["coords"]
    found["shape"] = pipeline.sample_shape(coords, cond, 512, request.shape, noise[1], QUIET)
    found["texture"] = pipeline.sample_texture(before["shape"], coords, cond, 512, request.texture, noise[2], QUIET)
    return found


def _fast(request: Request) -> Request:
    structure, shape, texture = (replace(getattr(request, stage), reuses=True) for stage in STAGES)
    return replace(request, structure=structure, shape=shape, texture=texture)


def saved(request: Request) -> float:
    """The share of a run's operations that is saved, at the published sizes."""
    return 1 - sum(costs.stage_costs(_fast(request)).values()) / sum(costs.stage_costs(request).values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a folder with the model")
    parser.add_argument("--picture", type=Path, help="with the subject cut out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5])
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.picture is None:
        image = Image.new("RGBA", (256, 256))
        ImageDraw.Draw(image).ellipse((30, 30, 220, 220), (200, 120, 60, 255))
    else:
        image = Image.open(options.picture).convert("RGBA")
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline.from_folder(options.weights or make_small(Path(folder)), device=options.device)
        for resolution in (512, 1024, 1536):
            share = saved(pipeline.request({"resolution": resolution}))
            print(f"{resolution}: {100 * share:.0f} % of the operations are saved", flush=True)
        if options.weights is None:
            print("with small random weights, which say nothing about the published model:")
        print("stage       fast from full   two seeds   share")
        for stage, reused, others in distances(pipeline, preprocess_image(image), options.seeds):
            print(f"{stage:12s}{reused:>14.3f}{others:>12.3f}{100 * reused / others:>7.1f} %", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
