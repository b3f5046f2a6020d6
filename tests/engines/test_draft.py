"""The draft engine, on pictures drawn here: what it makes is closed, sane, the picture's, and repeatable."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from test_glb_write import accessor, image, parse

from trellis_addon.core.errors import Cancelled, EngineError
from trellis_addon.core.progress import Progress
from trellis_addon.engines import create_engine
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.draft.fields import blur, fill
from trellis_addon.engines.draft.mask import build_domain, cut_out
from trellis_addon.engines.draft.mesh import triangulate
from trellis_addon.engines.draft.poisson import Operator, masked, solve
from trellis_addon.engines.draft.quadtree import border_triangles, fit
from trellis_addon.engines.engine import Order
from trellis_addon.task.settings import DRAFT_MODEL, Settings

QUICK = Settings(resolution=512, texture_size=1024)


class Made:
    """One generated asset, parsed: `positions`, `normals`, `uvs`, `faces`, and the JSON."""

    def __init__(self, glb: bytes) -> None:
        self.glb = glb
        self.document, self.binary = parse(glb)
        primitive = self.document["meshes"][0]["primitives"][0]
        attributes = primitive["attributes"]
        self.positions = accessor(self.document, self.binary, attributes["POSITION"])
        self.normals = accessor(self.document, self.binary, attributes["NORMAL"])
        self.uvs = accessor(self.document, self.binary, attributes["TEXCOORD_0"])
        self.faces = accessor(self.document, self.binary, primitive["indices"]).reshape(-1, 3)
        self.material = self.document["materials"][0]

    @property
    def extent(self) -> np.ndarray:
        return np.ptp(self.positions, axis=0)

    def texture(self, name: str) -> Image.Image:
        place = self.material.get(name) or self.material["pbrMetallicRoughness"][name]
        return image(self.document, self.binary, place["index"])

    def depth_at(self, x: float, y: float) -> float:
        """The front's distance from the back there, 0 where there is nothing."""
        near = np.hypot(self.positions[:, 0] - x, self.positions[:, 1] - y) < 0.012
        return float(np.ptp(self.positions[near, 2])) if near.any() else 0.0


class Wishes:
    """Settings beyond what `Settings` allows, such as very few triangles."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str, default: Any = None) -> Any:
        return self.values.get(name, default)

    def value(self, name: str) -> Any:
        return self.values.get(name, QUICK.value(name))

    def to_request(self) -> dict[str, Any]:
        return {"settings": self.values}


def make(picture: Image.Image, settings: Any = QUICK, seed: int = 7) -> Made:
    return Made(ReliefEngine().generate(Order(picture, settings, seed), Progress()).glb)


def drawn(size: tuple[int, int], draw: Callable[[ImageDraw.ImageDraw], None], scale: int = 4) -> Image.Image:
    """A picture with soft edges: drawn `scale` times as large, shaded, and shrunk."""
    mask = Image.new("L", (size[0] * scale, size[1] * scale))
    draw(ImageDraw.Draw(mask))
    alpha = mask.resize(size, Image.Resampling.BOX)
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    rgb = np.stack([0.3 + 0.5 * x, 0.5 + 0.2 * np.sin(9 * y), 0.7 - 0.4 * y], 2)
    picture = Image.fromarray((rgb * 255).astype(np.uint8)).convert("RGBA")
    picture.putalpha(alpha)
    return picture


def disc() -> Image.Image:
    return drawn((200, 200), lambda d: d.ellipse((80, 80, 720, 720), 255))


def ring() -> Image.Image:
    def draw(d: ImageDraw.ImageDraw) -> None:
        d.ellipse((40, 40, 760, 760), 255)
        d.ellipse((160, 160, 640, 640), 0)

    return drawn((200, 200), draw)


def thin_cross() -> Image.Image:
    def draw(d: ImageDraw.ImageDraw) -> None:
        d.line((40, 40, 1160, 1160), 255, 8)
        d.line((40, 1160, 1160, 40), 255, 8)

    return drawn((300, 300), draw)


def two_parts() -> Image.Image:
    def draw(d: ImageDraw.ImageDraw) -> None:
        d.rectangle((40, 100, 360, 700), 255)
        d.ellipse((480, 260, 760, 540), 255)

    return drawn((200, 200), draw)


def checkerboard() -> Image.Image:
    board = np.kron(np.indices((6, 6)).sum(0) % 2, np.ones((9, 9))).astype(np.uint8) * 255
    return Image.merge("RGBA", [Image.fromarray(board)] * 4)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (70, 90, 4), dtype=np.uint8))


def soft() -> Image.Image:
    picture = disc()
    picture.putalpha(picture.getchannel("A").filter(ImageFilter.GaussianBlur(14)))
    return picture


def faint() -> Image.Image:
    picture = disc()
    picture.putalpha(picture.getchannel("A").point(lambda a: a // 60))
    return picture


def bright_speck() -> Image.Image:
    """A subject of weak, uneven alpha, and one solid pixel of dust that is brighter than all of it."""
    alpha = np.zeros((120, 120), np.uint8)
    alpha[30:110, 30:110] = np.random.default_rng(1).integers(80, 120, (80, 80))
    alpha[5, 5] = 255
    return Image.merge("RGBA", [Image.fromarray(alpha)] * 4)


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "disc": disc,
    "ring": ring,
    "thin cross": thin_cross,
    "two parts": two_parts,
    "checkerboard": checkerboard,
    "noise": noise,
    "soft": soft,
    "faint": faint,
    "bright speck": bright_speck,
    "one pixel": lambda: Image.new("RGBA", (1, 1), (200, 40, 30, 255)),
    "sliver": lambda: Image.new("RGBA", (3, 200), (200, 40, 30, 255)),
    "line": lambda: Image.new("RGBA", (257, 1), (20, 40, 230, 255)),
    "full": lambda: Image.new("RGBA", (64, 48), (90, 140, 30, 255)),
}


def edge_report(made: Made) -> tuple[int, float]:
    """How many edges are not used exactly once in each direction, corners in one place being one;
    and the signed volume."""
    places, corner = np.unique(made.positions, axis=0, return_inverse=True)
    faces = corner.reshape(-1)[made.faces.astype(np.int64)]
    assert not (faces == np.roll(faces, 1, 1)).any(), "a triangle with two corners in one place"
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward, count = np.unique(edges[:, 0] * len(places) + edges[:, 1], return_counts=True)
    backward = np.unique(edges[:, 1] * len(places) + edges[:, 0])
    wrong = int((count != 1).sum()) + len(np.setxor1d(forward, backward))
    a, b, c = places.astype(np.float64)[faces].transpose(1, 0, 2)
    return wrong, float((a * np.cross(b, c)).sum() / 6.0)


@pytest.mark.parametrize("name", PICTURES)
def test_closed_manifold_and_facing_outward(name: str) -> None:
    made = make(PICTURES[name]())
    wrong, volume = edge_report(made)
    assert wrong == 0
    assert volume > 0
    assert np.isfinite(made.positions).all()
    assert np.allclose(np.linalg.norm(made.normals, axis=1), 1.0, atol=1e-3)
    assert made.uvs.min() >= 0.0 and made.uvs.max() <= 1.0
    assert made.extent.max() == pytest.approx(1.0, abs=1e-5)
    assert np.allclose(made.positions.min(0) + made.positions.max(0), 0.0, atol=1e-5)


def test_the_edge_report_sees_a_hole_and_a_flipped_triangle() -> None:
    made = make(disc())
    faces = made.faces
    made.faces = faces[1:]
    assert edge_report(made)[0] > 0
    made.faces = np.concatenate([faces[:1, ::-1], faces[1:]])
    assert edge_report(made)[0] > 0
    made.faces = faces[:, ::-1]
    assert edge_report(made)[1] < 0


def test_vertex_normals_agree_with_the_faces() -> None:
    made = make(disc())
    a, b, c = made.positions.astype(np.float64)[made.faces.astype(np.int64)].transpose(1, 0, 2)
    flat = np.cross(b - a, c - a)
    large = np.linalg.norm(flat, axis=1) > 1e-7
    mean = made.normals[made.faces.astype(np.int64)].sum(1)
    cosine = (flat * mean).sum(1) / (np.linalg.norm(flat, axis=1) * np.linalg.norm(mean, axis=1) + 1e-30)
    assert np.percentile(cosine[large], 1.0) > 0.85


def test_seam_has_equal_normals_on_both_sides() -> None:
    made = make(two_parts())
    _, corner, count = np.unique(made.positions, axis=0, return_inverse=True, return_counts=True)
    corner = corner.reshape(-1)
    assert count.max() == 2
    order = np.argsort(corner, kind="stable")
    twice = order[count[corner[order]] == 2].reshape(-1, 2)
    assert len(twice) > 100
    assert np.array_equal(made.normals[twice[:, 0]], made.normals[twice[:, 1]])


@pytest.mark.parametrize("target", [200, 2000, 30_000])
@pytest.mark.parametrize("name", ["disc", "thin cross", "noise", "full"])
def test_never_more_triangles_than_asked(name: str, target: int) -> None:
    made = make(PICTURES[name](), Wishes(resolution=1536, decimation_target=target))
    assert len(made.faces) <= target
    if name == "disc":
        assert len(made.faces) > 0.8 * target
    assert edge_report(made)[0] == 0


def test_resolution_sets_the_grid() -> None:
    coarse, fine = (
        make(disc(), Settings(resolution=r, texture_size=1024, decimation_target=1_000_000)) for r in (512, 1024)
    )
    assert 3.5 < len(fine.faces) / len(coarse.faces) < 4.5


@pytest.mark.parametrize("size", [1024, 2048, 3072])
def test_texture_size(size: int) -> None:
    made = make(disc(), Settings(resolution=512, texture_size=size))
    assert made.texture("baseColorTexture").size == (size, size)
    for name in ("metallicRoughnessTexture", "normalTexture"):
        assert made.texture(name).width in (size, size // 2)


def test_the_same_again_and_another_seed() -> None:
    first, again = (make(disc(), seed=5) for _ in range(2))
    assert first.glb == again.glb
    others = [make(disc(), seed=seed) for seed in (6, 0, 2**32 - 1, 2**63 - 1)]
    assert len({made.glb for made in (first, *others)}) == 5
    depths = [made.extent[2] for made in (first, *others)]
    assert 1.04 < max(depths) / min(depths) < 1.8
    for other in others:
        assert np.allclose(first.extent[:2], other.extent[:2], atol=1e-3)
        assert np.abs(first.positions[:, 2] - other.positions[:, 2]).max() > 0.003


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


def test_nothing_visible_is_refused() -> None:
    with pytest.raises(EngineError, match="no visible pixel"):
        make(Image.new("RGBA", (20, 20), (255, 0, 0, 0)))


def sampled(made: Made, side: str, x: float, y: float) -> np.ndarray:
    """The base colour at the vertex nearest to (x, y) on a side of the form."""
    facing = made.positions[:, 2] > 0.02 if side == "front" else made.positions[:, 2] < -0.02
    distance = np.hypot(made.positions[:, 0] - x, made.positions[:, 1] - y) + np.where(facing, 0.0, 9.0)
    texture = made.texture("baseColorTexture").convert("RGB")
    u, v = made.uvs[distance.argmin()] * texture.width
    return np.asarray(texture.getpixel((int(u), int(v))), float)


def test_front_shows_the_picture_the_right_way_round() -> None:
    picture = Image.new("RGBA", (120, 120))
    for box, colour in (
        ((10, 10, 60, 60), (220, 30, 30)),
        ((60, 10, 110, 60), (30, 200, 30)),
        ((10, 60, 60, 110), (30, 30, 220)),
        ((60, 60, 110, 110), (220, 220, 30)),
    ):
        picture.paste((*colour, 255), box)
    made = make(picture)
    expected = {(-1, 1): (220, 30, 30), (1, 1): (30, 200, 30), (-1, -1): (30, 30, 220), (1, -1): (220, 220, 30)}
    for (x, y), colour in expected.items():
        assert np.abs(sampled(made, "front", 0.25 * x, 0.25 * y) - colour).max() < 12
    # Plus Z is the front, and the back is shallower.
    assert made.positions[:, 2].max() == -made.positions[:, 2].min()
    front = made.positions[made.normals[:, 2] > 0.9, 2].mean()
    assert front > 0.05


def test_the_back_is_not_a_second_face() -> None:
    picture = Image.new("RGBA", (200, 200))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((5, 5, 195, 195), (200, 170, 150, 255))
    draw.ellipse((92, 92, 108, 108), (0, 0, 0, 255))
    made = make(picture)
    assert sampled(made, "front", 0.0, 0.0).max() < 40
    assert np.abs(sampled(made, "back", 0.0, 0.0) - (200, 170, 150)).max() < 45


def test_the_background_does_not_bleed_in() -> None:
    picture = drawn((200, 200), lambda d: d.ellipse((80, 80, 720, 720), 255))
    red, green = Image.new("RGBA", (200, 200), (210, 40, 40, 255)), Image.new("RGBA", (200, 200), (0, 255, 0, 255))
    mixed = Image.composite(red, green, picture.getchannel("A"))
    mixed.putalpha(picture.getchannel("A"))
    texture = np.asarray(make(mixed).texture("baseColorTexture"), int)
    assert (texture[..., 1] - texture[..., 0]).max() < 0


def test_colours_of_a_flat_picture_are_kept() -> None:
    made = make(Image.new("RGBA", (64, 48), (90, 140, 30, 255)))
    assert np.abs(sampled(made, "front", 0.1, 0.05) - (90, 140, 30)).max() <= 2


def test_glass_stays_glass_and_a_soft_edge_is_no_glass() -> None:
    glass = disc()
    glass.putalpha(glass.getchannel("A").point(lambda a: a // 2))
    ImageDraw.Draw(glass).rectangle((60, 60, 140, 100), (250, 240, 230, 255))
    made = make(glass)
    assert made.material["alphaMode"] == "BLEND"
    texture = made.texture("baseColorTexture")
    assert texture.mode == "RGBA"
    for picture in (disc(), ring()):
        opaque = make(picture)
        assert "alphaMode" not in opaque.material
        assert opaque.texture("baseColorTexture").mode == "RGB"


def test_roughness_and_metalness_are_plausible() -> None:
    made = make(disc())
    values = np.asarray(made.texture("metallicRoughnessTexture").convert("RGB"))
    assert 0.5 < values[..., 1].mean() / 255 < 0.85
    assert values[..., 2].mean() / 255 < 0.1


def test_asset_says_what_it_is() -> None:
    made = make(disc(), seed=2**63 - 1)
    assert made.document["asset"]["extras"] == {
        "engine": DRAFT_MODEL,
        "seed": 2**63 - 1,
        "settings": QUICK.to_request(),
        "frame": [200.0, 200.0, 100.0, 100.0, 160.0],  # the picture, the middle of the subject, and pixels a unit
    }
    assert isinstance(create_engine(DRAFT_MODEL), ReliefEngine)


def test_progress_runs_up_to_one_in_small_steps() -> None:
    seen: list[tuple[str, float]] = []
    ReliefEngine().generate(Order(disc(), QUICK, 0), Progress(lambda stage, share: seen.append((stage, share))))
    shares = [share for _, share in seen]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert list(dict.fromkeys(stage for stage, _ in seen)) == ["mask", "height", "mesh", "texture", "material", "glb"]
    assert len([stage for stage, _ in seen if stage == "height"]) > 10


@pytest.mark.parametrize("after", [0, 5, 20])
def test_cancel(after: int) -> None:
    calls = 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls > after

    with pytest.raises(Cancelled):
        ReliefEngine().generate(Order(disc(), QUICK, 0), Progress(is_cancelled=cancelled))
    assert calls == after + 1


def test_cancel_is_asked_often_enough() -> None:
    big = disc().resize((1024, 1024), Image.Resampling.BICUBIC)
    times: list[float] = []

    def asked() -> bool:
        times.append(time.perf_counter())
        return False

    ReliefEngine().generate(Order(big, Settings(), 0), Progress(is_cancelled=asked))
    assert len(times) > 25


def test_every_mode_of_picture() -> None:
    for mode in ("L", "LA", "P", "RGB", "CMYK"):
        assert edge_report(make(disc().convert(mode)))[0] == 0


def test_solver_against_a_dense_solution() -> None:
    rng = np.random.default_rng(0)
    field = rng.normal(0.4, 0.5, (13, 18)).astype(np.float32)
    field[0] = field[-1] = -0.5
    field[:, 0] = field[:, -1] = -0.5
    inside = field > 0
    kappa = rng.uniform(0.01, 0.2, field.shape).astype(np.float32)
    operator = masked(kappa, rng.uniform(0.2, 1.0, field.shape).astype(np.float32), inside, field)
    right_side = inside.astype(np.float32)
    u = solve(operator, right_side, tolerance=1e-6)
    assert np.allclose(np.linalg.solve(dense(operator), right_side.ravel()), u.ravel(), atol=1e-4)
    assert np.abs(u[~inside]).max() < 1e-6


def dense(operator: Operator) -> np.ndarray:
    shape = operator.diagonal.shape
    columns = [operator.apply(unit.reshape(shape)).ravel() for unit in np.eye(operator.diagonal.size, dtype=np.float32)]
    matrix = np.stack(columns, 1).astype(np.float64)
    assert np.allclose(matrix, matrix.T, atol=1e-5)
    return matrix


def test_inflation_of_a_strip_is_a_half_circle() -> None:
    """kappa = 0 over a strip of width 2 w has sqrt(2 u) = sqrt(w^2 - x^2) as its exact solution."""
    columns = np.arange(61, dtype=np.float32)
    field = np.tile(18.3 - np.abs(columns - 30.0), (200, 1)).astype(np.float32)
    field[0] = field[-1] = -1.0
    zero = np.full(field.shape, 1e-9, np.float32)
    u = solve(masked(zero, np.ones_like(field), field > 0, field), (field > 0).astype(np.float32), tolerance=1e-5)
    x = columns - 30.0
    exact = np.sqrt(np.maximum(18.3**2 - x**2, 0.0))
    assert np.abs(np.sqrt(2 * u[100]) - exact).max() < 0.35


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 9.0, 30.0])
def test_blur_has_the_right_width(sigma: float) -> None:
    impulse = np.zeros((257, 257), np.float32)
    impulse[128, 128] = 1.0
    out = blur(impulse, sigma)
    x = np.arange(257) - 128
    assert out.sum() == pytest.approx(1.0, abs=2e-3)
    assert np.sqrt((out.sum(0) * x**2).sum()) == pytest.approx(sigma, rel=0.06)


def test_fill_keeps_the_known_and_reaches_everywhere() -> None:
    colours = np.zeros((37, 50, 3), np.float32)
    colours[4, 5] = (0.2, 0.4, 0.6)
    weight = np.zeros((37, 50), np.float32)
    weight[4, 5] = 1.0
    assert np.allclose(fill(colours, weight), (0.2, 0.4, 0.6), atol=1e-5)


def turned(light: str, size: int = 480) -> Image.Image:
    """A vase in three bands of colour, shaded from the front or from the left, or not at all ("flat")."""
    x, y = np.meshgrid((np.arange(size) + 0.5) / size - 0.5, (np.arange(size) + 0.5) / size)
    radius = np.where((y > 0.06) & (y < 0.94), 0.16 + 0.2 * np.sin(np.pi * np.clip(1.2 * y - 0.1, 0.0, 1.0)), 1e-6)
    across = np.clip(x / radius, -1.0, 1.0)
    towards = np.sqrt(1.0 - across**2)
    bright = {"front": 0.25 + 0.75 * towards, "left": 0.3 + 0.7 * np.clip(0.7 * towards - 0.6 * across, 0.0, 1.0)}
    bands = np.array([(0.9, 0.3, 0.25), (0.9, 0.85, 0.6), (0.3, 0.45, 0.9)])[np.clip((3 * y).astype(int), 0, 2)]
    colour = bands * bright.get(light, np.full_like(x, 0.8))[..., None]
    inside = np.clip((radius - np.abs(x)) * size + 0.5, 0.0, 1.0)
    return Image.fromarray((np.dstack([colour, inside]) * 255 + 0.5).astype(np.uint8))


def leaf() -> Image.Image:
    """Five lobes in one green, with veins."""
    angle = np.linspace(0.0, 2.0 * np.pi, 600)
    reach = 0.30 + 0.12 * np.cos(5 * angle) + 0.02 * np.cos(35 * angle)
    picture = Image.new("RGBA", (480, 480))
    draw = ImageDraw.Draw(picture)
    draw.polygon(
        [(480 * (0.5 + r * np.sin(a)), 480 * (0.5 - r * np.cos(a))) for a, r in zip(angle, reach, strict=True)],
        (70, 130, 40, 255),
    )
    for lobe in range(5):
        a = 2.0 * np.pi * lobe / 5.0
        draw.line((240, 240, 240 + 190 * np.sin(a), 240 - 190 * np.cos(a)), (110, 160, 80, 255), 4)
    return picture


def lattice() -> Image.Image:
    def draw(d: ImageDraw.ImageDraw) -> None:
        for k in range(7):
            d.rectangle((60 + 240 * k, 60, 120 + 240 * k, 1560), 255)
            d.rectangle((60, 60 + 240 * k, 1560, 120 + 240 * k), 255)

    return drawn((405, 405), draw)


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


def test_a_draft_is_light_and_heavier_only_when_asked() -> None:
    picture = turned("front")
    light = make(picture, Settings(texture_size=1024))
    assert 35_000 < len(light.faces) <= 50_000
    for asked in (100_000, 500_000):
        heavy = make(picture, Settings(texture_size=1024, decimation_target=asked))
        assert 0.8 * min(asked, 400_000) < len(heavy.faces) <= asked
        # What the light one lacks is not to be seen: the outline is the same to a thousandth.
        assert np.allclose(heavy.extent, light.extent, atol=2e-3)


def test_a_draft_is_as_light_as_is_asked() -> None:
    for asked in (200, 5_000):
        made = make(turned("front"), Settings(texture_size=1024, faces=asked))
        assert 0.3 * asked < len(made.faces) <= asked


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


def test_the_back_keeps_the_bands_and_loses_the_face() -> None:
    picture = turned("flat")
    draw = ImageDraw.Draw(picture)
    for x in (205, 275):
        draw.ellipse((x - 22, 215, x + 22, 265), (10, 10, 10, 255))
    made = make(picture, Settings(texture_size=2048))
    scale = 1.0 / (480 * 0.88)
    for x in (-35 * scale, 35 * scale):
        assert sampled(made, "front", x, 0.0).max() < 60
        assert sampled(made, "back", x, 0.0).min() > 90
    # One band ends and the next begins within a few pixels, as in front.
    rows = [sampled(made, "back", 0.0, (240 - row) * scale) for row in (120, 150, 172, 190, 240)]
    red, cream = (sampled(made, "front", 0.0, (240 - row) * scale) for row in (120, 240))
    for row, colour in zip(rows, (red, red, cream, cream, cream), strict=True):
        assert np.abs(row - colour).max() < 40


def test_the_textures_meet_at_the_silhouette() -> None:
    """Front and back show the same place of the picture there, though the back's places go by the angle."""
    made = make(turned("left"), Settings(texture_size=2048))
    texture = np.asarray(made.texture("baseColorTexture").convert("RGB"), float)
    _, corner, count = np.unique(made.positions, axis=0, return_inverse=True, return_counts=True)
    corner = corner.reshape(-1)
    order = np.argsort(corner, kind="stable")
    pairs = order[count[corner[order]] == 2].reshape(-1, 2)
    x, y = (made.uvs[pairs] * len(texture)).astype(int).transpose(2, 0, 1)
    apart = np.abs(texture[y[:, 0], x[:, 0]] - texture[y[:, 1], x[:, 1]]).max(1)
    assert np.percentile(apart, 95.0) < 25


def test_solver_with_rows_that_are_hardly_tied() -> None:
    rng = np.random.default_rng(1)
    field = rng.normal(0.8, 0.5, (21, 34)).astype(np.float32)
    field[0] = field[-1] = -0.5
    field[:, 0] = field[:, -1] = -0.5
    inside = field > 0
    kappa = np.full(field.shape, 1e-3, np.float32)
    operator = masked(kappa, np.ones_like(kappa), inside, field, rows_tie=0.05)
    right_side = inside.astype(np.float32)
    turns: list[float] = []
    u = solve(operator, right_side, turns.append, tolerance=1e-5)
    assert len(turns) < 35
    assert np.allclose(np.linalg.solve(dense(operator), right_side.ravel()), u.ravel(), atol=1e-3)


@pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="needs Blender's module")
def test_blender_imports_it(tmp_path: Path) -> None:
    path = tmp_path / "relief.glb"
    path.write_bytes(make(two_parts()).glb)
    script = """
import sys, bpy, bmesh
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=sys.argv[-1])
(form,) = [o for o in bpy.context.scene.objects if o.type == "MESH"]
mesh = bmesh.new()
mesh.from_mesh(form.data)
bmesh.ops.remove_doubles(mesh, verts=mesh.verts, dist=1e-7)
assert all(edge.is_manifold for edge in mesh.edges)
assert mesh.calc_volume(signed=True) > 0
x, y, z = form.dimensions
assert max(x, z) > 0.999 and y < 0.5, (x, y, z)
assert abs(min(v.co.y for v in mesh.verts)) > 0.01
images = [n.image for n in form.active_material.node_tree.nodes if n.type == "TEX_IMAGE"]
assert len(images) == 3 and all(i.size[0] >= 512 for i in images)
"""
    run = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
