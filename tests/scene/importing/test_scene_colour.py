"""Colour spaces under other OpenColorIO configurations than Blender's: by their roles, never by one's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import disc, run_python

bpy = pytest.importorskip("bpy")

from scene_objects import write  # noqa: E402
from test_glb_check import simple  # noqa: E402

# {encoded}, {linear} and {raw} are what this configuration calls its spaces; {byte} is its role for byte images.
CONFIGURATION = """ocio_profile_version: 2
name: made-for-this-test
strictparsing: false
luma: [0.2126, 0.7152, 0.0722]
roles:
  default: {raw}
  reference: {linear}
  scene_linear: {linear}
  rendering: {linear}
{data}  default_float: {linear}
  default_sequencer: {encoded}
  color_picking: {encoded}
  texture_paint: {encoded}
  matte_paint: {encoded}
  aces_interchange: {linear}
{byte}file_rules:
  - !<Rule> {{name: Default, colorspace: {raw}}}
displays:
  {display}:
    - !<View> {{name: {view}, colorspace: {encoded}}}
    - !<View> {{name: Raw, colorspace: {raw}}}
active_displays: [{display}]
active_views: [{view}, Raw]
colorspaces:
  - !<ColorSpace>
    name: {linear}
    bitdepth: 32f
    isdata: false
  - !<ColorSpace>
    name: {encoded}
    bitdepth: 8ui
    isdata: false
    to_scene_reference: !<ExponentWithLinearTransform> {{gamma: 2.4, offset: 0.055}}
  - !<ColorSpace>
    name: {raw}
    bitdepth: 32f
    isdata: true
"""
NAMES = {
    "aces 1": ("Utility - sRGB - Texture", "ACES - ACEScg", "Utility - Raw"),
    "aces 2": ("sRGB - Texture", "ACEScg", "Raw"),
    "newest": ("sRGB Encoded Rec.709 (sRGB)", "Linear Rec.709 (sRGB)", "Raw"),
    "a studio's": ("tx_8bit", "working", "as_is"),
}
LOOK = """
import json, sys
import bpy
from pathlib import Path
from trellis_addon import scene
from trellis_addon.scene.rules import colour
from trellis_addon.scene.importing.materials import images_behind, principled_of
bpy.ops.wm.read_homefile(use_empty=True)
obj = scene.import_asset(sys.argv[1])
(material,) = [slot.material for slot in obj.material_slots]
found = {}
for socket in principled_of(material).inputs:
    for image in images_behind(socket):
        found[socket.name] = (image.colorspace_settings.name, image.colorspace_settings.is_data)
scene.shrink_textures(obj, 512)
scene.render_object(obj, Path(sys.argv[2]), size=32, samples=1, view="front", transparent=True)
scene.mark_asset(obj, preview=Path(sys.argv[2]))
painted = bpy.data.images.new("painted", 1024, 1024)
colour.set_data(painted)
node = next(node for node in material.node_tree.nodes if node.type == "TEX_IMAGE")
node.image = painted
scene.shrink_textures(obj, 512)
small = node.image
found["shrunk"] = (small.colorspace_settings.name, small.colorspace_settings.is_data)
found["probes"] = [image.name for image in bpy.data.images if "Probe" in image.name]
print("FOUND", json.dumps(found))
"""


def asset(folder: Path) -> Path:
    """With a picture for colour, one for roughness and metalness, one for normals, and one for emission."""
    glb = simple(disc(1024).convert("RGB"))
    material = glb.document["materials"][0]
    grey = [glb.texture(disc(16 + n).convert("RGB")) for n in range(3)]
    material["pbrMetallicRoughness"]["metallicRoughnessTexture"] = {"index": grey[0]}
    material["normalTexture"] = {"index": grey[1]}
    material.update(emissiveTexture={"index": grey[2]}, emissiveFactor=[1, 1, 1])
    return write(folder, glb)


def looked_at(folder: Path, configuration: str) -> dict[str, Any]:
    """What becomes of an asset in another Blender with this configuration; empty is Blender's own."""
    path = folder / "config.ocio"
    path.write_text(configuration, encoding="utf-8")
    environment = {"OCIO": str(path)} if configuration else {}
    done = run_python("-c", LOOK, str(asset(folder)), str(folder / "picture.png"), **environment)
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND")), "")
    assert line, done.stdout + done.stderr
    return dict(json.loads(line.removeprefix("FOUND ")))


def configured(names: tuple[str, str, str], byte: str = "", data: bool = True, view: str = "Un-tone-mapped") -> str:
    encoded, linear, raw = names
    return CONFIGURATION.format(
        encoded=encoded,
        linear=linear,
        raw=raw,
        byte=f"  default_byte: {byte}\n" if byte else "",
        data=f"  data: {raw}\n" if data else "",
        display="Monitor",
        view=view,
    )


def check(found: dict[str, Any], encoded: str, raw: str) -> None:
    assert found["Base Color"] == [encoded, False] and found["Emission Color"] == [encoded, False]
    for name in ("Roughness", "Metallic", "Normal"):
        assert found[name] == [raw, True]
    assert found["shrunk"] == [raw, True] and found["probes"] == []


def test_blenders_own(tmp_path: Path) -> None:
    check(looked_at(tmp_path, ""), "sRGB", "Non-Color")


@pytest.mark.parametrize("which", NAMES)
def test_by_the_roles_of_a_configuration(which: str, tmp_path: Path) -> None:
    encoded, _, raw = names = NAMES[which]
    check(looked_at(tmp_path, configured(names, byte=encoded)), encoded, raw)
    from PIL import Image

    red, green, blue, alpha = Image.open(tmp_path / "picture.png").getpixel((16, 16))
    assert alpha == 255 and red > green + 30 and red > blue + 30, "it is to be seen, in its colour"


@pytest.mark.parametrize("which", ["aces 1", "aces 2", "newest"])
@pytest.mark.parametrize("role", ["linear", "raw"])
def test_where_the_role_for_byte_images_is_no_use(which: str, role: str, tmp_path: Path) -> None:
    encoded, linear, raw = names = NAMES[which]
    byte = {"linear": linear, "raw": raw}[role]
    check(looked_at(tmp_path, configured(names, byte=byte)), encoded, raw)


def test_without_the_roles_that_blender_asks_for(tmp_path: Path) -> None:
    encoded, _, raw = names = NAMES["newest"]
    check(looked_at(tmp_path, configured(names, data=False)), encoded, raw)
