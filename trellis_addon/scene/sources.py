"""Where a picture can come from, in Blender: each function makes an image datablock of it, packed into the file.

Packed, because the picture must still be there when its file, the clipboard or the render is not.
"""

from __future__ import annotations

import contextlib
import io
import logging
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..core.errors import ImageError
from ..images import EXTENSIONS, clean_name, decode, find_path, image_kind, meant, read_image_bytes, readable
from .rules import overrides
from .rules.saying import reason_of as blender_reason

log = logging.getLogger(__name__)

# The model looks at the subject in 1024 x 1024 pixels.
RENDER_SIZE = 1024
# Enough for a picture that a model looks at; scenes for the final frame are often set to thousands.
RENDER_SAMPLES = 128
_FIRST_LOOK = 256  # pixels of the drawing that finds where something is to be seen
_MARGIN = 0.08  # around it, as a share of its size


def image_of_file(path: Path) -> bpy.types.Image:
    """Any picture file that Blender reads. Raises `ImageError` where it does not."""
    return image_of_sound_file(sound_file(path))


def sound_file(path: Path) -> Path:
    """A picture file that was looked into, in any thread. Raises `ImageError` for one that is not there or damaged."""
    path = find_path(str(path))
    if path.suffix.lower() in EXTENSIONS:
        decode(read_image_bytes(path)[0])  # has a sentence for each way in which a file can be damaged
    elif not path.is_file():
        raise ImageError("There is no image file {path}; check the path.", path=readable(str(path)))
    return path


def image_of_sound_file(path: Path) -> bpy.types.Image:
    """Of what `sound_file` gave. Main thread only, where it takes no time: the usual formats are not unpacked."""
    image = _loaded(path, readable(str(path)), is_sound=path.suffix.lower() in EXTENSIONS)
    twin = next((other for other in bpy.data.images if other != image and _is_same(other, image)), None)
    if twin is not None:  # chosen before
        bpy.data.images.remove(image)
    return twin or image


def image_of_bytes(data: bytes, name: str) -> bpy.types.Image:
    """A PNG, JPEG or WebP file in memory. Raises `ImageError` for anything else."""
    decode(data)
    return image_of_sound_bytes(data, name)


def image_of_sound_bytes(data: bytes, name: str) -> bpy.types.Image:
    """Of what `decode` has unpacked before, in any thread; as `image_of_sound_file`."""
    with tempfile.TemporaryDirectory() as folder:
        # the ending does not matter to Blender, which looks into the file
        path = Path(folder) / f"{clean_name(name)}.png"
        path.write_bytes(data)
        image = _loaded(path, str(path), is_sound=True)
    image.name = clean_name(name)
    image.filepath_raw = ""  # there is no such file any more
    return image


def text_of(text: str) -> tuple[str, str]:
    """What a text names, as (kind, what): a "path", a "url", or else what `read_image_bytes` makes of it."""
    text = meant(text)
    kind = image_kind(text)
    # "//" is where the .blend lies
    return kind, bpy.path.abspath(text) if kind == "path" else text


def image_of_text(text: str, *, allow_network: bool = True) -> bpy.types.Image:
    """The picture that a path, a web address, a data URI or Base64 names; fetching blocks."""
    kind, what = text_of(text)
    if kind == "path":
        return image_of_file(Path(what))
    data, name = read_image_bytes(what, allow_network=allow_network, allow_path=False)
    return image_of_bytes(data, name)


def clipboard(context: bpy.types.Context) -> bpy.types.Image | str:
    """The clipboard's picture, or else its text, which may name one.

    Raises `ImageError` without a window, whose clipboard it is, and where there is neither.
    """
    if bpy.app.background:
        raise ImageError("Without a window there is no clipboard; give the image by its path or address.")
    image = _pasted(context)
    if image is not None:
        return image
    text = context.window_manager.clipboard.strip()
    if not text:
        raise ImageError("The clipboard holds no image; copy one, or the path or web address of one.")
    return text


def view_image(context: bpy.types.Context, *, size: int = RENDER_SIZE) -> bpy.types.Image:
    """What the 3D viewport shows, large and before nothing: without its background, overlays and gizmos.

    Square, `size` pixels, cut to what can be seen. Raises `ImageError` without a viewport, and where it is empty.
    """
    if bpy.app.background:
        raise ImageError("Without a window there is no view to take; use the camera's.")
    view = _viewport(context)
    if view is None:
        raise ImageError("There is no 3D viewport in this window; open one, or use the camera's view.")
    space, region = view
    with (
        kept(space.overlay, show_overlays=False),
        kept(space, show_gizmo=False),
        kept(space.shading, **_drawable(space.shading, context.scene)),
        kept(context.scene.render, film_transparent=True),  # the world is background too
    ):
        context.view_layer.update()  # what is drawn is the evaluated scene
        # once to see where something is, and once more with just that in the frame
        seen = np.argwhere(_drawn(context, space, region, Matrix.Identity(4), _FIRST_LOOK)[..., 3] > 0)
        if not len(seen):
            raise ImageError("The view shows nothing but the background; turn it to what you want a picture of.")
        crop = _square_around(seen, region.width / region.height)
        return _image_of_pixels(_drawn(context, space, region, crop, size), "View")


def camera_image(scene: bpy.types.Scene, *, size: int = RENDER_SIZE) -> bpy.types.Image:
    """What the scene's camera sees, rendered before nothing, its longer side `size` pixels; blocks.

    With the scene's own engine and look. Its settings are as before afterwards, and so is the last
    render, as far as Blender has a second slot for it. Raises `ImageError`.
    """
    if scene.camera is None:
        raise ImageError("The scene has no camera; add one, or use the current view.")
    render = scene.render
    aspect = render.resolution_x * render.pixel_aspect_x, render.resolution_y * render.pixel_aspect_y
    scale = size / max(aspect)
    with (
        kept(
            render,
            film_transparent=True,
            resolution_x=max(4, round(aspect[0] * scale)),
            resolution_y=max(4, round(aspect[1] * scale)),
            pixel_aspect_x=1.0,
            pixel_aspect_y=1.0,
            resolution_percentage=100,
            use_border=False,
            # what they add lies over the transparent ground too
            use_compositing=False,
            use_sequencer=False,
            use_stamp=False,
            use_multiview=False,
        ),
        _few_samples(scene),
        _other_slot(),
    ):
        try:
            bpy.ops.render.render(scene=scene.name)
        except RuntimeError as error:
            raise ImageError("The camera's view cannot be rendered: {reason}.", reason=blender_reason(error)) from error
        return image_of_bytes(render_result_bytes(scene), "Camera")


def render_result_image() -> bpy.types.Image:
    """The last render, as it is seen in the Image Editor. Raises `ImageError` where there is none."""
    return image_of_bytes(render_result_bytes(), "Render")


def render_result_bytes(scene: bpy.types.Scene | None = None) -> bytes:
    """The last render as a PNG file with transparency, in the look of `scene` (the open one)."""
    scene = scene or bpy.context.scene
    result = next((image for image in bpy.data.images if image.type == "RENDER_RESULT"), None)
    with tempfile.TemporaryDirectory() as folder, _as_png(scene.render.image_settings):
        path = Path(folder) / "render.png"
        try:
            if result is not None:
                result.save_render(str(path), scene=scene)
            return path.read_bytes()
        except (RuntimeError, OSError) as error:
            raise ImageError("There is no render yet; render an image (F12) first.") from error


@contextlib.contextmanager
def kept(owner: Any, **values: Any) -> Iterator[None]:
    """Set properties, in the order given, and put them back however it ends; what a version lacks is passed over."""
    values = {name: value for name, value in values.items() if hasattr(owner, name)}
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def _as_png(settings: bpy.types.ImageFormatSettings) -> contextlib.AbstractContextManager[None]:
    # since 5.0 the kind of medium decides which formats there are
    return kept(settings, media_type="IMAGE", file_format="PNG", color_mode="RGBA", color_depth="8", compression=15)


def _few_samples(scene: bpy.types.Scene) -> contextlib.AbstractContextManager[None]:
    engine = scene.render.engine
    if engine == "CYCLES":
        return kept(scene.cycles, samples=min(scene.cycles.samples, RENDER_SAMPLES))
    if engine.startswith("BLENDER_EEVEE"):
        return kept(scene.eevee, taa_render_samples=min(scene.eevee.taa_render_samples, RENDER_SAMPLES))
    return contextlib.nullcontext()


@contextlib.contextmanager
def _other_slot() -> Iterator[None]:
    """Render beside what was rendered last, and show that again afterwards."""
    result = next((image for image in bpy.data.images if image.type == "RENDER_RESULT"), None)
    slots = result.render_slots if result is not None else None
    if slots is None or len(slots) < 2:
        yield
        return
    before = slots.active_index
    slots.active_index = len(slots) - 1 if before != len(slots) - 1 else 0
    try:
        yield
    finally:
        slots.active_index = before


def _loaded(path: Path, shown: str, *, is_sound: bool) -> bpy.types.Image:
    image = None
    try:
        image = bpy.data.images.load(str(path), check_existing=False)
        # whoever asks for its size has Blender unpack all of it, which takes up to half a second
        if not is_sound and not image.size[0]:
            raise RuntimeError
        image.pack()
    except RuntimeError:
        if image is not None:
            bpy.data.images.remove(image)
        raise ImageError(
            "{name} is no picture that Blender can read; use a PNG, JPEG or WebP file.", name=shown
        ) from None
    return image


def _drawn(
    context: bpy.types.Context, space: bpy.types.SpaceView3D, region: bpy.types.Region, crop: Matrix, size: int
) -> np.ndarray:
    """The viewport's pixels, (size, size, 4) in 0..1; `crop` goes from its device coordinates to those wanted."""
    import gpu

    offscreen = gpu.types.GPUOffScreen(size, size)
    try:
        offscreen.draw_view3d(
            context.scene,
            context.view_layer,
            space,
            region,
            space.region_3d.view_matrix,
            crop @ space.region_3d.window_matrix,
            do_color_management=True,
            draw_background=False,
        )
        buffer = offscreen.texture_color.read()
        buffer.dimensions = size * size * 4
        return np.array(buffer, dtype=np.float32).reshape(size, size, 4) / 255.0
    finally:
        offscreen.free()


def _square_around(seen: np.ndarray, aspect: float) -> Matrix:
    """The crop to what was seen, (N, 2) rows and columns of the first look, with a margin; square on the screen."""
    (bottom, left), (top, right) = seen.min(axis=0), seen.max(axis=0) + 1
    # in device coordinates, -1 to 1
    x, y = (right + left) / _FIRST_LOOK - 1.0, (top + bottom) / _FIRST_LOOK - 1.0
    half = max((right - left) / _FIRST_LOOK, (top - bottom) / _FIRST_LOOK / aspect) * (1.0 + _MARGIN)
    scale = Matrix.Diagonal((1.0 / half, 1.0 / (half * aspect), 1.0, 1.0))
    return scale @ Matrix.Translation((-x, -y, 0.0))


def _is_same(one: bpy.types.Image, other: bpy.types.Image) -> bool:
    """Whether two datablocks hold the same file, as it was read."""
    if one.library or one.is_dirty or one.filepath_raw != other.filepath_raw or one.packed_file is None:
        return False
    return bool(bytes(one.packed_file.data) == bytes(other.packed_file.data))


def _image_of_pixels(pixels: np.ndarray, name: str) -> bpy.types.Image:
    """`pixels`: (height, width, 4) in 0..1, premultiplied, as seen on the screen, the first row at the bottom."""
    alpha = pixels[..., 3:]
    colours = np.where(alpha > 0, pixels[..., :3] / np.maximum(alpha, 1e-6), 0.0)
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=True)
    image.pixels.foreach_set(np.concatenate([np.clip(colours, 0, 1), alpha], axis=-1).astype(np.float32).ravel())
    image.pack()
    return image


def _viewport(context: bpy.types.Context) -> tuple[bpy.types.SpaceView3D, bpy.types.Region] | None:
    """The viewport that the artist is in, or else the largest one of the window."""
    areas = [context.area] if context.area is not None and context.area.type == "VIEW_3D" else []
    screen = context.window.screen if context.window else None
    areas += sorted((a for a in (screen.areas if screen else ()) if a.type == "VIEW_3D"), key=_surface, reverse=True)
    for area in areas:
        regions = [region for region in area.regions if region.type == "WINDOW" and region.width > 1]
        if regions:
            return area.spaces.active, regions[-1]
    return None


def _drawable(shading: bpy.types.View3DShading, scene: bpy.types.Scene) -> dict[str, str]:
    """How the view is shaded where it is drawn off the screen: a renderer that takes its time cannot be."""
    if shading.type == "RENDERED" and not scene.render.engine.startswith(("BLENDER_EEVEE", "BLENDER_WORKBENCH")):
        return {"type": "MATERIAL"}
    return {}


def _pasted(context: bpy.types.Context) -> bpy.types.Image | None:
    """The clipboard's picture, if it has one."""
    return _pasted_by_blender(context) if overrides.ARE_SAFE else _grabbed()


def _grabbed() -> bpy.types.Image | None:
    """By Pillow, which asks the system: Windows, macOS, and on Linux the programs wl-paste or xclip."""
    from PIL import Image, ImageGrab

    try:
        found = ImageGrab.grabclipboard()
    except (OSError, NotImplementedError, ValueError, subprocess.SubprocessError) as error:
        log.info("The clipboard cannot be asked for a picture: %s", error)
        return None
    if isinstance(found, list):  # files that were copied
        pictures = [Path(path) for path in found if Path(path).suffix.lower() in EXTENSIONS]
        return image_of_file(pictures[0]) if pictures else None
    if not isinstance(found, Image.Image):
        return None
    data = io.BytesIO()
    found.save(data, "PNG")
    return image_of_bytes(data.getvalue(), "Clipboard")


def _pasted_by_blender(context: bpy.types.Context) -> bpy.types.Image | None:
    """By Blender's own operator, which works in an Image Editor only."""
    before = set(bpy.data.images)
    with _image_editor(context) as override:
        if override is None:
            return None
        with context.temp_override(**override), contextlib.suppress(RuntimeError):
            if bpy.ops.image.clipboard_paste.poll():
                bpy.ops.image.clipboard_paste()
    new = set(bpy.data.images) - before
    if not new:
        return None
    image = new.pop()
    image.pack()
    return image


@contextlib.contextmanager
def _image_editor(context: bpy.types.Context) -> Iterator[dict[str, Any] | None]:
    """An Image Editor to work in: one that is open, or else an area that is one for the moment."""
    window = context.window
    areas = sorted(window.screen.areas if window else (), key=_surface)
    area = next((a for a in areas if a.ui_type == "IMAGE_EDITOR"), None)
    if area is None:
        # rather not the one whose button was pressed
        area = next((a for a in areas if a != context.area), context.area)
    if area is None:
        yield None
        return
    kind = area.ui_type
    area.ui_type = "IMAGE_EDITOR"
    space = area.spaces.active
    shown = space.image
    region = next(region for region in area.regions if region.type == "WINDOW")
    try:
        yield {"window": window, "area": area, "region": region, "space_data": space}
    finally:
        space.image = shown
        area.ui_type = kind


def _surface(area: bpy.types.Area) -> int:
    return area.width * area.height
