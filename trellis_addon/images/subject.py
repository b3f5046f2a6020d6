"""Where in a picture its subject is, by its alpha."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def subject_box(image: Image) -> tuple[int, int, int, int]:
    """The bounding box (left, top, right, bottom) of what is clearly visible.

    The model's own crop takes alpha above 80 %; a picture that is faint throughout is measured
    against its own strongest alpha.
    """
    alpha = image.getchannel("A")
    threshold = 0.8 * extremes(alpha)[1]
    return alpha.point(lambda a: 255 if a > threshold else 0).getbbox() or (0, 0, *image.size)


def edges_reached(image: Image) -> tuple[str, ...]:
    """The edges of the picture that the subject reaches: "left", "right", "top", "bottom".

    A point that touches is no cut: an edge counts where a twentieth of it shows the subject.
    """
    width, height = image.size
    alpha = image.getchannel("A")
    threshold = 0.8 * extremes(alpha)[1]
    sides = {
        "left": (0, 0, 1, height),
        "right": (width - 1, 0, width, height),
        "top": (0, 0, width, 1),
        "bottom": (0, height - 1, width, height),
    }
    found = []
    for name, line in sides.items():
        counts = alpha.crop(line).histogram()
        if sum(counts[int(threshold) + 1 :]) > max(2, sum(counts) / 20):
            found.append(name)
    return tuple(found)


def cut_off(sides: tuple[str, ...]) -> str:
    if len(sides) == 1:
        return f"The subject reaches the picture's {sides[0]} edge; if it is cut off there, so will be the asset."
    names = f"{', '.join(sides[:-1])} and {sides[-1]}"
    return f"The subject reaches the picture's {names} edges; if it is cut off there, so will be the asset."


def extremes(channel: Image) -> tuple[float, float]:
    """The lowest and highest value of a picture with one channel."""
    low, high = channel.getextrema()
    assert not isinstance(low, tuple) and not isinstance(high, tuple)
    return low, high
