"""Where the panel's picture can come from, in a real Blender without a window, and as scripts would ask for it."""

from __future__ import annotations

import base64
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import disc, encoded, sentence
from PIL import Image

bpy = pytest.importorskip("bpy")

from test_extension import extension, part  # noqa: E402, F401

from trellis_addon.core.errors import ImageError  # noqa: E402
from trellis_addon.scene import sources  # noqa: E402
from trellis_addon.scene.images import datablock_loader  # noqa: E402

SIDE = 64


@pytest.fixture
def studio(clean: object) -> Any:
    """A scene with a red ball before the camera, quick to render."""
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1)
    material = bpy.data.materials.new("Red")
    material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Emission Color"].default_value = (1, 0, 0, 1)
    material.node_tree.nodes["Principled BSDF"].inputs["Emission Strength"].default_value = 1
    bpy.context.object.data.materials.append(material)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location = (0, -6, 0)
    camera.rotation_euler = (np.pi / 2, 0, 0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.cycles.use_denoising = False
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x, scene.render.resolution_y = 1920, 1080
    return scene


def panel_image() -> Any:
    return bpy.context.scene.trellis2.image


def shown(image: Any) -> np.ndarray:
    """The datablock's picture as a task would get it: (height, width, 4)."""
    return np.asarray(datablock_loader(image)().rgba)


def everything(block: Any) -> dict[str, str]:
    """Every property of a datablock's part, as text."""
    return {p.identifier: repr(getattr(block, p.identifier)) for p in block.bl_rna.properties if p.type != "COLLECTION"}


# --- files ---


def test_a_file_is_packed_and_outlasts_itself(extension: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "Round.webp"
    path.write_bytes(encoded(disc(SIDE), "WEBP"))
    assert bpy.ops.trellis2.image_open(filepath=str(path)) == {"FINISHED"}
    path.unlink()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    assert panel_image().name == "Round.webp"
    assert (shown(panel_image()) == np.asarray(disc(SIDE))).all()


def test_a_file_chosen_again_is_the_same_datablock_unless_it_changed(
    extension: ModuleType,  # noqa: F811
    tmp_path: Path,
) -> None:
    path = tmp_path / "Round.png"
    disc(SIDE).save(path)
    bpy.ops.trellis2.image_open(filepath=str(path))
    first = panel_image()
    bpy.ops.trellis2.image_open(filepath=str(path))
    assert panel_image() == first and len([i for i in bpy.data.images if i.name.startswith("Round")]) == 1
    disc(SIDE, (10, 200, 10)).save(path)
    bpy.ops.trellis2.image_open(filepath=str(path))
    assert panel_image() != first and panel_image().name == "Round.png.001"
    assert datablock_loader(panel_image())().name == "Round", "the number is Blender's, not the artist's"


def test_of_several_files_the_panel_takes_the_first(extension: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    for number in (1, 2):
        disc(SIDE).save(tmp_path / f"{number}.png")
    bpy.ops.trellis2.image_open(directory=str(tmp_path), files=[{"name": "2.png"}, {"name": "1.png"}])
    assert panel_image().name == "2.png"


def test_other_formats_of_blender_come_in_too(extension: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "Round.tga"
    disc(SIDE).save(path)
    bpy.ops.trellis2.image_open(filepath=str(path))
    path.unlink()
    assert np.abs(shown(panel_image()).astype(int) - np.asarray(disc(SIDE))).max() <= 1


@pytest.mark.parametrize("content", [b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(40), b""])
@pytest.mark.parametrize("name", ["broken.png", "broken.tga"])
def test_broken_files_are_refused_and_nothing_stays(
    extension: ModuleType,  # noqa: F811
    tmp_path: Path,
    content: bytes,
    name: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    before = len(bpy.data.images)
    with pytest.raises(ImageError) as caught:
        sources.image_of_file(tmp_path / name)
    sentence(caught.value)
    with pytest.raises(RuntimeError):
        bpy.ops.trellis2.image_open(filepath=str(tmp_path / name))
    assert panel_image() is None and len(bpy.data.images) == before


def test_by_hand_a_thread_unpacks_the_picture_and_blender_does_not(
    extension: ModuleType,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken, library = part("operators.sources"), part("trellis_addon.scene.sources")
    monkeypatch.setattr(taken, "_has_window", lambda: True)
    # without a window Blender has no operator invoked, which is what tells a hand from a script
    monkeypatch.setattr(taken.TRELLIS2_OT_image_open, "is_by_hand", True, raising=False)
    unpacked_by = []

    def noted(data: bytes) -> object:
        unpacked_by.append(threading.current_thread())
        return decode(data)

    decode = library.decode
    monkeypatch.setattr(library, "decode", noted)
    for name in ("first.png", "second.png"):
        disc(SIDE).save(tmp_path / name)
        bpy.ops.trellis2.image_open(filepath=str(tmp_path / name))
        assert panel_image() is None, "not before a thread has looked into it"
    pump = part("trellis_addon.scene.pump")
    while pump.threads_at_work():
        pump.pump()
    assert panel_image().name == "second.png", "what was chosen last counts"
    assert len(unpacked_by) == 2 and threading.main_thread() not in unpacked_by
    assert not panel_image().has_data, "nobody has asked Blender for pixels"
    assert (shown(panel_image()) == np.asarray(disc(SIDE))).all()


def test_files_and_folders_become_an_asset_each(extension: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    for name in ("apple", "brick", "cup"):
        disc(96).save(tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    settings = bpy.context.scene.trellis2.settings
    settings.resolution, settings.texture_size = "512", "1024"
    assert bpy.ops.trellis2.generate_folder(directory=str(tmp_path)) == {"FINISHED"}
    assert {obj.name for obj in bpy.data.objects if obj.type == "MESH"} == {"apple", "brick", "cup"}
    bpy.ops.trellis2.generate_files(directory=str(tmp_path), files=[{"name": "cup.png"}])
    assert len([obj for obj in bpy.data.objects if obj.type == "MESH"]) == 4


def test_a_folder_without_pictures_is_told(extension: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    for folder, words in ((tmp_path, "no PNG, JPEG or WebP"), (tmp_path / "gone", "cannot be read")):
        with pytest.raises(RuntimeError, match=words):
            bpy.ops.trellis2.generate_folder(directory=str(folder))
    with pytest.raises(RuntimeError, match="no picture among"):
        bpy.ops.trellis2.generate_files(directory=str(tmp_path))


def test_a_drop_on_the_sidebar_is_meant_for_the_panel(extension: ModuleType) -> None:  # noqa: F811
    panel, viewport = part("operators.sources").TRELLIS2_FH_panel, part("operators.generate").TRELLIS2_FH_images
    assert bpy.types.FileHandler.bl_rna_get_subclass_py("TRELLIS2_FH_panel") is panel
    for area, region, wanted in (
        ("VIEW_3D", "UI", (True, False)),
        ("VIEW_3D", "WINDOW", (False, True)),
        ("IMAGE_EDITOR", "UI", (False, False)),
    ):
        context = SimpleNamespace(area=SimpleNamespace(type=area), region=SimpleNamespace(type=region))
        assert (panel.poll_drop(context), viewport.poll_drop(context)) == wanted
    for handler in (panel, viewport):
        claimed = handler.bl_file_extensions.split(";")
        assert {".png", ".webp", ".exr", ".tga", ".heic"} <= set(claimed) and ".svg" not in claimed
        assert len(handler.bl_file_extensions) < 512, "what Blender keeps of them"
        name = handler.bl_import_operator.partition(".")[2]
        assert {"directory", "files"} <= set(getattr(bpy.ops.trellis2, name).get_rna_type().properties.keys())


# --- what a text names ---


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a small web server that has Round.png, and nothing else."""
    folder = tmp_path / "web"
    folder.mkdir()
    disc(SIDE).save(folder / "Round.png")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_text_names_a_picture(clean: object, tmp_path: Path, web: str) -> None:
    path = tmp_path / "My Picture.png"
    disc(SIDE).save(path)
    uri = "data:image/png;base64," + base64.b64encode(encoded(disc(SIDE))).decode()
    for text, name in (
        (str(path), "My Picture.png"),
        (f'"{path}"', "My Picture.png"),
        (path.as_uri() + "\n", "My Picture.png"),
        (uri, "image"),
        (f"{web}/Round.png", "Round"),
    ):
        image = sources.image_of_text(text)
        assert image.name.startswith(name) and image.packed_file is not None
        assert (shown(image) == np.asarray(disc(SIDE))).all(), text


def test_what_names_no_picture_is_told(clean: object, web: str) -> None:
    for text, words in (("hello", "no image file"), (f"{web}/gone.png", "404"), ("", "nothing was given|no image")):
        with pytest.raises(ImageError, match=words) as caught:
            sources.image_of_text(text)
        sentence(caught.value)


def test_the_web_is_left_alone_offline(extension: ModuleType, web: str) -> None:  # noqa: F811
    assert not bpy.app.online_access
    with pytest.raises(RuntimeError, match="online access is off"):
        bpy.ops.trellis2.image_address(text=f"{web}/Round.png")
    assert panel_image() is None


# --- renders ---


def test_the_camera_sees_the_subject_alone_and_changes_nothing(studio: Any) -> None:
    render = studio.render
    render.use_border, render.resolution_percentage, render.film_transparent = True, 37, False
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    before = [everything(block) for block in (render, render.image_settings, studio.cycles)]
    image = sources.camera_image(studio, size=SIDE)
    assert [everything(block) for block in (render, render.image_settings, studio.cycles)] == before
    found = shown(image)
    assert found.shape == (36, SIDE, 4)
    assert found[0, 0, 3] == 0 and found[18, 32, 3] == 255
    assert found[18, 32, 0] >= 253 and found[18, 32, 1:3].max() <= 2


def test_the_camera_s_picture_reaches_the_panel(extension: ModuleType, studio: Any) -> None:  # noqa: F811
    studio.render.resolution_x = studio.render.resolution_y = SIDE
    assert bpy.ops.trellis2.image_camera() == {"FINISHED"}
    assert panel_image().name == "Camera" and tuple(panel_image().size) == (1024, 1024)
    assert datablock_loader(panel_image())().cutout == "alpha"


def test_without_a_camera_the_scene_has_no_view(extension: ModuleType) -> None:  # noqa: F811
    with pytest.raises(ImageError) as caught:
        sources.camera_image(bpy.context.scene)
    assert "no camera" in sentence(caught.value)
    assert not bpy.ops.trellis2.image_camera.poll()


def test_the_last_render_is_taken_and_kept(extension: ModuleType, studio: Any) -> None:  # noqa: F811
    with pytest.raises(RuntimeError, match="no render yet"):
        bpy.ops.trellis2.image_render()
    studio.render.film_transparent = True
    studio.render.resolution_x, studio.render.resolution_y = SIDE, 48
    studio.render.image_settings.file_format = "JPEG"  # which has no transparency
    bpy.ops.render.render()
    assert bpy.ops.trellis2.image_render() == {"FINISHED"}
    assert shown(panel_image()).shape == (48, SIDE, 4) and shown(panel_image())[0, 0, 3] == 0

    sources.camera_image(studio, size=32)
    assert Image.open(_file(sources.render_result_bytes())).size == (SIDE, 48), "the camera's picture came over it"
    assert studio.render.image_settings.file_format == "JPEG"


def test_the_render_result_itself_can_be_the_image(studio: Any) -> None:
    studio.render.resolution_x = studio.render.resolution_y = SIDE
    studio.render.film_transparent = True
    bpy.ops.render.render()
    assert shown(bpy.data.images["Render Result"]).shape == (SIDE, SIDE, 4)


def test_the_clipboard_by_pillow_up_to_blender_5_0(
    clean: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture, copied files, or what the system has not got; there an operator in another editor is not safe."""
    from PIL import ImageGrab

    picture = Image.new("RGBA", (SIDE, 48), (255, 0, 0, 128))
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: picture)
    pasted = sources._grabbed()
    assert tuple(pasted.size) == (SIDE, 48) and pasted.packed_file is not None
    assert shown(pasted)[0, 0].tolist() == [255, 0, 0, 128]
    copied = tmp_path / "käse.webp"
    picture.save(copied)
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: [str(tmp_path / "notes.txt"), str(copied)])
    assert tuple(sources._grabbed().size) == (SIDE, 48)
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: [str(tmp_path / "notes.txt")])
    assert sources._grabbed() is None

    def missing() -> None:
        raise NotImplementedError("wl-paste or xclip is required")

    monkeypatch.setattr(ImageGrab, "grabclipboard", missing)
    assert sources._grabbed() is None


def test_what_needs_a_window_says_so(extension: ModuleType) -> None:  # noqa: F811
    for operator, words in (("image_view", "use the camera"), ("image_paste", "no clipboard")):
        with pytest.raises(RuntimeError, match=f"Without a window.*{words}"):
            getattr(bpy.ops.trellis2, operator)()
    assert panel_image() is None


def _file(data: bytes) -> Any:
    import io

    return io.BytesIO(data)
