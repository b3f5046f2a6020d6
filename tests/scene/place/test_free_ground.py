"""Where new things find room: beside what stands there, in front of the eye, on floors and in rooms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from mathutils import Matrix, Quaternion, Vector  # noqa: E402

from trellis_addon.scene.place import placeholder  # noqa: E402
from trellis_addon.scene.place.free_ground import Frame, eye_of, free_place, right_of, turn_towards  # noqa: E402

HERE = (0.0, 0.0, 0.0)


@pytest.fixture(autouse=True)
def nothing() -> None:
    bpy.ops.wm.read_homefile(use_empty=True)


def box(size: Sequence[float], at: Sequence[float] = HERE, name: str = "Box") -> Any:
    """A box of this size around a place."""
    mesh = bpy.data.meshes.new(name)
    corners = [(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh.from_pydata([tuple(a * b for a, b in zip(size, corner, strict=True)) for corner in corners], [], faces)
    obj = bpy.data.objects.new(name, mesh)
    obj.location = at
    bpy.context.scene.collection.objects.link(obj)
    return obj


def find(wanted: Sequence[float] = HERE, width: float = 1.0, height: float = 1.0, **options: Any) -> Any:
    return free_place(bpy.context.view_layer, wanted, width, height, **options)


class View:
    """What is known of a region's view: an eye that looks at the origin."""

    def __init__(self, eye: Sequence[float], is_perspective: bool = True) -> None:
        self.is_perspective, self.view_distance = is_perspective, Vector(eye).length
        self.view_rotation: Quaternion = Vector(eye).to_track_quat("Z", "Y")
        self.view_matrix = (Matrix.Translation(Vector(eye)) @ self.view_rotation.to_matrix().to_4x4()).inverted()


def test_an_empty_place_is_taken_as_it_is() -> None:
    assert find((1.0, 2.0, 3.0)) == (1.0, 2.0, 3.0)


def test_beside_a_cube_to_the_right() -> None:
    box((2, 2, 2))
    x, y, z = find()
    assert 1.5 < x <= 2.0 and (y, z) == (0.0, 0.0)
    x, y, _ = find(right=(0.0, 1.0))
    assert 1.5 < y <= 2.0 and x == pytest.approx(0.0, abs=1e-9)


def test_several_in_a_row_do_not_overlap() -> None:
    places: list[tuple[float, ...]] = []
    for _ in range(8):
        place = find()
        assert all(max(abs(place[0] - x), abs(place[1] - y)) >= 1.0 for x, y, _ in places)
        box((1, 1, 1), (place[0], place[1], 0.5))
        places.append(place)
    assert max(math.hypot(*place[:2]) for place in places) < 6.0, "near to where they were wanted"


def test_floors_rooms_and_skies_are_no_obstacles() -> None:
    box((40, 40, 0.2), (0, 0, -0.1), "Floor")
    box((30, 30, 10), (0, 0, 5), "Room")
    assert find() == HERE
    box((0.4, 0.4, 3), (0, 0, 1.5), "Pillar")
    assert find() != HERE


def test_what_is_above_below_hidden_or_has_no_body_takes_no_room() -> None:
    box((1, 1, 1), (0, 0, 3), "Above")
    box((1, 1, 1), (0, 0, -0.6), "Below")
    hidden = box((1, 1, 1), (0, 0, 0.5), "Hidden")
    hidden.hide_set(True)
    for data in (bpy.data.cameras.new("Camera"), bpy.data.lights.new("Light", "SUN"), None):
        bpy.context.scene.collection.objects.link(bpy.data.objects.new("Without", data))
    assert find() == HERE
    hidden.hide_set(False)
    assert find() != HERE


def test_cards_and_instances_take_room() -> None:
    placeholder.stand("card-1", "Card", bpy.context.scene.collection, HERE, 1.0)
    assert find() != HERE
    kit = bpy.data.collections.new("Kit")
    part = box((1, 1, 1), (50, 0, 0.5), "Part")
    bpy.context.scene.collection.objects.unlink(part)
    kit.objects.link(part)
    user = bpy.data.objects.new("Instance", None)
    user.instance_type, user.instance_collection = "COLLECTION", kit
    user.location = (-50, 20, 0)
    bpy.context.scene.collection.objects.link(user)
    assert find((0.0, 20.0, 0.0)) != (0.0, 20.0, 0.0), "the part stands at the instance's place"


def test_it_is_seen_whole_where_that_can_be_had_nearby() -> None:
    """Looked at from above, 10 units are half of the window's width; a sidebar lies over its right part."""
    above = Matrix(((0.1, 0, 0, 0), (0, 0.1, 0, 0), (0, 0, -0.01, 0), (0, 0, 0, 1)))
    box((2, 2, 2))
    assert find()[0] > 1.0, "to the right of what stands there"
    frame = Frame(np.array(above), (-1.0, -1.0), (0.15, 1.0))
    x, y, _ = find(frame=frame)
    assert x < -1.0 and abs(y) < 1.5 and frame.holds((x, y, 0.0), 0.5, 1.0)
    far = Frame(np.array(above), (0.9, 0.9), (1.0, 1.0))
    assert find(frame=far) == find(), "not far from where it was wanted"
    behind = Frame(-np.array(above), (-1.0, -1.0), (1.0, 1.0))
    assert not behind.holds(HERE, 0.5, 1.0)


def test_nothing_stands_between_it_and_the_eye() -> None:
    box((2, 2, 2))
    eye = (3.0, -12.0, 3.0)
    box((1.6, 0.2, 6), (2.1, -3.5, 0), "Screen")  # before what is on the right
    assert find()[0] > 1.5
    assert find(eye=eye)[0] < -1.5, "not behind the screen"


def test_a_place_is_given_where_all_is_full() -> None:
    for x in range(-12, 13):
        for y in range(-12, 13):
            box((1, 1, 1), (x, y, 0.5))
    x, y, _ = find()
    assert max(abs(x), abs(y)) > 12.9


@pytest.mark.parametrize(
    ("eye", "turn"),
    [((0, -9, 3), 0), ((9, 0, 3), 90), ((0, 9, 3), 180), ((-9, 0, 3), -90), ((5, -9, 4), 0), ((9, -5, 4), 90)],
)
@pytest.mark.parametrize("is_perspective", [True, False])
def test_the_front_is_turned_to_the_eye(eye: Any, turn: float, is_perspective: bool) -> None:
    found = math.degrees(turn_towards(View(eye, is_perspective), HERE))
    assert (found - turn) % 360 == pytest.approx(0, abs=1e-6)
    assert eye_of(View(eye)) == pytest.approx(eye)


def test_from_straight_above_the_front_is_below_on_the_screen() -> None:
    above = View((0, 0, 20))
    above.view_rotation = Quaternion()
    assert turn_towards(above, HERE) == pytest.approx(0.0)
    assert right_of(View((0, -9, 3))) == pytest.approx((1.0, 0.0))
    assert right_of(View((9, 0, 3))) == pytest.approx((0.0, 1.0))
    assert right_of(View((9, -9, 3))) == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))
