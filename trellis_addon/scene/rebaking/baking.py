"""Materials that glTF cannot express become images: each channel shines by itself, and Cycles bakes the light.

Nothing is lit, so that one sample a texel, or a few, is exact. Normals are baked as Blender does it, before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ...core.errors import EngineError
from ..rules.colour import set_data
from .atlas import LAYER, lay_out, margin_of
from .closures import NAMES, surface_of
from .copies import ENGINE, GENERATED
from .nodes import RAYS, has_node
from .sayable import give_nodes, output_of
from .sockets import ZERO, Value, is_constant, number
from .textures import AtlasImages, alpha_mode, show_atlas

Tell = Callable[[float], None]

_SAMPLES, _SAMPLES_OF_RAYS = 4, 64  # the latter where a material itself throws rays
_BUMPS = ("BUMP", "NORMAL_MAP", "DISPLACEMENT", "VECTOR_DISPLACEMENT", "BEVEL")
_LIKE_GENERATED = ("NOISE", "VORONOI", "WAVE", "MAGIC", "MUSGRAVE", "GRADIENT", "BRICK", "CHECKER", "GABOR")
_BLEND = 0.02  # of the texels may be neither clear nor opaque where something is cut out
_LINEAR = ("base", "emission")  # colours, which images keep sRGB-coded


def bake(
    scene: bpy.types.Scene,
    matrices: dict[str, Matrix],
    materials: Sequence[bpy.types.Material],
    size: int,
    tell: Tell = lambda share: None,
) -> None:
    """Give these materials an atlas of `size` texels a side in place of their nodes, wherever they are used.

    `matrices` say where the scene's objects stand, by name. `tell` hears how much is done (0..1).
    """
    chosen = set(materials)
    # one for each mesh: what shares it, shares what is baked
    objects = list({obj.data: obj for obj in scene.objects if _uses(obj, chosen)}.values())
    for obj in objects:
        _fill_slots(obj)
    lay_out(objects, matrices, chosen, size)
    tell(0.1)
    baker = _Baker(scene, objects, list(materials), size)
    has_bumps = any(has_node(material, _BUMPS) or _is_displaced(material) for material in materials)
    for material in materials:
        _keep_output(material.node_tree, scene.get(ENGINE, ""))
        _take_generated(material.node_tree)
    normal = baker.normals(partial(_tell_part, tell, 0.1, 0.3)) if has_bumps else None
    begun = 0.4 if has_bumps else 0.1
    surfaces = {material: surface_of(material.node_tree, output_of(material.node_tree)) for material in materials}
    varying = [name for name in NAMES if any(not is_constant(getattr(s, name)) for s in surfaces.values())]
    baked: dict[str, NDArray[np.float32]] = {}
    for index, name in enumerate(varying):
        start, span = begun + (1 - begun) * index / len(varying), (1 - begun) / len(varying)
        channel = {material: getattr(surface, name) for material, surface in surfaces.items()}
        baked[name] = baker.channel(channel, partial(_tell_part, tell, start, span))
    if varying and not baker.covered.any():
        raise EngineError("Blender has baked nothing of the procedural materials; bake them by hand, then try again.")
    cut = [material for material, surface in surfaces.items() if not is_constant(surface.alpha)]
    where = baker.areas(cut) if cut else {}
    baker.forget()
    images = AtlasImages(baked, baker.covered, normal, size)
    modes = {material: alpha_mode(baked["alpha"][area]) for material, area in where.items()}
    for material in materials:
        show_atlas(material, surfaces[material], images, modes.get(material, "OPAQUE"))
    tell(1.0)


def _tell_part(tell: Tell, start: float, span: float, share: float) -> None:
    tell(start + span * share)


class _Baker:
    """Bakes onto the atlas, object by object: Cycles then has nothing else to load."""

    def __init__(
        self,
        scene: bpy.types.Scene,
        objects: Sequence[bpy.types.Object],
        materials: list[bpy.types.Material],
        size: int,
    ) -> None:
        self.scene, self.objects, self.materials, self.size = scene, objects, materials, size
        scene.render.engine = "CYCLES"
        scene.cycles.device = "CPU"
        scene.cycles.use_denoising = False
        scene.cycles.use_adaptive_sampling = False
        throws_rays = any(has_node(material, RAYS) for material in materials)
        scene.cycles.samples = _SAMPLES_OF_RAYS if throws_rays else _SAMPLES
        self.image = bpy.data.images.new("Atlas", size, size, alpha=True, float_buffer=True)
        self.image.use_half_precision = False
        set_data(self.image)
        self.nowhere = bpy.data.images.new("Nowhere", 8, 8)
        self.covered = np.zeros((size, size), bool)
        everything = {slot.material for obj in objects for slot in obj.material_slots if slot.material}
        for material in everything:
            give_nodes(material)
            node = material.node_tree.nodes.new("ShaderNodeTexImage")
            node.image = self.image if material in materials else self.nowhere
            material.node_tree.nodes.active = node
            node.select = True

    def normals(self, tell: Tell) -> NDArray[np.float32]:
        return self._bake("NORMAL", tell)

    def channel(self, values: dict[bpy.types.Material, Value], tell: Tell) -> NDArray[np.float32]:
        """Each material's value at each texel (H, W, 3)."""
        for material, value in values.items():
            tree = material.node_tree
            shine = tree.nodes.new("ShaderNodeEmission")
            if is_constant(value):
                shine.inputs["Color"].default_value = (*value, 1.0)
            else:
                tree.links.new(value, shine.inputs["Color"])
            output = output_of(tree)
            for name in ("Volume", "Displacement"):
                for link in list(output.inputs[name].links):
                    tree.links.remove(link)
            tree.links.new(shine.outputs[0], output.inputs["Surface"])
        return self._bake("EMIT", tell)

    def areas(self, materials: Sequence[bpy.types.Material]) -> dict[bpy.types.Material, NDArray[np.bool_]]:
        """Where on the atlas each of these is (H, W)."""
        numbers = {material: number(index + 1) for index, material in enumerate(materials)}
        found = self.channel({one: numbers.get(one, ZERO) for one in self.materials}, lambda share: None)[..., 0]
        return {one: np.abs(found - value[0]) < 0.1 for one, value in numbers.items()}

    def forget(self) -> None:
        bpy.data.batch_remove([self.image, self.nowhere])

    def _bake(self, kind: str, tell: Tell) -> NDArray[np.float32]:
        found = np.zeros((self.size, self.size, 4), np.float32)
        nothing = np.zeros(found.size, np.float32)
        layer = bpy.context.view_layer
        for obj in self.scene.objects:
            obj.hide_render = True
            obj.select_set(False)
        for index, obj in enumerate(self.objects):
            obj.hide_render = False
            obj.select_set(True)
            layer.objects.active = obj
            self.image.pixels.foreach_set(nothing)  # Blender's own clearing may leave it opaque
            bpy.ops.object.bake(
                type=kind,
                uv_layer=LAYER,
                margin=margin_of(self.size),
                margin_type="EXTEND",
                use_clear=False,
                normal_space="TANGENT",
                target="IMAGE_TEXTURES",
                save_mode="INTERNAL",
            )
            pixels = np.empty(found.size, np.float32)
            self.image.pixels.foreach_get(pixels)
            pixels = pixels.reshape(found.shape)
            # what is filled around a chart does not cover another object's charts
            here = pixels[..., 3] > found[..., 3]
            found[here] = pixels[here]
            obj.hide_render = True
            obj.select_set(False)
            tell((index + 1) / len(self.objects))
        self.covered |= found[..., 3] > 0
        return found[..., :3]


def _keep_output(tree: bpy.types.NodeTree, engine: str) -> None:
    """Leave the output that the artist looks at, for every engine."""
    kept = output_of(tree, engine)
    for node in [n for n in tree.nodes if n.type == "OUTPUT_MATERIAL" and n != kept]:
        tree.nodes.remove(node)
    kept.target, kept.is_active_output = "ALL", True


def _take_generated(tree: bpy.types.NodeTree, seen: set[str] | None = None) -> None:
    """Have "Generated" coordinates read from where they were kept, on meshes that are deformed.

    The others have no such attribute, so that theirs are what they were.
    """
    seen = set() if seen is None else seen
    if tree.name in seen:
        return
    seen.add(tree.name)
    if not any(GENERATED in mesh.attributes for mesh in bpy.data.meshes):
        return
    users: list[bpy.types.NodeSocket] = []
    for node in tree.nodes:
        if node.type == "GROUP" and node.node_tree is not None:
            _take_generated(node.node_tree, seen)
        elif node.type == "TEX_COORD" and not node.from_instancer and node.object is None:
            users += [link.to_socket for link in node.outputs["Generated"].links]
        elif node.type.removeprefix("TEX_") in _LIKE_GENERATED and not node.inputs["Vector"].is_linked:
            users.append(node.inputs["Vector"])
    if not users:
        return
    own, kept, choice = (tree.nodes.new(f"ShaderNode{name}") for name in ("TexCoord", "Attribute", "Mix"))
    kept.attribute_name = GENERATED
    choice.data_type = "VECTOR"
    by_name = {socket.identifier: socket for socket in choice.inputs}
    # alpha says whether the mesh has the attribute
    tree.links.new(kept.outputs["Alpha"], by_name["Factor_Float"])
    tree.links.new(own.outputs["Generated"], by_name["A_Vector"])
    tree.links.new(kept.outputs["Vector"], by_name["B_Vector"])
    result = next(socket for socket in choice.outputs if socket.identifier == "Result_Vector")
    for user in users:
        tree.links.new(result, user)


def _uses(obj: bpy.types.Object, materials: set[bpy.types.Material]) -> bool:
    mesh = obj.data
    chosen = np.array([material in materials for material in mesh.materials], bool)
    if not chosen.any():
        return False
    return bool(chosen[np.minimum(slots_of(mesh), len(chosen) - 1)].any())


def slots_of(mesh: bpy.types.Mesh) -> NDArray[np.int32]:
    """The material slot of each polygon."""
    slots = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", slots)
    return slots


def _fill_slots(obj: bpy.types.Object) -> None:
    """Bake refuses objects with an empty slot."""
    for slot, material in enumerate(obj.data.materials):
        if material is None:
            obj.data.materials[slot] = bpy.data.materials.new("Default")


def _is_displaced(material: bpy.types.Material) -> bool:
    output = output_of(material.node_tree)
    return output is not None and output.inputs["Displacement"].is_linked
