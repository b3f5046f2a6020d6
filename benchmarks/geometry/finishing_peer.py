"""The way of TRELLIS.2's own exporter, from its published description, as the peer to compare with.

A double shell around the surface, clusters of faces within 90 degrees of their mean normal, xatlas for each cluster,
texels only where a centre is inside, values cut to bytes, the rest filled by the nearest, WebP at quality 80, always
opaque. Decimation is fast-simplification's for both ways: what is compared is the shell, the unwrapping and the bake.
"""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devtools.geometry.remesh_reference import remesh_narrow_band
from trellis_addon.formats.glb.tangents import tangents, vertex_normals
from trellis_addon.formats.glb.write import Material, Mesh, write_glb
from trellis_addon.geometry.bake.detail import Detail
from trellis_addon.geometry.bake.gutter import nearest_filled
from trellis_addon.geometry.bake.maps import EncodedTextures, Textures
from trellis_addon.geometry.bake.reading import Part
from trellis_addon.geometry.bake.volume import Volume
from trellis_addon.geometry.finish.finish import DenseAsset, FinishedAsset, FinishedMesh
from trellis_addon.geometry.finish.mesh import y_up
from trellis_addon.geometry.finish.quality import quality_figures
from trellis_addon.geometry.unwrap.charts import ChartedSurface as Adjacency
from trellis_addon.geometry.unwrap.charts import connected
from trellis_addon.geometry.unwrap.raster import rasterise, texel_places
from trellis_addon.geometry.unwrap.unwrap import Unwrapped


def finish_as_reference(dense: DenseAsset, faces: int, texture_size: int, remesh: bool = True) -> FinishedAsset:
    import fast_simplification
    from PIL import Image

    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        seconds[stage] = round(time.perf_counter() - clock, 2)
        clock = time.perf_counter()

    vertices, triangles = dense.vertices, dense.faces
    if remesh:
        low, high = vertices.min(0), vertices.max(0)
        scale = (dense.resolution + 3) / dense.resolution * float((high - low).max())
        vertices, triangles = remesh_narrow_band(vertices, triangles, (low + high) / 2, scale, dense.resolution)
    lap("clean")
    vertices, triangles = fast_simplification.simplify(vertices, triangles, target_count=faces, agg=3)
    vertices, triangles = vertices.astype(np.float32), triangles.astype(np.int32)
    lap("simplify")
    source, split, uvs, charts = _unwrap(vertices, triangles)
    lap("unwrap")
    detail = Detail.of(dense.vertices, dense.faces, Volume(dense.coords, dense.attributes, dense.resolution))
    raster = rasterise(uvs, split, texture_size, borders=False)
    texels = np.flatnonzero(raster.owner.reshape(-1) >= 0)
    owner, weights = texel_places(raster, texels, uvs, split)
    points = np.einsum("nk,nkc->nc", weights, vertices[source][split[owner]]).astype(np.float32)
    colours = np.zeros((texture_size**2, 6), np.uint8)
    colours[texels] = np.clip(detail.volume.sample(detail.surface.closest(points).points) * 255, 0, 255).astype(
        np.uint8
    )
    colours = colours[nearest_filled(raster.owner >= 0)]
    lap("bake")
    base = np.ascontiguousarray(colours[..., [0, 1, 2, 5]])
    surface = np.zeros((texture_size, texture_size, 3), np.uint8)
    surface[..., 1], surface[..., 2] = colours[..., 4], colours[..., 3]

    def webp(image: NDArray[np.uint8]) -> bytes:
        out = io.BytesIO()
        Image.fromarray(image).save(out, "WEBP")
        return out.getvalue()

    images = EncodedTextures(webp(base), webp(surface), None)
    lap("encode")
    normals = vertex_normals(vertices, triangles)[source]
    mesh = FinishedMesh(
        vertices[source],
        split,
        normals,
        tangents(vertices[source], split, normals, uvs),
        uvs,
        Textures(base, surface),
        (Part(double_sided=not remesh),),
    )
    flat = Unwrapped(source, split, uvs, charts, raster)
    quality: dict[str, Any] = quality_figures(mesh, images, flat, detail, dense.resolution)
    material = Material("Reference", images.base_colour, images.metallic_roughness, double_sided=not remesh)
    glb = write_glb(Mesh(y_up(mesh.vertices), split.astype(np.uint32), y_up(normals), uvs), material)
    lap("quality")
    return FinishedAsset(glb, quality, mesh, seconds)


def _unwrap(
    vertices: NDArray[np.float32], faces: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]:
    import xatlas

    clusters = _clusters(vertices, faces)
    atlas = xatlas.Atlas()
    order = np.argsort(clusters, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)
    used = []
    for part in parts:
        own, local = np.unique(faces[part], return_inverse=True)
        used.append(own)
        atlas.add_mesh(vertices[own], local.reshape(-1, 3).astype(np.uint32))
    atlas.generate()
    source, split, uvs = [], np.empty_like(faces), []
    charts = np.zeros(len(faces), np.int64)  # xatlas leaves out faces without area
    start = chart = 0
    for number, part in enumerate(parts):
        mapping, indices, places = atlas.get_mesh(number)
        source.append(used[number][mapping])
        uvs.append(places)
        split[part] = indices + start
        for inner in range(atlas.get_mesh_chart_count(number)):
            charts[part[atlas.get_mesh_chart(number, inner).faces]] = chart
            chart += 1
        start += len(mapping)
    return np.concatenate(source).astype(np.int64), split, np.concatenate(uvs).astype(np.float32), charts


def _clusters(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.int64]:
    """Pairs of clusters are merged where each is the other's cheapest, while the merged cone stays below 90 degrees."""
    surface = Adjacency.of(vertices, faces)
    count = len(faces)
    label = np.arange(count)
    total, area, perimeter, half = surface.normal.copy(), surface.area.copy(), surface.perimeter.copy(), np.zeros(count)
    pairs, length = surface.pairs, surface.length
    while len(pairs):
        one, two = pairs.T
        axis = total / np.maximum(np.linalg.norm(total, axis=1), 1e-30)[:, None]
        turn = np.arccos(np.clip(np.einsum("ij,ij->i", axis[one], axis[two]), -1, 1))
        cone = (np.maximum(half[one], turn + half[two]) - np.minimum(-half[one], turn - half[two])) / 2
        rim = np.square(perimeter[one] + perimeter[two] - 2 * length) / np.maximum(area[one] + area[two], 1e-30)
        cost = cone + 0.1 * (area[one] + area[two]) + 1e-4 * rim
        good = np.flatnonzero(cost <= np.pi / 2)
        if not len(good):
            break
        order = good[np.lexsort((good, cost[good]))]
        best = np.full(count, -1)
        for ends in (one, two):
            best[ends[order[::-1]]] = np.where(best[ends[order[::-1]]] < 0, order[::-1], best[ends[order[::-1]]])
        rank = np.full(len(pairs), len(pairs))
        rank[order] = np.arange(len(order))
        least = np.full(count, len(pairs))
        np.minimum.at(least, one[order], rank[order])
        np.minimum.at(least, two[order], rank[order])
        won = order[(least[one[order]] == rank[order]) & (least[two[order]] == rank[order])]
        keep, gone = one[won], two[won]
        total[keep] += total[gone]
        area[keep] += area[gone]
        perimeter[keep] += perimeter[gone] - 2 * length[won]
        to = np.arange(count)
        to[gone] = keep
        label = to[label]
        ends = np.sort(to[pairs], 1)
        apart = ends[:, 0] != ends[:, 1]
        key, inverse = np.unique(ends[apart, 0] * count + ends[apart, 1], return_inverse=True)
        pairs, length = np.stack([key // count, key % count], 1), np.bincount(inverse.reshape(-1), length[apart])
        axis = total / np.maximum(np.linalg.norm(total, axis=1), 1e-30)[:, None]
        half[:] = 0
        angle = np.arccos(np.clip(np.einsum("ij,ij->i", axis[label], surface.normal), -1, 1))
        np.maximum.at(half, label, angle)
    return connected(surface, label)
