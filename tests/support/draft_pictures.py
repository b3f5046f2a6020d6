"""Pictures for the draft engine, and what it makes of them, parsed and looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from test_glb_write import accessor, image, parse

from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.engine import Order
from trellis_addon.task.settings import Settings

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


def sampled(made: Made, side: str, x: float, y: float) -> np.ndarray:
    """The base colour at the vertex nearest to (x, y) on a side of the form."""
    facing = made.positions[:, 2] > 0.02 if side == "front" else made.positions[:, 2] < -0.02
    distance = np.hypot(made.positions[:, 0] - x, made.positions[:, 1] - y) + np.where(facing, 0.0, 9.0)
    texture = made.texture("baseColorTexture").convert("RGB")
    u, v = made.uvs[distance.argmin()] * texture.width
    return np.asarray(texture.getpixel((int(u), int(v))), float)


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
