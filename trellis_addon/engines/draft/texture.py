"""The texture atlas: where front and back lie in it, and the colours of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .fields import F32, Check, fill, never
from .mask import Subject

_GUTTER = 8


@dataclass(frozen=True)
class Chart:
    """A rectangle of the atlas, in texels, that shows the whole cropped picture."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Atlas:
    """The charts of front and back in a square of `size` texels, for a picture of `height` x `width` pixels."""

    size: int
    width: int
    height: int
    front: Chart
    back: Chart

    def uv(self, pixels: F32, chart: Chart) -> F32:
        """Texture coordinates (V, 2), v down, of places (x, y) in the picture."""
        scale = np.array([chart.width / self.width, chart.height / self.height])
        texels = np.array([chart.left, chart.top]) + pixels * scale
        return np.asarray(texels / self.size, np.float32)

    def compose(self, front: F32, back: F32, shrink: int = 1, check: Check = never) -> NDArray[np.uint8]:
        """The atlas, `shrink` times smaller, from two fields in 0..1 of the picture's proportions.

        Each is (H, W, channels); (size, size, channels) is returned.
        """
        size = self.size // shrink
        rest = np.rint(front.mean((0, 1)) * 255.0).astype(np.uint8)
        atlas = np.broadcast_to(rest, (size, size, front.shape[2])).copy()
        for field, chart in ((front, self.front), (back, self.back)):
            check()
            left, top = chart.left // shrink, chart.top // shrink
            shape = (chart.width // shrink, chart.height // shrink)
            picture = Image.fromarray(np.rint(np.clip(field, 0.0, 1.0) * 255.0).astype(np.uint8))
            texels = np.asarray(picture.resize(shape, Image.Resampling.BICUBIC))
            # The gutter continues the chart's edge, so that filtering finds nothing foreign there.
            gutter = _GUTTER // shrink
            texels = np.pad(texels, ((gutter, gutter), (gutter, gutter), (0, 0)), "edge")
            rows, columns = texels.shape[:2]
            atlas[top - gutter : top - gutter + rows, left - gutter : left - gutter + columns] = texels
        return atlas


def plan_atlas(width: int, height: int, size: int) -> Atlas:
    """Both charts as large as they fit, side by side or one above the other.

    The back, which is drawn out of little, is made smaller where that lets the front keep the picture's own
    resolution.
    """
    beside, ratio, scale = True, 1.0, 0.0
    for candidate in (1.0, 0.75, 0.5):
        if scale >= 1.0:
            break
        for row in (True, False):
            along, across = (width, height) if row else (height, width)
            fits = min((size - 4 * _GUTTER) / (along * (1.0 + candidate)), (size - 2 * _GUTTER) / across)
            if fits > scale:
                beside, ratio, scale = row, candidate, fits

    def chart(left: int, top: int, factor: float) -> Chart:
        # Multiples of 4: smaller copies of the atlas have their charts on whole texels too.
        w, h = (max(4, int(n * scale * factor) // 4 * 4) for n in (width, height))
        return Chart(left, top, w, h)

    front = chart(_GUTTER, _GUTTER, 1.0)
    if beside:
        back = chart(_GUTTER * 3 + front.width, _GUTTER, ratio)
    else:
        back = chart(_GUTTER, _GUTTER * 3 + front.height, ratio)
    return Atlas(size, width, height, front, back)


def own_colours(subject: Subject, check: Check = never) -> F32:
    """The subject's colours (H, W, 3), continued over everything round it.

    A cut-out's outermost pixels often still hold some of the old background, so they count little
    where there is anything further inside to take the colour from.
    """
    cover = subject.cover
    inner = cover
    for _ in range(max(1, round(max(cover.shape) / 500.0))):
        check()
        padded = np.pad(inner, 1)
        inner = np.minimum(
            np.minimum(padded[:-2, 1:-1], padded[2:, 1:-1]), np.minimum(padded[1:-1, :-2], padded[1:-1, 2:])
        )
    trust = np.where(inner > 0.94, 1.0, 0.1 * cover**6).astype(np.float32)
    trust[cover < 0.1] = 0.0
    return fill(subject.colour, trust, check)
