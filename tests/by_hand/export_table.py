"""Every program that exports are for, by every kind of file: written, read back by Blender, and told in a table.

    python tests/by_hand/export_table.py [--only unity] [--keep FOLDER]

What is exported is a box of quads, 1 x 2 x 3 m, with colour, packed metal and roughness, and normals, its two levels of
detail and two convex parts. A row tells the names that come back, the triangles of the first, its size in metres (or a
printer's millimetres), the sockets that a picture comes into, the normal map's green (as OpenGL has it 200, as DirectX
55) and what the export said is lost. Needs bpy; nothing is asserted: `tests/scene/delivery/test_delivery.py` does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "scene"), str(ROOT / "tests")]

from test_delivery import image, read_back  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.scene.delivery.writers import ENDINGS, ENGINES  # noqa: E402

_GREEN = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="the program")
    parser.add_argument("--keep", type=Path, help="a folder for the files")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for engine in [options.only] if options.only else ENGINES:
            for ending in ENDINGS:
                target = (options.keep or Path(folder)) / (engine or "any") / f"box{ending}"
                target.parent.mkdir(parents=True, exist_ok=True)
                rows.append(f"| {engine or 'any'} | {ending} | {' | '.join(_row(engine, target))} |")
    print("| for | file | comes back | triangles | size | pictures | green | said |\n" + "|---" * 8 + "|")
    print("\n".join(rows))


def _row(engine: str, target: Path) -> list[str]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    told: list[Any] = []
    blender.export_asset(_asset(), target, engine=engine, overwrite=True, told=told)
    if target.suffix == ".3mf":
        return [f"{target.stat().st_size} bytes", *4 * ["not read by Blender"], " ".join(told)]
    bpy.ops.wm.read_factory_settings(use_empty=True)
    made = sorted(read_back(target), key=lambda obj: obj.name)
    first = next((obj for obj in made if obj.name.endswith("LOD0")), made[0])
    corners = np.array([first.matrix_world @ vertex.co for vertex in first.data.vertices])
    size = " x ".join(f"{side:.4g}" for side in np.ptp(corners, axis=0))
    triangles = str(len(first.data.loops) - 2 * len(first.data.polygons))
    sockets, green = _maps(first)
    return [", ".join(obj.name for obj in made), triangles, size, ", ".join(sockets), green, " ".join(told)]


def _maps(obj: Any) -> tuple[list[str], str]:
    """The sockets that a picture comes into, and the green of the one that is for normals."""
    tree = obj.material_slots[0].material.node_tree if obj.material_slots and obj.material_slots[0].material else None
    shader = next((node for node in tree.nodes if node.type == "BSDF_PRINCIPLED"), None) if tree else None
    found, green = [], ""
    for socket in shader.inputs if shader else ():
        node = socket.links[0].from_node if socket.is_linked else None
        while node is not None and node.type != "TEX_IMAGE":
            behind = [inp for inp in node.inputs if inp.is_linked]
            node = behind[0].links[0].from_node if behind else None
        if node is not None and node.image is not None:
            found.append(socket.name)
            if socket.name == "Normal":
                green = f"{255 * node.image.pixels[1]:.0f}"
    return found, green


def _asset() -> Any:
    bpy.ops.mesh.primitive_cube_add(size=1)
    obj = bpy.context.object
    obj.name = obj.data.name = "SM_Box"
    obj.scale = (1, 2, 3)
    bpy.context.view_layer.update()
    blender.apply_transform(obj)
    blender.set_origin(obj, "bottom")
    material = bpy.data.materials.new("Box")
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    colour, packed, normal = (tree.nodes.new("ShaderNodeTexImage") for _ in range(3))
    colour.image = image("Box Colour", (200, 90, 30), False)
    packed.image = image("Box Packed", (255, 64, 192), True)
    normal.image = image("Box Normal", (128, _GREEN, 250), True)
    parts, turned = tree.nodes.new("ShaderNodeSeparateColor"), tree.nodes.new("ShaderNodeNormalMap")
    for source, sink in (
        (colour.outputs["Color"], shader.inputs["Base Color"]),
        (packed.outputs["Color"], parts.inputs[0]),
        (parts.outputs["Green"], shader.inputs["Roughness"]),
        (parts.outputs["Blue"], shader.inputs["Metallic"]),
        (normal.outputs["Color"], turned.inputs["Color"]),
        (turned.outputs["Normal"], shader.inputs["Normal"]),
    ):
        tree.links.new(source, sink)
    obj.data.materials.append(material)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=7)
    bpy.ops.object.mode_set(mode="OBJECT")
    blender.make_lods(obj, (1.0, 0.2), arrange="BY_DISTANCE")
    blender.make_collision(obj, 2)
    return obj


if __name__ == "__main__":
    main()
