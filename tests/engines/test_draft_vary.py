"""Relatives of a draft: what its picture gives between the seed that it has and another one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trellis_addon.core.errors import EngineError
from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.draft.variation import Variation, variation_of
from trellis_addon.engines.engine import Made, Order
from trellis_addon.formats.glb.check import check_glb, split_glb
from trellis_addon.formats.glb.images import with_extras
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.task.settings import Settings

QUICK = Settings(resolution=512, texture_size=1024)


def picture() -> Image.Image:
    image = Image.new("RGBA", (90, 120))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 70, 110), fill=(200, 120, 60, 255))
    draw.rectangle((40, 4, 50, 60), fill=(60, 120, 200, 255))
    return image


@pytest.fixture(scope="module")
def asset() -> bytes:
    return ReliefEngine().generate(Order(picture(), QUICK, 7), Progress()).glb


def vary(asset: bytes, strength: float, seed: int = 8) -> Made:
    return ReliefEngine().generate(Order(picture(), QUICK.replace(variation=strength), seed, latents=asset), Progress())


def extras(glb: bytes) -> dict:
    return split_glb(glb)[0]["asset"]["extras"]


def test_nought_is_the_asset_and_one_another_seed(asset: bytes) -> None:
    assert vary(asset, 0).glb == asset
    assert vary(asset, 1).glb == ReliefEngine().generate(Order(picture(), QUICK, 8), Progress()).glb != asset


def test_the_further_the_stronger_and_a_variant_has_variants(asset: bytes) -> None:
    first = read_glb(asset).vertices
    made = {strength: vary(asset, strength) for strength in (0.2, 0.6, 1)}
    for found in made.values():
        check_glb(found.glb)
    apart = [float(np.abs(read_glb(found.glb).vertices - first).mean()) for found in made.values()]
    assert apart == sorted(apart) and 0 < apart[0] < 0.4 * apart[-1]
    assert vary(asset, 0.6).glb == made[0.6].glb != vary(asset, 0.6, seed=9).glb
    half = made[0.6].glb
    assert extras(half)["settings"]["settings"]["variation"] == 0.6
    again = read_glb(vary(half, 0.01, seed=9).glb).vertices
    assert np.abs(again - read_glb(half).vertices).mean() < 0.1 * apart[1], "of the variant, not of what it comes from"


def test_between_two_seeds_and_as_json() -> None:
    one, other = Variation.from_seed(1), Variation.from_seed(2)
    assert one.towards(other, 0) == one
    assert one.towards(other, 1).swell == other.swell
    half = one.towards(other, 0.5)
    assert half.depth == pytest.approx((one.depth + other.depth) / 2) and [part for _, part in half.swell] == [0.5, 0.5]
    assert Variation.from_json(json.loads(json.dumps(half.to_json()))) == half
    good = one.to_json()
    for wrong in (None, good[:-1], [*good[:-1], 1.0], ["1", *good[1:]], [float("nan"), *good[1:]], [1e9, *good[1:]]):
        assert Variation.from_json(wrong) is None


def test_what_a_variant_cannot_keep_or_be_of_is_said(asset: bytes) -> None:
    changed = with_extras(asset, {"changes": [{"seed": 8}]})
    assert variation_of(changed)[1] and any("part of the asset" in note for note in vary(changed, 0.5).facts["notes"])
    assert vary(changed, 0).glb == changed
    for foreign in ({"engine": "other"}, {"seed": "7"}, {"seed": True}, {"seed": -1}):
        with pytest.raises(EngineError, match="no draft"):
            vary(with_extras(asset, foreign), 0.5)
