"""How far the form stands out, in front and behind, at every node of the grid.

The base is an inflation: where u solves the screened Poisson equation u / L^2 - div(g grad u) = 1
with u = 0 on the silhouette, sqrt(2 u) is a half circle over a strip much narrower than L, so thin
parts become tubes, and levels off at sqrt(2) L over wide areas, so they do not balloon. With g small from
row to row, every row is a half circle over its own width: a body turned on a lathe. How much of either there
is, `body` judges by the picture's symmetry and shading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .body import judge
from .fields import F32, Bool, blur, blur_within, smoothstep
from .mask import Domain
from .poisson import masked, solve
from .variation import Variation

# Where the inflations level off, as shares of the silhouette's smaller extent.
_DOME_LEVEL = 0.8
_PARTS_LEVEL = 0.25
# How high the wide areas of a form may stand, as shares of that extent: of what shows no shading, and of what does.
_FLAT_CAP, _ROUND_CAP = 0.1, 0.7
# How much of the relief there is without that.
_PAINTED = 0.5
# How much of the lathe's form a body of revolution gets, without and with the shading to show for it.
_LEAST_TURN, _MOST_TURN = 0.15, 1.0
# How much a row of a turned body follows those above and below it, beside its own two ends.
_ROWS_TIE = 0.08
# Where it levels off, in radii that most of its rows have.
_WIDEST = 1.4
_SQRT2 = 1.4142135
# Of the inflations' residual: heights are right to a twentieth of a cell.
_TOLERANCE = 1e-3
# A body that is turned by less than this is not turned at all.
_LEAST_TURNED = 0.1


@dataclass(frozen=True)
class Heights:
    """At the grid's nodes, in cells: `front` >= 0 in front of the sheet z = `bow`, `back` >= 0 behind it."""

    front: F32
    back: F32
    bow: F32


@dataclass(frozen=True)
class Form:
    """What the picture says of the form, whatever the seed; all (rows, columns), in cells where not said otherwise.

    `dome` is the silhouette's own inflation, `whole` the same levelled off, `parts` that of the picture's parts,
    `lathe` the body of revolution, `turned` (0..1) how nearly the subject is one, and `turn` how much of the lathe's
    form it gets. `relief` is read from light and dark,
    `echo` the parts' faint share of the back, as a factor; `bow` the curve of the sheet for subjects of thin parts.
    """

    inside: Bool
    extent: float
    dome: F32
    whole: F32
    parts: F32
    lathe: F32
    turned: float
    turn: float
    relief: F32
    echo: F32
    bow: F32

    @property
    def bulk(self) -> F32:
        """How thick the form is, without any detail: 0 on the silhouette, up to 1."""
        return np.minimum(self.dome / np.float32(0.3 * self.extent), np.float32(1.0))

    def heights(self, variation: Variation) -> Heights:
        """The form with a seed's proportions."""
        share, turn, extent = variation.parts, self.turn, self.extent
        base = share * self.parts + (1.0 - share) * self.whole
        base = base + turn * (0.95 * self.lathe + 0.05 * self.parts - base)
        base = base * np.float32(variation.depth)
        # Relief fades towards the silhouette and on thin parts, and never digs through.
        room = base / (base + 0.04 * extent)
        front = np.maximum(base + self.relief * np.float32(variation.relief * extent) * room, 0.35 * base)
        behind = variation.back * self.whole
        # A turned body's back is its front's, very nearly.
        behind = behind + turn * (self.lathe * (0.6 + 0.4 * variation.back) - behind)
        back = behind * np.clip(self.echo + self._swell(variation.swell), 0.6, 1.4)
        front, back = (np.where(self.inside, side, 0.0).astype(np.float32) for side in (front, back))
        # The thinner the thick parts are beside the whole, the more the sheet is curved.
        thick = float(np.percentile((front + back)[self.inside], 80.0)) / extent
        thin = float(np.clip(1.0 - thick / 0.3, 0.0, 1.0))
        return Heights(front, back, self.bow * np.float32(variation.bow * thin))

    def _swell(self, waves: Sequence[tuple[float, float]]) -> F32:
        """Broad waves of the seed's own over the back, each with its direction and its share."""
        rows, columns = np.indices(self.inside.shape, dtype=np.float32) / np.float32(self.extent)
        total = np.zeros(self.inside.shape, np.float32)
        for direction, share in waves:
            across = columns * np.cos(direction) + rows * np.sin(direction)
            total += np.float32(share) * np.asarray(0.1 * np.sin(4.0 * across + 3.0 * direction), np.float32)
        return total


def read_form(domain: Domain, colour: F32, on_step: Callable[[float], None] = lambda share: None) -> Form:
    """`colour` (rows, columns, 3) is the subject's at the nodes, continued smoothly beyond the silhouette."""
    inside = domain.inside
    extent = float(smaller_extent(inside))
    luminance = colour @ np.array([0.2126, 0.7152, 0.0722], np.float32)

    edges = part_edges(colour, inside, extent)
    on_step(0.1)
    # The whole: as deep as it is wide, limbs round.
    dome = _inflate(domain, _DOME_LEVEL * extent, on_step=lambda share: on_step(0.1 + 0.2 * share))
    body = judge(inside, colour, dome)
    on_step(0.35)
    cap = (_FLAT_CAP + (_ROUND_CAP - _FLAT_CAP) * body.rounded) * extent
    whole = _levelled(dome, cap)
    # The parts: the edges of the picture are creases between bodies of their own.
    parts = _inflate(domain, _PARTS_LEVEL * extent, edges, on_step=lambda share: on_step(0.35 + 0.2 * share))
    parts = _levelled(parts, cap)
    turned = body.turned if body.turned >= _LEAST_TURNED else 0.0
    turn = turned * (_LEAST_TURN + (_MOST_TURN - _LEAST_TURN) * body.rounded)
    lathe = whole
    if turn > 0.0:
        lathe = _inflate(domain, 3.0 * extent, rows_tie=_ROWS_TIE, on_step=lambda share: on_step(0.55 + 0.25 * share))
        # Shoulders are not as deep as they are wide: what is much wider than most of the body levels off.
        radius = np.maximum(lathe.max(1, keepdims=True), np.float32(1e-6))
        lathe = lathe * (_levelled(radius, _WIDEST * float(np.median(radius[inside.any(1)]))) / radius)
    on_step(0.8)
    # Light and dark on what shows no shading is paint rather than form.
    relief = shading_relief(luminance, inside, extent, on_step) * np.float32(_PAINTED + (1.0 - _PAINTED) * body.rounded)
    ratio = blur_within(parts / np.maximum(dome, 1e-3), inside.astype(np.float32), 0.03 * extent)
    echo = 1.0 + 0.4 * (ratio - float(ratio[inside].mean()))
    bow = _bow(luminance, inside, extent, body.rounded)
    return Form(inside, extent, dome, whole, parts, lathe, turned, turn, relief, echo, bow)


def _levelled(height: F32, cap: float) -> F32:
    """The same where it is low, never above `cap`."""
    return np.asarray(height / np.sqrt(np.sqrt(1.0 + (height / np.float32(cap)) ** 4)), np.float32)


def _bow(luminance: F32, inside: Bool, extent: float, rounded: float) -> F32:
    """A gentle curve of the sheet that the form is built on, for subjects made of thin parts only.

    Tubes that all lie in one plane look like a fret-saw cut-out from the side. So the sheet bulges
    towards its middle, with lighter areas further to the front, and the more so where the shading
    is that of a round body.
    """
    mass = inside.astype(np.float32)
    around = blur(mass, 0.09 * extent)
    bulge = np.sqrt(np.maximum(blur(around, 0.05 * extent), 0.0))
    near, far = blur_within(luminance, mass, 0.025 * extent), blur_within(luminance, mass, 0.12 * extent)
    light = blur(np.tanh((near - far) / 0.15), 0.012 * extent)
    share = (0.1 + 0.2 * rounded) * bulge + (0.02 + 0.05 * rounded) * light
    return np.asarray(extent * share, np.float32)


def smaller_extent(inside: np.ndarray) -> int:
    """The shorter side of the silhouette's bounding box, in cells."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return int(min(rows[-1] - rows[0], columns[-1] - columns[0])) + 1


def _inflate(
    domain: Domain,
    level: float,
    edges: F32 | None = None,
    rows_tie: float = 1.0,
    on_step: Callable[[float], None] = lambda share: None,
) -> F32:
    """sqrt(2 u), levelling off at `level` cells; `edges` in 0..1 are where it is held down.

    With a `rows_tie` of little, each row is a half circle over its own width, as on a lathe.
    """
    reach = level / _SQRT2
    kappa = np.full(domain.field.shape, 1.0 / reach**2, np.float32)
    g = np.ones_like(kappa)
    if edges is not None:
        kappa = kappa + edges * np.float32(0.5 / reach)
        g = 1.0 / (1.0 + 3.0 * edges)
    operator = masked(kappa, g.astype(np.float32), domain.inside, domain.field, rows_tie)
    u = solve(operator, domain.inside.astype(np.float32), on_step, _TOLERANCE)
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
