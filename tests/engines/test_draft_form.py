"""The draft's form: how deep and round it is, thin parts, holes, dust, things on a lathe."""

from __future__ import annotations

import numpy as np
import pytest
from draft_pictures import (
    PICTURES,
    Wishes,
    disc,
    drawn,
    lattice,
    leaf,
    make,
    ring,
    thin_cross,
    turned,
    two_parts,
)
from PIL import Image, ImageDraw

from trellis_addon.engines.draft.fields import blur
from trellis_addon.engines.draft.mask import build_domain, cut_out
from trellis_addon.engines.draft.mesh import triangulate
from trellis_addon.engines.draft.quadtree import border_triangles, fit
from trellis_addon.task.settings import Settings


@pytest.mark.parametrize("name", ["disc", "two parts", "soft", "full"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_neither_a_card_nor_a_balloon(name: str, seed: int) -> None:
    extent = make(PICTURES[name](), seed=seed).extent
    assert 0.15 < extent[2] / extent[:2].min() < 0.55


def test_a_ring_is_about_as_deep_as_it_is_broad() -> None:
    extent = make(ring()).extent
    assert 0.6 < extent[2] / (60 / 360) < 1.6


def test_thin_parts_are_there_and_thin() -> None:
    made = make(thin_cross())
    for x, y in ((0.3, 0.3), (-0.3, 0.3), (0.3, -0.3), (-0.3, -0.3), (0.45, 0.45)):
        assert 0.002 < made.depth_at(x, y) < 0.05
    assert made.depth_at(0.3, 0.0) == 0.0


def test_lines_narrower_than_a_cell_do_not_break() -> None:
    def draw(d: ImageDraw.ImageDraw) -> None:
        d.line((0, 100, 3200, 900), 255, 4)

    made = make(drawn((800, 300), draw), Wishes(resolution=512, decimation_target=3000))
    _, corner = np.unique(made.positions, axis=0, return_inverse=True)
    label = np.arange(corner.max() + 1)
    faces = corner.reshape(-1)[made.faces.astype(np.int64)]
    for _ in range(10_000):
        new = label.copy()
        for k in range(3):
            np.minimum.at(new, faces[:, k], label[faces].min(1))
        if np.array_equal(new, label):
            break
        label = new
    assert len(np.unique(label)) == 1


def test_a_ring_has_its_hole_and_both_parts_are_there() -> None:
    hole = make(ring())
    assert hole.depth_at(0.0, 0.0) == 0.0 and hole.depth_at(0.42, 0.0) > 0.05
    parts = make(two_parts())
    assert parts.depth_at(-0.3, 0.0) > 0.1 and parts.depth_at(0.31, 0.0) > 0.1
    assert parts.depth_at(0.01, 0.0) == 0.0


def test_dust_goes_unless_it_is_all_there_is() -> None:
    picture = disc()
    picture.putpixel((3, 3), (255, 255, 255, 255))
    assert make(picture).extent[:2] == pytest.approx([1.0, 1.0], abs=0.02)
    dots = Image.new("RGBA", (60, 60))
    for x in (10, 30, 50):
        dots.putpixel((x, x), (255, 0, 0, 255))
    assert make(dots).extent[:2] == pytest.approx([1.0, 1.0], abs=0.02)


def test_pinholes_are_closed_and_holes_are_not() -> None:
    picture = disc().resize((600, 600), Image.Resampling.BICUBIC)
    picture.paste((0, 0, 0, 0), (300, 300, 302, 302))
    picture.paste((0, 0, 0, 0), (200, 200, 230, 230))
    made = make(picture)
    pixel = 1.0 / 480.0
    near = np.hypot(made.positions[:, 0] - pixel, made.positions[:, 1] + pixel) < 4 * pixel
    assert np.abs(made.positions[near, 2]).min() > 0.05
    assert made.depth_at(-85 * pixel, 85 * pixel) == 0.0
    # One component, one hole: V - E + F = 2 - 2 genus.
    places, corner = np.unique(made.positions, axis=0, return_inverse=True)
    assert len(places) - len(made.faces) // 2 == 0
    assert len(np.unique(corner)) == len(places)


@pytest.mark.parametrize("light", ["front", "left"])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_what_is_its_own_mirror_image_is_turned_on_a_lathe(light: str, seed: int) -> None:
    made = make(turned(light), seed=seed)
    assert 0.6 < made.extent[2] / made.extent[0] < 1.15
    # Of a lathe, cuts are ellipses, and as wide above as below: no dome over the whole.
    scale = made.extent[1] / 0.88
    for height in (0.3, 0.5, 0.7):
        y = (0.5 - height) * scale
        near = np.abs(made.positions[:, 1] - y) < 0.02
        cut = made.positions[near]
        half_width, deepest = np.abs(cut[:, 0]).max(), np.ptp(cut[:, 2])
        assert 0.55 < deepest / (2.0 * half_width) < 1.25
        beside = np.abs(np.abs(cut[:, 0]) - 0.8 * half_width) < 0.02
        assert 0.45 < np.ptp(cut[beside, 2]) / deepest < 0.8  # 0.6 for an ellipse


def test_without_shading_it_is_less_round_and_a_sheet_stays_thin() -> None:
    shaded, flat = (make(turned(light)).extent for light in ("front", "flat"))
    assert flat[2] < 0.75 * shaded[2]
    for sheet in (leaf(), lattice()):
        extent = make(sheet).extent
        assert 0.02 < extent[2] / extent[:2].min() < 0.28


def test_a_picture_taken_whole_is_a_plate() -> None:
    framed = Image.new("RGBA", (480, 480), (120, 90, 60, 255))
    framed.alpha_composite(turned("front"))
    extent = make(framed).extent
    assert extent[2] / extent[:2].min() < 0.3


def test_limbs_are_round_and_wide_parts_deeper() -> None:
    def draw(d: ImageDraw.ImageDraw) -> None:
        d.ellipse((100, 300, 900, 1100), 255)
        d.rounded_rectangle((860, 640, 1540, 760), 60, 255)

    made = make(drawn((400, 400), draw))
    pixel = 1.0 / (400 * 1440 / 1600)
    middle, arm = made.depth_at((-320 * 0.25) * pixel, 0.0), made.depth_at(100 * pixel, 0.0)
    assert middle > 1.35 * arm
    assert 0.5 < arm / (30 * pixel) < 1.8


def test_the_light_form_keeps_the_outline() -> None:
    made = make(drawn((800, 800), lambda d: d.ellipse((320, 320, 2880, 2880), 255)), Settings(texture_size=1024))
    assert len(made.faces) <= 50_000
    _, corner, count = np.unique(made.positions, axis=0, return_inverse=True, return_counts=True)
    rim = made.positions[count[corner.reshape(-1)] == 2]
    assert np.abs(np.hypot(rim[:, 0], rim[:, 1]) - 0.5).max() < 2.5e-3


def test_no_saw_where_front_and_back_meet() -> None:
    made = make(turned("front"), Settings(texture_size=1024))
    a, b, c = made.positions.astype(np.float64)[made.faces.astype(np.int64)].transpose(1, 0, 2)
    flat, mean = np.cross(b - a, c - a), made.normals[made.faces.astype(np.int64)].sum(1)
    cosine = (flat * mean).sum(1) / (np.linalg.norm(flat, axis=1) * np.linalg.norm(mean, axis=1) + 1e-30)
    assert np.percentile(cosine, 2.0) > 0.9
    assert (cosine < 0.0).mean() < 0.004


def test_all_seeds_share_their_triangles() -> None:
    first, other = (make(turned("left"), seed=seed) for seed in (1, 2))
    assert np.array_equal(first.faces, other.faces)
    assert np.array_equal(first.uvs, other.uvs)
    assert not np.array_equal(first.positions, other.positions)


@pytest.mark.parametrize("triangles", [3000, 20_000, 10**6])
def test_the_tree_is_balanced_and_counts_its_triangles(triangles: int) -> None:
    domain = build_domain(cut_out(ring(), 1000), 200, triangles)
    rng = np.random.default_rng(0)
    places = blur(rng.normal(0.0, 30.0, domain.field.shape).astype(np.float32), 3.0)[None]
    tree = fit(domain.inside, places, triangles)
    flat = triangulate(domain, tree)
    assert 2 * len(flat.faces) == tree.triangles() * 2 + 2 * border_triangles(domain.inside) <= triangles
    a, b, c = flat.points[flat.faces].transpose(1, 0, 2)
    double = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (double > 0.0).all()
    # Its area is the silhouette's: no cell twice, none left out.
    whole = triangulate(domain, fit(domain.inside, places, 10**9))
    a, b, c = whole.points[whole.faces].transpose(1, 0, 2)
    every = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert double.sum() == pytest.approx(every.sum(), rel=1e-5)
    assert len(flat.faces) < len(whole.faces) or triangles == 10**6
