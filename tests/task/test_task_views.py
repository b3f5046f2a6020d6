"""Where pictures were taken from: names, degrees, names of files, and the task that carries them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trellis_addon.core.errors import FieldError
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task, check_published, new_uuid
from trellis_addon.task.views import by_object, direction, name_of_object, named_views, view_in, view_name


@pytest.mark.parametrize(
    ("given", "name"),
    [("Back", "back"), (" left ", "left"), (90, "right"), ("270", "left"), (-90, "left"), (135, "135"),
     ("135.0", "135"), (-45.5, "314.5"), (360, "front"), (359.99999, "front"), (540, "back")],
)  # fmt: skip
def test_every_way_to_say_a_view_has_one_name(given: object, name: str) -> None:
    assert view_name(given) == name


@pytest.mark.parametrize("given", ["behind", "", "nan", "inf", None, True, "90deg"])
def test_what_is_no_view_is_refused(given: object) -> None:
    with pytest.raises(FieldError, match="back"):
        view_name(given)


def test_right_is_what_blender_s_right_view_shows() -> None:
    assert direction("front") == pytest.approx((0, -1, 0))
    assert direction("right") == pytest.approx((1, 0, 0))
    assert direction("back") == pytest.approx((0, 1, 0))
    assert direction("left") == pytest.approx((-1, 0, 0))
    assert direction("45") == pytest.approx((0.5**0.5, -(0.5**0.5), 0))


def test_views_come_in_the_order_of_their_degrees() -> None:
    assert list(named_views({"left": 1, 135: 2, "back": 3, "90": 4})) == ["right", "135", "back", "left"]


@pytest.mark.parametrize(
    "views", [{"front": "a"}, {0: "a"}, {"back": "a", 180: "b"}, ["a"], "a", {str(n): "a" for n in range(1, 9)}]
)
def test_views_that_cannot_be(views: object) -> None:
    with pytest.raises(FieldError):
        named_views(views)


@pytest.mark.parametrize(
    ("stem", "found"),
    [("shoe_front", ("shoe", "front")), ("Shoe-BACK", ("Shoe", "back")), ("my shoe left", ("my shoe", "left")),
     ("a.right", ("a", "right")), ("shoe__back", ("shoe", "back")), ("front", ("front", "")), ("_back", ("_back", "")),
     ("shoeback", ("shoeback", "")), ("back_shoe", ("back_shoe", ""))],
)  # fmt: skip
def test_names_of_files(stem: str, found: tuple[str, str]) -> None:
    assert view_in(stem) == found
    assert name_of_object(stem) == (found[0] if found[1] == "front" else stem)


def test_pictures_of_one_object_are_one() -> None:
    names = ["cup.png", "cup_left.jpg", "Shoe_back.png", "shoe_front.png", "shoe_left.PNG", "turn_left.png", "shoe.png"]
    found = by_object(Path("a", name) for name in names)
    assert [(path.name, {view: other.name for view, other in views.items()}) for path, views in found] == [
        ("cup.png", {"left": "cup_left.jpg"}),
        ("shoe_front.png", {"back": "Shoe_back.png", "left": "shoe_left.PNG"}),
        ("turn_left.png", {}),
        ("shoe.png", {}),
    ]
    assert len(by_object([Path("a", "cup_front.png"), Path("b", "cup_back.png")])) == 2, "of two folders"
    twice = by_object([Path("cup_front.png"), Path("cup_back.png"), Path("cup_back.jpg")])
    assert [path.name for path, _ in twice] == ["cup_front.png", "cup_back.jpg"], "nothing is lost"


def test_the_task_carries_them_and_comes_back() -> None:
    task = Task("front", Settings(resolution=512), views={"left": "l", 180: "b"})
    request = task.to_request()
    assert request["inputs"] == {"image": "front", "views": {"back": "b", "left": "l"}}
    assert Task.from_request(request) == task
    assert "views" not in Task("front").to_request()["inputs"]
    hash(task)


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"image": "a", "views": {"back": 3}}, "inputs.views.back"),
        ({"image": "a", "views": {"back": " "}}, "inputs.views.back"),
        ({"image": "a", "views": ["b"]}, "inputs.views"),
        ({"image": "a", "views": {"behind": "b"}}, "inputs.views"),
        ({"latents": "a", "views": {"back": "b"}}, "inputs.views"),
    ],
)
def test_a_wrong_request_is_told_where(inputs: dict[str, object], field: str) -> None:
    request = {"taskType": "3dInference", "taskUUID": new_uuid(), "model": "draft:relief@1", "inputs": inputs}
    with pytest.raises(FieldError) as caught:
        Task.from_request(request)
    assert caught.value.field == field


def test_the_remote_api_takes_one_picture() -> None:
    with pytest.raises(FieldError, match=r"inputs\.views: the remote API makes an asset of one picture"):
        check_published(Task("front", views={"back": "b"}))
    check_published(Task("front"))
