"""Finishing gives the same bytes on any number of cores, and leaves the main thread little of what can be spread."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("warp")
pytest.importorskip("scipy")

from conftest import PATIENCE
from test_finish import asset, torus

from trellis_addon.core.machine import parallel
from trellis_addon.formats.glb.textured_mesh import SurfaceMaterial, Texture, TexturedMesh
from trellis_addon.geometry import arrays
from trellis_addon.geometry.bake import bake, gutter
from trellis_addon.geometry.finish.finish import finish
from trellis_addon.geometry.finish.roundtrip import round_trip
from trellis_addon.geometry.finish.warm_up import _block
from trellis_addon.geometry.mesh import closest_warp
from trellis_addon.geometry.remesh import lattice, remesh
from trellis_addon.geometry.simplify import pieces
from trellis_addon.geometry.unwrap.raster import rasterise
from trellis_addon.geometry.voxels.dual_grid import dual_grid_to_mesh

CORES = (1, 2, 7)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small asset has several of them."""
    monkeypatch.setattr(bake, "_CHUNK", 1000)
    monkeypatch.setattr(bake, "_FIRST", 100)
    monkeypatch.setattr(closest_warp, "_CHUNK", 500)
    monkeypatch.setattr(remesh, "_FACES_AT_ONCE", 100)
    monkeypatch.setattr(arrays, "_ROWS", 100)
    monkeypatch.setattr(lattice, "_BLOCKS_AT_ONCE", 10)
    monkeypatch.setattr(pieces, "_LEAST_FACES", 1000)


def on_each(monkeypatch: pytest.MonkeyPatch, make: Any) -> list[Any]:
    found = []
    for cores in CORES:
        monkeypatch.setattr(parallel, "cores", lambda cores=cores: cores)
        found.append(make())
    return found


def test_a_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = asset(torus(48, 16), 0.4)
    options: dict[str, Any] = {"decimation_target": 400, "texture_size": 256, "ambient_occlusion": True}
    one, *more = on_each(monkeypatch, lambda: finish(dense, **options).glb)
    assert all(glb == one for glb in more)


def test_a_textured_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures, and what is made of them when they are first read, are shared by all threads."""
    block = _block()
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 4), np.uint8)
    clear = SurfaceMaterial(base_colour=Texture(pixels), alpha_mode="BLEND", normal=Texture(pixels[..., :3].copy()))
    mesh = TexturedMesh(block.vertices, block.faces, (clear,), uvs=block.uvs)
    options: dict[str, Any] = {"resolution": 24, "texture_size": 128, "faces": 200}
    one, *more = on_each(monkeypatch, lambda: round_trip(mesh, **options).glb)
    assert all(glb == one for glb in more)


def test_the_atlas_and_its_gutters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overlaps too: which two faces share a texel does not depend on who comes first."""
    random = np.random.default_rng(2)
    uvs = random.random((300, 2)).astype(np.float32)
    faces = random.integers(0, 300, (200, 3)).astype(np.int32)
    one, *more = on_each(monkeypatch, lambda: rasterise(uvs, faces, 300))
    filled = random.random((300, 257)) < 0.001
    first, *others = on_each(monkeypatch, lambda: gutter.nearest_filled(filled))
    assert one.overlapping > 0 and one.covered > 0
    for other, source in zip(more, others, strict=True):
        assert (other.owner == one.owner).all() and (other.crowded == one.crowded).all()
        assert (other.covered, other.overlapping) == (one.covered, one.overlapping)
        assert (source == first).all()


def test_what_baking_looks_at_is_made_while_the_surface_is_simplified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the other to have begun: one after the other, neither would come to its end."""
    from trellis_addon.geometry.finish import finish as module

    looking, simplifying = threading.Event(), threading.Event()
    detail_of, simplify = module.Detail.of, module.Lightener.light

    def look(*given: Any) -> Any:
        looking.set()
        assert simplifying.wait(PATIENCE)
        return detail_of(*given)

    def simplified(*given: Any, **named: Any) -> Any:
        simplifying.set()
        assert looking.wait(PATIENCE)
        return simplify(*given, **named)

    monkeypatch.setattr(parallel, "cores", lambda: 2)
    monkeypatch.setattr(module.Detail, "of", look)
    monkeypatch.setattr(module.Lightener, "light", simplified)
    assert finish(asset(torus(48, 16), 0.4), decimation_target=400, texture_size=128).glb


def test_the_flags_of_a_dual_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the faces say: of each of a quad's triangles the lowest corner, and the axis that it does not reach along."""
    coords = np.argwhere(np.ones((8, 8, 8), bool)).astype(np.int64)
    crossed = np.random.default_rng(4).random((len(coords), 3)) < 0.3
    half = np.full((len(coords), 3), 0.5, np.float32)
    all_faces = dual_grid_to_mesh(coords.astype(np.int32), half, crossed, grid_size=8)[1]
    one, *more = on_each(monkeypatch, lambda: remesh.flags_of_faces(coords, all_faces))
    assert one is not None and len(all_faces) > 500 and all((flags == one).all() for flags in more)
    by_hand = np.zeros_like(one)
    for face in all_faces:
        low, span = coords[face].min(0), np.ptp(coords[face], axis=0)
        for corner in face:
            if (coords[corner] == low).all():
                by_hand[corner, span.argmin()] = True
    assert (one == by_hand).all() and (one <= crossed).all() and one.any()
    wrong = all_faces.copy()
    wrong[-1] = wrong[0, (0, 0, 1)]
    assert remesh.flags_of_faces(coords, wrong) is None
