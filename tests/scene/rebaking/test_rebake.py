"""Remesh and rebake: a pile of Blender's objects becomes one clean asset in its place."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

pytest.importorskip("scipy")

from test_extension import extension, part  # noqa: F401  (a fixture)

bpy = pytest.importorskip("bpy")


@pytest.fixture
def pile(extension: ModuleType) -> Iterator[list[object]]:  # noqa: F811
    """A red box and a blue ball that goes through it, away from the origin."""
    made = []
    for name, add, colour in (
        ("Box", lambda: bpy.ops.mesh.primitive_cube_add(size=1.0, location=(4.0, 2.0, 0.5)), (0.8, 0.1, 0.1, 1.0)),
        (
            "Ball",
            lambda: bpy.ops.mesh.primitive_uv_sphere_add(radius=0.4, location=(4.0, 2.0, 1.0)),
            (0.1, 0.1, 0.8, 1.0),
        ),
    ):
        add()
        obj = bpy.context.active_object
        material = bpy.data.materials.new(name)
        if bpy.app.version < (5, 0):
            material.use_nodes = True
        material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = colour
        obj.data.materials.append(material)
        obj.name = name
        made.append(obj)
    return made


def test_a_pile_becomes_one_closed_asset_in_its_place(pile: list[object]) -> None:
    scene = part("trellis_addon.scene")
    obj = scene.rebake(pile, resolution=160, texture_size=1024, faces=5000, normal_map=False)
    assert obj.location[:] == pytest.approx((4.0, 2.0, 0.0), abs=0.01)
    assert obj.dimensions[:] == pytest.approx((1.0, 1.0, 1.4), abs=0.01)
    found = scene.measure(obj).surface
    assert found.triangles <= 5000 and found.components == 1, "what is inside of the box is gone"
    assert found.open_edges == found.non_manifold_edges == 0
    assert len(obj.data.materials) == 1 and {"Box", "Ball"} <= set(bpy.data.objects.keys())
    assert not any(source.hide_get() or source.hide_render for source in pile)  # type: ignore[attr-defined]


def test_the_operator_leaves_the_new_one_selected_in_the_place_of_the_old(
    extension: ModuleType,  # noqa: F811
    pile: list[object],
) -> None:
    bpy.ops.object.select_all(action="DESELECT")
    assert not bpy.ops.trellis2.rebake.poll()
    box, ball = pile
    box.select_set(True)  # type: ignore[attr-defined]
    options = {"resolution": "128", "texture_size": "512", "faces": 100, "normal_map": "OFF"}
    assert bpy.ops.trellis2.rebake(**options) == {"FINISHED"}
    rebuilt = bpy.data.objects["Box Rebuilt"]
    assert rebuilt.dimensions.x == pytest.approx(1.0, abs=0.02) and len(rebuilt.data.loop_triangles) <= 100
    assert rebuilt.location[:] == pytest.approx((4.0, 2.0, 0.0), abs=0.02)
    assert box.hide_get() and box.hide_render and not ball.hide_get()  # type: ignore[attr-defined]
    assert bpy.context.selected_objects == [rebuilt] and bpy.context.active_object == rebuilt
    known = part("trellis_addon.scene").read_provenance(rebuilt)
    assert known["engine"] == "trellis2:rebuild@1" and known["settings"]["faces"] == 100


def test_what_was_selected_since_stays_so(extension: ModuleType, pile: list[object]) -> None:  # noqa: F811
    take_place_of = part("trellis_addon.scene.place.succession").take_place_of
    box, ball = pile
    other = bpy.data.objects.new("other", None)
    bpy.context.collection.objects.link(other)
    bpy.ops.object.select_all(action="DESELECT")
    other.select_set(True)
    take_place_of(bpy.context.scene, [ball], {box.session_uid}, is_hiding=True)  # type: ignore[attr-defined]
    assert bpy.context.selected_objects == [other] and box.hide_get()  # type: ignore[attr-defined]


def test_what_cannot_be_is_told_and_changes_nothing(
    pile: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene, errors = part("trellis_addon.scene"), part("trellis_addon.core.errors")
    before = set(bpy.data.objects.keys())
    empty = bpy.data.objects.new("Empty", None)
    with pytest.raises(errors.InputError, match="no mesh"):
        scene.rebake([empty])
    for wrong in ({"faces": "5000"}, {"faces": 1}, {"faces": [500, 2]}, {"texture_size": 7}):
        with pytest.raises(errors.FieldError, match=next(iter(wrong))):
            scene.rebake(pile, **wrong)
    with pytest.raises(errors.InputError, match="solidity: hollow"):
        scene.rebake(pile, solidity="hollow")
    child = part("trellis_addon.runtime.child")
    monkeypatch.setattr(child, "_FINISHING", ("no_such_package",))
    with pytest.raises(errors.EngineError, match="press Get Packages"):
        scene.rebake(pile)
    monkeypatch.setenv("TRELLIS2_PYTHON", "/nowhere/python")
    with pytest.raises(errors.EngineError, match="/nowhere/python cannot be started"):
        scene.rebake(pile, resolution=64)
    assert set(bpy.data.objects.keys()) - {"Empty"} == before


def test_quads_come_into_the_scene_as_quads(pile: list[object]) -> None:
    scene = part("trellis_addon.scene")
    obj = scene.rebake(pile[:1], resolution=48, texture_size=64, quads=300)
    mesh = obj.data
    sides = [len(face.vertices) for face in mesh.polygons]
    assert set(sides) <= {3, 4} and sides.count(4) >= 0.98 * len(sides) and abs(len(sides) - 300) <= 15
    assert scene.measure(obj).surface.is_closed and len(mesh.vertices) < 1.1 * len(sides), "whole along its seams"
    assert len(mesh.uv_layers) == 1 and mesh.materials[0] and obj.dimensions[:] == pytest.approx((1, 1, 1), abs=0.02)
    normals = [tuple(round(value, 3) for value in corner.vector) for corner in mesh.corner_normals]
    assert len(set(normals)) > 6, "the file's own normals"
    assert all(
        face.normal.dot(face.center - sum((v.co for v in mesh.vertices), face.center * 0) / len(mesh.vertices)) > 0
        for face in mesh.polygons
    ), "outwards"


def test_game_ready_with_levels_of_detail(pile: list[object]) -> None:
    scene = part("trellis_addon.scene")
    before = set(bpy.data.collections)
    obj = scene.game_ready(pile[1], faces=300, texture_size=64, resolution=48, lods=2, remesh=True)
    (level,) = scene.lods_of(obj).objects
    assert level.name == f"{obj.name}_LOD1" and level["trellis2_lod_level"] == 1 and level["trellis2_lod_distance"] > 0
    assert len(level.data.polygons) <= 75 < len(obj.data.polygons) <= 300
    assert level.data.materials[0] != obj.data.materials[0] and level.data.uv_layers, "maps of its own"
    assert [modifier.type for modifier in obj.modifiers] == ["NODES"] and level.matrix_world == obj.matrix_world
    middle = sum((vertex.co for vertex in level.data.vertices), obj.location * 0) / len(level.data.vertices)
    assert (middle.x, middle.y) == pytest.approx((0, 0), abs=0.05), "in the finest one's place"
    assert len(set(bpy.data.collections) - before) == 2, "the asset's, and that of its levels"
    assert obj.dimensions[:] == pytest.approx((0.8, 0.8, 0.8), abs=0.03)


def test_game_ready_is_within_its_budget(pile: list[object]) -> None:
    scene = part("trellis_addon.scene")
    box = pile[0]
    obj = scene.game_ready(box, preset="background", texture_size=256)
    found = scene.measure(obj)
    assert found.surface.triangles <= 500 and found.surface.open_edges == 0
    assert {(texture.width, texture.height) for texture in found.textures} == {(256, 256)}
    assert obj.dimensions[:] == pytest.approx((1.0, 1.0, 1.0), abs=0.01) and box.hide_get()  # type: ignore[attr-defined]
    with pytest.raises(part("trellis_addon.core.errors").FieldError, match="mobile"):
        scene.game_ready(obj, preset="tiny")


def _ring() -> object:
    bpy.ops.curve.primitive_bezier_circle_add()
    bpy.context.object.data.bevel_depth = 0.2
    return bpy.context.object


def test_game_ready_of_what_is_no_mesh(extension: ModuleType) -> None:  # noqa: F811
    scene, source = part("trellis_addon.scene"), _ring()
    assert bpy.ops.trellis2.game_ready.poll()
    obj = scene.game_ready(source, faces=200, texture_size=64)
    found = scene.measure(obj)
    assert found.surface.triangles <= 200 and found.surface.open_edges == 0
    assert max(obj.dimensions) == pytest.approx(2.4, abs=0.1)


def test_the_budgets_of_the_button_are_the_librarys(extension: ModuleType, pile: list[object]) -> None:  # noqa: F811
    budgets = part("trellis_addon.contract.budgets").BUDGETS
    items = bpy.ops.trellis2.game_ready.get_rna_type().properties["budget"].enum_items
    assert {item.identifier for item in items} == set(budgets)
    for item in items:
        budget = budgets[item.identifier]
        assert f"{budget.faces:,} triangles" in item.description and f"of {budget.texture_size}" in item.description
    bpy.context.view_layer.objects.active = pile[0]
    assert bpy.ops.trellis2.game_ready(budget="background") == {"FINISHED"}
    assert "Box Background" in bpy.data.objects


def test_an_assistant_has_it_made_as_the_button_does(extension: ModuleType, pile: list[object]) -> None:  # noqa: F811
    """Of the object that it names, whatever is selected."""
    bpy.context.view_layer.objects.active = pile[1]
    assert part("trellis_addon.scene.door.tools").game_ready("Box", "background")["begun"]
    made = bpy.data.objects["Box Background"]
    assert len(made.data.polygons) <= 500 and pile[0].hide_get()  # type: ignore[attr-defined]
