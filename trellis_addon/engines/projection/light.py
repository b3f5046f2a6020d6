"""What of a picture is light and not colour, as far as that is smooth.

Light that comes from far away and falls on a matt surface is a function of the normal alone, and nine numbers tell
98 % of it (R. Ramamoorthi and P. Hanrahan, "An Efficient Representation for Irradiance Environment Maps", 2001). They
are fitted here to what the picture shows over what the asset's own colours are.
"""

from __future__ import annotations

import numpy as np

from ..draft.fields import F32

_DARKEST, _BRIGHTEST = 0.25, 4.0  # of what is taken for light
_STEADY = 0.02  # how much of the whole the numbers must tell to be believed
_ROUNDS = 4
_ENOUGH = 40_000  # places to fit nine numbers


def harmonics(normals: F32) -> F32:
    """The nine spherical harmonics up to the second order, without their factors: (N, 9) of normals (N, 3)."""
    x, y, z = normals.T
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * z, 3.0 * z * z - 1.0, x * x - y * y], 1)


def light_of(shown: F32, own: F32, normals: F32, weight: F32) -> F32:
    """The light (9, 3) in which colours `own` (N, 3) look like `shown` (N, 3), both linear, on surfaces with these
    normals; each place has its weight (N,). Places that have another colour than the rest are left out by and by."""
    if len(own) > _ENOUGH:
        some = np.linspace(0, len(own) - 1, _ENOUGH).astype(np.int64)
        shown, own, normals, weight = shown[some], own[some], normals[some], weight[some]
    basis = harmonics(normals)
    found = np.zeros((basis.shape[1], 3), np.float32)
    for channel in range(3):
        colour, seen = own[:, channel], shown[:, channel]
        counts = weight.astype(np.float64) * (colour > 0.01)
        if counts.sum() < 50.0:
            found[0, channel] = 1.0
            continue
        fitted = np.zeros(basis.shape[1])
        fitted[0] = 1.0
        steady = np.eye(len(fitted)) * _STEADY
        steady[0, 0] = 0.002
        begun = fitted.copy()
        for _ in range(_ROUNDS):
            rows = basis * colour[:, None]
            apart = np.abs(rows @ fitted - seen)
            robust = counts / np.maximum(1.0, apart / max(1.5 * float(np.median(apart[counts > 0])), 1e-3))
            power = float((robust * colour**2).sum())
            matrix = rows.T @ (rows * robust[:, None]) + power * steady
            fitted = np.linalg.solve(matrix, rows.T @ (seen * robust) + power * steady @ begun)
        found[:, channel] = fitted
    return found


def lit_by(light: F32, normals: F32) -> F32:
    """How bright the light (9, 3) makes what is white, at each normal: (N, 3), within bounds."""
    return np.asarray(np.clip(harmonics(normals) @ light, _DARKEST, _BRIGHTEST), np.float32)
