"""ICC profiles for colours that are told in other ways: by numbers (ITU-T H.273), by a gamma and chromaticities.

What is brighter than white, as in HDR pictures, is brought below it: white of such a picture is at 203 cd/m2 (ITU-R
BT.2408), and what is above 80 % of it is bent so that all of it fits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
_D50 = np.array([0.9642, 1.0, 0.8249])  # of all profiles
# x and y of white, red, green, blue: the order of PNG's cHRM
SRGB = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
REC2020 = (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
ACES_AP1 = (0.32168, 0.33767, 0.713, 0.293, 0.165, 0.830, 0.128, 0.044)
_PRIMARIES: dict[int, tuple[float, ...]] = {
    1: SRGB,
    2: SRGB,  # not told
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: REC2020,
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_WHITE = 203.0  # cd/m2
_STEPS = 4096  # of a profile's curve


def profile_of_code(primaries: int, transfer: int, matrix: int, full_range: int) -> bytes | None:
    """The profile of a PNG's cICP chunk; None where it is plain sRGB, or cannot be read."""
    if matrix != 0 or primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    if _PRIMARIES[primaries] == SRGB and _TRANSFERS[transfer] is _srgb and full_range:
        return None
    curve = _TRANSFERS[transfer]
    if full_range:
        return profile(_PRIMARIES[primaries], curve)
    return profile(_PRIMARIES[primaries], lambda v: curve(np.clip((v * 255 - 16) / 219, 0.0, 1.0)))


def profile_of_gamma(gamma: float | None, chromaticities: Sequence[float] | None) -> bytes | None:
    """The profile of a PNG's gAMA and cHRM chunks; None where they say what is assumed anyway, or nonsense."""
    is_usual = gamma is None or abs(gamma - 0.45455) < 0.01
    if gamma is not None and not 0.1 <= gamma <= 2.0:
        return None
    primaries = tuple(chromaticities or SRGB)
    if is_usual and np.allclose(primaries, SRGB, atol=0.002):
        return None
    if gamma is None or is_usual:
        return profile(primaries, _srgb)
    exponent = 1.0 / gamma
    return profile(primaries, lambda v: v**exponent)


def profile(primaries: Sequence[float], curve: Curve) -> bytes | None:
    """An ICC profile (version 2.1) of these primaries and curve, from code values 0..1 to light 0..1.

    None for primaries that cannot be.
    """
    try:
        columns = _to_xyz(primaries)
    except (np.linalg.LinAlgError, ZeroDivisionError):
        return None
    if not np.isfinite(columns).all() or np.abs(columns).max() > 4:
        return None
    values = np.clip(curve(np.linspace(0.0, 1.0, _STEPS)), 0.0, 1.0)
    table = b"curv\0\0\0\0" + struct.pack(">I", _STEPS) + (values * 65535 + 0.5).astype(">u2").tobytes()
    text = b"TRELLIS.2 for Blender\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0No copyright\0",
        b"wtpt": _xyz(_D50),
        **{name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), table),
    }
    return _file(tags)


def _file(tags: dict[bytes, bytes]) -> bytes:
    start = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    index = body = b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        if content not in places:  # the three curves are one
            places[content] = start + len(body)
            body += content
        index += name + struct.pack(">II", places[content], len(content))
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s6H", size, b"\0\0\0\0", 0x02100000, b"mntr", b"RGB ", b"XYZ ", 2026, 1, 1, 0, 0, 0)
    head = (head + b"acsp").ljust(68, b"\0") + b"".join(_fixed(value) for value in _D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + index + body


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(value) for value in values)


def _to_xyz(primaries: Sequence[float]) -> NDArray[np.float64]:
    """The matrix from linear RGB to XYZ as seen under D50 (Bradford's adaptation)."""
    white, *colours = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in _pairs(primaries))
    matrix = np.stack(colours, axis=1)
    matrix = matrix * np.linalg.solve(matrix, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    gains = (bradford @ _D50) / (bradford @ white)
    return np.asarray(np.linalg.inv(bradford) @ (gains[:, None] * (bradford @ matrix)))


def to_srgb_matrix(primaries: Sequence[float]) -> NDArray[np.float64]:
    """The matrix from linear RGB of these primaries to linear sRGB."""
    return np.asarray(np.linalg.solve(_to_xyz(SRGB), _to_xyz(primaries)))


def _pairs(primaries: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(primaries[::2], primaries[1::2], strict=True))


def _srgb(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _below_white(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light relative to white, brought into 0..1."""
    return np.where(light < 0.8, light, 1.0 - 0.2 * np.exp(-(np.maximum(light, 0.8) - 0.8) / 0.2))


def _pq(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = v ** (1 / m2)
    return _below_white(10_000 / _WHITE * (np.maximum(root - c1, 0.0) / (c2 - c3 * root)) ** (1 / m1))


def _hlg(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """ITU-R BT.2100's hybrid log-gamma, on a screen of 1000 cd/m2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12)
    return _below_white(1000 / _WHITE * scene**1.2)


_TRANSFERS: dict[int, Curve] = {
    # cameras' curves and video's: what is shown is meant for a screen, and sRGB is nearest
    **dict.fromkeys((1, 2, 6, 7, 11, 12, 13, 14, 15), _srgb),
    4: lambda v: v**2.2,
    5: lambda v: v**2.8,
    8: lambda v: v,
    9: lambda v: np.where(v > 0, 10 ** (2.0 * (v - 1)), 0.0),
    10: lambda v: np.where(v > 0, 10 ** (2.5 * (v - 1)), 0.0),
    16: _pq,
    17: lambda v: np.minimum(v**2.6 * 52.37 / 48, 1.0),
    18: _hlg,
}
