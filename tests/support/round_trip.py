"""A textured model through its own voxels and back onto its own UVs, by the very code that a texture is made with.

In place of the networks stands what they are to learn: the colours that the model has, on the voxels that they get.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from trellis_addon.core.progress import Progress
from trellis_addon.engines.retexture import Retextured, retexture, unwrapped
from trellis_addon.formats.glb.check import split_glb
from trellis_addon.formats.glb.dress import dressed
from trellis_addon.formats.glb.pieces import read_pieces
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.formats.glb.write import Material, container
from trellis_addon.geometry.bake.maps import encode
from trellis_addon.geometry.texturing.scan import hits
from trellis_addon.geometry.texturing.sheets import dresses, plan_sheets
from trellis_addon.geometry.voxelise.attributes import surface_attributes
from trellis_addon.geometry.voxelise.dual_grid import TEXTURING_WEIGHTS, mesh_to_dual_grid
from trellis_addon.pipeline.texturing import TexturedVoxels, to_model_frame
from trellis_addon.task.settings import Settings


def turned(yaw: float, pitch: float) -> np.ndarray:
    y, p = np.radians([yaw, pitch])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    out = np.eye(4)
    out[:3, :3] = about_y @ about_x
    return out


def scaled(*scale: float) -> np.ndarray:
    return np.diag([*scale, 1.0])


def moved(x: float, y: float, z: float) -> np.ndarray:
    out = np.eye(4)
    out[:3, 3] = x, y, z
    return out


TRANSFORMS = {
    "as it is": np.eye(4),
    "metres": scaled(12.0, 12.0, 12.0),
    "millimetres": scaled(1e-3, 1e-3, 1e-3),
    "far away": moved(3e3, -50.0, 7e3),
    "turned": turned(40.0, 25.0),
    "longer than wide": scaled(1.3, 0.8, 1.0),
    "mirrored": scaled(-1.0, 1.0, 1.0),
    "all at once": moved(-200.0, 30.0, 90.0) @ turned(-110.0, 15.0) @ scaled(5.0, -4.0, 6.0),
}


class OwnColours:
    """Stands for a `TexturingPipeline`: the voxels have the colours of the model itself."""

    def __init__(self, glb: bytes, resolution: int) -> None:
        self._mesh = read_glb(glb)
        self._resolution = resolution

    def texture_mesh(self, vertices: Any, faces: Any, *_: Any, **__: Any) -> TexturedVoxels:
        matrix = to_model_frame(np.asarray(vertices, np.float64))
        placed = (vertices @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32)
        box = ((-0.5,) * 3, (0.5,) * 3)
        coords, _, _ = mesh_to_dual_grid(placed, faces, grid_size=self._resolution, aabb=box, **TEXTURING_WEIGHTS)
        corners = (placed.astype(np.float64)[faces] + 0.5) * self._resolution
        colours = surface_attributes(self._mesh, corners, coords, self._resolution)
        return TexturedVoxels(coords, colours, self._resolution, matrix)


def placed(glb: bytes, matrix: np.ndarray) -> bytes:
    """The file with everything below a node of its own that has the matrix."""
    document, binary = split_glb(glb)
    scene = document["scenes"][document.get("scene", 0)]
    for other in document["nodes"]:  # a file may show what hangs from a node that it does not show
        other["children"] = [child for child in other.get("children", []) if child not in scene["nodes"]]
        if not other["children"]:
            del other["children"]
    node = {"name": "Place", "matrix": matrix.T.reshape(-1).tolist(), "children": scene["nodes"]}
    document["nodes"].append(node)
    scene["nodes"] = [len(document["nodes"]) - 1]
    return container(document, bytes(binary))


def waves(points: np.ndarray) -> np.ndarray:
    """Colours (N, 3) in 0..1 that are a matter of place: where surfaces meet, or lie close, both have the same."""
    x, y, z = points.T
    return 0.5 + 0.45 * np.stack([np.sin(7 * x + 3 * y), np.cos(5 * y - 4 * z), np.sin(6 * z) * np.cos(4 * x)], 1)


def painted(glb: bytes, size: int) -> bytes:
    """The file with such colours on the coordinates that it has, or on new ones where it has none."""
    found = read_pieces(glb)
    plan = plan_sheets(found.pieces, size, unwrapped)
    low, extent = found.points.min(0), max(float(np.ptp(found.points, axis=0).max()), 1e-30)
    materials = []
    for number, sheet in enumerate(plan.sheets):
        pixels = np.zeros((sheet.size**2, 3), np.uint8)
        for face, place, weights in hits(sheet.uvs[sheet.faces] * sheet.size, (sheet.size,) * 2, over=0.2):
            there = np.einsum("nk,nkc->nc", weights, sheet.points[sheet.faces[face]])
            pixels[place] = np.rint(255 * waves((there - low) / extent))
        picture = encode(pixels.reshape(sheet.size, sheet.size, 3), "png", exact=True)
        materials.append(Material(f"Own {number}", picture, metallic_factor=0.0))
    return dressed(glb, dresses(plan, found.pieces), materials, wraps=[sheet.wraps for sheet in plan.sheets])


def has_colours(glb: bytes) -> bool:
    """Whether there is a picture in the file."""
    return bool(split_glb(glb)[0].get("images"))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Of colours of 0..255, in decibels, at most 99."""
    error = float(np.square(one.astype(np.float64) - other).mean())
    return min(10 * np.log10(255**2 / max(error, 1e-9)), 99.0)


def there_and_back(glb: bytes, resolution: int, texture_size: int, facing: str = "front") -> Retextured:
    settings = Settings(facing=facing, texture_format="png")
    settings._values["texture_size"] = texture_size  # smaller than a task may ask for
    image = Image.new("RGBA", (8, 8), (90, 90, 90, 255))
    pipeline: Any = OwnColours(glb, resolution)
    return retexture(pipeline, glb, image, {}, settings, 1, {}, Progress())
