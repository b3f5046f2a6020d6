"""TRELLIS.2 on a mesh that is there: the pipeline colours its voxels, and its own sheets take their colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.messages import message
from ..core.progress import Progress
from ..formats.glb.dress import dressed
from ..formats.glb.pieces import read_pieces
from ..geometry.texturing.sampled import is_constant, material_of, sampled
from ..geometry.texturing.sheets import Layout, dresses, in_one, material_name, plan_sheets
from ..images.frame import unmarked
from ..task.settings import SEED_MAX, Settings
from ..task.task import facing_of
from ..task.views import FRONT, view_name, yaw_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..pipeline.texturing import TexturingPipeline

_SAMPLING = 0.75  # of the whole


@dataclass(frozen=True)
class Retextured:
    """The file with its new materials; `resolution` is what was really made, `notes` what is otherwise than asked."""

    glb: bytes
    resolution: int
    notes: tuple[str, ...]


def retexture(
    pipeline: TexturingPipeline,
    mesh: bytes,
    image: Image,
    views: Mapping[str, Image],
    settings: Settings,
    seed: int,
    extras: Mapping[str, Any],
    progress: Progress,
) -> Retextured:
    """The GLB `mesh` with a texture like the picture's, which shows it from where `settings` say it faces.

    A texture that is of one colour, where the picture is not, is sampled once more with another seed. Raises
    `InputError`, `DamagedFileError` for the mesh, `EngineError`, `Cancelled`.
    """
    from ..geometry.bake.volume import Volume

    found = read_pieces(mesh)
    size = settings.value("texture_size")
    plan = plan_sheets(found.pieces, size, unwrapped, uvs=settings.value("uvs"), check=progress.check)
    facing = facing_of(settings)
    turned = {_turned_view(name, facing): view for name, view in views.items()}
    turn = _turn(facing)
    used, faces = np.unique(found.faces, return_inverse=True)
    points = found.points[used] @ turn[:3, :3].T
    notes = [*plan.notes]
    for attempt in range(2):
        part = progress.part(0.0 if not attempt else _SAMPLING / 2, _SAMPLING)
        result = pipeline.texture_mesh(
            points, faces.reshape(-1, 3), image, settings, _other(seed, attempt), part, views=turned
        )
        if not is_constant(_bytes(result.attributes)) or is_constant(_visible(image)):
            break
        notes.append(
            message("With seed {seed} the texture came out in one colour; it was made again with another.", seed=seed)
            if not attempt
            else message("With another seed it did again; another picture may do better.")
        )
    notes += result.notes
    volume = Volume(result.coords, result.attributes, result.resolution)
    matrix = result.matrix @ turn
    # Of a mesh that says what is seen through, the rest is solid: where both meet, voxels have the alpha of either.
    stays_solid = any(piece.clear is not None for piece in found.pieces)
    materials = []
    for number, sheet in enumerate(plan.sheets):
        progress.update("bake", _SAMPLING + (0.98 - _SAMPLING) * number / len(plan.sheets))
        textures, mode = sampled(sheet, volume, matrix, progress.check, stays_solid=stays_solid)
        materials.append(material_of(textures, mode, material_name(number), settings.value("texture_format")))
    told = {**extras, "notes": notes, "resolution": result.resolution}
    glb = dressed(mesh, dresses(plan, found.pieces), materials, told, wraps=[sheet.wraps for sheet in plan.sheets])
    return Retextured(glb, result.resolution, tuple(notes))


def unwrapped(points: NDArray[np.float64], faces: NDArray[np.int64], size: int) -> Layout:
    """New coordinates for `points` (V, 3), `faces` (F, 3), as finishing makes them."""
    from ..geometry.unwrap.unwrap import unwrap

    made = unwrap(*in_one(points, faces), size)
    return Layout.of(faces, made.faces, made.uvs)


def _turn(facing: str) -> NDArray[np.float64]:
    """The matrix (4, 4) that turns what the picture shows to the front; Y is up, the front towards +Z."""
    yaw = np.radians(yaw_of(facing))
    out = np.eye(4)
    out[0, 0] = out[2, 2] = np.cos(yaw)
    out[0, 2], out[2, 0] = -np.sin(yaw), np.sin(yaw)
    return out


def _turned_view(name: str, facing: str) -> str:
    """What a view is called once `facing` is the front."""
    return FRONT if name == facing else view_name(yaw_of(name) - yaw_of(facing))


def _other(seed: int, attempt: int) -> int:
    # far from the seeds of a task's other results
    return (seed + attempt * 1_000_003) % (SEED_MAX + 1)


def _bytes(attributes: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.clip(attributes[:, :3], 0.0, 1.0) * 255.0).astype(np.uint8)


def _visible(image: Image) -> NDArray[np.uint8]:
    """The picture's colours (N, 4) where it shows the subject."""
    pixels = np.asarray(unmarked(image.convert("RGBA"))[0])
    return np.asarray(pixels[pixels[..., 3] >= 128])
