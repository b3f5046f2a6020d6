"""The panel's places for further views: filling them, what is said of them, and that they are used."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from views_tools import picture, pictures

bpy = pytest.importorskip("bpy")

from test_extension import extension, part  # noqa: E402, F401

SETTINGS = {"resolution": "512", "texture_size": "1024"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for view, shown in pictures("front", "right", "back", "left").items():
        shown.save(tmp_path / f"thing_{view}.png")
    return tmp_path


@pytest.fixture
def state(extension: ModuleType) -> Any:  # noqa: F811
    found = bpy.context.scene.trellis2
    found.backend = "draft"
    for name, value in SETTINGS.items():
        setattr(found.settings, name, value)
    return found


def dropped(folder: Path, *names: str) -> dict[str, Any]:
    return {"directory": str(folder), "files": [{"name": name} for name in names]}


def test_files_of_one_object_fill_their_places(folder: Path, state: Any) -> None:
    bpy.ops.trellis2.image_open(**dropped(folder, "thing_back.png", "thing_front.png", "thing_left.png"))
    assert (state.image.name, state.view_back.name, state.view_left.name) == (
        "thing_front.png", "thing_back.png", "thing_left.png",
    )  # fmt: skip
    assert state.view_right is None and state.view_back.packed_file is not None
    bpy.ops.trellis2.views_swap()
    assert state.view_left is None and state.view_right.name == "thing_left.png"
    bpy.ops.trellis2.view_open(view="left", filepath=str(folder / "thing_right.png"))
    assert state.view_left.name == "thing_right.png"
    bpy.ops.trellis2.image_open(filepath=str(folder / "thing_right.png"))
    assert state.image.name == "thing_right.png"
    assert [state.view_right, state.view_back, state.view_left] == [None] * 3, "another object has other views"
    assert not bpy.ops.trellis2.views_clear.poll()


def test_what_is_generated_is_of_all_views(folder: Path, state: Any) -> None:
    bpy.ops.trellis2.image_open(**dropped(folder, "thing_front.png", "thing_back.png", "thing_left.png"))
    before = set(bpy.data.objects)
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    (made,) = [obj for obj in set(bpy.data.objects) - before if obj.type == "MESH"]
    assert made.name.startswith("thing") and "front" not in made.name
    # the nose, which is low and which the picture of the left side shows, points to -Y
    points = [made.matrix_world @ vertex.co for vertex in made.data.vertices]
    near, far = min(point.y for point in points), max(point.y for point in points)
    tip, behind = ([point.z for point in points if abs(point.y - end) < 0.1] for end in (near, far))
    assert max(tip) - min(tip) < 0.35 < 0.6 < max(behind) - min(behind), "as shares of a metre"


def test_dropped_views_are_one_asset(folder: Path, state: Any) -> None:
    before = set(bpy.data.objects)
    bpy.ops.trellis2.generate(**dropped(folder, *(f"thing_{view}.png" for view in ("back", "front", "left", "right"))))
    (made,) = [obj for obj in set(bpy.data.objects) - before if obj.type == "MESH"]
    assert made.name.startswith("thing") and "front" not in made.name


def test_remote_is_told_before_it_is_sent(folder: Path, state: Any) -> None:
    picture_state = part("addon.picture_state")
    bpy.ops.trellis2.image_open(**dropped(folder, "thing_front.png", "thing_back.png"))
    assert picture_state.refusal(state) is None
    state.backend = "remote"
    assert "one picture" in str(picture_state.refusal(state))
    bpy.ops.trellis2.views_clear()
    assert picture_state.refusal(state) is None


def test_what_does_not_fit_is_seen_in_the_panel(folder: Path, state: Any) -> None:
    picture_state, preview = part("addon.picture_state"), part("trellis_addon.scene.cutout_preview")
    bpy.ops.trellis2.image_open(**dropped(folder, "thing_front.png", "thing_back.png"))
    assert picture_state.differences_seen(state) == (), "nobody has looked yet"
    for image in (state.image, state.view_back):
        preview.look(image)
    (said,) = picture_state.differences_seen(state)
    assert "back view has other colours" in said
    picture(180, colour=(220, 40, 40)).save(folder / "thing_back.png")
    bpy.ops.trellis2.view_open(view="back", filepath=str(folder / "thing_back.png"))
    preview.look(state.view_back)
    assert picture_state.differences_seen(state) == ()
    (folder / "clear.png").write_bytes((folder / "thing_back.png").read_bytes())
    picture(180).point(lambda value: 0).save(folder / "clear.png")
    bpy.ops.trellis2.view_open(view="left", filepath=str(folder / "clear.png"))
    preview.look(state.view_left)
    assert str(picture_state.refusal(state)).startswith("The left view:")


def test_the_shape_alone_from_the_panel(folder: Path, state: Any) -> None:
    bpy.ops.trellis2.image_open(filepath=str(folder / "thing_front.png"))
    state.settings.texture = False
    images, before = len(bpy.data.images), set(bpy.data.objects)
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    (made,) = [obj for obj in set(bpy.data.objects) - before if obj.type == "MESH"]
    assert len(bpy.data.images) == images and len(made.data.materials) == 1
    backend_state, field = part("addon.backend_state"), part("trellis_addon.task.settings").BY_NAME["texture"]
    assert backend_state.counts(state, field)
    state.backend = "remote"
    assert not backend_state.counts(state, field), "the remote API has no such setting"
    state.settings.property_unset("texture")


class Drawn:
    """A layout that keeps what is drawn: texts, properties and operators."""

    def __init__(self, kept: list[str] | None = None) -> None:
        self.kept: list[str] = [] if kept is None else kept
        self.alert = False
        self.scale_y = 1.0

    def row(self, **_: Any) -> Drawn:
        return Drawn(self.kept)

    column = row

    def label(self, *, text: str = "", **_: Any) -> None:
        self.kept.append(text)

    def template_icon(self, *, icon_value: int, scale: float) -> None:
        self.kept.append("a preview" if icon_value and scale > 1 else "nothing")

    def prop(self, group: Any, name: str, **_: Any) -> None:
        assert name in group.bl_rna.properties
        self.kept.append(name)

    def operator(self, name: str, **_: Any) -> Any:
        category, word = name.split(".")
        assert getattr(getattr(bpy.ops, category), word).get_rna_type()
        self.kept.append(name)
        return SimpleNamespace()


def test_what_the_panel_draws(folder: Path, state: Any) -> None:
    views, preview = part("ui.views"), part("trellis_addon.scene.cutout_preview")
    look = SimpleNamespace(system=SimpleNamespace(ui_scale=1))
    context = SimpleNamespace(scene=bpy.context.scene, region=SimpleNamespace(width=2000), preferences=look)

    def drawn() -> list[str]:
        layout = Drawn()
        views.TRELLIS2_PT_views.draw(SimpleNamespace(layout=layout), context)
        views.draw_view_warnings(layout, context)
        return layout.kept

    empty = drawn()
    assert [text for text in empty if text in ("Front", "Right", "Left", "Back")] == ["Front", "Right", "Left", "Back"]
    assert empty.count("trellis2.view_open") == 3 and "trellis2.views_swap" not in empty
    bpy.ops.trellis2.image_open(**dropped(folder, "thing_front.png", "thing_back.png"))
    for image in (state.image, state.view_back):
        preview.look(image)
    views.icon_of = lambda image, found, *how: (
        1 if found is not None and found.preview else 0
    )  # without a window there are none
    full = drawn()
    assert full.count("a preview") == 2 and "view_back" in full and "trellis2.views_swap" in full
    told = " ".join(full)
    assert "other colours" in told
