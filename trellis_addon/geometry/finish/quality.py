"""An asset's quality as one flat table of numbers, for its file and for whoever compares assets.

Of the mesh (`quality_mesh`): faces, vertices, components, boundary_edges, non_manifold_edges, watertight,
inconsistent_edges, distance_mean and _p99, coverage_mean and _p99 (voxels), quality_mean and _p1, self_intersections,
crumbs, slivers, shortest_edge; dropped_parts is how many specks remeshing left out. Of the textures
(`quality_texture`): charts, area_stretch_p1, _p50, _p99, angle_stretch_p50, _p99, atlas_use, overlapping_texels,
colour_error_mean, _p99 (steps of 255), colour_psnr (decibels), metallic_roughness_error_mean.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from ...core.machine.parallel import on_all_cores
from ..bake.maps import EncodedTextures, decode
from ..bake.reading import Look
from ..mesh.topology import TriMesh
from ..unwrap.unwrap import Unwrapped
from .quality_mesh import mesh_quality
from .quality_texture import colour_figures, unwrap_figures

if TYPE_CHECKING:
    from .mesh import FinishedMesh


def quality_figures(
    mesh: FinishedMesh, images: EncodedTextures, flat: Unwrapped, detail: Look, resolution: int, dropped: int = 0
) -> dict[str, Any]:
    """JSON data of the asset, its textures as they are stored; numbers are rounded to five places."""
    drawn = dataclasses.replace(flat, faces=mesh.faces, uvs=mesh.uvs)

    def shape() -> dict[str, Any]:
        return mesh_quality(TriMesh(mesh.vertices, mesh.faces), detail.surface, resolution=resolution).as_dict()

    def unwrapping() -> dict[str, Any]:
        return dataclasses.asdict(unwrap_figures(mesh.vertices, drawn))

    def colours() -> dict[str, Any]:
        stored = (decode(images.base_colour), decode(images.metallic_roughness))
        return dataclasses.asdict(colour_figures(mesh.vertices, drawn, detail, *stored))

    of_shape, of_unwrapping, of_colours = on_all_cores((shape, unwrapping, colours), lambda measure: measure())
    figures = {**of_shape, "dropped_parts": dropped, **of_unwrapping, **of_colours}
    return {key: _rounded(value) if isinstance(value, float) else value for key, value in figures.items()}


def _rounded(value: float) -> float | None:
    """None, which JSON has, for what cannot be said: of a surface without area, say, which share of it is covered."""
    return round(value, 5) if math.isfinite(value) else None
