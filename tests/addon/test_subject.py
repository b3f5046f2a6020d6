"""A photograph in the panel: who can tell its subject, marking it, and what Generate says before it is pressed."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import disc, photo, sentence
from PIL import Image

bpy = pytest.importorskip("bpy")

from test_extension import extension, part  # noqa: E402, F401
from test_marks import BOX, SIZE, hedge, lamp_mask, overlap, scene  # noqa: E402
from test_panel import preferences, use  # noqa: E402, F401


def lamp() -> Any:
    """A lamp before a hedge in the panel, and the truth about it."""
    return use(scene(hedge(SIZE), lamp_mask()))


def preview() -> Any:
    return part("trellis_addon.scene.cutout_preview")


def refusal() -> Any:
    return part("addon.picture_state").refusal(bpy.context.scene.trellis2)


def cut_out(image: Any) -> Image.Image:
    picture: Image.Image = preview().loader_of(image)().rgba
    return picture


# --- who can tell the subject ---


def test_a_photograph_is_refused_where_nothing_cuts_out(extension: ModuleType, tmp_path: Path, monkeypatch) -> None:  # noqa: F811
    state = bpy.context.scene.trellis2
    picture_state = part("addon.picture_state")
    image = use(photo())
    for backend in ("draft", "local", "service", "remote"):
        state.backend = backend
        assert refusal() is None, "nobody has looked at it yet"
    found = preview().look(image)
    assert found.error and found.picture and not found.preview
    for backend in ("draft", "local"):
        state.backend = backend
        assert "no transparency" in sentence(Exception(refusal()))
    state.backend = "remote"
    assert refusal() is None, "which cuts subjects out itself"

    state.backend = "local"
    (tmp_path / "mask.onnx").write_bytes(b"")
    monkeypatch.setenv("TRELLIS2_MASK_MODEL", str(tmp_path / "mask.onnx"))
    picture_state._has_mask_model.cache_clear()
    assert refusal() is None, "so does a mask model"
    picture_state._has_mask_model.cache_clear()


def test_a_service_is_asked_whether_it_cuts_out(preferences: Any) -> None:  # noqa: F811
    answers = part("addon.service_answers")
    state = bpy.context.scene.trellis2
    preferences.service_url = "http://127.0.0.1:9/v1"
    state.backend = "service"
    preview().look(use(photo()))
    assert part("addon.picture_state").cuts_out(state) is None and refusal() is None, "nobody has asked it"
    for says in (True, False):
        answers.remember("http://127.0.0.1:9/v1", "The service answers", "CHECKMARK", says)
        assert (refusal() is None) == says
    answers.forget_all()


def test_what_nobody_can_use_is_refused_everywhere(extension: ModuleType) -> None:  # noqa: F811
    state = bpy.context.scene.trellis2
    preview().look(use(Image.new("RGBA", (320, 320), (200, 0, 0, 0))))
    for backend in ("draft", "local", "remote"):
        state.backend = backend
        assert "transparent" in str(refusal())


def test_generate_begins_nothing_of_what_is_known_to_fail(extension: ModuleType) -> None:  # noqa: F811
    cards, store = part("trellis_addon.scene.place.placeholder").all_cards, part("trellis_addon.jobs.store").JobStore()
    before, jobs = len(bpy.data.objects), [job.uuid for job in store.recent()]
    image = use(photo())
    for _ in range(2):  # without anybody having looked, and known before
        with pytest.raises(RuntimeError, match="no transparency"):
            bpy.ops.trellis2.generate()
        assert not cards() and [job.uuid for job in store.recent()] == jobs
        assert len(bpy.data.objects) == before
        preview().look(image)
    assert bpy.ops.trellis2.take_whole() == {"FINISHED"}
    assert image.trellis2.cutout == "WHOLE" and refusal() is None
    assert preview().look(image).cutout == "whole"


# --- marking it ---


def test_a_marked_subject_is_what_is_generated(extension: ModuleType) -> None:  # noqa: F811
    state = bpy.context.scene.trellis2
    state.settings.resolution, state.settings.texture_size = "512", "1024"
    image = lamp()
    preview().look(image)
    assert refusal() is not None
    assert bpy.ops.trellis2.mark_subject(box=BOX) == {"FINISHED"}
    assert image.trellis2.cutout == "MARKED" and tuple(image.trellis2.subject) == BOX
    assert refusal() is None
    assert overlap(cut_out(image), lamp_mask()) > 0.95
    found = preview().look(image)
    assert found.cutout == "marked" and len(found.preview) == preview().SIDE ** 2 * 4
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    (obj,) = (obj for obj in bpy.data.objects if obj.type == "MESH")
    assert obj.dimensions.x / obj.dimensions.z == pytest.approx(190 / 260, rel=0.1)


def test_marks_are_kept_with_the_picture(extension: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    image = lamp()
    marking = part("trellis_addon.scene.marking")
    bpy.ops.trellis2.mark_subject(box=BOX)
    marking.add_stroke(image, marking.Stroke(-1, 12.0, ((130.0, 200.0), (150.0, 330.0))))
    before = marking.take_down(image), np.asarray(cut_out(image))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    image = bpy.context.scene.trellis2.image
    assert marking.take_down(image) == before[0]
    assert (np.asarray(cut_out(image)) == before[1]).all()


def test_strokes_correct_what_the_box_gives(extension: ModuleType) -> None:  # noqa: F811
    image = lamp()
    marking = part("trellis_addon.scene.marking")
    bpy.ops.trellis2.mark_subject(box=BOX)
    marking.add_stroke(image, marking.Stroke(-1, 9.0, ((160.0, 326.0), (290.0, 326.0))))
    assert np.asarray(cut_out(image))[322:330, 165:285, 3].max() < 128, "the foot was said to be none of it"
    marks = marking.marks_of(image)
    assert marks.strokes.shape == SIZE[::-1] and set(np.unique(marks.strokes)) == {-1, 0}
    bpy.ops.trellis2.mark_subject(box=BOX)
    assert not marking.strokes_of(image), "a new box begins anew"
    image.trellis2.strokes = "no strokes at all"
    assert not marking.strokes_of(image) and overlap(cut_out(image), lamp_mask()) > 0.95


def test_what_is_marked_wrongly_is_told(extension: ModuleType) -> None:  # noqa: F811
    with pytest.raises(RuntimeError, match="Choose an image first|poll"):
        bpy.ops.trellis2.mark_subject(box=BOX)
    image = lamp()
    with pytest.raises(RuntimeError, match="next to nothing"):
        bpy.ops.trellis2.mark_subject(box=(900, 900, 1000, 1000))
    assert image.trellis2.cutout == "AUTO"
    image.trellis2.cutout = "MARKED"
    assert "mark its subject" in preview().look(image).error and preview().known(image).picture
    with pytest.raises(RuntimeError, match="Nothing is marked"):
        bpy.ops.trellis2.generate()


def test_a_new_mask_begins_with_what_was_marked(extension: ModuleType) -> None:  # noqa: F811
    image = lamp()
    bpy.ops.trellis2.mark_subject(box=BOX)
    marked = cut_out(image)
    assert bpy.ops.trellis2.mask_new() == {"FINISHED"}
    assert image.trellis2.cutout == "MASK"
    assert np.abs(np.asarray(cut_out(image))[..., 3].astype(int) - np.asarray(marked)[..., 3]).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_held_sideways_is_marked_as_blender_shows_it(extension: ModuleType, orientation: int) -> None:  # noqa: F811
    """Blender turns no photograph upright; the asset is."""
    size = (240, 200)
    upright, truth = scene(hedge(size), lamp_mask(size)), lamp_mask(size)
    back = {
        1: lambda p: p,
        2: lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda p: p.transpose(Image.Transpose.ROTATE_180),
        4: lambda p: p.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda p: p.transpose(Image.Transpose.TRANSPOSE),
        6: lambda p: p.transpose(Image.Transpose.ROTATE_90),
        7: lambda p: p.transpose(Image.Transpose.TRANSVERSE),
        8: lambda p: p.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    back(upright).save(file, "JPEG", quality=95, exif=exif)
    image = part("trellis_addon.scene.sources").image_of_bytes(file.getvalue(), "Photo")
    bpy.context.scene.trellis2.image = image
    assert tuple(image.size) == back(upright).size
    left, top, right, bottom = back(truth).getbbox()
    bpy.ops.trellis2.mark_subject(box=(left - 6, top - 6, right + 6, bottom + 6))
    assert overlap(cut_out(image), truth) > 0.95
    bpy.ops.trellis2.mask_new()
    assert overlap(cut_out(image), truth) > 0.95


# --- files of 0.1.0 ---


def test_choices_keep_their_numbers(extension: ModuleType) -> None:  # noqa: F811
    """What a .blend keeps of a choice is its number."""

    def numbers(owner: Any, name: str) -> dict[str, int]:
        return {item.identifier: item.value for item in owner.bl_rna.properties[name].enum_items}

    image = use(disc(64))
    kept = {"AUTO": 0, "MASK": 1, "WHOLE": 2, "MARKED": 3, "KEY": 4, "ALPHA": 5, "STUDIO": 6}
    assert numbers(image.trellis2, "cutout") == kept
    scene_ = bpy.context.scene.trellis2
    assert numbers(scene_, "backend") == {"draft": 0, "local": 1, "remote": 2, "service": 3}
