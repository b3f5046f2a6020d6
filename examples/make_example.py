"""Make examples/lantern.png: a picture to try the extension with, modelled and rendered here with Blender.

    python examples/make_example.py [OUT.png]

Needs the bpy module. The picture is ours, so that it can be shipped: no photograph, nobody's artwork.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import bpy
from mathutils import Matrix, Vector

BRASS = ("Brass", (0.78, 0.5, 0.16), 1.0, 0.28)
RED = ("Red Paint", (0.62, 0.05, 0.035), 0.0, 0.32)
IRON = ("Iron", (0.075, 0.08, 0.09), 0.7, 0.5)
WARM = ("Warm Glass", (1.0, 0.62, 0.2), 0.0, 0.2)
FLAME = ("Flame", (1.0, 0.86, 0.45), 0.0, 0.4)


def main() -> None:
    target = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("lantern.png")).resolve()
    bpy.ops.wm.read_homefile(use_empty=True)
    build_lantern()
    light()
    render(target)


def build_lantern() -> None:
    """A storm lantern, mostly turned shapes: (radius, height) profiles around the vertical axis."""
    turned(
        "Base", RED, [(0, 0), (0.62, 0), (0.66, 0.06), (0.66, 0.2), (0.6, 0.3), (0.36, 0.38), (0.34, 0.46), (0, 0.46)]
    )
    turned("Foot Ring", BRASS, [(0.6, -0.02), (0.7, 0.0), (0.7, 0.07), (0.62, 0.08)])
    turned("Burner", BRASS, [(0, 0.44), (0.4, 0.44), (0.42, 0.5), (0.38, 0.56), (0.2, 0.6), (0, 0.6)])
    turned("Globe", WARM, [(0.3, 0.56), (0.44, 0.72), (0.5, 0.92), (0.46, 1.12), (0.34, 1.3), (0.3, 1.36)])
    turned("Flame", FLAME, [(0, 0.62), (0.07, 0.68), (0.1, 0.76), (0.07, 0.88), (0.02, 1.0), (0, 1.02)])
    turned("Collar", BRASS, [(0.3, 1.34), (0.4, 1.36), (0.4, 1.42), (0.3, 1.44)])
    turned(
        "Hood",
        RED,
        [
            (0.3, 1.42),
            (0.5, 1.46),
            (0.48, 1.54),
            (0.3, 1.64),
            (0.26, 1.7),
            (0.26, 1.8),
            (0.34, 1.84),
            (0.3, 1.9),
            (0, 1.94),
        ],
    )
    turned("Cap", BRASS, [(0, 1.92), (0.1, 1.92), (0.12, 1.97), (0.06, 2.02), (0, 2.03)])
    for side in (-1, 1):
        rod(
            "Frame",
            IRON,
            [
                (side * 0.6, 0, 0.22),
                (side * 0.7, 0, 0.5),
                (side * 0.68, 0, 1.2),
                (side * 0.5, 0, 1.62),
                (side * 0.28, 0, 1.76),
            ],
            0.05,
        )
        knob = turned("Pivot", BRASS, [(0, -0.05), (0.08, -0.05), (0.08, 0.05), (0, 0.05)])
        knob.matrix_world = Matrix.Translation((side * 0.56, 0, 1.6)) @ Matrix.Rotation(math.pi / 2, 4, "Y")
    arch = [(0.58 * math.cos(a), 0, 1.62 + 0.78 * math.sin(a)) for a in (math.pi * i / 12 for i in range(13))]
    rod("Handle", IRON, arch, 0.028)
    rod("Grip", RED, [p for p in arch if abs(p[0]) < 0.32], 0.062)
    for height in (0.7, 1.16):
        ring = [(0.56 * math.cos(a), 0.56 * math.sin(a), height) for a in (math.tau * i / 24 for i in range(25))]
        rod("Guard", IRON, ring, 0.02)
    for angle in range(30, 390, 60):
        a = math.radians(angle)
        bar = [
            (r * math.cos(a), r * math.sin(a), z)
            for r, z in ((0.42, 0.52), (0.55, 0.66), (0.56, 0.94), (0.55, 1.18), (0.4, 1.38))
        ]
        rod("Guard", IRON, bar, 0.016)


def turned(name: str, look: tuple, profile: list[tuple[float, float]], segments: int = 96) -> bpy.types.Object:
    """A surface of revolution, smoothed."""
    points = [
        (r * math.cos(a), r * math.sin(a), z)
        for r, z in profile
        for a in (math.tau * i / segments for i in range(segments))
    ]
    faces = [
        (
            k * segments + i,
            k * segments + (i + 1) % segments,
            (k + 1) * segments + (i + 1) % segments,
            (k + 1) * segments + i,
        )
        for k in range(len(profile) - 1)
        for i in range(segments)
    ]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], faces)
    mesh.shade_smooth()
    obj = add(name, mesh, look)
    bevel = obj.modifiers.new("Bevel", "BEVEL")
    bevel.width, bevel.segments, bevel.limit_method, bevel.angle_limit = 0.018, 3, "ANGLE", math.radians(25)
    return obj


def rod(name: str, look: tuple, points: list[tuple[float, float, float]], radius: float) -> None:
    """A round bar along points."""
    curve = bpy.data.curves.new(name, "CURVE")
    curve.dimensions, curve.bevel_depth, curve.bevel_resolution, curve.use_fill_caps = "3D", radius, 6, True
    spline = curve.splines.new("NURBS")
    spline.points.add(len(points) - 1)
    for point, place in zip(spline.points, points, strict=True):
        point.co = (*place, 1)
    spline.use_endpoint_u, spline.order_u = True, 4
    add(name, curve, look)


def add(name: str, data: bpy.types.ID, look: tuple) -> bpy.types.Object:
    label, colour, metallic, roughness = look
    material = bpy.data.materials.get(label)
    if material is None:
        material = bpy.data.materials.new(label)
        if material.node_tree is None:
            material.use_nodes = True
        shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
        shader.inputs["Base Color"].default_value = (*colour, 1)
        shader.inputs["Metallic"].default_value = metallic
        shader.inputs["Roughness"].default_value = roughness
        if label in ("Warm Glass", "Flame"):
            shader.inputs["Emission Color"].default_value = (*colour, 1)
            shader.inputs["Emission Strength"].default_value = 0.12 if label == "Warm Glass" else 5.0
    data.materials.append(material)
    obj = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(obj)
    return obj


def light() -> None:
    world = bpy.data.worlds.new("World")
    bpy.context.scene.world = world
    if world.node_tree is None:
        world.use_nodes = True
    background = next(n for n in world.node_tree.nodes if n.type == "BACKGROUND")
    background.inputs["Color"].default_value = (0.75, 0.8, 0.9, 1)
    background.inputs["Strength"].default_value = 0.35
    for place, energy, size in (((-2.6, -3, 3.6), 120, 1.6), ((3, -2, 1.8), 38, 2.0), ((0.5, 3, 3), 90, 2.0)):
        lamp = bpy.data.lights.new("Light", "AREA")
        lamp.energy, lamp.size = energy, size
        obj = bpy.data.objects.new("Light", lamp)
        obj.location = place
        obj.rotation_euler = (Vector((0, 0, 1)) - Vector(place)).to_track_quat("-Z", "Y").to_euler()
        bpy.context.scene.collection.objects.link(obj)


def render(target: Path) -> None:
    scene = bpy.context.scene
    camera = bpy.data.cameras.new("Camera")
    camera.lens = 88
    obj = bpy.data.objects.new("Camera", camera)
    obj.location = (1.1, -6.9, 2.1)
    obj.rotation_euler = (Vector((0, 0, 1.17)) - obj.location).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(obj)
    scene.camera = obj
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 96
    scene.cycles.use_denoising = True
    scene.render.film_transparent = True
    scene.render.resolution_x = scene.render.resolution_y = 1024
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = str(target)
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main()
