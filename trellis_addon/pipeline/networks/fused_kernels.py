# Kernels are not Python to a type checker, and `from __future__ import annotations` would hide their types from Warp.
# mypy: ignore-errors
"""Warp kernels of what a block does to each token: read once, computed in float32, written once.

A block of threads takes a whole token, whose channels are a tile: sizes are part of a kernel, so there is one for each
size and type that comes up. They run on the CPU too, where they are tested.
"""

from functools import cache
from typing import Any

import warp as wp

wp.set_module_options({"enable_backward": False})

THREADS = 128  # of a block; on the CPU it is one
EPSILON = 1e-6  # of the layer norms


@wp.func
def square(x: wp.float32) -> wp.float32:
    return x * x


@wp.func
def less(x: wp.float32, y: wp.float32) -> wp.float32:
    return x - y


@wp.func
def scaled(d: wp.float32, variance: wp.float32, factor: wp.float32, shift: wp.float32) -> wp.float32:
    return d / wp.sqrt(variance + float(EPSILON)) * factor + shift


@cache
def layer_norm_kernel(channels: int, given: Any, wanted: Any) -> Any:
    """(x - mean) / sqrt(variance + 1e-6) * factor + shift of each row (N, M), `given` to `wanted`."""

    @wp.kernel(module="unique")
    def layer_norm(
        x: wp.array2d(dtype=given),
        factor: wp.array(dtype=wp.float32),
        shift: wp.array(dtype=wp.float32),
        out: wp.array2d(dtype=wanted),
    ):
        row = wp.tid()
        t = wp.tile_astype(wp.tile_load(x[row], shape=channels), wp.float32)
        mean = wp.tile_sum(t) * (1.0 / float(channels))
        d = wp.tile_map(less, t, wp.tile_broadcast(mean, shape=(channels,)))
        variance = wp.tile_sum(wp.tile_map(square, d)) * (1.0 / float(channels))
        out_tile = wp.tile_map(
            scaled,
            d,
            wp.tile_broadcast(variance, shape=(channels,)),
            wp.tile_load(factor, shape=channels),
            wp.tile_load(shift, shape=channels),
        )
        wp.tile_store(out[row], wp.tile_astype(out_tile, wanted))

    return layer_norm


@cache
def rms_norm_kernel(heads: int, pairs: int, kind: Any, is_rotated: bool) -> Any:
    """x / |x| * gamma of each head's D = 2 P channels, rounded to `kind`, and its pairs then rotated by the phases.

    x (R, T, H, P) pairs of `kind`, out the same, gamma (H, P) and phases (T, P) pairs of float32.
    """
    pair = wp.types.vector(length=2, dtype=kind)

    @wp.func
    def length2(x: pair) -> wp.float32:
        a = wp.float32(x[0])
        b = wp.float32(x[1])
        return a * a + b * b

    @wp.func
    def normed(x: pair, square_: wp.float32, gamma: wp.vec2) -> pair:
        size = wp.max(wp.sqrt(square_), 1.0e-12)
        return pair(kind(wp.float32(x[0]) / size * gamma[0]), kind(wp.float32(x[1]) / size * gamma[1]))

    @wp.func
    def turned(x: pair, phase: wp.vec2) -> pair:
        a = wp.float32(x[0])
        b = wp.float32(x[1])
        return pair(kind(a * phase[0] - b * phase[1]), kind(a * phase[1] + b * phase[0]))

    @wp.kernel(module="unique")
    def rms_norm(
        x: wp.array4d(dtype=pair),
        gamma: wp.array2d(dtype=wp.vec2),
        phases: wp.array2d(dtype=wp.vec2),
        out: wp.array4d(dtype=pair),
    ):
        r, t = wp.tid()
        given = wp.tile_load(x[r, t], shape=(heads, pairs))
        squares = wp.tile_sum(wp.tile_map(length2, given), axis=1)
        whole = wp.tile_broadcast(wp.tile_reshape(squares, shape=(heads, 1)), shape=(heads, pairs))
        unit = wp.tile_map(normed, given, whole, wp.tile_load(gamma, shape=(heads, pairs)))
        if wp.static(is_rotated):
            phase = wp.tile_load(phases[t], shape=pairs)
            unit = wp.tile_map(turned, unit, wp.tile_broadcast(phase, shape=(heads, pairs)))
        wp.tile_store(out[r, t], unit)

    return rms_norm


@cache
def gate_kernel(stream: Any, kind: Any) -> Any:
    """h + gate * x, of a stream (N, M), a gate (M,) and x (N, M); computed in float32, rounded once."""

    @wp.kernel(module="unique")
    def gate_add(
        h: wp.array2d(dtype=stream),
        gate: wp.array(dtype=wp.float32),
        x: wp.array2d(dtype=kind),
        out: wp.array2d(dtype=stream),
    ):
        row, channel = wp.tid()
        value = wp.float32(h[row, channel]) + gate[channel] * wp.float32(x[row, channel])
        out[row, channel] = stream(value)

    return gate_add
