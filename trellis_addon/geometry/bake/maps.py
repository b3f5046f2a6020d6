"""An asset's textures as arrays and as images: which channel holds what, how they are stored, what alpha means."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.errors import FieldError
from ...core.machine.parallel import on_all_cores

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

FORMATS = ("webp", "png")

# Of 255: above it alpha is solid, below the other clear. Voxel alpha is never quite 1 in what a model makes.
SOLID = 235
_CLEAR = 12
_LEAST_SHARE = 0.003  # of the surface that must be see-through before it counts


@dataclass(frozen=True)
class Textures:
    """Square images (S, S, channels) uint8, row 0 at v = 0.

    `base_colour` is RGBA, sRGB-encoded; `metallic_roughness` has occlusion (255 where `occlusion` is False) in red,
    roughness in green, metalness in blue; `normal` is tangent space with green up, or None. `emission` is RGB,
    sRGB-encoded, to be multiplied by `emission_strength`; None where nothing glows.
    """

    base_colour: U8
    metallic_roughness: U8
    normal: U8 | None = None
    occlusion: bool = False
    emission: U8 | None = None
    emission_strength: float = 1.0


@dataclass(frozen=True)
class EncodedTextures:
    """The textures as image files; `base_colour` without alpha where that is not shown."""

    base_colour: bytes
    metallic_roughness: bytes
    normal: bytes | None
    emission: bytes | None = None


def encode_textures(textures: Textures, texture_format: str, opaque: bool) -> EncodedTextures:
    """As "webp" (the base colour at high quality, the rest without loss) or "png"."""
    colour = textures.base_colour[..., :3] if opaque else textures.base_colour
    pictures = [(textures.metallic_roughness, True), (colour, False), (textures.normal, True)]
    pictures.append((textures.emission, False))
    surface, base_colour, normal, emission = on_all_cores(
        pictures,
        lambda each: b"" if each[0] is None else encode(each[0], texture_format, exact=each[1]),
    )
    return EncodedTextures(base_colour, surface, normal or None, emission or None)


def decode(content: bytes) -> U8:
    """(H, W, 3 or 4): an image file as a reader sees it."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGBA" if picture.mode == "RGBA" else "RGB"))


def alpha_mode(base_colour: U8, shown: NDArray[np.bool_]) -> str:
    """ "OPAQUE", "MASK" (cut-out: nearly all see-through texels are wholly clear) or "BLEND"; `shown` texels count."""
    alpha = base_colour[..., 3][shown]
    if not len(alpha):
        return "OPAQUE"
    clear = float((alpha < SOLID).mean())
    if clear < _LEAST_SHARE:
        return "OPAQUE"
    # Sampling between voxels makes a soft rim around every hole: half-clear texels are a glass only where there are
    # as many of them as of clear ones.
    between = float(((alpha >= _CLEAR) & (alpha < SOLID)).mean())
    return "MASK" if between < 0.5 * clear else "BLEND"


def encode(image: U8, texture_format: str, *, exact: bool) -> bytes:
    """The image as a WebP or PNG file; `exact` keeps every value (PNG always does), otherwise WebP at high quality."""
    from PIL import Image

    out = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image))
    if texture_format == "png":
        picture.save(out, "PNG", compress_level=4)
    elif texture_format == "webp":
        if exact:
            # Method 0 is five times as fast as the usual 4, for files a few percent larger.
            picture.save(out, "WEBP", lossless=True, quality=20, method=0, exact=True)
        else:
            picture.save(out, "WEBP", quality=92, method=2, alpha_quality=100, exact=True)
    else:
        raise FieldError("textureFormat", texture_format, "it must be webp or png")
    return out.getvalue()


def look_up(image: U8, uvs: F64) -> F64:
    """(N, C) bilinear between texel centres, clamped at the edges, as a renderer reads the image."""
    height, width = image.shape[:2]
    x, y = uvs[:, 0] * width - 0.5, uvs[:, 1] * height - 0.5
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    left, right = np.clip(x0, 0, width - 1), np.clip(x0 + 1, 0, width - 1)
    top, bottom = np.clip(y0, 0, height - 1), np.clip(y0 + 1, 0, height - 1)
    upper = image[top, left] * (1.0 - fx) + image[top, right] * fx
    lower = image[bottom, left] * (1.0 - fx) + image[bottom, right] * fx
    return np.asarray(upper * (1.0 - fy) + lower * fy)
