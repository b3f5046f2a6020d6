"""The picture itself on the texture: sharper where it faces it, aligned, and nothing else is touched."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from projection_tools import blurred, camera_for, decibels, painting, rendered, thing
from views_tools import pictures

from trellis_addon.core.errors import Cancelled, FieldError
from trellis_addon.core.progress import Progress
from trellis_addon.engines.draft import ReliefEngine
from trellis_addon.engines.engine import Order
from trellis_addon.engines.projection.align import Form, find_camera
from trellis_addon.engines.projection.onto import generate_with_pictures
from trellis_addon.engines.projection.project import Projected, project
from trellis_addon.formats.glb.check import check_glb, split_glb
from trellis_addon.formats.glb.images import image_bytes
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.geometry.projection.camera import Camera, level
from trellis_addon.geometry.projection.raster import rasterise
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import check_own_settings

SIDE = 384
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def truth() -> bytes:
    return thing(painting())


@pytest.fixture(scope="module")
def soft(truth: bytes) -> bytes:
    return blurred(truth, painting(), 2.5)


@pytest.fixture(scope="module")
def stands(truth: bytes) -> Camera:
    return camera_for(truth, SIDE, yaw=5.0, pitch=6.0, roll=-2.0, near=0.4)


@pytest.fixture(scope="module")
def projected(truth: bytes, soft: bytes, stands: Camera) -> Projected:
    return project(soft, {"front": rendered(truth, stands, SIDE)}, 1.0, Progress())


def texels(glb: bytes) -> np.ndarray:
    document, binary = split_glb(glb)
    with Image.open(io.BytesIO(image_bytes(document, binary, 0))) as image:
        return np.asarray(image.convert("RGB"))


def test_which_way_a_camera_looks() -> None:
    low, high = np.full(3, -0.5, np.float32), np.full(3, 0.5, np.float32)
    right, up, towards = (np.eye(3, dtype=np.float32)[None, k] * 0.5 for k in range(3))
    front, from_right = level(low, high, 0.0, 0.3), level(low, high, math.pi / 2, 0.3)
    for camera, along, near in ((front, right, towards), (from_right, -towards, right)):
        (place,), _ = camera.project(along)
        assert place[0] > 0 and abs(place[1]) < 1e-6
        (above,), _ = camera.project(up)
        assert above[1] < 0, "rows run down"
        assert camera.project(near)[1] > 0
        assert np.allclose(camera.towards(np.zeros((1, 3), np.float32)), near * 2, atol=1e-5)
    (lifted,), _ = replace(front, pitch=0.3).project(towards)
    assert lifted[1] > 0, "seen from above, what is near is low"


def test_what_is_nearer_is_seen() -> None:
    square = np.array([[[0, 0], [8, 0], [0, 8]], [[0, 0], [8, 0], [0, 8]]], np.float32)
    seen = rasterise(square, (8, 8), np.array([[0.0] * 3, [1.0] * 3], np.float32))
    assert (seen.faces == 1).all() and len(seen.pixels) == 36
    other = rasterise(square, (8, 8), np.array([[2.0] * 3, [1.0] * 3], np.float32))
    assert (other.faces == 0).all() and (seen.mask == other.mask).all()
    places = seen.at(square)
    row, column = np.divmod(seen.pixels, 8)
    assert np.allclose(places, np.stack([column, row], 1) + 0.5, atol=1e-4)


def test_the_front_becomes_sharp_and_the_back_stays(
    truth: bytes, soft: bytes, stands: Camera, projected: Projected
) -> None:
    check_glb(projected.glb)
    assert not projected.notes and projected.cameras[0]["used"]
    shown = rendered(truth, stands, SIDE)
    before, after = (decibels(rendered(glb, stands, SIDE), shown) for glb in (soft, projected.glb))
    assert after >= before + 4.0, f"{before:.1f} dB before, {after:.1f} after"
    behind = camera_for(truth, SIDE, yaw=185.0, pitch=-6.0, near=0.4)
    assert np.array_equal(np.asarray(rendered(soft, behind, SIDE)), np.asarray(rendered(projected.glb, behind, SIDE)))


def test_nothing_but_the_texture_is_touched(soft: bytes, projected: Projected) -> None:
    before, after = read_glb(soft), read_glb(projected.glb)
    assert np.array_equal(before.vertices, after.vertices) and np.array_equal(before.faces, after.faces)
    assert np.array_equal(before.uvs, after.uvs) and np.array_equal(before.normals, after.normals)
    changed = (texels(soft) != texels(projected.glb)).any(-1).mean()
    assert 0.2 < changed < 0.6


def test_the_camera_is_found(projected: Projected) -> None:
    told = projected.cameras[0]
    assert abs(told["yaw"] - 5.0) < 1.0 and abs(told["pitch"] - 6.0) < 1.0 and abs(told["roll"] + 2.0) < 0.5
    assert told["agreement"] > 0.98


def test_places_are_right_within_two_pixels_of_1024(truth: bytes, soft: bytes, stands: Camera) -> None:
    mesh = read_glb(soft)
    form = Form(mesh.vertices[mesh.faces])
    picture = rendered(truth, stands, SIDE)
    from trellis_addon.engines.projection import project as module

    read = module._read("front", picture)
    groups = module._texels(mesh, *split_glb(soft), lambda: None)
    found = find_camera(form, read.colour, read.alpha, 0.0, module._drawn(mesh, groups))
    points = form.seen(stands, (SIDE, SIDE)).at(form.corners)
    apart = np.linalg.norm(found.camera.project(points)[0] - stands.project(points)[0], axis=1)
    assert apart.max() * 1024 / SIDE < 2.0


def test_light_is_divided_out(truth: bytes, soft: bytes, stands: Camera) -> None:
    def light(normals: np.ndarray) -> np.ndarray:
        along = np.clip(normals @ np.array([-0.5, 0.6, 0.62]), 0.0, 1.0)
        return (0.25 + 0.7 * along)[:, None] * np.array([1.0, 0.92, 0.8])

    lit = rendered(truth, stands, SIDE, light)
    glb = project(soft, {"front": lit}, 1.0, Progress()).glb
    shown = rendered(truth, stands, SIDE)
    pasted, before, after = (
        decibels(each, shown)
        for each in (
            lit,
            rendered(soft, stands, SIDE),
            rendered(glb, stands, SIDE),
        )
    )
    assert after > before + 2.0 and after > pasted + 6.0, f"{before:.1f} before, {after:.1f} after, {pasted:.1f} pasted"


def test_strength(soft: bytes, truth: bytes, stands: Camera, projected: Projected) -> None:
    picture = rendered(truth, stands, SIDE)
    half = texels(project(soft, {"front": picture}, 0.5, Progress()).glb).astype(float)
    none, whole = (texels(glb).astype(float) for glb in (soft, projected.glb))
    assert np.abs(half - none).sum() < 0.75 * np.abs(whole - none).sum()
    assert project(soft, {"front": picture}, 0.0, Progress()).glb == soft


def test_each_view_has_its_share(truth: bytes, soft: bytes, stands: Camera, projected: Projected) -> None:
    behind = camera_for(truth, SIDE, yaw=178.0, pitch=4.0, near=0.2)
    shown = rendered(truth, behind, SIDE)
    both = project(soft, {"front": rendered(truth, stands, SIDE), "back": shown}, 1.0, Progress())
    assert [camera["view"] for camera in both.cameras] == ["front", "back"]
    assert abs(both.cameras[1]["yaw"] - 178.0) < 1.5
    assert decibels(rendered(both.glb, behind, SIDE), shown) > decibels(rendered(soft, behind, SIDE), shown) + 4.0


def test_another_outline_is_refused(soft: bytes) -> None:
    ring = Image.new("RGBA", (300, 300))
    square = Image.new("RGBA", (300, 60), (200, 30, 30, 255))
    ring.paste(square, (0, 120))
    done = project(soft, {"front": ring}, 1.0, Progress())
    assert done.glb == soft and not done.cameras[0]["used"]
    assert "was not projected" in done.notes[0]


def test_cancelling_stops_it(soft: bytes, truth: bytes, stands: Camera) -> None:
    with pytest.raises(Cancelled):
        project(soft, {"front": rendered(truth, stands, SIDE)}, 1.0, Progress(is_cancelled=lambda: True))


def test_of_a_draft_the_hull_takes_the_pictures_and_the_relief_is_the_picture_already() -> None:
    settings = Settings(resolution=512, texture_size=1024, faces=3000, project_picture=1.0)
    found = pictures("front", "left")
    front = found.pop("front")
    made = generate_with_pictures(ReliefEngine(), Order(front, settings, 3, views=found), Progress())
    check_glb(made.glb)
    extras = split_glb(made.glb)[0]["asset"]["extras"]
    assert [camera["view"] for camera in extras["projection"]] == ["front", "left"]
    relief = generate_with_pictures(ReliefEngine(), Order(front, settings, 3), Progress())
    assert "already" in relief.facts["notes"][0]
    assert "already" in split_glb(relief.glb)[0]["asset"]["extras"]["notes"][0]


def test_the_remote_api_is_told_nothing_of_it() -> None:
    with pytest.raises(FieldError, match=r"settings\.projectPicture.*remote API"):
        check_own_settings(Settings(project_picture=0.5))
    with pytest.raises(FieldError, match="from 0 to 1"):
        Settings(project_picture=1.5)
