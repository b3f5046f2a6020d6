"""The pictures of materials as PNG files, while something is exported that reads no other, or has to lie beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import bpy

from ...images import clean_name
from ..asset.texture_size import read_picture
from ..importing.materials import images_behind, principled_of

_ENDINGS_OF_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".tga", ".tif", ".tiff", ".exr", ".bmp")
_PACKED, _CHANNELS = ("Metallic", "Roughness"), ("Red", "Green", "Blue")


@contextmanager
def as_they_are() -> Iterator[None]:
    yield


@contextmanager
def with_pictures(
    meshes: Sequence[bpy.types.Object], folder: Path, is_directx: bool, *, is_split: bool = False
) -> Iterator[None]:
    """While it lasts the materials show PNG files in the folder, under the names of the images that they show else.

    `is_directx`: normal maps have green down. `is_split`: metallic and roughness, which glTF packs into one picture,
    have one each, as other formats know no channels. What is linked from another file cannot be changed: that shows
    its own.
    """
    materials = {slot.material for obj in meshes for slot in obj.material_slots if slot.material}
    own = [material for material in materials if material.is_editable and material.override_library is None]
    nodes = [
        node
        for material in own
        if material.node_tree
        for node in _all_nodes(material.node_tree)
        if node.type == "TEX_IMAGE" and node.image
    ]
    normals = {image for material in materials for image in _normal_maps(material)} if is_directx else set()
    shown = [(node, node.image) for node in nodes]
    made: dict[bpy.types.Image, bpy.types.Image] = {}
    names: dict[bpy.types.Image, str] = {}
    try:
        for _, image in shown:
            if image not in made and image.source in ("FILE", "GENERATED"):
                # without its picture, whose file is gone, the material goes out as it is
                with suppress(RuntimeError):
                    made[image] = _as_png(image, folder, image in normals)
        for image, new in made.items():
            names[image] = image.name
            if image.is_editable:
                image.name = f"{image.name} (kept)"
            new.name = names[image]
        for node, image in shown:
            node.image = made.get(image, image)
        with ExitStack() as stack:
            if is_split:
                for material in own:
                    stack.enter_context(_channels_apart(material, folder))
            yield
    finally:
        for node, image in shown:
            node.image = image
        bpy.data.batch_remove(list(made.values()))
        for image, name in names.items():
            if image.is_editable:
                image.name = name


def _all_nodes(tree: bpy.types.NodeTree) -> Iterator[bpy.types.Node]:
    """Those of the groups in it too; a group of another file is left."""
    for node in tree.nodes:
        yield node
        if node.type == "GROUP" and node.node_tree and node.node_tree.is_editable:
            yield from _all_nodes(node.node_tree)


@contextmanager
def _channels_apart(material: bpy.types.Material, folder: Path) -> Iterator[None]:
    """While it lasts metallic and roughness that come from a channel of a picture come from one of their own."""
    principled, tree = principled_of(material), material.node_tree
    made: list[bpy.types.Node] = []
    links: list[tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]] = []
    try:
        for name in _PACKED if principled is not None and tree is not None else ():
            assert principled is not None
            socket = principled.inputs[name]
            source = socket.links[0].from_socket if socket.is_linked else None
            if source is None or source.node.type != "SEPARATE_COLOR" or source.name not in _CHANNELS:
                continue
            shown = source.node.inputs[0].links[0].from_node if source.node.inputs[0].is_linked else None
            if (
                shown is None
                or shown.type != "TEX_IMAGE"
                or not shown.image
                or not Path(shown.image.filepath).is_file()
            ):
                continue
            node = tree.nodes.new("ShaderNodeTexImage")
            made.append(node)
            node.image = _channel(shown.image, name, _CHANNELS.index(source.name), folder)
            node.extension, node.interpolation = shown.extension, shown.interpolation
            if shown.inputs["Vector"].is_linked:
                tree.links.new(shown.inputs["Vector"].links[0].from_socket, node.inputs["Vector"])
            links.append((source, socket))
            tree.links.new(node.outputs["Color"], socket)
        yield
    finally:
        for source, socket in links:
            tree.links.new(source, socket)
        images = [node.image for node in made if node.image]
        for node in made:
            tree.nodes.remove(node)
        bpy.data.batch_remove(images)


def _channel(image: bpy.types.Image, name: str, band: int, folder: Path) -> bpy.types.Image:
    """A grey picture of one channel of a PNG file."""
    from PIL import Image as Pillow

    base = clean_name(f"{Path(image.filepath).stem} {name}")
    path = next(path for path in (folder / f"{base}{end}.png" for end in ("", *range(2, 10**6))) if not path.exists())
    with Pillow.open(image.filepath) as picture:
        picture.convert("RGB").getchannel(band).save(path, "PNG", compress_level=6)
    new = bpy.data.images.load(f"{path}")
    new.colorspace_settings.name = image.colorspace_settings.name
    return new


def _as_png(image: bpy.types.Image, folder: Path, flip_green: bool) -> bpy.types.Image:
    """A new image, of a PNG file in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    name = clean_name(image.name)
    if Path(name).suffix.lower() in _ENDINGS_OF_IMAGES:  # the name of the file that it came from
        name = Path(name).stem or name
    path = folder / f"{name}.png"
    count = 1
    while path.exists():
        count += 1
        path = folder / f"{name} {count}.png"
    picture, _ = read_picture(image)
    if picture is None:
        copy = image.copy()
        try:
            copy.filepath_raw, copy.file_format = f"{path}", "PNG"
            copy.save()
        finally:
            bpy.data.images.remove(copy)
    else:
        picture.save(path, "PNG", compress_level=6)
    if flip_green:
        _flip_green(path)
    new = bpy.data.images.load(f"{path}")
    new.colorspace_settings.name = image.colorspace_settings.name
    new.alpha_mode = image.alpha_mode
    return new


def _flip_green(path: Path) -> None:
    from PIL import Image as Pillow

    with Pillow.open(path) as picture:
        bands = list(picture.convert("RGB").split())
    bands[1] = bands[1].point(lambda value: 255 - value)
    Pillow.merge("RGB", bands).save(path, "PNG", compress_level=6)


def has_normal_maps(objects: Sequence[bpy.types.Object]) -> bool:
    """Whether one of their materials shows a normal map."""
    return any(slot.material and _normal_maps(slot.material) for obj in objects for slot in obj.material_slots)


def _normal_maps(material: bpy.types.Material) -> list[bpy.types.Image]:
    principled = principled_of(material)
    return images_behind(principled.inputs["Normal"]) if principled else []
