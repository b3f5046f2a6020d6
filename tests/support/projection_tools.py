"""A made-up thing with a painted surface, and pictures of it by cameras that are known."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from trellis_addon.engines.draft.fields import sample
from trellis_addon.engines.projection.align import Form
from trellis_addon.formats.glb.images import replace_images
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.formats.glb.write import Material, Mesh, write_glb
from trellis_addon.geometry.projection.camera import Camera, level
from trellis_addon.images.srgb import linear_to_srgb, srgb_to_linear

Light = Callable[[np.ndarray], np.ndarray]


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def painting(side: int = 512) -> Image.Image:
    """Patches of all sizes and colours, the same every time."""
    random = np.random.default_rng(3)
    image = Image.new("RGB", (side, side), (150, 120, 90))
    draw = ImageDraw.Draw(image)
    for extent, count in ((120, 60), (40, 500), (12, 3000)):
        for x, y, red, green, blue in random.integers(0, 1 << 30, (count, 5)):
            left, top = int(x % side), int(y % side)
            colour = tuple(int(60 + c % 180) for c in (red, green, blue))
            draw.rectangle((left, top, left + extent * side // 1024, top + extent // 2 * side // 1024), fill=colour)
    return image


def thing(image: Image.Image | None = None, across: int = 96, down: int = 48) -> bytes:
    """A GLB: a pear with a nose to the front and a knob on its right-hand side (from +x), one chart all around."""
    v, u = np.meshgrid(np.linspace(0.0, 1.0, down + 1), np.linspace(0.0, 1.0, across + 1), indexing="ij")
    # the seam is behind: u runs around from -z over +x ...
    turn, tilt = 2.0 * math.pi * (u - 0.5), math.pi * v
    ring = np.sin(tilt)
    direction = np.stack([np.sin(turn) * ring, np.cos(tilt), np.cos(turn) * ring], -1)
    radius = 0.36 + 0.1 * v**2
    for towards, height, width in (((0.1, 0.1, 1.0), 0.16, 0.25), ((1.0, 0.45, 0.1), 0.2, 0.3)):
        aim = np.array(towards) / np.linalg.norm(towards)
        radius = radius + height * np.exp(-((1.0 - direction @ aim) / width**2) * 2.0)
    points = (direction * radius[..., None]).reshape(-1, 3)
    at = np.arange((down + 1) * (across + 1)).reshape(down + 1, across + 1)
    a, b, c, d = at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    normals = np.zeros_like(points)
    flat = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    for k in range(3):
        np.add.at(normals, faces[:, k], flat)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    normals[np.linalg.norm(normals, axis=1) < 0.5] = (0.0, 1.0, 0.0)
    uvs = np.stack([0.02 + 0.96 * u, 0.02 + 0.96 * v], -1).reshape(-1, 2)
    mesh = Mesh(
        points.astype(np.float32), faces.astype(np.uint32), normals.astype(np.float32), uvs.astype(np.float32), "Thing"
    )
    return write_glb(mesh, Material("Thing", png(image or painting())))


def blurred(glb: bytes, image: Image.Image, pixels: float) -> bytes:
    """The thing with its painting (which `image` is) blurred."""
    return replace_images(glb, {0: png(image.filter(ImageFilter.GaussianBlur(pixels)))})


def camera_for(
    glb: bytes, side: int, *, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, near: float = 0.3
) -> Camera:
    """One that has the whole thing in its picture; angles in degrees."""
    mesh = read_glb(glb)
    camera = level(mesh.vertices.min(0), mesh.vertices.max(0), math.radians(yaw), near)
    camera = replace(camera, pitch=math.radians(pitch), roll=math.radians(roll))
    places, _ = camera.project(mesh.vertices)
    low, high = places.min(0), places.max(0)
    scale = 0.86 * side / float((high - low).max())
    middle = side / 2.0 - (low + high) / 2.0 * scale
    return replace(camera, scale=scale, middle=(float(middle[0]), float(middle[1])))


def rendered(glb: bytes, camera: Camera, side: int, light: Light | None = None) -> Image.Image:
    """What the camera sees, RGBA; `light` gives the brightness of white (N, 3) for normals (N, 3)."""
    mesh = read_glb(glb)
    assert mesh.uvs is not None and mesh.normals is not None
    texture = mesh.materials[0].base_colour
    assert texture is not None
    seen = Form(mesh.vertices[mesh.faces]).seen(camera, (side, side))
    places = seen.at(mesh.uvs)
    linear = np.asarray(srgb_to_linear(texture.pixels[..., :3].astype(np.float32) / 255.0), np.float32)
    colour = sample(linear, places[:, 0] * linear.shape[1], places[:, 1] * linear.shape[0])
    if light is not None:
        normals = seen.at(mesh.normals)
        colour = colour * light(normals / np.linalg.norm(normals, axis=1, keepdims=True))
    shown = np.concatenate([linear_to_srgb(colour), np.ones((len(colour), 1))], 1)
    return Image.fromarray(np.rint(seen.spread(shown.astype(np.float32)) * 255.0).astype(np.uint8))


def decibels(one: Image.Image, other: Image.Image) -> float:
    """The peak signal-to-noise ratio of two pictures where the second shows anything."""
    a, b = (np.asarray(image, np.float64) for image in (one, other))
    apart = (a[..., :3] - b[..., :3])[b[..., 3] > 0]
    return float(10.0 * np.log10(255.0**2 / max(float((apart**2).mean()), 1e-9)))
