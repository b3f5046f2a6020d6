"""Finishing gives the same bytes on any number of cores, and leaves the main thread little of what can be spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("warp")
pytest.importorskip("scipy")

from test_finish import asset, torus

from trellis_addon.core.machine import parallel
from trellis_addon.formats.glb.textured_mesh import SurfaceMaterial, Texture, TexturedMesh
from trellis_addon.geometry.bake import bake, gutter
from trellis_addon.geometry.finish.finish import finish
from trellis_addon.geometry.finish.roundtrip import round_trip
from trellis_addon.geometry.finish.warm_up import _block
from trellis_addon.geometry.mesh import closest_warp
from trellis_addon.geometry.unwrap.raster import rasterise

CORES = (1, 2, 7)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small asset has several of them."""
    monkeypatch.setattr(bake, "_CHUNK", 1000)
    monkeypatch.setattr(bake, "_FIRST", 100)
    monkeypatch.setattr(closest_warp, "_CHUNK", 500)


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
