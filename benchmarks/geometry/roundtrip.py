"""How much rebaking changes what one sees: `python benchmarks/geometry/finishing.py --roundtrip FOLDER`.

Each model goes through `round_trip` as it does through the command: the shape by voxels, the look from the model.
The figures are this folder's own, and crossings are Blender's where there is `bpy`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import models
import numpy as np
from charts import stretch
from finishing_peer import finish_as_reference
from finishing_render import VIEWS, Scene, psnr, ssim
from numpy.typing import NDArray
from PIL import Image
from torture import figures

from trellis_addon.formats.glb.read import read_glb
from trellis_addon.formats.glb.textured_mesh import TexturedMesh
from trellis_addon.geometry.finish.roundtrip import dense_asset
from trellis_addon.geometry.finish.roundtrip import round_trip as rebake
from trellis_addon.geometry.unwrap.charts import connected_faces
from trellis_addon.geometry.voxelise.voxelise import voxelise

F = NDArray[np.float64]

HEAD = ("faces", "parts", "open", "non-man.", "crossing", "slivers %", "shortest", "charts", "under 10", "L2")
LOOK = ("PSNR", "lit", "lit, plain", "SSIM", "seams", "at mip 4", "CPU s")
_DISTANT = 4  # halvings: a texel of that level is 16 wide
_FEW = 10  # faces of a chart that is a crumb


def round_trip(options: argparse.Namespace) -> None:
    """Print a table, and write a picture sheet for each model: before and after, with light, four times the difference.

    A name is one of `models.MODELS`, or a GLB.
    """
    options.roundtrip.mkdir(parents=True, exist_ok=True)
    print(f"{options.resolution} voxels, at most {options.faces} faces, {options.texture_size} texels; PSNR in dB over")
    print("the pixels that show the model, the mean of eight views: base colour, lit, and lit without the normal map;")
    print("how far both sides of a seam are apart, of 255, at full size and where a texel is 16 wide")
    print(f"{'model':<24}" + "".join(f"{title:>11}" for title in (*HEAD, *LOOK)), flush=True)
    for name in options.models.split(",") if options.models else list(models.MODELS):
        mesh = read_glb(name) if name.endswith(".glb") else models.build(name)
        columns = []
        for way in ("ours", "reference") if options.peer else ("ours",):
            start = time.process_time()
            if way == "ours":
                glb = rebake(
                    mesh, resolution=options.resolution, faces=options.faces, texture_size=options.texture_size
                ).glb
            else:
                dense = dense_asset(voxelise(mesh, options.resolution))
                glb = finish_as_reference(dense, options.faces, options.texture_size).glb
            seconds = time.process_time() - start
            stem = Path(name).stem
            (options.roundtrip / f"{stem}-{way}.glb").write_bytes(glb)
            made = read_glb(glb)
            if way == "reference":
                made = _placed(made, mesh, options.resolution)
            seen, sheet = _seen(mesh, made, options.pixels)
            columns.append(sheet)
            values = [*_shape(made), *seen, *(f"{seams(made, level):.1f}" for level in (0, _DISTANT)), f"{seconds:.1f}"]
            print(f"{stem + ' ' + way:<24}" + "".join(f"{value:>11}" for value in values), flush=True)
        Image.fromarray((np.concatenate(columns, 1) * 255).round().astype(np.uint8)).save(
            options.roundtrip / f"{stem}.png"
        )


def _shape(made: TexturedMesh) -> list[Any]:
    assert made.uvs is not None
    corners, uvs = made.vertices[made.faces].reshape(-1, 3), made.uvs.reshape(-1, 2)
    _, number = np.unique(np.concatenate([corners, uvs], 1), axis=0, return_inverse=True)
    sizes = np.bincount(connected_faces(number.reshape(-1, 3).astype(np.int32)))
    length, _ = stretch(corners.astype(np.float64), np.arange(len(corners)).reshape(-1, 3), uvs)
    return [*figures(made.vertices, made.faces), len(sizes), int((sizes < _FEW).sum()), f"{length:.3f}"]


def _seen(mesh: TexturedMesh, made: TexturedMesh, pixels: int) -> tuple[list[str], F]:
    """PSNR, lit, lit without the normal map, SSIM; and the picture sheet."""
    plain = replace(made, materials=tuple(replace(material, normal=None) for material in made.materials))
    before, after, bare = (Scene(each, _about_the_origin(each, mesh)) for each in (mesh, made, plain))
    has_map = any(material.normal is not None for material in made.materials)
    rows, found = [], []
    for view in range(VIEWS):
        one, two = before.picture(view, pixels), after.picture(view, pixels)
        shown = (one.cover + two.cover) > 0
        lit = psnr(one.lit, two.lit, shown)
        without = psnr(one.lit, bare.picture(view, pixels).lit, shown) if has_map else lit
        found.append((psnr(one.flat, two.flat, shown), lit, without, ssim(one.flat, two.flat)))
        difference = np.clip(4 * np.abs(one.flat - two.flat), 0, 1)
        rows.append(np.concatenate([one.flat, two.flat, one.lit, two.lit, difference], 1))
    colour, lit, without, alike = np.mean(found, 0)
    return [f"{colour:.2f}", f"{lit:.2f}", f"{without:.2f}", f"{alike:.4f}"], np.concatenate(rows, 0)


def _placed(made: TexturedMesh, source: TexturedMesh, resolution: int) -> TexturedMesh:
    """Out of the voxels' cube, in which the peer leaves it."""
    low, high = np.sort(_upright(source.bounds(), source.up), axis=0)
    places = made.vertices * (high - low).max() / (1 - 2 / resolution) + (low + high) / 2
    return replace(made, vertices=places.astype(np.float32))


def _about_the_origin(mesh: TexturedMesh, source: TexturedMesh) -> F:
    """The vertices with y up, where the source fills the unit cube."""
    low, high = np.sort(_upright(source.bounds(), source.up), axis=0)
    return (_upright(mesh.vertices.astype(np.float64), mesh.up) - (low + high) / 2) / (high - low).max()


def _upright(places: F, up: str) -> F:
    return places if up == "Y" else np.stack([places[:, 0], places[:, 2], -places[:, 1]], 1)


def seams(mesh: TexturedMesh, level: int) -> float:
    """By how much of 255 the base colour differs across the edges that charts meet at, after so many halvings.

    The mean by length, of three places on each edge; where the surface's own colour changes there it differs at full
    size already.
    """
    texture = next((each.base_colour for each in mesh.materials if each.base_colour is not None), None)
    if texture is None or mesh.uvs is None:
        return 0.0
    pixels = texture.pixels[..., :3].astype(np.float64)
    for _ in range(level):
        pixels = (pixels[0::2, 0::2] + pixels[1::2, 0::2] + pixels[0::2, 1::2] + pixels[1::2, 1::2]) / 4
    extent = float(np.ptp(mesh.vertices, axis=0).max())
    cells = np.round((mesh.vertices - mesh.vertices.min(0)) / extent * 2**20).astype(np.int64)
    faces = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)[mesh.faces]
    ends = np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2)
    uvs = np.stack([mesh.uvs, np.roll(mesh.uvs, -1, 1)], 2).reshape(-1, 2, 2).astype(np.float64)
    places = mesh.vertices[mesh.faces]
    length = np.linalg.norm(places - np.roll(places, -1, 1), axis=2).reshape(-1)
    backwards = ends[:, 0] > ends[:, 1]
    uvs[backwards] = uvs[backwards, ::-1]
    key = ends.min(1) * len(mesh.vertices) + ends.max(1)
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    one, two = order[same], order[same + 1]
    cut = np.abs(uvs[one] - uvs[two]).max((1, 2)) > 1e-6
    one, two = one[cut], two[cut]
    if not len(one):
        return 0.0
    differs = np.zeros(len(one))
    for share in (0.25, 0.5, 0.75):
        sides = (_between(pixels, uvs[rows, 0] * (1 - share) + uvs[rows, 1] * share) for rows in (one, two))
        differs += np.abs(np.subtract(*sides)).mean(1) / 3
    return float((differs * length[one]).sum() / length[one].sum())


def _between(pixels: F, uvs: F) -> F:
    """(N, 3) between texels, as a renderer reads them."""
    height, width = pixels.shape[:2]
    x, y = uvs[:, 0] * width - 0.5, uvs[:, 1] * height - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    across, down = (x - left)[:, None], (y - top)[:, None]

    def texel(row: NDArray[np.int64], column: NDArray[np.int64]) -> F:
        return np.asarray(pixels[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)])

    upper = texel(top, left) * (1 - across) + texel(top, left + 1) * across
    lower = texel(top + 1, left) * (1 - across) + texel(top + 1, left + 1) * across
    return np.asarray(upper * (1 - down) + lower * down)
