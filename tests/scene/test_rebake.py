"""Remesh and rebake: a pile of Blender's objects becomes one clean asset in its place."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

for package in ("scipy", "fast_simplification"):
    pytest.importorskip(package)

from test_extension import extension, part  # noqa: E402, F401  (a fixture)

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
        material.use_nodes = True
        material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = colour
        obj.data.materials.append(material)
        obj.name = name
        made.append(obj)
    return made


def test_a_pile_becomes_one_closed_asset_in_its_place(pile: list[object]) -> None:
    scene = part("trellis_addon.scene")
    obj = scene.rebake(pile, resolution=160, texture_size=1024, faces=5000)
    assert obj.location[:] == pytest.approx((4.0, 2.0, 0.0), abs=0.01)
    assert obj.dimensions[:] == pytest.approx((1.0, 1.0, 1.4), abs=0.01)
    found = scene.measure(obj).surface
    assert found.triangles <= 5050 and found.components == 1, "what is inside of the box is gone"
    assert found.open_edges == found.non_manifold_edges == 0
    assert len(obj.data.materials) == 1 and {"Box", "Ball"} <= set(bpy.data.objects.keys())


def test_the_operator_says_what_it_needs(extension: ModuleType, pile: list[object]) -> None:  # noqa: F811
    bpy.ops.object.select_all(action="DESELECT")
    assert not bpy.ops.trellis2.rebake.poll()
    pile[0].select_set(True)  # type: ignore[attr-defined]
    assert bpy.ops.trellis2.rebake(resolution="256", texture_size="1024", faces=2000) == {"FINISHED"}
    rebuilt = bpy.data.objects["Ball Rebuilt"]  # named after the active one
    assert rebuilt.dimensions.x == pytest.approx(1.0, abs=0.01)


def test_a_python_that_is_not_there_is_told(
    pile: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRELLIS2_PYTHON", "/nowhere/python")
    scene, errors = part("trellis_addon.scene"), part("trellis_addon.core.errors")
    before = set(bpy.data.objects.keys())
    with pytest.raises(errors.EngineError, match="/nowhere/python cannot be started"):
        scene.rebake(pile)
    empty = bpy.data.objects.new("Empty", None)
    with pytest.raises(errors.InputError, match="no mesh"):
        scene.rebake([empty])
    assert set(bpy.data.objects.keys()) - {"Empty"} == before
