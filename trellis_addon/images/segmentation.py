"""A subject told from its background by their colours, from what is known of some pixels.

As GrabCut does (Rother, Kolmogorov and Blake, 2004): mixtures of Gaussians describe the colours of either side, a cut
that is short and runs along edges divides the picture by them, and both are repeated. The cut is found not in a graph
but by its continuous twin, a convex problem with the same kind of optimum (Chan, Esedoglu and Nikolova, 2006), solved
by a primal-dual method (Chambolle and Pock, 2011): a few lines of array arithmetic in place of a compiled library.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .pixels import Floats, Mask, box_mean, parts

Doubles = NDArray[np.float64]

_COLOURS = 5  # Gaussians of each side
_ROUNDS = 5
_STEPS = 120  # of the solver in each round
_SMOOTHNESS = 16.0  # what a pixel's length of outline costs, against the logarithms of likelihoods
_LEAST_EDGE = 0.06  # of that is what it costs along the strongest edges
_SAMPLE = 6_000  # pixels that a mixture is fitted to
_UNLIKE, _UNSURE = 0.4, 4.0  # logarithms: when a gap is none
_CLEAR = 9.0  # the most that the colour of one pixel counts


def segment(
    lab: Floats, inside: Mask, outside: Mask, leaning: Floats | None = None, painted: Mask | None = None
) -> Floats:
    """The share of the subject in every pixel, 0..1, near 0 or 1 almost everywhere: (height, width).

    `lab`: the picture in L*a*b*, (height, width, 3), a few hundred pixels a side. `inside`, `outside`: what is known to
    be the subject and the background; the latter must not be empty. `leaning`: how much likelier each pixel is to be
    the background for where it is, as a logarithm. `painted`: what of the background was pointed at, and so counts
    for more than its area.
    """
    colours = _features(lab)
    weights = _edge_weights(lab)
    known = inside | outside
    share = np.where(outside, 0.0, 1.0).astype(np.float32)
    low, high = inside.astype(np.float32), 1.0 - outside.astype(np.float32)
    dice = np.random.default_rng(0)  # the same picture always gives the same cut
    if painted is not None and painted.any():
        share[_alike(lab, painted, inside, dice) & ~inside] = 0.0
    for _ in range(_ROUNDS):
        subject = share > 0.5
        if not subject.any() or subject.all():
            break
        of_subject = _likelihood(colours, _sampled(colours[subject], colours[inside], dice), dice)
        pointed_at = colours[painted] if painted is not None else colours[:0, 0]
        of_ground = _likelihood(colours, _sampled(colours[~subject], pointed_at, dice), dice)
        cost = np.clip(of_ground - of_subject, -_CLEAR, _CLEAR)
        if leaning is not None:
            cost += leaning
        cost[known] = 0.0
        share = _shortest_cut(share, cost / _SMOOTHNESS, weights, low, high)
    else:
        _close_holes(share, of_subject, of_ground, outside)
    return share


def _alike(lab: Floats, painted: Mask, inside: Mask, dice: np.random.Generator) -> Mask:
    """What has the colours that were painted over as background, and rather not those that were as the subject."""
    likeness = _likelihood(lab, lab[painted], dice)
    alike = likeness > np.percentile(likeness[painted], 5)
    return alike & (likeness > _likelihood(lab, lab[inside], dice)) if inside.any() else alike


def _close_holes(share: Floats, of_subject: Floats, of_ground: Floats, outside: Mask) -> None:
    """Give back to the subject what was taken for a gap in it, but is less like the background than most of that is.

    In place. What is enclosed by the subject and has no colour of its own there is more often a part of it, such as the
    coffee in a cup, than a gap through which the background shows.
    """
    usual = np.percentile(of_ground[outside], 25)
    found, labels = parts(share <= 0.5)
    for index, part in enumerate(found):
        place = (slice(part.box[1], part.box[3]), slice(part.box[0], part.box[2]))
        here = labels[place] == index
        if (outside[place] & here).any():
            continue
        ground, subject = float(of_ground[place][here].mean()), float(of_subject[place][here].mean())
        if ground < usual - _UNLIKE and ground - subject < _UNSURE:
            share[place][here] = 1.0


def _features(lab: Floats) -> Floats:
    """What the sides are told apart by: a pixel's colour, and how restless its surroundings are."""
    light = lab[..., 0]
    mean = box_mean(light, 3)
    restless = np.sqrt(np.maximum(box_mean((light - mean) ** 2, 3), 0.0))
    return np.concatenate([lab, (4.0 * np.log1p(restless))[..., None]], axis=-1).astype(np.float32)


def _sampled(values: Floats, pointed_at: Floats, dice: np.random.Generator) -> Floats:
    """Some of the values, and of those that were pointed at a third as many."""
    if len(values) > _SAMPLE:
        values = values[dice.choice(len(values), _SAMPLE, replace=False)]
    if not len(pointed_at):
        return values
    return np.concatenate([values, pointed_at[dice.integers(len(pointed_at), size=len(values) // 3 + 1)]])


def _likelihood(features: Floats, of_side: Floats, dice: np.random.Generator) -> Floats:
    """The logarithm of how likely each pixel is by Gaussians fitted to those of one side: (height, width)."""
    samples = of_side.astype(np.float64)
    size = samples.shape[1]
    # far apart to begin with, each next centre likelier the farther it is from those that there are
    centres = samples[dice.integers(len(samples))][None]
    for _ in range(min(_COLOURS, len(samples)) - 1):
        distance = ((samples[:, None] - centres[None]) ** 2).sum(axis=-1).min(axis=1)
        if distance.sum() <= 0:
            break
        centres = np.concatenate([centres, samples[dice.choice(len(samples), p=distance / distance.sum())][None]])
    shares = np.eye(len(centres))[((samples[:, None] - centres[None]) ** 2).sum(axis=-1).argmin(axis=1)]
    for _ in range(4):
        weights, means, covariances = _moments(samples, shares)
        logs = _logs(samples, weights, means, covariances)
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
    logs = _logs(features.reshape(-1, size).astype(np.float64), *_moments(samples, shares))
    best = logs.max(axis=1)
    total = best + np.log(np.exp(logs - best[:, None]).sum(axis=1))
    return total.reshape(features.shape[:2]).astype(np.float32)


def _moments(samples: Doubles, shares: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """The weight, mean and covariance of each Gaussian, from each sample's share in it."""
    counts = shares.sum(axis=0) + 1e-3
    means = shares.T @ samples / counts[:, None]
    covariances = np.empty((len(means), samples.shape[1], samples.shape[1]))
    for k, mean in enumerate(means):
        away = samples - mean
        covariances[k] = (away * shares[:, k : k + 1]).T @ away / counts[k]
    # colours are no surer than a just visible difference
    return counts / counts.sum(), means, covariances + 4.0 * np.eye(samples.shape[1])


def _logs(samples: Doubles, weights: Doubles, means: Doubles, covariances: Doubles) -> Doubles:
    found = np.empty((len(samples), len(weights)))
    for k, (weight, mean, covariance) in enumerate(zip(weights, means, covariances, strict=True)):
        root = np.linalg.inv(np.linalg.cholesky(covariance))
        away = (samples - mean) @ root.T
        found[:, k] = np.log(weight) + np.log(np.diag(root)).sum() - 0.5 * (away**2).sum(axis=1)
    return found


def _edge_weights(lab: Floats) -> Floats:
    """What an outline costs to the right of and below each pixel: (2, height, width)."""
    steps = np.stack(
        [
            (np.diff(lab, axis=1, append=lab[:, -1:]) ** 2).sum(axis=-1),
            (np.diff(lab, axis=0, append=lab[-1:]) ** 2).sum(axis=-1),
        ]
    )
    usual = max(float(steps.mean()), 1.0)
    return np.maximum(np.exp(-steps / (2.0 * usual)), _LEAST_EDGE).astype(np.float32)


def _shortest_cut(share: Floats, cost: Floats, weights: Floats, low: Floats, high: Floats) -> Floats:
    """The share of least cost: that of each pixel, and `weights` for the length of the outline."""
    step = np.float32(1 / np.sqrt(8.0))
    u = share.copy()
    ahead = u.copy()
    right, down, flow = np.zeros_like(u), np.zeros_like(u), np.zeros_like(u)
    for _ in range(_STEPS):
        right[:, :-1] += step * (ahead[:, 1:] - ahead[:, :-1])
        down[:-1] += step * (ahead[1:] - ahead[:-1])
        np.clip(right, -weights[0], weights[0], out=right)
        np.clip(down, -weights[1], weights[1], out=down)
        np.add(right, down, out=flow)
        flow -= cost
        flow[:, 1:] -= right[:, :-1]
        flow[1:] -= down[:-1]
        flow *= step
        flow += u
        np.clip(flow, low, high, out=flow)
        np.multiply(flow, 2.0, out=ahead)
        ahead -= u
        u, flow = flow, u
    return u
