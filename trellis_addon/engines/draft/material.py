"""Roughness, metalness and transparency, guessed from the picture, and the encoded textures."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...formats.glb.write import Material
from .fields import F32, Check, blur, never, smoothstep
from .mask import Subject

# Alpha from here on is opaque: mattes of solid things often end at 250 to 254.
_OPAQUE = 250.0 / 255.0


def surface_quality(colour: F32, extent: float) -> F32:
    """(H, W, 3): 1, roughness, metalness, each 0..1; `colour` is sRGB, `extent` the subject's size in pixels.

    Dielectric and rather matt, unless the picture says otherwise: small bright spots of no colour
    are highlights, and what has many of them is glossy. Only what is also grey or golden, dark
    beside its highlights, counts as metal, and never wholly.
    """
    high, low = colour.max(2), colour.min(2)
    saturation = (high - low) / np.maximum(high, 0.05)
    around = blur(high, 0.02 * extent)
    contrast = high - around
    highlight = smoothstep(0.10, 0.35, contrast) * smoothstep(0.45, 0.85, high)
    gloss = smoothstep(0.01, 0.16, blur(highlight, 0.02 * extent))
    roughness = 0.72 - 0.34 * gloss - 0.08 * highlight * gloss
    red, green, blue = colour[..., 0], colour[..., 1], colour[..., 2]
    yellow = smoothstep(0.02, 0.12, red - green) * smoothstep(0.06, 0.2, green - blue)
    golden = smoothstep(0.25, 0.45, saturation) * yellow
    grey = 1.0 - smoothstep(0.10, 0.22, saturation)
    spread = np.sqrt(np.maximum(blur(contrast * contrast, 0.015 * extent), 0.0))
    likely = np.maximum(grey * (1.0 - smoothstep(0.55, 0.8, around)), 0.8 * golden)
    metal = 0.7 * blur(likely * gloss * smoothstep(0.08, 0.18, spread), 0.004 * extent)
    return np.stack([np.ones_like(high), np.clip(roughness, 0.25, 0.9), np.clip(metal, 0.0, 0.7)], 2).astype(np.float32)


def fine_normals(colour: F32, cover: F32, cell: float, check: Check = never) -> F32:
    """Tangent-space normals (H, W, 3), 0..1, of the detail that is finer than the grid's `cell` pixels.

    Brighter stands out, as in the relief of the grid. x runs right, y up, as glTF has it.
    """
    luminance = colour @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    raised = np.zeros_like(luminance)
    fine = blur(luminance, 0.6)
    for sigma in (1.2, 2.4, max(3.0, 1.6 * cell)):
        check()
        wide = blur(luminance, sigma)
        raised += np.float32(0.55 * sigma) * np.tanh((fine - wide) / 0.16)
        fine = wide
    check()
    # A silhouette is no detail: nothing stands out within reach of it.
    raised *= smoothstep(0.6, 1.0, blur(cover, 2.0))
    right, down = np.zeros_like(raised), np.zeros_like(raised)
    right[:, 1:-1] = 0.5 * (raised[:, 2:] - raised[:, :-2])
    down[1:-1] = 0.5 * (raised[2:] - raised[:-2])
    check()
    length = 1.0 / np.sqrt(right * right + down * down + 1.0)
    return np.stack([0.5 - 0.5 * right * length, 0.5 + 0.5 * down * length, 0.5 + 0.5 * length], 2).astype(np.float32)


def transparent(subject: Subject) -> bool:
    """Whether areas inside the subject, not just its soft edge, let something through."""
    solid = subject.cover >= 0.5
    # Away from the edge by a few pixels, or by nothing where the subject is thinner.
    inner = solid
    for axis in (0, 1):
        for shift in (-3, 3):
            inner = inner & np.roll(solid, shift, axis)
    inner = inner if inner.sum() > 0.1 * solid.sum() else solid
    return bool((subject.alpha[inner] < _OPAQUE).mean() > 0.05)


def plain_material(name: str) -> Material:
    """Of a shape alone: a light, matt grey, on which a form is seen best."""
    return Material(name, colour_factor=(0.6, 0.6, 0.6, 1.0), metallic_factor=0.0, roughness_factor=0.8)


def encode(texels: NDArray[np.uint8], lossless: bool) -> bytes:
    """An image file of (rows, columns, 3 or 4): PNG, or JPEG, which is faster and has no alpha."""
    out = io.BytesIO()
    if lossless:
        Image.fromarray(texels).save(out, "PNG", compress_level=1)
    else:
        Image.fromarray(texels).save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()
