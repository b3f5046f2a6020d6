"""What speaks against pictures being of one object: heights, outlines, colours."""

from __future__ import annotations

from PIL import Image
from views_tools import picture, pictures

from trellis_addon.images.consistency import differences


def same_colour(*views: str) -> dict[str, Image.Image]:
    yaws = {"front": 0, "right": 90, "back": 180, "left": 270, "135": 135}
    return {view: picture(yaws[view]) for view in views}


def test_one_object_is_one() -> None:
    assert differences(same_colour("front", "right", "135", "back", "left")) == ()
    assert differences(same_colour("front")) == ()
    assert differences({**same_colour("front"), "back": Image.new("RGBA", (9, 9))}) == ()


def test_heights_are_told_where_the_frame_is_one() -> None:
    found = same_colour("front", "left")
    tall = found["left"].resize((260, 260)).crop((30, 30, 230, 230))
    (said,) = differences({**found, "left": tall})
    assert "30 % taller in the left view than in the front" in said
    (said,) = differences({"front": tall, "left": found["left"]})
    assert "taller in the front view than in the left" in said
    cut = tall.crop(tall.getchannel("A").getbbox())
    assert differences({**found, "left": cut}) == (), "cut to the subject it says nothing of its height"


def test_opposite_outlines_are_mirror_images() -> None:
    found = same_colour("front", "back")
    wide = found["back"].resize((280, 200))
    (said,) = differences({**found, "back": wide})
    assert "back view is 4" in said and "wider than the front" in said
    (said,) = differences({"left": found["front"], "right": picture(90), "front": picture(0)})
    assert "right view" in said and "wider than the left" in said
    flipped = {"front": picture(45), "back": picture(45)}
    (said,) = differences(flipped)
    assert "mirror image" in said


def test_colours_of_another_object_are_told() -> None:
    found = pictures("front", "back")
    (said,) = differences(found)
    assert "back view has other colours" in said
    near = {"front": picture(0, colour=(150, 120, 90)), "back": picture(180, colour=(110, 90, 70))}
    assert differences(near) == (), "light and shade"
