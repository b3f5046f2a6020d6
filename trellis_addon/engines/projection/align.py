"""The camera that a picture was taken with, found by its outline, then by what is drawn inside it.

Gauss-Newton on what a rendering of the asset shows: first its outline's distance from the picture's, along the
picture's normals, then also the difference of the two pictures where both are, without their light.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...geometry.projection.camera import FREE, Camera, level
from ...geometry.projection.raster import Seen, rasterise
from ..draft.fields import F32, Bool, Check, blur, blur_within, never, resample
from .outline import Edge, agreement, edge_of, pairs

_COARSE, _FINE = 192, 640  # pixels on the longer side of what is looked at
_NEAR = (0.35, 0.0, 0.65)  # cameras to begin with: usual, far away, close
_TURNS = (math.radians(10.0), math.radians(-10.0))  # and from where, where there is a drawing to tell by
_STEPS = 8
_ROUGHLY, _FINELY = (5.0, 2.5, 1.2), (2.5, 1.2)  # pixels by which what is drawn is blurred, one after the other
_MOST_STEPS, _BOLDEST = 12, 2.5
_LIKE = 0.3  # correlation from which on two drawings are of the same
_SURE = 0.8  # ... and nothing else need be tried
_AS_WELL = 0.04  # of outlines: no worse than the best one by more
# How far a camera usually is from where it begins: radians, shares of the size, nearness. More needs reasons.
_USUAL = np.array([0.15, 0.15, 0.08, 0.3, 0.3, 0.3, 0.3])
_EDGE_NOISE = 0.7  # pixels
_MOST_POINTS = 6000  # inside of the outline that are looked at
_HIGHEST_TURN = math.radians(40.0)  # from the view that was named: beyond, it is another one

Drawn = Callable[[Seen], F32]
"""The colours (P, 3), linear, of what is seen."""


@dataclass(frozen=True)
class Form:
    """The mesh that is looked at: `corners` (F, 3, 3) of its triangles."""

    corners: F32

    whole: NDArray[np.int64] | None = None
    """Of a part of a mesh, the triangles' numbers in the whole."""

    @property
    def points(self) -> F32:
        return self.corners.reshape(-1, 3)

    def seen(self, camera: Camera, shape: tuple[int, ...]) -> Seen:
        places, near = camera.project(self.points)
        return rasterise(places.reshape(-1, 3, 2), (shape[0], shape[1]), near.reshape(-1, 3))

    def of_whole(self, seen: Seen) -> Seen:
        """What was seen of this part, by the numbers of the whole."""
        return seen if self.whole is None else replace(seen, faces=self.whole[seen.faces])

    def coarser(self, cells: float) -> Form:
        """Without triangles that are nothing on a grid of so many cells along the longest side; enough for a sketch."""
        low = self.points.min(0)
        step = float((self.points.max(0) - low).max()) / cells
        grid = np.rint((self.corners - low) / step)
        apart = (grid != np.roll(grid, 1, axis=1)).any(-1).all(-1)
        numbers = np.flatnonzero(apart)
        if len(numbers) < 100 or len(numbers) > 0.7 * len(self.corners):
            return self
        return Form(np.asarray(low + grid[numbers] * step, np.float32), numbers)


@dataclass(frozen=True)
class FoundCamera:
    """The camera for the whole picture, and how well the outlines agree with it: 0..1."""

    camera: Camera
    agreement: float


def find_camera(
    form: Form, colour: F32, alpha: F32, yaw: float, drawn: Drawn | None = None, check: Check = never
) -> FoundCamera:
    """The camera of a picture: `colour` (H, W, 3) linear, `alpha` (H, W) its subject, `yaw` (radians) where it roughly
    stands. `drawn` says what colours the asset has, without which only the outline is looked at."""
    start = level(form.points.min(0), form.points.max(0), yaw, 0.0)
    small, factor = _shrunk(alpha, _COARSE)
    rough, sketch = form.coarser(_COARSE / 2), resample(colour, (small.shape[0], small.shape[1]))
    tried: list[_Try] = []

    def settled(near: float, turn: float) -> bool:
        """Try a camera that begins like this; whether nothing else need be tried."""
        check()
        camera = _framed(replace(start, near=near, yaw=yaw + turn), rough.points, small >= 0.5)
        camera = _fitted(rough, camera, small >= 0.5, edge_of(small >= 0.5), check)
        found = _Try(camera, agreement(rough.seen(camera, small.shape).mask, small >= 0.5))
        if drawn is not None:
            found = _drawn_alike(rough, found, sketch, small, drawn, _ROUGHLY, check)
        tried.append(found)
        return found.likeness > _SURE and found.agreement > 1.0 - _AS_WELL

    if not any(settled(near, 0.0) for near in _NEAR) and drawn is not None:
        near = max(tried, key=_Try.merit).camera.near
        any(settled(near, turn) for turn in _TURNS)
    fits = max(found.agreement for found in tried)
    best = max((found for found in tried if found.agreement > fits - _AS_WELL), key=_Try.merit)
    fine, finer = _shrunk(alpha, _FINE)
    camera = best.camera.shrunk(finer / factor)
    if best.likeness < _LIKE:
        camera = _fitted(form, camera, fine >= 0.5, edge_of(fine >= 0.5), check, steps=4)
    last = _Try(camera, best.agreement)
    if drawn is not None:
        last = _drawn_alike(form, last, resample(colour, (fine.shape[0], fine.shape[1])), fine, drawn, _FINELY, check)
    seen = form.seen(last.camera, fine.shape)
    return FoundCamera(last.camera.shrunk(1.0 / finer), agreement(seen.mask, fine >= 0.5))


@dataclass(frozen=True)
class _Try:
    """A camera, how well the outlines agree with it, and how alike what is drawn inside of them is."""

    camera: Camera
    agreement: float
    likeness: float = 0.0

    def merit(self) -> float:
        return self.agreement + max(self.likeness - _LIKE, 0.0)


def turned_too_far(found: FoundCamera, yaw: float) -> bool:
    """Whether the picture was taken from elsewhere than it was said to be."""
    return max(abs(found.camera.yaw - yaw), abs(found.camera.pitch)) > _HIGHEST_TURN


def _shrunk(alpha: F32, longest: int) -> tuple[F32, float]:
    factor = min(1.0, longest / max(alpha.shape))
    if factor == 1.0:
        return alpha, 1.0
    return resample(alpha, (max(1, round(alpha.shape[0] * factor)), max(1, round(alpha.shape[1] * factor)))), factor


def _framed(camera: Camera, points: F32, mask: Bool) -> Camera:
    """The camera whose picture has the subject's box where the mask has its own."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    low, high = np.array([columns[0], rows[0]]), np.array([columns[-1] + 1, rows[-1] + 1])
    places, _ = camera.project(points)
    ours_low, ours_high = places.min(0), places.max(0)
    extent, ours = high - low, np.maximum(ours_high - ours_low, 1e-6)
    scale = camera.scale * math.sqrt(float(extent[0] / ours[0]) * float(extent[1] / ours[1]))
    middle = (low + high) / 2.0 - (ours_low + ours_high) / 2.0 * (scale / camera.scale)
    return replace(camera, scale=scale, middle=(float(middle[0]), float(middle[1])))


def _fitted(form: Form, camera: Camera, mask: Bool, edge: Edge, check: Check, steps: int = _STEPS) -> Camera:
    """The camera moved until the outlines agree as well as they can."""
    best, best_agreement = camera, -1.0
    for _ in range(steps):
        check()
        seen = form.seen(camera, mask.shape)
        agrees = agreement(seen.mask, mask)
        if agrees > best_agreement:
            best, best_agreement = camera, agrees
        if agrees < best_agreement - 0.1 or not len(seen.pixels):
            break
        matrix, vector = _of_outline(form, camera, seen, edge)
        step = _step(matrix, vector)
        camera = camera.moved(step)
        if np.abs(step).max() < 2e-5:
            break
    seen = form.seen(camera, mask.shape)
    return camera if agreement(seen.mask, mask) >= best_agreement else best


def _of_outline(form: Form, camera: Camera, seen: Seen, edge: Edge) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The normal equations of the outlines' distances."""
    ours = edge_of(seen.mask)
    mine, theirs = pairs(ours, edge)
    if len(mine) < FREE:
        return np.zeros((FREE, FREE)), np.zeros(FREE)
    row = np.searchsorted(seen.pixels, ours.index)
    points = seen.at(form.corners)[row]
    slopes = camera.slopes(points)[mine]
    normals = edge.outward[theirs]
    apart = ((edge.places[theirs] - ours.places[mine]) * normals).sum(1)
    rows = np.einsum("nk,nkp->np", normals, slopes)
    weight = 1.0 / np.maximum(1.0, np.abs(apart) / (3.0 * _EDGE_NOISE)) / _EDGE_NOISE**2  # Huber's
    return rows.T @ (rows * weight[:, None]), rows.T @ (apart * weight)


def _step(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The next step, which nothing but reasons make large."""
    return np.asarray(np.linalg.solve(matrix + np.diag(1.0 / _USUAL**2), vector))


def _drawn_alike(
    form: Form, begun: _Try, colour: F32, alpha: F32, drawn: Drawn, blurs: Sequence[float], check: Check
) -> _Try:
    """The camera moved until what is drawn inside the outlines agrees as well, from coarse to fine."""
    mask = alpha >= 0.5
    edge = edge_of(mask)
    best = begun
    for sigma in blurs:
        theirs = _lit(colour, alpha, sigma)
        camera, best_likeness, waited = best.camera, -1.0, 0
        for _ in range(_MOST_STEPS):
            check()
            seen = form.seen(camera, mask.shape)
            ours = _lit(seen.spread(drawn(form.of_whole(seen))), seen.mask.astype(np.float32), sigma)
            likeness, matrix, vector = _of_drawing(form, camera, seen, ours, theirs, mask)
            waited = 0 if likeness > best_likeness + 2e-3 else waited + 1
            if likeness > best_likeness:
                best_likeness = likeness
                best = _Try(camera, agreement(seen.mask, mask), likeness)
            if waited > 1:
                break
            of_outline = _of_outline(form, camera, seen, edge)
            # What agrees little yet is further away than its slopes say.
            boldness = min(1.0 / max(likeness, 0.1), _BOLDEST)
            camera = camera.moved(boldness * _step(matrix + of_outline[0], vector + of_outline[1]))
    # Two pictures with nothing in common: the outline knows better.
    return best if best.likeness >= _LIKE and best.agreement > begun.agreement - 0.05 else begun


def _lit(colour: F32, alpha: F32, sigma: float) -> F32:
    """What is drawn, without its light, which multiplies: the logarithm of the brightness between two blurs, over its
    own spread; (H, W)."""
    weight = (alpha >= 0.5).astype(np.float32)
    bright = np.log(np.clip(colour @ np.array([0.3, 0.6, 0.1], np.float32), 0.0, 1.0) + 0.01).astype(np.float32)
    fine, wide = blur_within(bright, weight, sigma), blur_within(bright, weight, 8.0 * sigma)
    detail = np.where(weight > 0, fine - wide, 0.0).astype(np.float32)
    spread = np.sqrt(float((detail**2).sum() / max(float(weight.sum()), 1.0)))
    return np.asarray(detail / max(spread, 1e-4), np.float32)


def _of_drawing(
    form: Form, camera: Camera, seen: Seen, ours: F32, theirs: F32, mask: Bool
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """How alike the drawings are (the correlation), and the normal equations of their difference."""
    clear = blur((mask & seen.mask).astype(np.float32), 3.0) > 0.98
    rows = np.flatnonzero(clear.ravel()[seen.pixels])
    if len(rows) < 200:
        return 0.0, np.zeros((FREE, FREE)), np.zeros(FREE)
    if len(rows) > _MOST_POINTS:
        rows = rows[np.linspace(0, len(rows) - 1, _MOST_POINTS).astype(np.int64)]
    places = seen.pixels[rows]
    mine, other = ours.ravel()[places], theirs.ravel()[places]
    likeness = float(np.corrcoef(mine, other)[0, 1]) if mine.std() > 1e-6 and other.std() > 1e-6 else 0.0
    down, along = np.gradient(theirs)
    slopes = camera.slopes(seen.at(form.corners)[rows])
    jacobian = along.ravel()[places, None] * slopes[:, 0] + down.ravel()[places, None] * slopes[:, 1]
    # A place on the mesh keeps its colour when the camera moves: what the picture shows there must come to that.
    gain = float((mine @ other) / max(float(mine @ mine), 1e-9))
    apart = gain * mine - other
    noise = 1.48 * float(np.median(np.abs(apart))) + 1e-3
    weight = 1.0 / np.maximum(1.0, np.abs(apart) / (2.0 * noise)) / noise**2
    return likeness, jacobian.T @ (jacobian * weight[:, None]), jacobian.T @ (apart * weight)
