"""Where the pictures of one object were taken from: names, degrees, and what the names of files say.

A view is named by where its camera stands, as in Blender: *right* is what Blender's Right view shows (from +X, the
object's front towards -Y), which is the object's own left side. Degrees count counter-clockwise as seen from above:
front 0, right 90, back 180, left 270.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import FieldError
from ..core.messages import message

V = TypeVar("V")

FRONT, RIGHT, BACK, LEFT = "front", "right", "back", "left"
YAWS: Mapping[str, float] = {FRONT: 0.0, RIGHT: 90.0, BACK: 180.0, LEFT: 270.0}
MOST_VIEWS = 7  # besides the front: every one costs as much time as the first picture
_NAMES = {yaw: name for name, yaw in YAWS.items()}
_ENDING = re.compile(rf"(.*?[^\s_.-])[\s_.-]+({'|'.join(YAWS)})", re.IGNORECASE)


def view_name(view: Any) -> str:
    """The one name of a view: front, right, back, left, or degrees in [0, 360) such as "135".

    `view` is a name, or degrees as a number or a text. Raises `FieldError`.
    """
    text = str(view).strip().lower()
    if text in YAWS:
        return text
    try:
        yaw = round(float(text) % 360.0, 3) % 360.0
    except ValueError:
        yaw = math.nan
    if not math.isfinite(yaw) or isinstance(view, bool):
        rule = message("give {allowed}, or degrees such as 135", allowed=[RIGHT, BACK, LEFT])
        raise FieldError("inputs.views", view, rule, code="invalidView")
    return _NAMES.get(yaw, f"{yaw:g}")


def yaw_of(name: str) -> float:
    """The degrees in [0, 360) of a view by its one name."""
    return YAWS[name] if name in YAWS else float(name)


def direction(name: str) -> tuple[float, float, float]:
    """From the object to the view's camera, in Blender's axes; length 1."""
    turn = math.radians(yaw_of(name))
    return math.sin(turn), -math.cos(turn), 0.0


def named_views(views: Any) -> dict[str, Any]:
    """The views by their one names, in the order of their degrees, whatever order they came in.

    Raises `FieldError` for a name that is none, for the front, which is the picture itself, for two of one direction,
    and for too many.
    """
    if not isinstance(views, Mapping):
        rule = message("give an object of pictures by view, such as {example}", example='{"back": ...}')
        raise FieldError("inputs.views", views, rule, code="invalidObject")
    found: dict[str, Any] = {}
    for view, picture in views.items():
        name = view_name(view)
        if name == FRONT:
            rule = message("the front is the picture itself; give the other views here")
            raise FieldError("inputs.views", view, rule, code="invalidView")
        if name in found:
            raise FieldError("inputs.views", view, message("give each view once"), code="invalidView")
        found[name] = picture
    if len(found) > MOST_VIEWS:
        rule = message("give at most {most} views besides the front", most=MOST_VIEWS)
        raise FieldError("inputs.views", len(found), rule, code="invalidView")
    return {name: found[name] for name in sorted(found, key=yaw_of)}


def check_views(views: Any, image: str) -> dict[str, str]:
    """`named_views` of a task, each a text such as `inputs.image` takes; raises `FieldError`."""
    found = named_views(views)
    if found and not image:
        rule = message("there is no front: give it as inputs.image")
        raise FieldError("inputs.views", list(found), rule, code="invalidView")
    for name, picture in found.items():
        if not isinstance(picture, str) or not picture.strip():
            rule = message("give a picture: UUID, URL, data URI or Base64")
            raise FieldError(f"inputs.views.{name}", picture, rule, code="invalidString", constraint={"type": "string"})
    return found


def view_in(stem: str) -> tuple[str, str]:
    """What a file's name without its ending says: ("shoe", "back") of shoe_back; the view is empty where it says none.

    It is the last word, after an underscore, a hyphen, a dot or a blank.
    """
    found = _ENDING.fullmatch(stem)
    return (found[1], found[2].lower()) if found else (stem, "")


def by_object(paths: Iterable[Path]) -> list[tuple[Path, dict[str, Path]]]:
    """Pictures of one object together: (front, further views) of each object, in the order of the paths.

    Of the same folder and of names that differ in the view alone; the front is shoe_front, or shoe itself. Views
    without a front, and a second picture of the same view, are objects of their own.
    """
    paths = list(paths)
    fronts: dict[tuple[Path, str], Path] = {}
    for wanted in (FRONT, ""):  # a name that says so comes before one that says nothing
        for path in paths:
            base, view = view_in(path.stem)
            if view == wanted:
                fronts.setdefault((path.parent, base.lower()), path)
    found: dict[Path, dict[str, Path]] = {}
    taken: set[Path] = set()
    for path in paths:
        base, view = view_in(path.stem)
        front = fronts.get((path.parent, base.lower()))
        if view in ("", FRONT) or front is None:
            continue
        views = found.setdefault(front, {})
        if view not in views:
            views[view] = path
            taken.add(path)
    return [(path, named_views(found.get(path, {}))) for path in paths if path not in taken]


def name_of_object(name: str) -> str:
    """What an object is called whose front has this name: shoe for shoe_front."""
    base, view = view_in(name)
    return base if view == FRONT else name
