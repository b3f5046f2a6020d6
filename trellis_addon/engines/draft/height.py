"""How far the form stands out, in front and behind, at every node of the grid.

The base is an inflation: where u solves the screened Poisson equation u / L^2 - div(g grad u) = 1
with u = 0 on the silhouette, sqrt(2 u) is a half circle over a strip much narrower than L, so thin
parts become tubes, and levels off at sqrt(2) L over wide areas, so they do not balloon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .fields import F32, blur, blur_within, smoothstep
from .mask import Domain
from .poisson import masked, solve
from .variation import Variation

# Where the inflations level off, as shares of the silhouette's smaller extent.
_DOME_LEVEL = 0.30
_PARTS_LEVEL = 0.15
_BACK_LEVEL = 0.15
_SQRT2 = 1.4142135


@dataclass(frozen=True)
class Heights:
    """At the grid's nodes, in cells: `front` >= 0 in front of the sheet z = `bow`, `back` >= 0 behind it.

    `bulk` is how thick the form is there, without any detail: 0 on the silhouette, up to about 1.
    """

    front: F32
    back: F32
    bow: F32
    bulk: F32


def heights(
    domain: Domain, colour: F32, variation: Variation, on_step: Callable[[float], None] = lambda share: None
) -> Heights:
    """`colour` (rows, columns, 3) is the subject's at the nodes, continued smoothly beyond the silhouette."""
    inside = domain.inside
    extent = float(smaller_extent(inside))
    luminance = colour @ np.array([0.2126, 0.7152, 0.0722], np.float32)

    edges = part_edges(colour, inside, extent)
    on_step(0.1)
    # The whole: one gentle dome.
    dome = _inflate(domain, _DOME_LEVEL * extent, None, lambda share: on_step(0.1 + 0.35 * share))
    # The parts: the edges of the picture are creases between bodies of their own.
    parts = _inflate(domain, _PARTS_LEVEL * extent, edges, lambda share: on_step(0.45 + 0.35 * share))
    share = variation.parts
    base = (share * parts + (1.0 - share) * dome) * variation.depth
    on_step(0.8)
    relief = shading_relief(luminance, inside, extent, on_step) * variation.relief
    # Relief fades towards the silhouette and on thin parts, and never digs through.
    room = base / (base + 0.04 * extent)
    raised = np.maximum(base + relief * extent * room, 0.35 * base)
    back = _BACK_LEVEL / _DOME_LEVEL * variation.back * dome * _back_shape(parts, dome, inside, extent, variation)
    zero = np.float32(0.0)
    front = np.where(inside, raised, zero).astype(np.float32)
    back = np.where(inside, back, zero).astype(np.float32)
    bow = _bow(luminance, inside, extent, front + back) * np.float32(variation.bow)
    return Heights(front, back, bow, dome / np.float32(_DOME_LEVEL * extent))


def _back_shape(parts: F32, dome: F32, inside: np.ndarray, extent: float, variation: Variation) -> F32:
    """Factors round 1 for the back: a faint, soft echo of the parts, and a broad swell of the seed's own."""
    mass = inside.astype(np.float32)
    ratio = blur_within(parts / np.maximum(dome, 1e-3), mass, 0.03 * extent)
    echo = 0.4 * (ratio - float(ratio[inside].mean()))
    rows, columns = np.indices(inside.shape, dtype=np.float32) / np.float32(extent)
    across = columns * np.cos(variation.swell) + rows * np.sin(variation.swell)
    swell = 0.1 * np.sin(4.0 * across + 3.0 * variation.swell)
    return np.asarray(np.clip(1.0 + echo + swell, 0.6, 1.4), np.float32)


def _bow(luminance: F32, inside: np.ndarray, extent: float, thickness: F32) -> F32:
    """A gentle curve of the sheet that the form is built on, for subjects made of thin parts only.

    Tubes that all lie in one plane look like a fret-saw cut-out from the side. The thinner the
    thick parts are beside the whole, the more the sheet bulges towards its middle, with lighter
    areas further to the front. A solid subject gets next to none of it.
    """
    thick = float(np.percentile(thickness[inside], 80.0)) / extent
    thin = float(np.clip(1.0 - thick / 0.3, 0.0, 1.0))
    mass = inside.astype(np.float32)
    around = blur(mass, 0.09 * extent)
    bulge = np.sqrt(np.maximum(blur(around, 0.05 * extent), 0.0))
    near, far = blur_within(luminance, mass, 0.025 * extent), blur_within(luminance, mass, 0.12 * extent)
    light = blur(np.tanh((near - far) / 0.15), 0.012 * extent)
    return np.asarray(thin * extent * (0.21 * bulge + 0.03 * light), np.float32)


def smaller_extent(inside: np.ndarray) -> int:
    """The shorter side of the silhouette's bounding box, in cells."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return int(min(rows[-1] - rows[0], columns[-1] - columns[0])) + 1


def _inflate(domain: Domain, level: float, edges: F32 | None, on_step: Callable[[float], None]) -> F32:
    """sqrt(2 u), levelling off at `level` cells; `edges` in 0..1 are where it is held down."""
    reach = level / _SQRT2
    kappa = np.full(domain.field.shape, 1.0 / reach**2, np.float32)
    g = np.ones_like(kappa)
    if edges is not None:
        kappa = kappa + edges * np.float32(0.5 / reach)
        g = 1.0 / (1.0 + 3.0 * edges)
    operator = masked(kappa, g.astype(np.float32), domain.inside, domain.field)
    u = solve(operator, domain.inside.astype(np.float32), on_step)
    return np.sqrt(2.0 * np.maximum(u, 0.0))


def part_edges(colour: F32, inside: np.ndarray, extent: float) -> F32:
    """Where one part of the picture ends and the next begins, 0..1: strong steps of colour."""
    soft = blur(colour, max(1.0, 0.005 * extent))
    steps = np.zeros(inside.shape, np.float32)
    steps[1:-1, 1:-1] = np.sqrt(
        ((soft[1:-1, 2:] - soft[1:-1, :-2]) ** 2).sum(2) + ((soft[2:, 1:-1] - soft[:-2, 1:-1]) ** 2).sum(2)
    )
    strong = max(float(np.percentile(steps[inside], 96.0)), 0.04)
    return smoothstep(0.35 * strong, 1.1 * strong, steps)


def shading_relief(luminance: F32, inside: np.ndarray, extent: float, on_step: Callable[[float], None]) -> F32:
    """Relief read from light and dark, as a share of the extent: brighter stands out, at four scales.

    Each scale's contrast is taken relative to what is usual round it, so a pale bust and a dark
    hood get as much; a bounded curve keeps single highlights from becoming spikes.
    """
    total = np.zeros_like(luminance)
    fine = blur(luminance, max(0.6, 0.003 * extent))
    for index, scale in enumerate((0.007, 0.016, 0.036, 0.08)):
        on_step(0.82 + 0.04 * index)
        wide = blur(luminance, max(0.9, scale * extent))
        band = fine - wide
        usual = np.sqrt(blur(band * band, max(2.0, 4.0 * scale * extent)))
        total += np.float32(0.42 * scale) * np.tanh(band / (1.4 * usual + 0.03))
        fine = wide
    return total
