"""Where the draft engine's time goes, and what a plain sparse solver would take in its place.

    python benchmarks/draft.py [picture ...] [--runs 5] [--resolution 1024] [--texture-size 2048]

Prints the median seconds per stage for each picture (RGBA, subject cut out), or for one drawn
here when none is given. Nothing is asserted: the figures are for reading.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.draft.mask import Domain, build_domain, cut_out
from trellis_addon.engines.draft.poisson import masked, solve
from trellis_addon.engines.engine import Order
from trellis_addon.task.settings import Settings

STAGES = ("mask", "height", "mesh", "texture", "material", "glb")
LIMIT = 5.0  # seconds that an artist waits for a draft of a 1024 x 1024 picture at the default settings


def drawn(size: int = 1024) -> Image.Image:
    """A lobed body with holes and a thin rim, shaded with waves."""
    mask = Image.new("L", (size, size))
    draw = ImageDraw.Draw(mask)
    for k in range(7):
        angle = k * 2 * np.pi / 7
        x, y = size * (0.5 + 0.25 * np.cos(angle)), size * (0.5 + 0.25 * np.sin(angle))
        r = size * 0.2
        draw.ellipse((x - r, y - r, x + r, y + r), 255)
        draw.ellipse((x - r / 4, y - r / 4, x + r / 4, y + r / 4), 0)
    draw.ellipse((8, 8, size - 8, size - 8), outline=255, width=6)
    x, y = np.meshgrid(np.linspace(0, 20, size), np.linspace(0, 20, size))
    shade = 0.5 + 0.25 * np.sin(x + np.sin(y)) + 0.2 * np.cos(1.7 * y)
    rgb = np.stack([shade, 0.8 * shade, 0.3 + 0.4 * shade], 2)
    picture = Image.fromarray((np.clip(rgb, 0, 1) * 255).astype(np.uint8)).convert("RGBA")
    picture.putalpha(mask)
    return picture


def timed(picture: Image.Image, settings: Settings) -> dict[str, float]:
    """Seconds per stage of one run, the longest time without asking for a cancel, and the file's megabytes."""
    marks: list[tuple[str, float]] = []
    start = time.perf_counter()
    made = ReliefEngine().generate(
        Order(picture, settings, 0), Progress(lambda stage, _: marks.append((stage, time.perf_counter())))
    )
    end = time.perf_counter()
    seconds = dict.fromkeys(STAGES, 0.0)
    gap = 0.0
    for (stage, begun), (_, done) in zip(marks, [*marks[1:], ("", end)], strict=True):
        seconds[stage] += done - begun
        gap = max(gap, done - begun)
    return {**seconds, "all": end - start, "gap": gap, "MB": len(made.glb) / 1e6}


def solver_table(domain: Domain, runs: int) -> None:
    """The height equation of this domain, solved here and by scipy's sparse LU."""
    kappa = np.full(domain.field.shape, (0.2 * min(domain.field.shape)) ** -2, np.float32)
    operator = masked(kappa, np.ones_like(kappa), domain.inside, domain.field)
    right_side = domain.inside.astype(np.float32)
    ours = statistics.median(seconds(lambda: solve(operator, right_side)) for _ in range(runs))
    unknowns = int(domain.inside.sum())
    print(f"\nOne height equation, {unknowns} unknowns: multigrid conjugate gradients {ours:.3f} s", end="")
    try:
        import scipy.sparse as sparse
        from scipy.sparse.linalg import spsolve
    except ImportError:
        print("; scipy is not installed, so there is no peer to compare with.")
        return
    rows, columns = domain.field.shape
    right = np.pad(operator.right, ((0, 0), (0, 1))).ravel()
    down = np.pad(operator.down, ((0, 1), (0, 0))).ravel()
    count = rows * columns
    matrix = sparse.diags(
        [operator.diagonal.ravel(), -right[:-1], -right[:-1], -down[:-columns], -down[:-columns]],
        [0, 1, -1, columns, -columns],
        shape=(count, count),
    ).tocsr()
    keep = np.flatnonzero(domain.inside)
    part, side = matrix[keep][:, keep].tocsc().astype(np.float64), np.ones(len(keep))
    theirs = statistics.median(seconds(lambda: spsolve(part, side)) for _ in range(runs))
    error = np.abs(solve(operator, right_side).ravel()[keep] - spsolve(part, side))
    print(
        f", scipy's sparse LU {theirs:.3f} s ({theirs / ours:.1f} times as long); they differ by"
        f" {error.max() / spsolve(part, side).max():.1e} of the height's square."
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--texture-size", type=int, default=2048)
    options = parser.parse_args()
    settings = Settings(resolution=options.resolution, texture_size=options.texture_size)
    pictures = {path.stem: Image.open(path).convert("RGBA") for path in options.pictures} or {"drawn": drawn()}

    columns = (*STAGES, "all", "gap", "MB")
    print(f"{'picture':<14}" + "".join(f"{name:>10}" for name in columns))
    medians = []
    for name, picture in pictures.items():
        runs = [timed(picture, settings) for _ in range(options.runs)]
        middle = {column: statistics.median(run[column] for run in runs) for column in columns}
        medians.append(middle["all"])
        print(f"{name:<14}" + "".join(f"{middle[column]:>10.3f}" for column in columns))
    print(
        f"\nMedian of {options.runs} runs, seconds; `gap` is the longest time between two questions whether to cancel."
        f"\nThe limit is {LIMIT:.0f} s for a 1024 x 1024 picture at the default settings;"
        f" the slowest here took {max(medians):.2f} s, {100 * max(medians) / LIMIT:.0f} % of it."
    )
    subject = cut_out(next(iter(pictures.values())), 2048)
    solver_table(build_domain(subject, options.resolution // 2, settings.value("decimation_target")), options.runs)


if __name__ == "__main__":
    main()
