"""What the panel knows and warns of before anything is paid, the choices it offers, and the preferences."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import PATIENCE, disc, encoded, photo, sentence
from PIL import Image, ImageDraw

bpy = pytest.importorskip("bpy")

from test_extension import NAME, extension, part  # noqa: E402, F401

from trellis_addon.core.errors import ImageError  # noqa: E402
from trellis_addon.images import STUDIO_NOTICE, WHOLE, decode, load_image, prepare  # noqa: E402

SIDE = 320


def block(picture: Image.Image, name: str = "Picture") -> Any:
    """A datablock with the picture packed."""
    return part("trellis_addon.scene.sources").image_of_bytes(encoded(picture), name)


def half(left: bool = True) -> Image.Image:
    """A mask whose one half is white."""
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (0, 0, SIDE // 2, SIDE) if left else (SIDE // 2, 0, SIDE, SIDE))
    return mask


def use(picture: Image.Image) -> Any:
    image = block(picture)
    bpy.context.scene.trellis2.image = image
    return image


@pytest.fixture
def preferences(extension: ModuleType) -> Iterator[Any]:  # noqa: F811
    """The extension's preferences, as they are when it is enabled in Blender's."""
    addon = bpy.context.preferences.addons.new()
    addon.module = NAME
    yield addon.preferences
    bpy.context.preferences.addons.remove(addon)


# --- masks, in the library ---


def test_a_mask_takes_the_place_of_the_picture_s_own_cutout() -> None:
    for source in (disc(SIDE), photo(SIDE)):
        found = load_image(encoded(source), mask=encoded(half()))
        assert found.cutout == "mask"
        alpha = np.asarray(found.rgba)[..., 3]
        assert (alpha[:, : SIDE // 2] == 255).all() and (alpha[:, SIDE // 2 :] == 0).all()
        assert (np.asarray(found.rgba)[..., :3] == np.asarray(source.convert("RGBA"))[..., :3]).all()


def test_a_mask_may_be_transparency_and_of_another_size() -> None:
    mask = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (0, 0, SIDE // 2, SIDE))  # black throughout: its alpha is what counts
    found = load_image(encoded(photo(SIDE)), mask=encoded(mask.resize((SIDE // 2, SIDE // 2))))
    alpha = np.asarray(found.rgba)[..., 3]
    assert alpha[:, : SIDE // 2 - 4].min() == 255 and alpha[:, SIDE // 2 + 4 :].max() == 0


def test_masks_that_cannot_be_used_are_told() -> None:
    for mask, words in (
        (Image.new("L", (SIDE, SIDE), 0), "shows nothing"),
        (Image.new("L", (SIDE, SIDE // 2), 255), "same proportions"),
    ):
        with pytest.raises(ImageError, match=words) as caught:
            load_image(encoded(photo(SIDE)), mask=encoded(mask))
        sentence(caught.value)


@pytest.mark.parametrize("mask", [WHOLE, "white"])
def test_the_whole_picture_stays_whole_wherever_it_goes(mask: str) -> None:
    given = WHOLE if mask == WHOLE else encoded(Image.new("L", (SIDE, SIDE), 255))
    found = load_image(encoded(photo(SIDE)), mask=given)
    assert found.cutout == "whole" and not found.warnings
    assert (np.asarray(found.rgba)[..., 3] >= 254).all()
    # what is sent is prepared once more by a service of ours, which must not cut it out either
    again = load_image(found.png())
    assert again.cutout == "alpha" and (np.asarray(again.rgba)[..., 3] >= 254).all()


def test_the_picture_that_was_given_stays_as_it_is() -> None:
    picture = decode(encoded(disc(SIDE)))
    before = picture.tobytes()
    prepare(picture, mask=WHOLE)
    prepare(picture, mask=half().convert("RGBA"))
    assert picture.tobytes() == before


def test_a_subject_at_the_edge_is_warned_of() -> None:
    def warned(box: tuple[int, int, int, int]) -> str:
        picture = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
        ImageDraw.Draw(picture).rectangle(box, (200, 60, 40, 255))
        return " ".join(load_image(encoded(picture)).warnings)

    far = SIDE - 1
    assert "cut off" not in warned((20, 20, far - 20, far - 20))
    assert "bottom edge;" in warned((20, 20, far - 20, far))
    assert "left and top edges;" in warned((0, 0, far - 20, far - 20))
    assert "left, right and top edges;" in warned((0, 0, far, 200))
    # what touches with a tip is whole
    tip = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    ImageDraw.Draw(tip).polygon([(SIDE // 2, 0), (far - 20, far - 20), (20, far - 20)], (200, 60, 40, 255))
    assert not load_image(encoded(tip)).warnings


# --- masks, in Blender ---


def test_a_mask_datablock_changes_what_is_generated(extension: ModuleType) -> None:  # noqa: F811
    image = use(photo(SIDE))
    state = bpy.context.scene.trellis2
    state.settings.resolution, state.settings.texture_size = "512", "1024"
    with pytest.raises(RuntimeError, match="no transparency"):
        bpy.ops.trellis2.generate()
    image.trellis2.mask, image.trellis2.cutout = block(half(), "Mask"), "MASK"
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    (obj,) = (obj for obj in bpy.data.objects if obj.type == "MESH")
    assert obj.dimensions.x / obj.dimensions.z == pytest.approx(0.5, rel=0.1)


def test_each_picture_keeps_its_own_cutout(extension: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    image, other = use(photo(SIDE)), block(disc(SIDE), "Other")
    image.trellis2.mask, image.trellis2.cutout = block(half(), "Mask"), "MASK"
    other.trellis2.cutout = "WHOLE"
    other.use_fake_user = True
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    loader_of = part("trellis_addon.scene.cutout_preview").loader_of
    assert loader_of(bpy.context.scene.trellis2.image)().cutout == "mask"
    assert loader_of(bpy.data.images["Other"])().cutout == "whole"


def test_a_new_mask_is_the_automatic_cutout_to_paint_on(extension: ModuleType) -> None:  # noqa: F811
    preview = part("trellis_addon.scene.cutout_preview")
    image = use(disc(SIDE))
    automatic = np.asarray(preview.loader_of(image)().rgba)[..., 3]
    assert bpy.ops.trellis2.mask_new() == {"FINISHED"}
    assert image.trellis2.cutout == "MASK"
    masked = np.asarray(preview.loader_of(image)().rgba)[..., 3]
    assert np.abs(masked.astype(int) - automatic).max() <= 1

    mask = image.trellis2.mask
    pixels = np.zeros(SIDE * SIDE * 4, np.float32).reshape(SIDE, SIDE, 4)
    pixels[: SIDE // 2] = 1.0  # Blender's rows go up: the lower half
    mask.pixels.foreach_set(pixels.ravel())
    painted = np.asarray(preview.loader_of(image)().rgba)[..., 3]
    assert painted[: SIDE // 2].max() == 0 and painted[SIDE // 2 :].min() == 255


def test_a_new_mask_of_a_busy_photo_is_white(extension: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    image = use(photo(SIDE))
    bpy.ops.trellis2.mask_new()
    assert part("trellis_addon.scene.cutout_preview").loader_of(image)().cutout == "whole"
    half().save(tmp_path / "Half.png")
    bpy.ops.trellis2.mask_open(filepath=str(tmp_path / "Half.png"))
    assert image.trellis2.mask.name == "Half.png"
    assert part("trellis_addon.scene.cutout_preview").loader_of(image)().cutout == "mask"


def test_the_mask_choice_without_a_mask_is_told(extension: ModuleType) -> None:  # noqa: F811
    use(disc(SIDE)).trellis2.cutout = "MASK"
    with pytest.raises(RuntimeError, match="no mask"):
        bpy.ops.trellis2.generate()


# --- looking at it before it is used ---


def test_what_the_panel_tells_of_a_picture(extension: ModuleType) -> None:  # noqa: F811
    preview = part("trellis_addon.scene.cutout_preview")
    studio = Image.new("RGB", (SIDE, SIDE), (220, 220, 215))
    ImageDraw.Draw(studio).ellipse((8, 8, SIDE - 8, SIDE - 8), (190, 30, 40))
    for picture, cutout, words in (
        (disc(SIDE * 2), "alpha", ""),
        (studio, "studio", ""),
        (disc(100), "alpha", "larger picture"),
        (photo(SIDE), "", ""),
    ):
        image = use(picture)
        assert preview.known(image) is None
        found = preview.look(image)
        assert preview.known(image) is found
        assert found.cutout == cutout
        assert words in " ".join(found.warnings) and bool(found.warnings) == bool(words)
        assert STUDIO_NOTICE not in found.warnings
        if cutout:
            assert len(found.preview) == preview.SIDE**2 * 4 and not found.error
        else:
            assert not found.preview and "no transparency" in found.error
        image.trellis2.cutout = "WHOLE"
        assert preview.known(image) is None, "that was another cutout's"
        assert preview.look(image).cutout == "whole"


def test_the_preview_shows_the_cutout_the_right_way_up(extension: ModuleType) -> None:  # noqa: F811
    preview = part("trellis_addon.scene.cutout_preview")
    picture = Image.new("RGBA", (SIDE, SIDE), (0, 255, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, SIDE // 2, SIDE // 2))  # red above
    picture.paste((0, 0, 255, 255), (0, SIDE // 2, SIDE // 2, SIDE))  # blue below, and nothing to the right
    found = preview.look(use(picture)).preview
    side = preview.SIDE
    pixels = np.frombuffer(found, np.uint8).reshape(side, side, 4)
    subject = pixels[:, side // 4 + 12 : side * 3 // 4 - 12, :3]
    assert (subject[side // 2 + 4 :] == (255, 0, 0)).all() and (subject[: side // 2 - 4] == (0, 0, 255)).all()
    assert (np.ptp(pixels[:, : side // 4 - 12, :3], axis=-1) == 0).all(), "grey squares, not what is hidden by alpha"
    assert (pixels[..., 3] == 255).all()


def test_a_small_subject_fills_the_preview(extension: ModuleType) -> None:  # noqa: F811
    preview = part("trellis_addon.scene.cutout_preview")
    picture = Image.new("RGBA", (SIDE * 4, SIDE * 4), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (1000, 40, 1100, 140))
    pixels = np.frombuffer(preview.look(use(picture)).preview, np.uint8).reshape(preview.SIDE, preview.SIDE, 4)
    assert ((pixels[..., :3] == (255, 0, 0)).all(axis=-1)).mean() > 0.8


def test_looking_in_a_thread_reaches_the_panel(extension: ModuleType) -> None:  # noqa: F811
    import time

    preview, pump = part("trellis_addon.scene.cutout_preview"), part("trellis_addon.scene.pump")
    for picture in (disc(SIDE), photo(SIDE)):
        image = use(picture)
        preview.look_later(image)
        assert preview.is_under_way(image)
        give_up = time.monotonic() + PATIENCE
        while preview.known(image) is None and time.monotonic() < give_up:
            pump.pump()
            time.sleep(0.02)
        assert not preview.is_under_way(image)
        assert preview.known(image) == preview.look(image)


def test_of_two_looks_the_later_one_counts(extension: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The mask is painted on while the picture is still being looked at."""
    import threading
    import time

    preview, pump = part("trellis_addon.scene.cutout_preview"), part("trellis_addon.scene.pump")
    image = use(photo(SIDE))
    mask = block(half(), "Mask")
    image.trellis2.mask, image.trellis2.cutout = mask, "MASK"
    slow, gate = preview._look, threading.Event()

    def held(load: Any) -> Any:
        gate.wait(PATIENCE)
        return slow(load)

    monkeypatch.setattr(preview, "_look", held)
    preview.look_later(image)
    monkeypatch.setattr(preview, "_look", slow)
    mask.pixels.foreach_set(np.ones(SIDE * SIDE * 4, np.float32))
    mask.pack()
    preview.look_later(image)
    gate.set()
    give_up = time.monotonic() + PATIENCE
    while pump.threads_at_work() and time.monotonic() < give_up:
        pump.pump()
        time.sleep(0.02)
    assert preview.known(image).cutout == "whole" and not preview.is_under_way(image)


def test_every_icon_is_one_of_this_blender(extension: ModuleType) -> None:  # noqa: F811
    known = bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items.keys()
    root = Path(str(extension.__file__)).parent
    sources = [path for folder in ("ui", "operators") for path in (root / folder).glob("*.py")]
    named = {name for path in sources for name in re.findall(r'icon="([A-Z0-9_]+)"', path.read_text("utf-8"))}
    assert len(named) > 20 and named <= set(known), named - set(known)


def test_scripts_ask_with_an_operator(extension: ModuleType) -> None:  # noqa: F811
    assert not bpy.ops.trellis2.image_check.poll()
    use(disc(SIDE))
    assert bpy.ops.trellis2.image_check() == {"FINISHED"}
    use(photo(SIDE))
    with pytest.raises(RuntimeError, match="no transparency"):
        bpy.ops.trellis2.image_check()


# --- the backend's state, and what stands in the way ---


def test_each_backend_tells_what_stands_in_the_way(preferences: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = part("addon.backend_state")
    state = bpy.context.scene.trellis2

    def told(choice: str) -> str:
        state.backend = choice
        return "; ".join(line.text for line in [*backend.state_lines(choice), *backend.problems(state)])

    assert told("draft") == "A quick relief, no AI model"
    assert "draft answers" in told("local")
    assert told("service") == "No address of a service"
    preferences.service_url = "http://127.0.0.1:9/v1"
    assert told("service") == "http://127.0.0.1:9/v1"
    assert told("remote") == "Online access is off"
    online = {"online_access": True, "background": True}
    monkeypatch.setattr(backend.bpy, "app", type("App", (), {**online, "translations": bpy.app.translations}))
    assert told("remote") == "No API key"
    preferences.api_key = "k" * 32
    assert told("remote") == "Key from the preferences"
    assert backend.price_of(state) and not backend.price_of(state, 2).startswith(backend.price_of(state)[:4])
    state.backend = "draft"
    assert backend.price_of(state) == ""


@pytest.mark.skipif(
    os.name == "nt",
    reason="the stand-in is a shell script; on Windows the same words are read, tests/local asks for them",
)
def test_the_graphics_card_tells_its_memory(preferences: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, device = part("addon.backend_state"), part("trellis_addon.scene.device")
    monkeypatch.setattr(backend, "trellis2_available", lambda: True)
    backend._available.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert backend.state_lines("local")[0].text == "The weights are installed", "nobody has asked yet"

    tool = tmp_path / "nvidia-smi"
    two = "echo '0, NVIDIA RTX A6000, 49140, 1024, 580.65, 8.6'; echo '1, NVIDIA H200, 143771, 102400, 580.65, 9.0'"
    for script, expected, line in (
        (two, "NVIDIA H200", "NVIDIA H200, 100 of 140 GB of memory free, driver 580.65"),
        ("echo 'no devices were found'", None, "processor, slowly"),
        ("exit 9", None, "processor, slowly"),
    ):
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        found = device.ask()
        nvidia = [card for card in found.machine.cards if card.kind == "nvidia"]
        assert bool(nvidia) == bool(expected)
        if nvidia or found.card is None:  # the computer that tests may have another card
            assert (found.card and found.card.name) == expected
            monkeypatch.setattr(device._kept, "known", found)
            lines = backend.state_lines("local")
            assert line in lines[0].text and "Worker stopped" in lines[1].text
    backend._available.cache_clear()


def test_spending_limits_are_told_before_they_stop_a_job(extension: ModuleType) -> None:  # noqa: F811
    backend, history = part("addon.backend_state"), part("trellis_addon.scene.history")
    state = bpy.context.scene.trellis2
    for spent, expected in ((0.0, ""), (0.85, "Near the limit: 0.85 of 1.00"), (0.99, "Limit reached: 0.99 of 1.00")):
        history.known.limits, history.known.spent = {"day": 1.0}, {"day": spent}
        lines = backend.limit_lines(state)
        assert [line.text.partition(" US")[0] for line in lines] == ([expected] if expected else [])
        assert all(line.operator == "trellis2.spending_limit" for line in lines)


def test_a_service_that_is_not_there_is_told(preferences: Any) -> None:
    with pytest.raises(RuntimeError, match="address of your service"):
        bpy.ops.trellis2.test_service()
    preferences.service_url = "http://127.0.0.1:9/v1"
    with pytest.raises(RuntimeError) as caught:
        bpy.ops.trellis2.test_service()
    assert "http://127.0.0.1:9/v1 cannot be reached" in str(caught.value)


# --- the seed ---


def test_the_lock_keeps_the_seed_of_the_last_asset(extension: ModuleType, disc_file: Path) -> None:  # noqa: F811
    settings = bpy.context.scene.trellis2.settings
    settings.resolution, settings.texture_size = "512", "1024"
    bpy.ops.trellis2.generate(filepath=str(disc_file))
    made = next(obj for obj in bpy.data.objects if obj.type == "MESH")
    seed = part("trellis_addon.scene").read_provenance(made)["seed"]
    read = part("addon.properties").read_settings
    assert "seed" not in read(settings), "drawn at random is not typed"

    bpy.ops.trellis2.seed_lock()
    assert read(settings)["seed"] == seed
    bpy.ops.trellis2.seed_lock()
    assert "seed" not in read(settings)
    settings.seed = "42"  # typing one locks it
    assert part("addon.properties").is_locked(settings)
    bpy.ops.trellis2.seed_lock()
    assert not settings.is_property_set("seed")


# --- preferences ---


def test_new_scenes_take_the_height_of_the_preferences(preferences: Any, tmp_path: Path) -> None:
    state = bpy.context.scene.trellis2
    assert state.height == 1.0
    preferences.height = 1.8
    assert state.height == pytest.approx(1.8)
    state.height = 0.5
    preferences.height = 3.0
    assert state.height == 0.5
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    assert bpy.context.scene.trellis2.height == 0.5


def test_the_collection_of_the_preferences_is_made_once(preferences: Any) -> None:
    placing = part("operators.placing")
    scene = bpy.context.scene
    assert placing.target_here(bpy.context).parent_in(scene) == scene.collection
    preferences.collection = " Generated "
    found = placing.target_here(bpy.context).parent_in(scene)
    assert found.name == "Generated" and found == placing.target_here(bpy.context).parent_in(scene)
    assert found in scene.collection.children_recursive


def test_the_data_folder_is_the_library_s_until_the_extension_goes(
    preferences: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folders = part("trellis_addon.jobs.store"), part("addon.variables").DATA_FOLDER
    preferences.data_folder = str(tmp_path / "ours")
    assert store.default_folder() == Path(os.environ["TRELLIS2_HOME"]), "the environment's word counts more"
    assert folders.is_given()

    monkeypatch.delenv("TRELLIS2_HOME")
    preferences.data_folder = str(tmp_path / "ours")
    assert store.default_folder() == tmp_path / "ours" and not folders.is_given()
    preferences.data_folder = ""
    assert "TRELLIS2_HOME" not in os.environ
    preferences.data_folder = str(tmp_path / "other")
    folders.reset()
    assert "TRELLIS2_HOME" not in os.environ


def test_the_folder_s_size_is_measured(tmp_path: Path) -> None:
    from trellis_addon.scene.setup.storage import measure

    for job in ("one", "two"):
        (tmp_path / "jobs" / job).mkdir(parents=True)
        (tmp_path / "jobs" / job / "asset.glb").write_bytes(bytes(1024))
    found = measure(tmp_path)
    assert (found.bytes, found.jobs, str(found)) == (2048, 2, "2.0 KB")
    assert measure(tmp_path / "gone").jobs == 0


def test_the_console_shows_as_much_as_is_chosen_and_no_more_afterwards(
    preferences: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger(f"{NAME}.trellis_addon.client.client")
    others = list(logging.getLogger().handlers)
    preferences.log_level = "DEBUG"
    logger.debug("a request")
    preferences.log_level = "WARNING"
    logger.info("not to be seen")
    assert "a request" in capsys.readouterr().err.replace("not to be seen", "")
    part("addon.logs").reset()
    ours = logging.getLogger(NAME)
    assert ours.level == logging.NOTSET and not ours.handlers and logging.getLogger().handlers == others


# --- the address of a service ---


def test_the_address_of_a_service_is_shown_as_it_is_used(preferences: Any) -> None:
    module = part("addon.preferences")
    for entered, shown in (
        (" gpu-box:8000 ", "http://gpu-box:8000"),
        ("HTTP://GPU-Box:8000/v1", "http://gpu-box:8000/v1"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("gpu-box", "http://gpu-box"),
        ("", ""),
    ):
        preferences.service_url = entered
        assert preferences.service_url == module.service_url() == shown
        if shown:
            assert module.backend_of("service").name == shown
    preferences.service_url = "http://a b/"
    with pytest.raises(part("trellis_addon.core.errors").FieldError) as caught:
        module.backend_of("service")
    assert "http:// address" in sentence(caught.value)


def test_a_password_in_an_address_becomes_the_token(preferences: Any) -> None:
    module = part("addon.preferences")
    preferences.service_url = "https://bob:hunter2pw@gpu-box.example/v1"
    assert (preferences.service_url, preferences.service_token) == ("https://gpu-box.example/v1", "hunter2pw")
    backend = module.backend_of("service")
    assert backend.key == "hunter2pw" and "hunter2pw" not in repr(backend)
    preferences.service_url = "eve:another@gpu-box:8000"
    assert (preferences.service_url, preferences.service_token) == ("http://gpu-box:8000", "hunter2pw")


def test_the_token_goes_to_its_service_however_its_address_is_written(preferences: Any) -> None:
    module = part("addon.preferences")
    preferences.service_url, preferences.service_token = "gpu-box:8000", "a-token"
    for address, key in (
        ("http://gpu-box:8000", "a-token"),
        ("http://gpu-box:8000/v1", "a-token"),
        ("http://gpu-box:8001", ""),
        ("http://gpu-box.evil.example:8000", ""),
    ):
        job = SimpleNamespace(backend=address, is_paid=False)
        assert module.backend_for_job(job).key == key


def test_what_was_not_generated_is_not_repeated(extension: ModuleType) -> None:  # noqa: F811
    """Remesh and Rebake, or a file that was only imported, has no picture and no settings to go on with."""
    mesh = bpy.data.objects.new("Rebuilt", bpy.data.meshes.new("Rebuilt"))
    bpy.context.scene.collection.objects.link(mesh)
    bpy.context.view_layer.objects.active = mesh
    for provenance in ({"engine": "trellis2:rebuild@1", "settings": {"resolution": 256}}, {"name": "Imported"}):
        mesh["trellis2_provenance"] = json.dumps(provenance)
        for name in ("repeat", "more_like_this"):
            assert not getattr(bpy.ops.trellis2, name).poll()
            with pytest.raises(RuntimeError, match="not generated of a picture"):
                getattr(bpy.ops.trellis2, name)()
    mesh["trellis2_provenance"] = json.dumps({"task_uuid": "1", "settings": {}})
    assert bpy.ops.trellis2.repeat.poll() and bpy.ops.trellis2.more_like_this.poll()


def test_what_changes_by_itself_stands_below_what_does_not(extension: ModuleType) -> None:  # noqa: F811
    names = ("frame", "views", "settings", "placement", "delivery", "queue", "asset", "history")
    panels = [getattr(bpy.types, f"TRELLIS2_PT_{name}") for name in names]
    assert [panel.bl_order for panel in panels] == list(range(len(names)))


def test_a_fact_is_shown_whole(extension: ModuleType) -> None:  # noqa: F811
    """Beside its name where the row holds both, below it where not."""
    layout = part("ui.layout")
    shown: list[str] = []

    class Layout(SimpleNamespace):
        def label(self, text: str = "", **_: Any) -> None:
            shown.append(text)

        def split(self, **_: Any) -> Layout:
            return self

        column = row = split

    context = SimpleNamespace(
        region=SimpleNamespace(width=250), preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0))
    )
    layout.fact(Layout(), "Seed", 2485715779, context)
    assert shown == ["Seed", "2485715779"]
    shown.clear()
    layout.fact(Layout(), "Size", "0.412 m × 0.391 m × 1.000 m, rather", context)
    assert shown[0] == "Size" and "".join(shown[1:]).replace(" ", "") == "0.412m×0.391m×1.000m,rather"
    assert all(len(line) <= 30 for line in shown)
    shown.clear()
    layout.fact(Layout(), "Cost", "", context)
    assert not shown
