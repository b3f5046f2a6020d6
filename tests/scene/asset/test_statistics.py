"""What is counted and measured of an asset's surface, and the verdict in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentence

bpy = pytest.importorskip("bpy")


from scene_objects import SIDES, cube, mesh_object  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import InputError  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402
from trellis_addon.scene import files  # noqa: E402
from trellis_addon.scene.asset import statistics  # noqa: E402
from trellis_addon.scene.importing.materials import principled_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


def surface(points: Any, faces: Any) -> statistics.SurfaceFacts:
    return blender.measure(mesh_object(points, faces)).surface


def test_a_closed_cube() -> None:
    found = surface(*cube())
    assert (found.triangles, found.vertices, found.components) == (12, 8, 1)
    assert (found.open_edges, found.non_manifold_edges, found.flipped_edges) == (0, 0, 0)
    assert found.uv_area is None


def test_an_open_cube() -> None:
    found = surface(*cube(faces=SIDES[:5]))
    assert (found.triangles, found.open_edges, found.non_manifold_edges) == (10, 4, 0)


def test_two_parts() -> None:
    (a, faces), (b, _) = cube(), cube(5)
    both = a + b, faces + [tuple(v + 8 for v in face) for face in faces]
    assert surface(*both).components == 2
    # a third of them alone, not joined to anything
    assert surface(both[0] + [(9, 9, 9), (8, 8, 8)], both[1]).vertices == 16, "what no face uses is not the surface"


def test_a_fin() -> None:
    """A face standing on an edge of a closed cube: three faces meet there, and its other three edges are open."""
    points, faces = cube()
    found = surface([*points, (0, 2, 0), (0, 2, 1)], [*faces, (2, 3, 9, 8)])
    assert (found.non_manifold_edges, found.open_edges, found.components) == (1, 3, 1)


def test_a_face_the_wrong_way_round() -> None:
    points, faces = cube()
    assert surface(points, [faces[0][::-1], *faces[1:]]).flipped_edges == 4


def test_seams_do_not_open_a_surface() -> None:
    """Every face with corners of its own, as a file may have it; and one corner that says -0."""
    points, faces = cube()
    flat = [points[v] for face in faces for v in face]
    flat = [tuple(-0.0 if c == 0 and n % 2 else c for c in p) for n, p in enumerate(flat)]
    found = surface(flat, np.arange(24).reshape(6, 4).tolist())
    assert (found.vertices, found.components, found.open_edges) == (8, 1, 0)


def test_faces_without_area_are_not_part_of_it() -> None:
    points, faces = cube()
    found = surface([*points, points[0]], [*faces, (0, 8, 1)])
    assert (found.open_edges, found.non_manifold_edges, found.flipped_edges) == (0, 0, 0)


def test_components_of_a_long_thin_thing_in_any_order() -> None:
    """A strip whose vertices are numbered at random: what takes pointer jumping longest."""
    random = np.random.default_rng(3)
    count = 2000
    order = random.permutation(2 * count)
    points = np.zeros((2 * count, 3))
    points[order] = [(n // 2, n % 2, 0) for n in range(2 * count)]
    quads = [[order[2 * n + k] for k in (0, 1, 3, 2)] for n in range(count - 1)]
    assert surface(points.tolist(), quads).components == 1
    del quads[700], quads[300]
    assert surface(points.tolist(), quads).components == 3


def test_no_surface_at_all() -> None:
    found = blender.measure(mesh_object([], []))
    assert found.surface.triangles == found.surface.components == 0 and found.dimensions == (0, 0, 0)
    assert [level for level, _ in blender.verdict(found)] == ["WARNING"]
    with pytest.raises(InputError) as caught:
        blender.measure(bpy.data.objects.new("Empty", None))
    sentence(caught.value)


def test_the_numbers_agree_with_a_plain_count(draft: Asset) -> None:
    """On a real asset, against Blender's own edges, counted one by one."""
    obj = blender.import_asset(draft, height=1.5)
    found = blender.measure(obj)
    uses = [0] * len(obj.data.edges)
    for loop in obj.data.loops:
        uses[loop.edge_index] += 1
    assert found.surface.triangles == len(obj.data.polygons)
    assert found.surface.vertices == len(obj.data.vertices), "the importer has welded it"
    assert found.surface.open_edges == uses.count(1)
    assert found.surface.non_manifold_edges == sum(n > 2 for n in uses)
    assert found.surface.flipped_edges == 0
    assert found.dimensions[2] == pytest.approx(1.5, rel=1e-5)
    assert 0.05 < found.surface.uv_area <= 1
    assert sorted(t.width for t in found.textures) == [512, 1024, 1024], "the normal map is half as large"
    assert found.texture_memory == 4 * (512**2 + 2 * 1024**2)
    assert all(0 < t.stored < t.memory for t in found.textures)
    assert found.alpha == "OPAQUE"


def test_alpha_is_what_the_material_does(draft: Asset) -> None:
    obj = blender.import_asset(draft)
    material = obj.material_slots[0].material
    principled_of(material).inputs["Alpha"].default_value = 0.5
    assert blender.measure(obj).alpha == "MASK"
    material.surface_render_method = "BLENDED"
    assert blender.measure(obj).alpha == "BLEND"


def test_kept_numbers_know_when_they_are_old(draft: Asset, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    assert blender.recall(obj) is None
    found = blender.remember(obj)
    files.save_file(tmp_path / "kept.blend")
    files.open_file(tmp_path / "kept.blend")
    (obj,) = bpy.data.objects
    assert blender.recall(obj) == (found, True)
    obj.data.vertices.add(1)
    assert blender.recall(obj) == (found, False)
    obj[statistics.PROPERTY] = '{"of": 1}'
    assert blender.recall(obj) is None


def test_the_verdict_in_words() -> None:
    def said(points: Any, faces: Any) -> dict[str, str]:
        return {text: level for level, text in blender.verdict(blender.measure(mesh_object(points, faces)))}

    assert said(*cube()) == {"Closed and clean: ready to print or simulate": "GOOD"}
    assert said(*cube(faces=SIDES[:5])) == {"Open at 4 edges: fine for rendering, not for printing": "INFO"}
    points, faces = cube()
    assert any("Recalculate" in text for text in said(points, [faces[0][::-1], *faces[1:]]))
    heavy = mesh_object(*cube())
    found = blender.measure(heavy)
    large = statistics.TextureFacts("Base", 8192, 8192, 1, 2**28)
    many = statistics.SurfaceFacts(500_000, 250_000, 3, 0, 0, 0, None)
    texts = [text for _, text in blender.verdict(statistics.Statistics(many, found.dimensions, "OPAQUE", (large,)))]
    assert [any(word in text for text in texts) for word in ("3 separate", "real-time", "shrink", "No UV")] == [
        True
    ] * 4
