"""A small picture of a GLB without Blender: quick, textured, on transparent ground.

    python -m trellis_addon.formats.glb.preview [--views N] ASSET.glb PICTURE.png [ASSET.glb PICTURE.png ...]

With several views it is seen from all around, from its front on and to its left, in PICTURE-1.png to PICTURE-N.png.

Points are strewn over the triangles, a few for every pixel that a triangle covers, and the nearest wins. That
is one pass over arrays, whatever the mesh looks like.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.files import move

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from .textured_mesh import TexturedMesh

SIZE = 256
LARGE = 320  # of each of several views, which are looked at closely
# Worked on at this many times the size: what is averaged afterwards has smooth edges.
_OVERSAMPLING = 2
# Points per pixel of a triangle's area: few enough to be quick, enough to leave no holes.
_DENSITY = 3.0
_MOST_POINTS = 6_000_000
# Where the light comes from and where the eye is, in the file's axes: up is Y, the front faces Z.
_LIGHT = np.array([-0.45, 0.75, 0.6]) / np.linalg.norm([-0.45, 0.75, 0.6])
AROUND, ABOVE = np.radians(35.0), np.radians(16.0)


def view_paths(picture: Path, views: int) -> list[Path]:
    """Where the views of an asset lie: at `picture` itself where there is one, else beside it with their numbers."""
    return [picture] if views == 1 else [picture.with_stem(f"{picture.stem}-{view + 1}") for view in range(views)]


def write_previews(pairs: list[tuple[Path, Path]], size: int = SIZE, views: int = 1) -> None:
    """Render each GLB to its PNG, or its `views` PNGs; raises `DamagedFileError` for a file that cannot be read."""
    from .read import read_glb

    for asset, picture in pairs:
        mesh = read_glb(asset)
        for view, path in enumerate(view_paths(picture, views)):
            part = path.with_suffix(".part")
            turn = None if views == 1 else view / views
            render_preview(mesh, size, turn).save(part, "PNG")
            move(part, path)


def render_preview(mesh: TexturedMesh, size: int = SIZE, turn: float | None = None) -> Image:
    """The mesh seen from the front's right and a little above, in parallel projection; RGBA, `size` x `size`.

    Or, at a `turn` of a turntable: 0 is its front, 0.25 its left side, and all turns have one scale.
    """
    fine = size * _OVERSAMPLING
    corners = _in_view(mesh, fine, turn)
    face, weights = _strew(corners[..., :2])
    points = np.einsum("nk,nkc->nc", weights, corners[face])
    column, row = np.clip(points[:, :2].astype(np.int64), 0, fine - 1).T
    colour = _colours(mesh, face, weights)
    colour[:, :3] *= _shade(mesh, face)[:, None]
    shown = colour[:, 3] >= 0.3

    # the last one written is the nearest
    order = np.argsort(points[shown, 2], kind="stable")
    canvas = np.zeros((fine * fine, 4), np.float32)
    canvas[(row[shown] * fine + column[shown])[order]] = colour[shown][order]
    canvas[canvas[:, 3] > 0, 3] = 1.0
    return _smaller(canvas.reshape(fine, fine, 4), size)


def _in_view(mesh: TexturedMesh, fine: int, turn: float | None) -> NDArray[np.float32]:
    """The corners (F, 3, 3) in pixels, y down, with the nearness as the third coordinate."""
    up = mesh.vertices.astype(np.float32) if mesh.up == "Y" else mesh.vertices[:, [0, 2, 1]] * (1, 1, -1)
    around = AROUND if turn is None else 2 * np.pi * turn
    right = np.array([np.cos(around), 0.0, -np.sin(around)])
    towards = np.array([np.sin(around) * np.cos(ABOVE), np.sin(ABOVE), np.cos(around) * np.cos(ABOVE)])
    seen = (up @ np.stack([right, -np.cross(towards, right), towards]).T).astype(np.float32)
    numbers = np.unique(mesh.faces)
    low, high = seen[numbers].min(0), seen[numbers].max(0)
    middle, extent = (low + high)[:2] / 2, float((high - low)[:2].max())
    if turn is not None:  # what holds it at every turn
        bottom, top = up[numbers].min(0), up[numbers].max(0)
        axis = (bottom + top) / 2
        across = 2 * float(np.hypot(*(up[numbers] - axis)[:, [0, 2]].T).max())
        extent = max(across, float(top[1] - bottom[1]) * np.cos(ABOVE) + across * np.sin(ABOVE))
        middle = np.array([axis @ right, axis @ -np.cross(towards, right)])
    scale = 0.94 * fine / max(extent, 1e-12)
    seen[:, :2] = (seen[:, :2] - middle) * scale + fine / 2
    return seen[mesh.faces]


def _strew(flat: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Points over triangles (F, 3, 2) in pixels: the triangle of each (N,), and its barycentric weights (N, 3)."""
    a, b = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    area = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    density = min(_DENSITY, _MOST_POINTS / max(float(area.sum()), 1.0))
    counts = np.maximum(np.ceil(area * density), 1).astype(np.int64)
    face = np.repeat(np.arange(len(flat)), counts)
    number = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    # Low-discrepancy points on the square (the R2 sequence of Roberts), folded onto the triangle.
    u = (0.5 + 0.7548776662466927 * (number + 1)) % 1.0
    v = (0.5 + 0.5698402909980532 * (number + 1)) % 1.0
    fold = u + v > 1.0
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    return face, np.stack([1 - u - v, u, v], 1).astype(np.float32)


def _shade(mesh: TexturedMesh, face: NDArray[np.int64]) -> NDArray[np.float32]:
    """How bright each point is: soft light from the upper left, both sides alike."""
    corners = mesh.vertices[mesh.faces]
    if mesh.up == "Z":
        corners = corners[..., [0, 2, 1]] * (1, 1, -1)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    return (0.72 + 0.38 * np.clip(normals @ _LIGHT, -0.4, 1.0)).astype(np.float32)[face]


def _colours(mesh: TexturedMesh, face: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The base colour of each point (N, 4), 0..1, sRGB-coded as the textures are."""
    colour = np.ones((len(face), 4), np.float32)
    ids = mesh.ids[face]
    for number, material in enumerate(mesh.materials):
        mine = np.flatnonzero(ids == number)
        factor = np.array(material.base_colour_factor, np.float32)
        factor[:3] **= 1 / 2.2
        if (texture := material.base_colour) is not None and mesh.uvs is not None:
            uv = np.einsum("nk,nkc->nc", weights[mine], mesh.uvs[face[mine]])
            height, width = texture.pixels.shape[:2]
            x = (uv[:, 0] % 1.0 * width).astype(np.int64) % width
            y = (uv[:, 1] % 1.0 * height).astype(np.int64) % height
            texels = texture.pixels[y, x].astype(np.float32) / 255
            channels = texels.shape[1]
            colour[mine, :3] = texels[:, :3] if channels >= 3 else texels[:, :1]
            if channels in (2, 4):
                colour[mine, 3] = texels[:, -1]
        colour[mine] *= factor
        if material.alpha_mode == "OPAQUE":
            colour[mine, 3] = 1.0
    return np.clip(colour, 0.0, 1.0)


def _smaller(canvas: NDArray[np.float32], size: int) -> Image:
    """Averaged down, every pixel weighed with its alpha."""
    from PIL import Image

    blocks = canvas.reshape(size, _OVERSAMPLING, size, _OVERSAMPLING, 4)
    alpha = blocks[..., 3:].mean((1, 3))
    colour = (blocks[..., :3] * blocks[..., 3:]).mean((1, 3)) / np.maximum(alpha, 1e-6)
    picture = np.concatenate([np.clip(colour, 0, 1), alpha], 2)
    return Image.fromarray((picture * 255 + 0.5).astype(np.uint8), "RGBA")


def main(arguments: list[str]) -> int:
    from ...core.errors import TrellisError

    views = 1
    if arguments[:1] == ["--views"] and len(arguments) > 1 and arguments[1].isdigit():
        views, arguments = max(int(arguments[1]), 1), arguments[2:]
    if not arguments or len(arguments) % 2:
        print(__doc__, file=sys.stderr)
        return 2
    paths = [Path(argument) for argument in arguments]
    try:
        write_previews(list(zip(paths[::2], paths[1::2], strict=True)), SIZE if views == 1 else LARGE, views)
    except (TrellisError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
