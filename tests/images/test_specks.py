"""Stray specks far from the subject are left out, and what may belong to it stays."""

from __future__ import annotations

import numpy as np
from conftest import encoded
from picture_files import pixels
from PIL import Image, ImageDraw

from trellis_addon.images import (
    load_image,
    subject_box,
)
from trellis_addon.images.pixels import parts


def spotted(*places: tuple[int, int], size: int = 1) -> Image.Image:
    picture = Image.new("RGBA", (800, 800))
    ImageDraw.Draw(picture).ellipse((160, 160, 640, 640), (200, 60, 30, 255))
    for x, y in places:
        picture.paste((9, 9, 9, 255), (x, y, x + size, y + size))
    return picture


def test_stray_specks_far_from_the_subject_are_left_out_and_told_of() -> None:
    whole = (160, 160, 641, 641)
    for count, size in ((1, 1), (1, 6), (60, 1), (60, 3)):
        dice = np.random.default_rng(count)
        edge = dice.integers(0, 800 - size, count)
        places = [(1, 1), *((int(at), 3 if i % 2 else 790) for i, at in enumerate(edge[1:]))]
        picture = spotted(*places, size=size)
        assert subject_box(picture) == whole, "the picture itself"
        found = load_image(encoded(picture))
        assert subject_box(found.rgba) == whole
        said = next(warning for warning in found.warnings if "stray speck" in warning)
        assert count == 1 or any(word.isdigit() for word in said.split())
        kept = pixels(found.rgba)
        assert (kept[160:641, 160:641] == pixels(picture)[160:641, 160:641]).all() and kept[:100, :, 3].max() == 0


def test_what_may_belong_to_the_subject_stays() -> None:
    for picture in (
        spotted((20, 20), size=40),  # a part of some size
        spotted((400, 154), (630, 200)),  # within its box, or next to it
        spotted(),
    ):
        found = load_image(encoded(picture))
        assert (pixels(found.rgba) == pixels(picture)).all() and not found.warnings
    sparks = Image.new("RGBA", (400, 400))
    for x, y in np.random.default_rng(1).integers(0, 396, (300, 2)):
        sparks.paste((250, 200, 30, 255), (x, y, x + 3, y + 3))
    assert (pixels(load_image(encoded(sparks)).rgba) == pixels(sparks)).all(), "made of nothing else"
    wand = Image.new("RGBA", (800, 800))
    ImageDraw.Draw(wand).line((400, 10, 400, 400), (90, 60, 30, 255), 2)
    ImageDraw.Draw(wand).ellipse((300, 400, 500, 600), (90, 60, 30, 255))
    assert subject_box(load_image(encoded(wand)).rgba)[1] <= 10, "thin, but part of it"


def test_specks_beside_a_masked_subject() -> None:
    mask = spotted((2, 2)).getchannel("A").convert("RGB")
    picture = Image.effect_noise((800, 800), 80).convert("RGB")
    found = load_image(encoded(picture), mask=encoded(mask))
    assert subject_box(found.rgba) == (160, 160, 641, 641) and any("speck" in w for w in found.warnings)


def test_parts_of_a_mask_are_what_a_flood_would_reach() -> None:
    mask = np.random.default_rng(3).random((70, 50)) > 0.6
    found, labels = parts(mask)
    assert ((labels >= 0) == mask).all() and sum(part.area for part in found) == mask.sum()
    left = mask.copy()
    count = 0
    for seed in np.argwhere(mask):
        if not left[tuple(seed)]:
            continue
        count += 1
        waiting, reached = [tuple(seed)], []
        left[tuple(seed)] = False
        while waiting:
            y, x = waiting.pop()
            reached.append((y, x))
            for v in range(max(y - 1, 0), min(y + 2, 70)):
                for u in range(max(x - 1, 0), min(x + 2, 50)):
                    if left[v, u]:
                        left[v, u] = False
                        waiting.append((v, u))
        rows, columns = zip(*reached, strict=True)
        label = labels[tuple(seed)]
        assert (labels[list(rows), list(columns)] == label).all() and found[label].area == len(reached)
        assert found[label].box == (min(columns), min(rows), max(columns) + 1, max(rows) + 1)
    assert count == len(found)
    assert parts(np.zeros((4, 5), bool))[0] == [] and parts(np.ones((1, 1), bool))[0][0].area == 1
